"""Several interchangeable models behind one name: which is asked first, and what happens when one fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rasa_ft.errors import BudgetExceeded, LLMError, LLMUnavailable, NotRecorded, RateLimited, RequestRejected
from rasa_ft.llm.client import LLM, Completion, Request, aclose
from rasa_ft.llm.config import Router
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.llm.pace import Pace
from rasa_ft.llm.retry import Gate

# How much the newest answer weighs in the average time of a model.
_NEWEST = 0.3
_MINUTE = 60.0
# The fault of the question or of the run, not of the model that was asked.
_NOT_THE_MODEL = (RequestRejected, NotRecorded, BudgetExceeded)


@dataclass
class Member:
    """One model of a group and what is known about it.

    ``price`` is that of an input and an output token together; ``latency`` the moving average of answer times in
    seconds, 0 before the first; ``tokens`` those used in the current minute.
    """

    llm: LLM
    cooldown: Cooldown
    price: float = 0.0
    in_flight: int = 0
    latency: float = 0.0
    tokens: int = 0
    minute: int = -1

    def answered(self, completion: Completion, now: float) -> None:
        self.cooldown.succeeded()
        weight = _NEWEST if self.latency else 1.0
        self.latency += weight * (completion.latency - self.latency)
        self.tokens = self.used(now) + (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
        self.minute = int(now // _MINUTE)

    def used(self, now: float) -> int:
        return self.tokens if self.minute == int(now // _MINUTE) else 0


@dataclass
class RoutedLLM:
    """Asks the first healthy model in the order of the strategy; when one fails, the next.

    A model that fails is left alone for the cool-down; if all are, they are asked all the same. What is the fault of
    the request goes to no other model. A round in which every model failed is repeated as `Gate` says.

    Args:
        rng: decides between models that are equally good.
    """

    members: Sequence[Member]
    router: Router
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    first_wait: float = 0.5

    def __post_init__(self) -> None:
        # The clients bound how many calls are in flight; here nothing has to wait.
        self._gate = Gate(Pace(2**31, first_wait=self.first_wait), self.router.retries)

    async def complete(self, request: Request) -> Completion:
        return await self._gate.call(lambda: self._round(request))

    async def aclose(self) -> None:
        for member in self.members:
            await aclose(member.llm)

    async def _round(self, request: Request) -> Completion:
        failures: list[LLMError] = []
        for member in self._order():
            try:
                return await self._ask(member, request)
            except _NOT_THE_MODEL:
                raise
            except LLMError as error:
                member.cooldown.failed(error.retry_after if isinstance(error, RateLimited) else None)
                failures.append(error)
        raise _worth_telling(failures)

    async def _ask(self, member: Member, request: Request) -> Completion:
        member.in_flight += 1
        try:
            completion = await member.llm.complete(request)
        finally:
            member.in_flight -= 1
        member.answered(completion, self.clock())
        return completion

    def _order(self) -> list[Member]:
        """The healthy models by the strategy; if there are none, the resting ones, first whose rest ends first."""
        shuffled = self.rng.sample(list(self.members), len(self.members))
        ranked = sorted(shuffled, key=self._rank)
        healthy = [member for member in ranked if member.cooldown.rest == 0]
        return healthy or sorted(ranked, key=lambda member: member.cooldown.rest)

    def _rank(self, member: Member) -> float:
        match self.router.strategy:
            case "least-busy":
                return member.in_flight
            case "latency-based-routing":
                return member.latency
            case "usage-based-routing":
                return member.used(self.clock())
            case "cost-based-routing":
                return member.price
            case _:
                return 0


def _worth_telling(failures: Sequence[LLMError]) -> LLMError:
    """What may pass with time, so that the round is repeated; else the last failure."""
    passing = [error for error in failures if isinstance(error, LLMUnavailable)]
    limited = [error for error in passing if isinstance(error, RateLimited)]
    if limited and len(limited) == len(failures):
        return min(limited, key=lambda error: error.retry_after or 0)
    return passing[-1] if passing else failures[-1]
