"""Many cases at a time, with results as if they had run one after the other."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")


async def run_in_order(
    cases: Sequence[Case],
    run: Callable[[Case], Awaitable[Result]],
    *,
    concurrency: int,
    is_last: Callable[[Result], bool],
    on_progress: Callable[[Result], None] | None = None,
) -> tuple[Result, ...]:
    """The results of the first cases, up to the first one that ``is_last``; the same at any concurrency.

    Args:
        concurrency: how many run at a time; an error of one ends them all.
        on_progress: called with each result as it comes, in no particular order.
    """
    results: dict[int, Result] = {}
    queue = iter(enumerate(cases))
    stop_after = math.inf

    async def work() -> None:
        nonlocal stop_after
        for index, case in queue:
            if index > stop_after:
                return
            result = await run(case)
            results[index] = result
            if is_last(result):
                stop_after = min(stop_after, index)
            if on_progress is not None:
                on_progress(result)

    workers = [asyncio.create_task(work()) for _ in range(max(1, min(concurrency, len(cases))))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return tuple(results[index] for index in sorted(results) if index <= stop_after)


def is_cancelled() -> bool:
    """Whether somebody cancelled the running task; else what it ran raised the error by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
