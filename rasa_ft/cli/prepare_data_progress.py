"""What data preparation tells of its model calls: an estimate before, the counts while it runs, the sum at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rasa_ft.llm.meter import Meter, Usage
    from rasa_ft.recipe.estimate import Estimate

_STAGES = {
    "annotate": "running the tests",
    "rephrase": "rephrasing messages",
    "compose": "composing conversations",
}


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """A line for each kind of call and the sum, on stdout."""
    if as_json:
        items = [asdict(item) for item in estimate.items]
        click.echo(json.dumps({"calls": estimate.calls, "cost": estimate.cost, "items": items}, indent=2))
        return
    click.echo(f"{'':<12}{'asked':<16}{'calls':>9}{'tokens in':>13}{'tokens out':>13}{'cost':>11}")
    for item in estimate.items:
        tokens = f"{item.prompt_tokens:>13,}{item.completion_tokens:>13,}"
        click.echo(f"{item.kind:<12}{item.role:<16}{item.calls:>9,}{tokens}{_money(item.cost):>11}")
    click.echo(f"{'sum':<28}{estimate.calls:>9,}{'':>26}{_money(estimate.cost):>11}")
    click.echo(
        "At most, but for refills: what is stored already is not asked again, and a failed test asks less.", err=True
    )
    if estimate.cost is None:
        hint = "Add input_cost_per_token and output_cost_per_token to the models in endpoints.yml."
        click.echo(f"The price of a model is not known. {hint}", err=True)


@contextmanager
def progress_bars(meter: Meter) -> Iterator[Callable[[str, int, int], None]]:
    """One bar on stderr for each stage, with the time that is left and the calls; nothing if stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[calls]}"),
    )
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage in _STAGES and stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=total, calls="")
            if stage in tasks:
                bars.update(tasks[stage], completed=done, total=total, calls=_live(meter.total))

        yield show


@contextmanager
def told_at_the_end(meter: Meter) -> Iterator[None]:
    """The calls of each role on stderr, also when the run fails: they were paid for."""
    try:
        yield
    finally:
        for role, usage in meter.roles.items():
            if usage.calls or usage.from_store or usage.failed:
                click.echo(f"{role}: {_in_words(usage)}.", err=True)


def _live(usage: Usage) -> str:
    if not usage.calls and not usage.from_store:
        return ""
    parts = [f"{usage.calls:,} calls"]
    if usage.from_store:
        parts.append(f"{usage.from_store:,} known")
    if usage.cost is not None:
        parts.append(_money(usage.cost))
    return ", ".join(parts)


def _in_words(usage: Usage) -> str:
    parts = [f"{usage.calls:,} calls"]
    if usage.from_store:
        parts.append(f"{usage.from_store:,} answers were known already")
    if usage.failed:
        limited = f", {usage.rate_limited:,} for the rate" if usage.rate_limited else ""
        parts.append(f"{usage.failed:,} attempts failed{limited}")
    if usage.prompt_tokens:
        parts.append(f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out")
    if usage.cost is not None:
        parts.append(f"cost {_money(usage.cost)}")
    return "; ".join(parts)


def _money(cost: float | None) -> str:
    if cost is None:
        return "unknown"
    return f"{cost:,.2f}" if cost >= 0.01 or cost == 0 else f"{cost:.4f}"
