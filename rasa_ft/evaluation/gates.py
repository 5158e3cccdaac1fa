"""Gates: the pass rates that a tuned model has to reach on the training and on the validation conversations."""

from __future__ import annotations

from dataclasses import dataclass

from rasa_ft.errors import UsageError
from rasa_ft.evaluation.statistics import Interval, more_needed, wilson


@dataclass(frozen=True)
class Gates:
    """Thresholds as fractions; 0.95 and 0.80 are the recipe's.

    ``confidence`` is that of the intervals shown and judged.

    Raises:
        UsageError: a threshold is not a fraction.
    """

    train: float = 0.95
    validation: float = 0.80
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, value in (("train", self.train), ("validation", self.validation)):
            if not 0 < value <= 1:
                raise UsageError(
                    f"the {name} gate is {value:g}; it must be above 0 and at most 1.", hint="80 % is 0.8."
                )


@dataclass(frozen=True)
class GateResult:
    """One gate and what came of it.

    ``met``: the observed rate reaches the threshold. ``proven``: the low end of its interval does as well, so that the
    result is no luck of the draw. ``more`` tests would prove it if the rate held; None where no number would.
    """

    split: str
    threshold: float
    passed: int
    total: int
    interval: Interval
    met: bool
    proven: bool
    more: int | None

    @property
    def rate(self) -> float | None:
        """Observed pass rate; None without tests."""
        return self.passed / self.total if self.total else None


def judge_gate(split: str, threshold: float, passed: int, total: int, confidence: float = 0.95) -> GateResult:
    """Compare ``passed`` of ``total`` conversations with a threshold. Without any conversation nothing is met."""
    interval = wilson(passed, total, confidence)
    met = total > 0 and passed / total >= threshold
    more = more_needed(passed, total, threshold, confidence) if total else _flawless_needed(threshold, confidence)
    return GateResult(split, threshold, passed, total, interval, met, met and interval.low >= threshold, more)


def _flawless_needed(threshold: float, confidence: float, limit: int = 10_000) -> int | None:
    """The smallest number of tests that proves the threshold when all of them pass."""
    sizes = range(1, limit + 1)
    return next((size for size in sizes if wilson(size, size, confidence).low >= threshold), None)
