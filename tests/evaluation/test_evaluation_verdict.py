from __future__ import annotations

import pytest

from rasa_ft.errors import UsageError
from rasa_ft.evaluation.gates import Gates, judge_gate
from rasa_ft.evaluation.verdict import Outcome, compare, decide


@pytest.mark.parametrize(
    ("train", "validation", "outcome", "met", "more"),
    [
        ((60, 60), (60, 60), Outcome.SHIP, True, None),
        ((60, 60), (12, 12), Outcome.NOT_ENOUGH_EVIDENCE, True, 4),
        ((60, 60), (9, 12), Outcome.DO_NOT_SHIP, False, None),
        ((56, 60), (60, 60), Outcome.DO_NOT_SHIP, False, None),
        # The training gate is a point estimate: 57/60 is exactly 95 %.
        ((57, 60), (60, 60), Outcome.SHIP, True, None),
        # Exactly on the gate: no number of tests at this rate could prove it.
        ((60, 60), (8, 10), Outcome.NOT_ENOUGH_EVIDENCE, True, None),
        ((60, 60), (0, 0), Outcome.NOT_ENOUGH_EVIDENCE, False, 16),
    ],
)
def test_outcomes(
    train: tuple[int, int], validation: tuple[int, int], outcome: Outcome, met: bool, more: int | None
) -> None:
    verdict = decide(train, validation, Gates())
    assert verdict.outcome is outcome
    assert verdict.gates_met is met
    assert verdict.more_tests == more


def test_words_name_the_numbers() -> None:
    verdict = decide((60, 60), (9, 12), Gates())
    assert verdict.headline == "Do not ship: 75 % of the validation conversations pass; 80 % is needed."
    assert "9 of 12 validation conversations pass: 75 % against 80 %, the gate is not met." in verdict.reasons[1]
    assert "between 46.8 % and 91.1 %" in verdict.reasons[1]
    both = decide((1, 2), (1, 2), Gates())
    assert "50 % of the training conversations pass and 50 % of the validation" in both.headline
    open_question = decide((60, 60), (12, 12), Gates())
    assert open_question.headline == "Not enough evidence: write about 4 more validation tests."
    hopeless = decide((60, 60), (8, 10), Gates())
    assert "far more validation tests" in hopeless.headline
    assert "so close to its gate" in hopeless.reasons[2]
    nothing = decide((60, 60), (0, 0), Gates())
    assert "no validation conversations" in nothing.reasons[1]


def test_unanswered_conversations_are_mentioned() -> None:
    verdict = decide((60, 60), (60, 60), Gates(), unanswered=1)
    assert any("In 1 conversation the model server gave no answer" in reason for reason in verdict.reasons)


def test_other_thresholds() -> None:
    assert decide((5, 10), (60, 60), Gates(train=0.5, validation=0.9)).outcome is Outcome.SHIP
    with pytest.raises(UsageError, match="the validation gate is 80; it must be above 0"):
        Gates(validation=80)


def test_gate_shows_point_and_interval() -> None:
    gate = judge_gate("validation", 0.8, 10, 12)
    assert (gate.met, gate.proven) == (True, False)
    assert gate.interval.low < 0.8 < gate.rate  # type: ignore[operator]
    assert judge_gate("validation", 0.8, 0, 0).rate is None


def test_comparison_pairs_the_same_conversations() -> None:
    tuned = {"a": True, "b": True, "c": False, "only here": True}
    teacher = {"c": True, "b": True, "a": True}
    comparison = compare("teacher", "validation", tuned, teacher, gates=Gates())
    assert (comparison.pairs.both, comparison.pairs.only_first, comparison.pairs.only_second) == (2, 0, 1)
    assert comparison.difference == pytest.approx(-1 / 3)
    assert comparison.needed == 825
    assert not comparison.not_worse
    verdict = decide((60, 60), (60, 60), Gates(), comparisons=[comparison])
    assert "Against the teacher on the same 3 validation conversations: −33 points" in verdict.reasons[-1]


def test_equal_models_need_many_tests_to_be_shown_equal() -> None:
    same = {str(number): True for number in range(100)}
    comparison = compare("teacher", "validation", same, same, gates=Gates())
    assert comparison.needed is None
    assert comparison.not_worse
    assert comparison.p_value == 1.0
