"""The bar on stderr that shows how far a run of tests is; nothing without a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """Gives what is to be called with the status of each case that has ended: ``passed``, ``failed`` …"""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts: Counter[str] = Counter()
    console = Console(stderr=True)
    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    state = TextColumn("{task.fields[state]}")
    with Progress(*columns, state, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("playing", total=total, state="")

        def show(status: str) -> None:
            counts[status] += 1
            bar.update(task, advance=1, state=", ".join(f"{number} {name}" for name, number in counts.items()))

        yield show
