"""Ship it or not: what the gates and the evidence behind them allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rasa_ft.evaluation.gates import GateResult, Gates, judge_gate
from rasa_ft.evaluation.statistics import Interval, Paired, mcnemar_exact, noninferiority_size, paired_difference


class Outcome(StrEnum):
    SHIP = "ship"
    DO_NOT_SHIP = "do not ship"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


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


@dataclass(frozen=True)
class Verdict:
    """``headline`` is one sentence; ``reasons`` are full sentences; ``more_tests`` goes with too little evidence."""

    outcome: Outcome
    headline: str
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    more_tests: int | None = None

    @property
    def gates_met(self) -> bool:
        """Whether all observed rates reach their thresholds; a command ends with exit code 3 if not."""
        return all(gate.met for gate in self.gates)


def compare(
    other: str, split: str, tuned: Mapping[str, bool], others: Mapping[str, bool], *, gates: Gates, margin: float = 0.05
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
        margin=margin,
        needed=noninferiority_size(pairs.discordant, margin) if pairs.discordant else None,
    )


def decide(
    train: tuple[int, int],
    validation: tuple[int, int],
    gates: Gates,
    *,
    comparisons: Sequence[Comparison] = (),
    unanswered: int = 0,
) -> Verdict:
    """The verdict on a tuned model from its (passed, total) training and validation conversations.

    A gate that is not met: do not ship. Both met, and the low end of the validation interval reaches its gate: ship.
    Otherwise there is not enough evidence. The training gate is judged by the observed rate only: those conversations
    are not a sample of something larger, they are what the model was trained on.
    """
    on_train = judge_gate("train", gates.train, *train, gates.confidence)
    on_validation = judge_gate("validation", gates.validation, *validation, gates.confidence)
    both = (on_train, on_validation)
    outcome, more = _outcome(on_train, on_validation)
    reasons = [_sentence(gate, gates.confidence) for gate in both]
    if outcome is Outcome.NOT_ENOUGH_EVIDENCE:
        reasons.append(_ask_for_tests(on_validation, more))
    if unanswered:
        reasons.append(
            f"In {_count(unanswered, 'conversation')} the model server gave no answer; they count as failed, "
            "so run the evaluation again."
        )
    reasons += [_comparison_sentence(comparison) for comparison in comparisons if comparison.pairs.total]
    return Verdict(outcome, _headline(outcome, both, more), tuple(reasons), both, tuple(comparisons), more)


def _outcome(train: GateResult, validation: GateResult) -> tuple[Outcome, int | None]:
    if not validation.total:
        return Outcome.NOT_ENOUGH_EVIDENCE, validation.more
    if not (train.met and validation.met):
        return Outcome.DO_NOT_SHIP, None
    if validation.proven:
        return Outcome.SHIP, None
    return Outcome.NOT_ENOUGH_EVIDENCE, validation.more


def _headline(outcome: Outcome, gates: Sequence[GateResult], more: int | None) -> str:
    if outcome is Outcome.SHIP:
        return "Ship: both gates are met, and there are enough validation tests to prove it."
    if outcome is Outcome.NOT_ENOUGH_EVIDENCE:
        tests = (
            f"write about {_count(more, 'more validation test')}" if more else "far more validation tests are needed"
        )
        return f"Not enough evidence: {tests}."
    missed = [gate for gate in gates if not gate.met]
    shortfalls = " and ".join(f"{_percent(gate.rate)} of the {_adjective(gate)} conversations pass" for gate in missed)
    needed = " and ".join(_percent(gate.threshold) for gate in missed)
    return f"Do not ship: {shortfalls}; {needed} {'is' if len(missed) == 1 else 'are'} needed."


def _sentence(gate: GateResult, confidence: float) -> str:
    if gate.rate is None:
        return f"There are no {_adjective(gate)} conversations, so nothing is known about that gate."
    relation = "the gate is met" if gate.met else "the gate is not met"
    return (
        f"{gate.passed} of {gate.total} {_adjective(gate)} conversations pass: {_percent(gate.rate)} against "
        f"{_percent(gate.threshold)}, {relation}. As far as {_count(gate.total, 'test')} can tell, the true rate lies "
        f"between {_percent(gate.interval.low)} and {_percent(gate.interval.high)} ({_percent(confidence)} confidence)."
    )


def _ask_for_tests(gate: GateResult, more: int | None) -> str:
    if more is None:
        return "The validation rate is so close to its gate that no reasonable number of tests could prove it."
    if gate.rate is None:
        return f"If all of them passed, {_count(more, 'validation conversation')} would prove the gate."
    return (
        f"If the rate stays as it is, about {_count(more, 'more validation test')} would prove "
        f"that at least {_percent(gate.threshold)} pass."
    )


def _comparison_sentence(comparison: Comparison) -> str:
    pairs, other = comparison.pairs, comparison.other
    tests = _count(pairs.total, f"{comparison.split} conversation")
    span = f"{_points(comparison.interval.low)} to {_points(comparison.interval.high)}"
    return (
        f"Against the {other} on the same {tests}: {_points(comparison.difference)} points (interval {span}). "
        f"Only the tuned model passes {pairs.only_first} of them, only the {other} {pairs.only_second} "
        f"(McNemar's exact test: {_p_value(comparison.p_value)})."
    )


def _adjective(gate: GateResult) -> str:
    return "training" if gate.split == "train" else gate.split


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}".replace("-", "\N{MINUS SIGN}")


def _percent(rate: float | None) -> str:
    if rate is None:
        return "no tests"
    text = f"{100 * rate:.1f}".removesuffix(".0")
    return f"{text} %"


def _count(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
