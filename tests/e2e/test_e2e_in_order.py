"""Many cases at a time, with results in order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.e2e.in_order import run_in_order


@given(st.lists(st.integers(0, 5)), st.integers(0, 5), st.integers(1, 4))
def test_as_if_one_ran_after_the_other(numbers: list[int], last: int, concurrency: int) -> None:
    most = running = 0

    async def run(number: int) -> int:
        nonlocal most, running
        running += 1
        most = max(most, running)
        for _ in range(number):
            await asyncio.sleep(0)
        running -= 1
        return number

    found = asyncio.run(run_in_order(numbers, run, concurrency=concurrency, is_last=lambda number: number == last))
    end = numbers.index(last) + 1 if last in numbers else len(numbers)
    assert list(found) == numbers[:end] and most <= concurrency


def test_an_error_ends_them_all() -> None:
    ended: list[str] = []

    async def run(name: str) -> None:
        if name == "broken":
            raise ValueError(name)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(run_in_order(["waits", "broken"], run, concurrency=2, is_last=lambda _: False))
    assert ended == ["waits"]
