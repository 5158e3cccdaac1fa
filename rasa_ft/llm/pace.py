"""How many calls of one model run at once: a line, a limit that follows what the server can take, and rests."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rasa_ft.errors import LLMUnavailable, RateLimited

LONGEST_WAIT = 60.0
# Who is asked to come back later than this (seconds) does so in another run.
LONGEST_REST = 300.0
# Each answer raises the limit by the first, each refusal lowers it by the second number. A whole round of refusals
# takes 40 % away. In between, the limit is at rest where 38 % of the calls are refused: a server that refuses at random
# gets what it can take, one with a real limit is not hammered.
_RAISE, _LOWER = 0.25, 0.4
# Refusals in a row, none of them with a time, after which everybody rests.
_REFUSED_IN_A_ROW = 8


@dataclass(order=True)
class _Waiting:
    ticket: int
    number: int
    place: asyncio.Future[None] = field(compare=False)
    waits_for_rests: bool = field(compare=False)


@dataclass
class _Line:
    """Who waits and how many have a place, in one event loop."""

    loop: asyncio.AbstractEventLoop
    waiting: list[_Waiting] = field(default_factory=list)
    taken: int = 0
    alarm: asyncio.TimerHandle | None = None


class Pace:
    """Places for the calls of one model, shared by everybody who asks it.

    At most ``concurrency`` calls have a place, at any time. Who came first goes first; a call that is repeated keeps
    its number. When the server limits the rate (429), fewer calls get a place, and nobody gets one for as long as its
    ``Retry-After`` says; with every answer there are more again.

    Args:
        first_wait: seconds before a failed call is first repeated; each further wait is about twice as long.
        clock: seconds that only go forward.
    """

    def __init__(
        self, concurrency: int, *, first_wait: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.concurrency = concurrency
        self.first_wait = first_wait
        self.answers = 0
        self.is_dead = False
        self._limit = float(concurrency)
        self._clock = clock
        self._tickets = itertools.count()
        self._entries = itertools.count()
        self._current: _Line | None = None
        self._rest_until = self._rest_began = -1.0
        self._refusal: RateLimited | None = None
        self._refused_in_a_row = 0

    @property
    def limit(self) -> int:
        """How many calls may have a place now, 1 or more."""
        return math.ceil(self._limit)

    @property
    def rest(self) -> float:
        """Seconds until anybody gets a place again; 0: now."""
        return max(0.0, self._rest_until - self._clock())

    def ticket(self) -> int:
        """A number in the line, for one call and all its repetitions."""
        return next(self._tickets)

    @asynccontextmanager
    async def place(self, ticket: int, *, waits_for_rests: bool = True) -> AsyncIterator[float]:
        """A place, when it is this ticket's turn; gives the time at which it was there.

        Args:
            waits_for_rests: False: who could ask another model is turned away instead.

        Raises:
            LLMUnavailable: nobody in the line will get an answer, so everybody was turned away.
        """
        line = self._line()
        await self._enter(line, ticket, waits_for_rests)
        try:
            yield self._clock()
        finally:
            self._leave(line)

    def answered(self) -> None:
        """Note that a call was answered."""
        self.answers += 1
        self.is_dead = False
        self._refused_in_a_row = 0
        self._limit = min(self.concurrency, self._limit + _RAISE)

    def refused(self, error: RateLimited, began: float) -> None:
        """Note a 429 for a call that got its place at ``began``."""
        self._limit = max(1.0, self._limit - _LOWER)
        self._refusal = error
        if error.retry_after:
            if error.retry_after <= LONGEST_REST:
                self._begin_rest(error.retry_after)
        elif began >= self._rest_began:  # what began before a rest says nothing about what came of it
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= _REFUSED_IN_A_ROW:
                self._begin_rest(backoff(self.first_wait, self._refused_in_a_row - _REFUSED_IN_A_ROW))

    def give_up(self, error: LLMUnavailable) -> None:
        """Turn everybody in the line away: nobody has been answered for as long as ``error``'s call was repeated."""
        self.is_dead = True
        self._turn_away(error, lambda waiting: True)

    def _begin_rest(self, seconds: float) -> None:
        self._rest_began = self._clock()
        # Other processes were told the same; they should not all come back in the same moment.
        seconds *= 1 + 0.1 * random.random()  # noqa: S311
        self._rest_until = max(self._rest_until, self._rest_began + seconds)
        self._turn_away(self._limited(), lambda waiting: not waiting.waits_for_rests)

    def _limited(self) -> RateLimited:
        return RateLimited(self._refusal.message if self._refusal else "the rate is limited.", retry_after=self.rest)

    def _turn_away(self, error: LLMUnavailable, whom: Callable[[_Waiting], bool]) -> None:
        for waiting in self._current.waiting if self._current else ():
            if not waiting.place.done() and whom(waiting):
                waiting.place.set_exception(_copy(error))

    def _line(self) -> _Line:
        """One line for each event loop, so that a client may outlive `asyncio.run`."""
        loop = asyncio.get_running_loop()
        if self._current is None or self._current.loop is not loop:
            self._current = _Line(loop)
        return self._current

    async def _enter(self, line: _Line, ticket: int, waits_for_rests: bool) -> None:
        if self.rest and not waits_for_rests:
            raise self._limited()
        place: asyncio.Future[None] = line.loop.create_future()
        heapq.heappush(line.waiting, _Waiting(ticket, next(self._entries), place, waits_for_rests))
        self._admit(line)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave(line)  # it got its place in the same moment
            raise

    def _leave(self, line: _Line) -> None:
        line.taken -= 1
        self._admit(line)

    def _admit(self, line: _Line) -> None:
        """Give away the places that are free."""
        while line.waiting and line.taken < self.limit:
            if line.waiting[0].place.done():
                heapq.heappop(line.waiting)
            elif self.rest:
                self._set_alarm(line)
                return
            else:
                heapq.heappop(line.waiting).place.set_result(None)
                line.taken += 1

    def _set_alarm(self, line: _Line) -> None:
        def ring() -> None:
            line.alarm = None
            self._admit(line)

        if line.alarm is None:
            line.alarm = line.loop.call_later(self.rest, ring)


class Paces:
    """One `Pace` for each model, however many roles it has in a run."""

    def __init__(self, concurrency: int, *, first_wait: float = 0.5) -> None:
        self._concurrency = concurrency
        self._first_wait = first_wait
        self._paces: dict[Hashable, Pace] = {}

    def of(self, model: Hashable) -> Pace:
        """The pace of the model that is known by ``model``."""
        if model not in self._paces:
            self._paces[model] = Pace(self._concurrency, first_wait=self._first_wait)
        return self._paces[model]


def backoff(first_wait: float, times: int) -> float:
    """Seconds to wait after ``times`` earlier waits: doubled each time, and up to half of it left to chance."""
    longest = min(first_wait * 2.0 ** min(times, 32), LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


def _copy(error: LLMUnavailable) -> LLMUnavailable:
    """One for each who is turned away: an exception that is raised in many places collects all their frames."""
    if isinstance(error, RateLimited):
        return RateLimited(error.message, retry_after=error.retry_after, hint=error.hint)
    return LLMUnavailable(error.message, hint=error.hint)
