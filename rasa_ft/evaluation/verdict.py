"""Ship it or not: what the gates, the teacher's results and the evidence behind them allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rasa_ft.evaluation import wording
from rasa_ft.evaluation.clustered import MIN_CONVERSATIONS
from rasa_ft.evaluation.comparisons import Comparison, Finding, TurnComparison
from rasa_ft.evaluation.gates import GateResult, Gates, judge_gate
from rasa_ft.evaluation.must_pass import MustPass


class Outcome(StrEnum):
    SHIP = "ship"
    DO_NOT_SHIP = "do not ship"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True)
class Verdict:
    """``headline`` is one sentence; ``reasons`` are full sentences; ``more_tests`` goes with too little evidence.

    ``gates`` are those of the training and of the validation conversations, ``turns`` is the comparison with the
    teacher that the verdict rests on (None where there was none), ``comparisons`` are for information.
    """

    outcome: Outcome
    headline: str
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    more_tests: int | None = None
    turns: TurnComparison | None = None
    must_pass: tuple[MustPass, ...] = ()

    @property
    def gates_met(self) -> bool:
        """Whether all observed rates reach their thresholds."""
        return all(gate.met for gate in self.gates)

    @property
    def refused(self) -> bool:
        """Whether a command ends with exit code 3: not to be shipped, or a gate is not met."""
        return self.outcome is Outcome.DO_NOT_SHIP or not self.gates_met


def decide(
    train: tuple[int, int],
    validation: tuple[int, int],
    gates: Gates,
    *,
    comparisons: Sequence[Comparison] = (),
    unanswered: int = 0,
    turns: TurnComparison | None = None,
    must_pass: Sequence[MustPass] = (),
) -> Verdict:
    """The verdict on a tuned model from its (passed, total) training and validation conversations.

    The first line that applies decides:

    ==  ======================================================================================  ===================
    1   A test that must pass fails.                                                            do not ship
    2   The training rate is below its gate, or the validation rate's whole interval is.        do not ship
    3   The tuned model is shown to be further behind the teacher on messages than the margin.  do not ship
    4   The validation rate is below its gate, but its interval reaches it.                     not enough evidence
    5   There are fewer than 20 validation conversations, or none in training.                  not enough evidence
    6   No test goes through something that must pass.                                          not enough evidence
    7   It is not shown that the tuned model is at most the margin behind.                      not enough evidence
    8   None of this: the gates are met, and the tuned model is shown to be good enough.        ship
    ==  ======================================================================================  ===================

    Without ``turns``, the comparison with the teacher, line 3 is passed over and line 7 asks that the low end of the
    validation interval reaches its gate. The training gate is judged by the observed rate only: those conversations
    are not a sample of something larger, they are what the model was trained on.
    """
    found = _Found(
        judge_gate("train", gates.train, *train, gates.confidence),
        judge_gate("validation", gates.validation, *validation, gates.confidence),
        turns,
        tuple(must_pass),
    )
    outcome = found.outcome()
    more = found.more() if outcome is Outcome.NOT_ENOUGH_EVIDENCE else None
    reasons = [*found.reasons(gates.confidence, asking=outcome is Outcome.NOT_ENOUGH_EVIDENCE)]
    if unanswered:
        reasons.append(wording.unanswered_sentence(unanswered))
    reasons += [wording.comparison_sentence(comparison) for comparison in comparisons if comparison.pairs.total]
    return Verdict(
        outcome, found.headline(outcome, more), tuple(reasons), found.gates, tuple(comparisons), more, turns, found.must
    )


@dataclass(frozen=True)
class _Found:
    """All that decides."""

    train: GateResult
    validation: GateResult
    turns: TurnComparison | None
    must: tuple[MustPass, ...]

    @property
    def gates(self) -> tuple[GateResult, ...]:
        return (self.train, self.validation)

    def outcome(self) -> Outcome:
        worse = self.turns is not None and self.turns.finding is Finding.WORSE
        if wording.failing(self.must) or self.gate_missed or worse:
            return Outcome.DO_NOT_SHIP
        known = self.train.total and self.validation.met and not self.too_few and not self.untested
        return Outcome.SHIP if known and self.proven else Outcome.NOT_ENOUGH_EVIDENCE

    @property
    def gate_missed(self) -> bool:
        return (self.train.total > 0 and not self.train.met) or self.validation.clearly_missed

    @property
    def too_few(self) -> bool:
        return self.validation.total < MIN_CONVERSATIONS

    @property
    def untested(self) -> int:
        """How many names of what must pass were not tested."""
        return sum(not wanted.tests for wanted in self.must)

    @property
    def proven(self) -> bool:
        return self.validation.proven if self.turns is None else self.turns.finding is Finding.NOT_WORSE

    @property
    def gate_open(self) -> bool:
        """Whether more tests are needed for the validation gate itself."""
        return not self.validation.met or (self.turns is None and not self.validation.proven)

    def more(self) -> int | None:
        """How many more validation tests would settle what is open; None if no reasonable number would."""
        wanted = [MIN_CONVERSATIONS - self.validation.total, self.untested]
        open_ones = [self.validation.more] if self.gate_open else []
        if self.turns is not None:
            open_ones.append(self.turns.more)
        known = [number for number in open_ones if number is not None]
        return None if len(known) < len(open_ones) else max(*wanted, *known)

    def headline(self, outcome: Outcome, more: int | None) -> str:
        if outcome is Outcome.SHIP:
            return wording.ship_headline(self.turns)
        if outcome is Outcome.DO_NOT_SHIP:
            return wording.refusal_headline(self.gates, self.turns, self.must, by_gates=self.gate_missed)
        return wording.open_headline([gate for gate in self.gates if gate.total and not gate.met], more)

    def reasons(self, confidence: float, *, asking: bool) -> list[str]:
        reasons = [wording.gate_sentence(gate, confidence) for gate in self.gates]
        if asking and self.gate_open:
            reasons.append(wording.gate_request(self.validation))
        if asking and self.too_few and self.validation.total:
            reasons.append(wording.too_few_sentence(self.validation))
        reasons += [wording.must_pass_sentence(wanted) for wanted in self.must]
        if self.turns is not None:
            reasons.append(wording.turns_sentence(self.turns))
        return reasons
