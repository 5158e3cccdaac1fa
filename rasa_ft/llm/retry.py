"""How often, and after how long, a failed call is repeated, and how many run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from rasa_ft.errors import LLMUnavailable, RateLimited

T = TypeVar("T")

# Attempts in all. A limit on the rate passes with patience; a dead server does not.
_ATTEMPTS_RATE = 8
_ATTEMPTS_OTHER = 4
_LONGEST_WAIT = 60.0


class Gate:
    """Lets at most ``concurrency`` calls through at once and repeats those that may succeed later.

    ``retries`` replaces both numbers of attempts (less the first one). A call that waits for its next attempt does not
    hold its place.
    """

    def __init__(self, concurrency: int, retries: int | None = None, *, first_wait: float = 0.5) -> None:
        self._concurrency = concurrency
        self._retries = retries
        self._first_wait = first_wait
        self._places: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def call(self, once: Callable[[], Awaitable[T]], *, patient: bool = True) -> T:
        """The result of ``once``; without ``patience`` only calls limited by rate are repeated.

        Raises:
            LLMError: the last failure.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type

        kinds = LLMUnavailable if patient else RateLimited
        retrying = AsyncRetrying(retry=retry_if_exception_type(kinds), stop=self._stop, wait=self._wait, reraise=True)
        return await retrying(self._placed, once)

    async def _placed(self, once: Callable[[], Awaitable[T]]) -> T:
        async with self._semaphore():
            return await once()

    def _semaphore(self) -> asyncio.Semaphore:
        """One semaphore for each event loop, so that a client may outlive `asyncio.run`."""
        loop = asyncio.get_running_loop()
        if self._places is None or self._places[0] is not loop:
            self._places = (loop, asyncio.Semaphore(self._concurrency))
        return self._places[1]

    def _stop(self, state: Any) -> bool:
        attempts = _ATTEMPTS_RATE if isinstance(state.outcome.exception(), RateLimited) else _ATTEMPTS_OTHER
        if self._retries is not None:
            attempts = self._retries + 1
        return bool(state.attempt_number >= attempts)

    def _wait(self, state: Any) -> float:
        error = state.outcome.exception()
        if isinstance(error, RateLimited) and error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT)
        return float(min(self._first_wait * 2 ** (state.attempt_number - 1), _LONGEST_WAIT))


def retry_after_seconds(headers: Mapping[str, str] | None) -> float | None:
    """What a ``Retry-After`` header (RFC 9110, seconds or a date) asks for; None without one."""
    value = (headers or {}).get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
