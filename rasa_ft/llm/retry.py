"""How often, and after how long, a failed call is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from rasa_ft.errors import LLMError, LLMUnavailable, RateLimited
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.pace import LONGEST_REST, Pace, backoff

T = TypeVar("T")

# Attempts in a row while nobody else is answered either. A limit on the rate passes with patience; a dead server does
# not.
_ATTEMPTS_RATE = 8
_ATTEMPTS_OTHER = 4
# Attempts in all, of a call that fails while others are answered.
_MOST_RATE = 64
_MOST_OTHER = 8
# What a cancelled run waits for answers that are already paid for.
_LAST_WAIT = 10.0


class Gate:
    """Lets calls through at the pace of their model and repeats those that may succeed later.

    A call that waits for its next attempt does not hold its place. When one has failed as often as makes sense while
    nobody else was answered, the model counts as dead: those in the line fail with it, and until there is an answer
    again nothing is repeated.

    Args:
        retries: repetitions of a failed call whatever else happens, instead of all these numbers.
        usage: where attempts are counted.
        waits_for_rests: False: while nobody may ask, calls fail with `RateLimited` instead of waiting.
        finishes: the answer of a call that is under way is worth waiting for even if whoever asked is cancelled; the
            task must then end itself, by `end_if_cancelled`, when it has kept the answer.
    """

    def __init__(
        self,
        pace: Pace,
        retries: int | None = None,
        *,
        usage: Usage | None = None,
        waits_for_rests: bool = True,
        finishes: bool = False,
    ) -> None:
        self._pace = pace
        self._retries = retries
        self._usage = usage or Usage()
        self._waits_for_rests = waits_for_rests
        self._finishes = finishes

    async def call(self, once: Callable[[], Awaitable[T]]) -> T:
        """The result of ``once``, which may be called several times.

        Raises:
            LLMError: the last failure.
        """
        ticket = self._pace.ticket()
        failures = _Failures(self._pace.answers)
        while True:
            async with self._pace.place(ticket, waits_for_rests=self._waits_for_rests) as began:
                answer = await self._attempt(once, began)
            if not isinstance(answer, LLMUnavailable):
                return answer
            failures.add(answer, self._pace.answers)
            if self._is_hopeless(failures, answer):
                raise answer
            if not (isinstance(answer, RateLimited) and answer.retry_after):
                await asyncio.sleep(backoff(self._pace.first_wait, failures.in_a_row - 1))

    async def _attempt(self, once: Callable[[], Awaitable[T]], began: float) -> T | LLMUnavailable:
        self._usage.in_flight += 1
        try:
            answer = await (_finished(once()) if self._finishes else once())
        except LLMError as error:
            self._usage.failed += 1
            if isinstance(error, RateLimited):
                self._usage.rate_limited += 1
                self._pace.refused(error, began)
            if isinstance(error, LLMUnavailable):
                return error
            raise
        finally:
            self._usage.in_flight -= 1
        self._pace.answered()
        return answer

    def _is_hopeless(self, failures: _Failures, error: LLMUnavailable) -> bool:
        """Whether ``error`` is the last; if it is so for everybody, they are told."""
        if isinstance(error, RateLimited) and (error.retry_after or 0) > LONGEST_REST:
            error.hint = f"It asks to wait {error.retry_after:.0f} seconds; run again then."
            self._pace.give_up(error)
            return True
        if self._retries is not None:
            return failures.all > self._retries
        if isinstance(error, RateLimited):
            return failures.in_a_row >= _ATTEMPTS_RATE or failures.all >= _MOST_RATE
        if failures.in_a_row >= _ATTEMPTS_OTHER or self._pace.is_dead:
            self._pace.give_up(error)
            return True
        return failures.others >= _MOST_OTHER


@dataclass
class _Failures:
    """Of one call: in all, those that are no 429, and those since anybody was last answered."""

    answers: int
    all: int = 0
    others: int = 0
    in_a_row: int = 0

    def add(self, error: LLMUnavailable, answers: int) -> None:
        self.all += 1
        self.others += not isinstance(error, RateLimited)
        self.in_a_row = self.in_a_row + 1 if answers == self.answers else 1
        self.answers = answers


async def _finished(call: Awaitable[T]) -> T:
    """The result of ``call``, also of one that ends within a while after whoever waits is cancelled."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_LAST_WAIT)
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        raise
    finally:
        task.cancel()


def end_if_cancelled() -> None:
    """End this task if it was cancelled while it waited for an answer that was paid for; see `Gate`.

    Raises:
        asyncio.CancelledError: it was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def retry_after_seconds(headers: Mapping[str, str] | None) -> float | None:
    """What ``Retry-After-Ms`` or ``Retry-After`` (RFC 9110, seconds or a date) asks for; None without one."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = (headers or {}).get(name)
        seconds = None if value is None else _seconds(value, unit)
        if seconds is not None:
            return max(0.0, seconds)
    return None


def _seconds(value: str, unit: float) -> float | None:
    try:
        seconds = float(value) * unit
        return seconds if seconds < float("inf") else None  # neither "inf" nor "nan" is a time
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
