"""A limit on what a run may spend on language models, and the count of what it spends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rasa_ft.errors import BudgetExceeded
from rasa_ft.llm.client import LLM, Completion, Request, Vectors, aclose
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.pricing import Price

# Generous guesses, for room in the budget: characters in a token, tokens of an answer whose length nothing limits.
_CHARACTERS_PER_TOKEN = 2.0
_ANSWER_TOKENS = 1024
_ANSWER_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass
class Budget:
    """Limits the calls and the cost of one run; None is no limit.

    ``calls`` and ``cost`` are those of answered calls; what failed is not counted. Cost is in the currency of the
    prices in endpoints.yml (``input_cost_per_token``, ``output_cost_per_token``). A call gets room for what it may cost
    at most before it is made, so that calls in flight cannot overrun the limit together; the last one, made when
    nothing else is in flight, may, by less than its own price.
    """

    max_calls: int | None = None
    max_cost: float | None = None
    calls: int = 0
    cost: float = 0.0
    _open: int = field(default=0, repr=False)
    _reserved: float = field(default=0.0, repr=False)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list, repr=False)

    async def reserve(self, estimate: float = 0.0) -> None:
        """Room for one call that costs ``estimate`` at most; `settle` gives it back.

        Waits while calls in flight may leave room, or will at least be answered and kept.

        Raises:
            BudgetExceeded: there is no room, and no call is in flight any more.
        """
        while not self._has_room(estimate):
            if not self._open:
                raise self._exceeded()
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change
        self._open += 1
        self._reserved += estimate

    def settle(self, estimate: float, cost: float | None) -> None:
        """Note that a call for which ``estimate`` was reserved is over; ``cost`` None: it was not answered."""
        self._open -= 1
        self._reserved = self._reserved - estimate if self._open else 0.0
        if cost is not None:
            self.calls += 1
            self.cost += cost
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def _has_room(self, estimate: float) -> bool:
        if self.max_calls is not None and self.calls + self._open >= self.max_calls:
            return False
        if self.max_cost is None or self.cost + self._reserved + estimate <= self.max_cost:
            return True
        return not self._open and self.cost < self.max_cost

    def _exceeded(self) -> BudgetExceeded:
        if self.max_calls is not None and self.calls >= self.max_calls:
            used = f"the budget of {self.max_calls} calls is used up."
        else:
            used = f"the budget of {self.max_cost:g} is used up after {self.calls} calls."
        return BudgetExceeded(
            used, hint="Every answer so far is kept; run again with a larger budget to go on from here."
        )


@dataclass(frozen=True)
class Account:
    """Where the calls of one model in one role are counted and paid from; ``price`` None: not known."""

    usage: Usage
    budget: Budget
    price: Price | None

    @asynccontextmanager
    async def call(self, characters: int, answer_tokens: int) -> AsyncIterator[Receipt]:
        """Room for a call; what is written on the receipt inside the block is counted."""
        most = self.price.of(characters / _CHARACTERS_PER_TOKEN, answer_tokens) if self.price else 0.0
        await self.budget.reserve(most)
        receipt = Receipt()
        cost: float | None = None
        try:
            yield receipt
            cost = self._cost(receipt, most)
        finally:
            self.budget.settle(most, cost)
        tokens = receipt.prompt_tokens, receipt.completion_tokens
        self.usage.answered(*tokens, cost if self.price else None)

    def _cost(self, receipt: Receipt, most: float) -> float:
        """Of an answer whose server does not say what it used, the most that it can have cost."""
        if self.price is None or receipt.prompt_tokens is None:
            return most
        return self.price.of(receipt.prompt_tokens, receipt.completion_tokens or 0)


@dataclass
class Receipt:
    """What a call used."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class BudgetedLLM:
    """Asks ``inner`` as long as the budget lasts, and counts; ``answer_tokens``: the longest answer it gives."""

    def __init__(self, inner: LLM, account: Account, answer_tokens: int = _ANSWER_TOKENS) -> None:
        self._inner = inner
        self._account = account
        self._answer_tokens = answer_tokens

    async def complete(self, request: Request) -> Completion:
        characters = sum(len(message["content"]) for message in request.messages)
        longest = next((request.parameters[key] for key in _ANSWER_LIMITS if key in request.parameters), None)
        async with self._account.call(characters, longest or self._answer_tokens) as receipt:
            completion = await self._inner.complete(request)
            receipt.prompt_tokens = completion.prompt_tokens
            receipt.completion_tokens = completion.completion_tokens
        return completion

    async def aclose(self) -> None:
        await aclose(self._inner)


class _MakesVectors(Protocol):
    async def vectors(self, texts: Sequence[str]) -> Vectors: ...


class BudgetedEmbedder:
    """Embeds with ``inner`` as long as the budget lasts, and counts."""

    def __init__(self, inner: _MakesVectors, account: Account) -> None:
        self._inner = inner
        self._account = account

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        async with self._account.call(sum(map(len, texts)), 0) as receipt:
            made = await self._inner.vectors(texts)
            receipt.prompt_tokens = made.prompt_tokens
        return made.values

    async def aclose(self) -> None:
        await aclose(self._inner)


def longest_answer(parameters: object) -> int:
    """The most tokens that an answer has under a model's ``parameters``; a generous guess if nothing limits it."""
    found = parameters if isinstance(parameters, dict) else {}
    return int(next((found[key] for key in _ANSWER_LIMITS if found.get(key)), _ANSWER_TOKENS))
