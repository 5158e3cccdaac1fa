"""Two models on the same messages, which come in conversations: the messages of one are not independent.

A conversation with an odd subject is odd in all its messages, so that a hundred messages say less than a hundred
conversations of one message would. The *design effect* is how many times more messages are needed for the same proof.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rasa_ft.evaluation.statistics import Interval, score_spread, t_quantile, tango_interval

# A robust variance of fewer conversations is too small too often (Cameron and Miller, J. Hum. Resour. 50 (2015) 317).
MIN_CONVERSATIONS = 20
# Few mistakes hardly show how they cluster. With less than this, `benchmarks/verdict_calibration.py` finds that models
# at the margin pass too often.
LEAST_CORRELATION = 0.2
_MOST_CONVERSATIONS = 10_000


@dataclass(frozen=True)
class Cluster:
    """A conversation: how many messages both models were asked, and how many only one of them got right."""

    total: int
    only_first: int = 0
    only_second: int = 0


@dataclass(frozen=True)
class Rates:
    """What all conversations show together. Shares are of the messages; ``difference`` is first minus second."""

    messages: int
    only_first: int
    only_second: int

    @classmethod
    def of(cls, clusters: Sequence[Cluster]) -> Rates:
        return cls(
            sum(cluster.total for cluster in clusters),
            sum(cluster.only_first for cluster in clusters),
            sum(cluster.only_second for cluster in clusters),
        )

    @property
    def difference(self) -> float:
        return (self.only_first - self.only_second) / self.messages if self.messages else 0.0

    @property
    def discordant(self) -> float:
        """Share of the messages on which the models differ."""
        return (self.only_first + self.only_second) / self.messages if self.messages else 0.0


def design_effect(clusters: Sequence[Cluster], around: float | None = None) -> float:
    """How much larger the variance of the difference is than it would be for as many independent messages.

    Obuchowski's variance, sum of (b - c - n·D)² over the conversations times K/(K - 1), by that of independent pairs;
    D is ``around``, by default the observed difference. 1 where the models never differ.

    Source: Obuchowski, Stat. Med. 17 (1998) 1495, whose test is Tango's statistic, squared, at 0 by the design effect
    around 0; the idea of a design effect for binary data: Rao and Scott, Biometrics 48 (1992) 577.
    """
    rates, count = Rates.of(clusters), len(clusters)
    centre = rates.difference if around is None else around
    gained = rates.only_first - rates.only_second
    independent = rates.only_first + rates.only_second - 2 * centre * gained + rates.messages * centre**2
    if count < 2 or independent <= 0:
        return 1.0
    off = (cluster.only_first - cluster.only_second - cluster.total * centre for cluster in clusters)
    return sum(value * value for value in off) * count / (count - 1) / independent


def judged_effect(clusters: Sequence[Cluster]) -> float:
    """The design effect that verdicts rest on: the observed one, but not less than that of a correlation of 0.2.

    1 + (m - 1)·r with the mean size m of the conversation that a message belongs to, as usual for unequal sizes.
    Source: Donner et al., Am. J. Epidemiol. 114 (1981) 906.
    """
    messages = sum(cluster.total for cluster in clusters)
    if not messages:
        return 1.0
    size = sum(cluster.total**2 for cluster in clusters) / messages
    return max(design_effect(clusters), 1 + (size - 1) * LEAST_CORRELATION)


def clustered_interval(clusters: Sequence[Cluster], alpha: float = 0.05) -> Interval:
    """Interval of (rate of the first - rate of the second) whose ends are each passed with a chance of ``alpha``.

    Tango's score interval of as many independent messages as these are worth, with the quantile of Student's t for
    K - 1 degrees of freedom. Fewer than two conversations give -1 to 1.
    """
    if len(clusters) < 2:
        return Interval(-1.0, 1.0)
    rates, effect = Rates.of(clusters), judged_effect(clusters)
    worth = (rates.only_first / effect, rates.only_second / effect, rates.messages / effect)
    return tango_interval(*worth, t_quantile(1 - alpha, len(clusters) - 1))


def conversations_needed(
    clusters: Sequence[Cluster], margin: float, *, alpha: float = 0.05, power: float = 0.9
) -> int | None:
    """How many conversations settle whether the first model is more than ``margin`` worse than the second.

    With the chance ``power``, if the observed rates, sizes and design effect hold, such a number of conversations puts
    the whole interval on one side of -``margin``; where mistakes cluster much the chance is less, but measured above
    0.8. Never less than 20; None where 10 000 would not do, because the observed difference is nearly the margin.

    n = ((t(1-alpha)·s0 + z(power)·s1) / (difference + margin))² · design effect / messages a conversation, s0 and s1
    being the deviations of one pair at the margin and as observed. Source: Nam, Biometrics 53 (1997) 1422; with
    clusters Nam, Comput. Stat. Data Anal. 55 (2011).
    """
    rates = Rates.of(clusters)
    gap = rates.difference + margin
    if not rates.messages or gap == 0:
        return None
    at_margin = score_spread(rates.only_first / rates.messages, rates.only_second / rates.messages, -margin)
    lucky = NormalDist().inv_cdf(power)
    spread = lucky * max(0.0, rates.discordant - rates.difference**2) ** 0.5
    size, effect = rates.messages / len(clusters), judged_effect(clusters)
    unlike = lucky * (sum((cluster.total - size) ** 2 for cluster in clusters) / len(clusters)) ** 0.5

    def enough(count: int) -> bool:
        wanted = ((t_quantile(1 - alpha, count - 1) * at_margin + spread) / gap) ** 2 * effect
        # Conversations differ in size, and the next ones may be shorter than those seen.
        return count * size - unlike * count**0.5 >= wanted

    sizes = range(MIN_CONVERSATIONS, _MOST_CONVERSATIONS + 1)
    place = bisect_left(sizes, True, key=enough)
    return sizes[place] if place < len(sizes) else None
