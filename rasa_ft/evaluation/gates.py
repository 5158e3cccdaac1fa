"""Gates: the pass rates that a tuned model has to reach, and how far it may stay behind the teacher."""

from __future__ import annotations

from dataclasses import dataclass

from rasa_ft.errors import UsageError
from rasa_ft.evaluation.statistics import Interval, more_needed, wilson


@dataclass(frozen=True)
class Gates:
    """Thresholds as fractions; 0.95 and 0.80 are the recipe's.

    ``confidence`` is that of the intervals shown and judged. ``margin``: by how much the share of messages that the
    tuned model gets right may be smaller than the teacher's; ``alpha``: the risk, at most, of passing a model that is
    worse by just that.

    Raises:
        UsageError: a threshold or the margin is not a fraction, or alpha is not below one half.
    """

    train: float = 0.95
    validation: float = 0.80
    confidence: float = 0.95
    margin: float = 0.05
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, value in (("train", self.train), ("validation", self.validation)):
            if not 0 < value <= 1:
                raise UsageError(
                    f"the {name} gate is {value:g}; it must be above 0 and at most 1.", hint="80 % is 0.8."
                )
        if not 0 < self.margin < 1:
            raise UsageError(f"the margin is {self.margin:g}; it must lie between 0 and 1.", hint="5 points are 0.05.")
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"alpha is {self.alpha:g}; it must lie between 0 and 0.5.", hint="A risk of 5 % is 0.05.")


@dataclass(frozen=True)
class GateResult:
    """One gate and what came of it.

    ``met``: the observed rate reaches the threshold. ``proven``: the low end of its interval does as well, so that the
    result is no luck of the draw. ``more`` tests would settle, if the rate held, whether the threshold is reached; None
    where no number would.
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

    @property
    def clearly_missed(self) -> bool:
        """Whether the whole interval lies below the threshold."""
        return self.total > 0 and self.interval.high < self.threshold


def judge_gate(split: str, threshold: float, passed: int, total: int, confidence: float = 0.95) -> GateResult:
    """Compare ``passed`` of ``total`` conversations with a threshold. Without any conversation nothing is met."""
    interval = wilson(passed, total, confidence)
    met = total > 0 and passed / total >= threshold
    more = _more(passed, total, threshold, confidence)
    return GateResult(split, threshold, passed, total, interval, met, met and interval.low >= threshold, more)


def _more(passed: int, total: int, threshold: float, confidence: float) -> int | None:
    if not total:
        return _flawless_needed(threshold, confidence)
    if passed / total >= threshold:
        return more_needed(passed, total, threshold, confidence)
    # That a rate is below the threshold is proven as that of the failures is above the rest.
    return more_needed(total - passed, total, 1 - threshold, confidence)


def _flawless_needed(threshold: float, confidence: float, limit: int = 10_000) -> int | None:
    """The smallest number of tests that proves the threshold when all of them pass."""
    sizes = range(1, limit + 1)
    return next((size for size in sizes if wilson(size, size, confidence).low >= threshold), None)
