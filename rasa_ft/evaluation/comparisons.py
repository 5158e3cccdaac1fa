"""The tuned model beside another one: on whole conversations, and on single messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rasa_ft.evaluation.clustered import (
    MIN_CONVERSATIONS,
    Cluster,
    Rates,
    clustered_interval,
    conversations_needed,
    judged_effect,
)
from rasa_ft.evaluation.gates import Gates
from rasa_ft.evaluation.statistics import Interval, Paired, mcnemar_exact, noninferiority_size, paired_difference


@dataclass(frozen=True)
class Comparison:
    """The tuned model against another one on the same conversations.

    ``difference`` is the tuned model's pass rate minus the other's, as a fraction; ``p_value`` that of McNemar's exact
    test. ``needed`` conversations would show that the tuned model is at most ``margin`` worse, if it is as good and
    the two differ on as many conversations as here; None where they differ on none.
    """

    other: str
    split: str
    pairs: Paired
    difference: float
    interval: Interval
    p_value: float
    margin: float
    needed: int | None

    @property
    def not_worse(self) -> bool:
        """Whether the interval excludes that the tuned model is more than ``margin`` worse."""
        return self.interval.low >= -self.margin


def compare(
    other: str, split: str, tuned: Mapping[str, bool], others: Mapping[str, bool], *, gates: Gates
) -> Comparison:
    """Compare the outcomes of the conversations (id -> passed) that both models were tested with."""
    shared = [case for case in tuned if case in others]
    pairs = Paired.of([tuned[case] for case in shared], [others[case] for case in shared])
    return Comparison(
        other=other,
        split=split,
        pairs=pairs,
        difference=pairs.difference,
        interval=paired_difference(pairs, gates.confidence),
        p_value=mcnemar_exact(pairs),
        margin=gates.margin,
        needed=noninferiority_size(pairs.discordant, gates.margin) if pairs.discordant else None,
    )


class Finding(StrEnum):
    """What messages show about the tuned model: at most the margin behind, further behind, or neither yet."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    OPEN = "open"


@dataclass(frozen=True)
class TurnComparison:
    """The tuned model against another one on the same messages, those of one conversation not independent.

    ``difference`` is the share of messages that the tuned model gets right minus the other's, as a fraction.
    ``interval``: each end is passed with a chance of ``alpha``. ``needed`` conversations in all would settle on which
    side of -``margin`` it lies, if what was observed held; never less than 20, and None where no reasonable number
    would.
    """

    other: str
    split: str
    conversations: int
    rates: Rates
    interval: Interval
    margin: float
    alpha: float
    design_effect: float
    needed: int | None

    @property
    def difference(self) -> float:
        return self.rates.difference

    @property
    def finding(self) -> Finding:
        """Below 20 conversations a tuned model is not shown to be as good, whatever the interval."""
        if self.interval.high < -self.margin:
            return Finding.WORSE
        if self.interval.low >= -self.margin and self.conversations >= MIN_CONVERSATIONS:
            return Finding.NOT_WORSE
        return Finding.OPEN

    @property
    def more(self) -> int | None:
        """How many more conversations would settle it: 0 if it is settled, None if no reasonable number would."""
        if self.finding is not Finding.OPEN:
            return 0
        return None if self.needed is None else max(1, self.needed - self.conversations)


# Id of the conversation and position of the message in it.
Message = tuple[str, int]


def compare_turns(
    other: str, split: str, tuned: Mapping[Message, bool], others: Mapping[Message, bool], *, gates: Gates
) -> TurnComparison | None:
    """Compare what both models made of the same messages (right or not); None if they share none."""
    clusters = _clusters(tuned, others)
    if not clusters:
        return None
    return TurnComparison(
        other=other,
        split=split,
        conversations=len(clusters),
        rates=Rates.of(clusters),
        interval=clustered_interval(clusters, gates.alpha),
        margin=gates.margin,
        alpha=gates.alpha,
        design_effect=judged_effect(clusters),
        needed=conversations_needed(clusters, gates.margin, alpha=gates.alpha),
    )


def _clusters(tuned: Mapping[Message, bool], others: Mapping[Message, bool]) -> list[Cluster]:
    pairs: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for message, right in tuned.items():
        if message in others:
            pairs[message[0]].append((right, others[message]))
    return [Cluster(len(seen), seen.count((True, False)), seen.count((False, True))) for seen in pairs.values()]
