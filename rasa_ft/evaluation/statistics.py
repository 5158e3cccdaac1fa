"""What few tests can prove: intervals for proportions, paired comparisons and the size of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb, copysign, inf, sqrt
from statistics import NormalDist

_TINY = 1e-12
# Enough for the end of an interval to be exact to twelve digits.
_HALVINGS = 44


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval; proportions and their differences are fractions, not per cent."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, without continuity correction.

    Nothing observed gives the whole range from 0 to 1.

    Source: Wilson, JASA 22 (1927) 209; method 3 in Newcombe, Stat. Med. 17 (1998) 857.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total} are not possible")
    if total == 0:
        return Interval(0.0, 1.0)
    z = _two_sided(confidence)
    rate = successes / total
    centre = rate + z * z / (2 * total)
    half = z * sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == total else (centre + half) / scale
    return Interval(low, high)


@dataclass(frozen=True)
class Paired:
    """The same items judged for two models: how many passed with both, with one of them, with neither."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> Paired:
        """Count two equally long lists of outcomes of the same items in the same order."""
        pairs = list(zip(first, second, strict=True))
        return cls(*(pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def total(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Rate of the first minus rate of the second."""
        return (self.only_first - self.only_second) / self.total if self.total else 0.0

    @property
    def discordant(self) -> float:
        """Share of the items on which the two models differ."""
        return (self.only_first + self.only_second) / self.total if self.total else 0.0


def mcnemar_exact(pairs: Paired) -> float:
    """Two-sided p-value of McNemar's exact test: could so uneven a split of the differing items be chance?

    Twice the smaller binomial tail, at most 1. Source: Fagerland et al., BMC Med. Res. Methodol. 13 (2013) 91.
    """
    trials = pairs.only_first + pairs.only_second
    smaller = min(pairs.only_first, pairs.only_second)
    tail = sum(comb(trials, count) for count in range(smaller + 1))
    return min(1.0, 2 * tail / 2**trials)


def paired_difference(pairs: Paired, confidence: float = 0.95) -> Interval:
    """Interval of (rate of the first - rate of the second), both measured on the same items.

    Wilson's intervals of the two rates, joined with the correlation of the pairs. Nothing observed gives -1 to 1.

    Source: Newcombe, Stat. Med. 17 (1998) 2635, method 10.
    """
    total = pairs.total
    if total == 0:
        return Interval(-1.0, 1.0)
    first, second = pairs.both + pairs.only_first, pairs.both + pairs.only_second
    wilson_1, wilson_2 = wilson(first, total, confidence), wilson(second, total, confidence)
    rate_1, rate_2 = first / total, second / total
    phi = _correlation(pairs)

    def reach(a: float, b: float) -> float:
        return sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    low = rate_1 - rate_2 - reach(rate_1 - wilson_1.low, wilson_2.high - rate_2)
    high = rate_1 - rate_2 + reach(wilson_1.high - rate_1, rate_2 - wilson_2.low)
    return Interval(max(-1.0, low), min(1.0, high))


def _correlation(pairs: Paired) -> float:
    """Newcombe's phi: positive numerators are lowered by n/2, but not below 0."""
    margins = (
        (pairs.both + pairs.only_first)
        * (pairs.only_second + pairs.neither)
        * (pairs.both + pairs.only_second)
        * (pairs.only_first + pairs.neither)
    )
    if margins == 0:
        return 0.0
    numerator: float = pairs.both * pairs.neither - pairs.only_first * pairs.only_second
    if numerator > 0:
        numerator = max(0.0, numerator - pairs.total / 2)
    return numerator / sqrt(margins)


def tango_statistic(only_first: float, only_second: float, total: float, difference: float) -> float:
    """Tango's score statistic for "rate of the first minus rate of the second is ``difference``"; about normal.

    The variance is that of the likeliest pair of rates with that difference, so that two models that never differ are
    not taken for proven equal. Counts may be fractions, as an effective number of items is.

    Source: Tango, Stat. Med. 17 (1998) 891.
    """
    numerator = only_first - only_second - total * difference
    variance = total * _restricted_variance(only_first / total, only_second / total, difference)
    if variance <= 0:
        return 0.0 if abs(numerator) < _TINY else copysign(inf, numerator)
    return numerator / sqrt(variance)


def tango_interval(only_first: float, only_second: float, total: float, critical: float) -> Interval:
    """The differences (first minus second) whose Tango statistic lies between -``critical`` and ``critical``.

    ``critical`` is a quantile, 1.96 for 95 % confidence. Nothing observed gives -1 to 1.
    """
    if total <= 0:
        return Interval(-1.0, 1.0)
    observed = (only_first - only_second) / total

    def end(excluded: float) -> float:
        kept = observed
        for _ in range(_HALVINGS):
            middle = (excluded + kept) / 2
            if abs(tango_statistic(only_first, only_second, total, middle)) > critical:
                excluded = middle
            else:
                kept = middle
        return kept

    return Interval(end(-1.0), end(1.0))


def score_spread(first: float, second: float, difference: float) -> float:
    """Standard deviation of one pair of items under Tango's null hypothesis.

    ``first`` and ``second`` are the shares of the items that only the first and only the second model gets right.
    """
    return sqrt(max(0.0, _restricted_variance(first, second, difference)))


def _restricted_variance(first: float, second: float, difference: float) -> float:
    """2q + D(1 - D) with q the likeliest share of "only the second", given that the rates differ by D (Tango 1998)."""
    linear = -first - second + (2 - first + second) * difference
    constant = -second * difference * (1 - difference)
    share = (sqrt(max(0.0, linear * linear - 8 * constant)) - linear) / 4
    return 2 * share + difference * (1 - difference)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution; to 0.005 for 5 and more degrees of freedom and up to 97.5 %.

    Source: the expansion 26.7.5 in Abramowitz and Stegun, Handbook of Mathematical Functions (1964).
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def noninferiority_size(discordant: float, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many paired items show that one model is at most ``margin`` worse than another that is equally good.

    n = (z(1-alpha) + z(power))² · d / margin², 6.18 · d / margin² with the defaults; ``discordant`` d is the share of
    items on which the two differ. Items of one conversation are not independent: more are needed for turns.
    Source: Liu et al., Stat. Med. 21 (2002) 231.
    """
    if margin <= 0:
        raise ValueError("the margin must be above 0")
    normal = NormalDist()
    factor = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) ** 2
    return ceil(factor * discordant / margin**2)


def more_needed(
    successes: int, total: int, threshold: float, confidence: float = 0.95, limit: int = 10_000
) -> int | None:
    """How many more items prove a rate of at least ``threshold`` if the observed rate holds.

    Proved means: the low end of Wilson's interval reaches the threshold. 0 if it does already; None if ``limit``
    items would not be enough, because the rate is not above the threshold or too close to it.
    """
    if total == 0 or successes / total <= threshold:
        return None
    rate = successes / total
    for size in range(total, total + limit + 1):
        expected = successes if size == total else int(rate * size + 1e-9)
        if wilson(expected, size, confidence).low >= threshold:
            return size - total
    return None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which ``share`` (0 to 1) of the values lie, linear between neighbours; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _two_sided(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError("the confidence must lie between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
