"""Many awaitable jobs at once, with their results in the order of the jobs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# (stage, jobs done, jobs in all), called after each job.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


async def in_parallel(
    stage: str,
    items: Iterable[Item],
    job: Callable[[Item], Awaitable[Result]],
    *,
    concurrency: int,
    progress: Progress = silent,
) -> list[Result]:
    """``job`` of every item, at most ``concurrency`` at once; the first exception ends the others and is raised."""
    items = list(items)
    places = asyncio.Semaphore(concurrency)
    done = 0
    progress(stage, 0, len(items))

    async def one(item: Item) -> Result:
        nonlocal done
        async with places:
            result = await job(item)
        done += 1
        progress(stage, done, len(items))
        return result

    return await together(one(item) for item in items)


async def together(jobs: Iterable[Awaitable[Result]]) -> list[Result]:
    """All results, in the order of ``jobs``; the first exception ends the others and is raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        # A model call under way ends and is kept before anything is closed: it is paid for.
        await asyncio.gather(*tasks, return_exceptions=True)


def seeded(*parts: object) -> random.Random:
    """A generator that depends on ``parts`` only, so that the order of parallel work does not matter."""
    return random.Random("/".join(str(part) for part in parts))  # noqa: S311
