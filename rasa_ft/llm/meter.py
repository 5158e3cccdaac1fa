"""What a run has asked of its models so far, live."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Usage:
    """Counts of one role, which go on while the run goes on; reading them costs nothing.

    Attributes:
        calls: answers that a model gave.
        from_store: answers that were known already.
        failed: attempts without an answer; most are repeated.
        rate_limited: those of them that the server refused for the rate (429).
        in_flight: attempts that wait for the server now.
        cost: what the calls cost, in the currency of the prices; None as long as no price is known.
    """

    calls: int = 0
    from_store: int = 0
    failed: int = 0
    rate_limited: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def answered(self, prompt_tokens: int | None, completion_tokens: int | None, cost: float | None) -> None:
        """Count an answer that was paid for."""
        self.calls += 1
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0
        self._pay(cost)

    def __add__(self, other: Usage) -> Usage:
        total = Usage(
            **{
                name: getattr(self, name) + getattr(other, name)
                for name in (field.name for field in fields(Usage))
                if name != "cost"
            }
        )
        total._pay(self.cost)
        total._pay(other.cost)
        return total

    def _pay(self, cost: float | None) -> None:
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost


class Meter:
    """The `Usage` of each role in a run: ``meter["teacher"]``."""

    def __init__(self) -> None:
        self.roles: dict[str, Usage] = {}

    def __getitem__(self, role: str) -> Usage:
        return self.roles.setdefault(role, Usage())

    @property
    def total(self) -> Usage:
        """All roles together, at this moment."""
        return sum(self.roles.values(), Usage())
