"""A limit on what a run may spend on language models."""

from __future__ import annotations

from dataclasses import dataclass

from rasa_ft.errors import BudgetExceeded
from rasa_ft.llm.client import LLM, Completion, Request, aclose


@dataclass
class Budget:
    """Counts the calls and the cost of one run; None is no limit.

    Cost is in the currency of the prices in endpoints.yml (``input_cost_per_token``, ``output_cost_per_token``).
    """

    max_calls: int | None = None
    max_cost: float | None = None
    calls: int = 0
    cost: float = 0.0

    def reserve(self) -> None:
        """Count one call before it is made.

        Raises:
            BudgetExceeded: the limit is reached.
        """
        if self.max_calls is not None and self.calls >= self.max_calls:
            raise BudgetExceeded(
                f"the budget of {self.max_calls} calls is used up.",
                hint="Every answer so far is kept; run again with a larger budget to go on from here.",
            )
        if self.max_cost is not None and self.cost >= self.max_cost:
            raise BudgetExceeded(
                f"the budget of {self.max_cost:g} is used up after {self.calls} calls.",
                hint="Every answer so far is kept; run again with a larger budget to go on from here.",
            )
        self.calls += 1

    def charge(self, cost: float) -> None:
        """Add what a finished call cost."""
        self.cost += cost


class BudgetedLLM:
    """Asks ``inner`` as long as the budget lasts."""

    def __init__(self, inner: LLM, budget: Budget, *, input_price: float, output_price: float) -> None:
        self._inner = inner
        self._budget = budget
        self._input_price = input_price
        self._output_price = output_price

    async def complete(self, request: Request) -> Completion:
        self._budget.reserve()
        completion = await self._inner.complete(request)
        self._budget.charge(
            (completion.prompt_tokens or 0) * self._input_price
            + (completion.completion_tokens or 0) * self._output_price
        )
        return completion

    async def aclose(self) -> None:
        await aclose(self._inner)
