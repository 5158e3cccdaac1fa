from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_students import NO_GATES, Truth, shipped

from rasa_ft.errors import UsageError
from rasa_ft.evaluation.clustered import conversations_needed
from rasa_ft.evaluation.comparisons import Finding, TurnComparison, compare, compare_turns
from rasa_ft.evaluation.gates import Gates, judge_gate
from rasa_ft.evaluation.must_pass import MustPass
from rasa_ft.evaluation.verdict import Outcome, decide


@pytest.mark.parametrize(
    ("train", "validation", "outcome", "met", "more"),
    [
        ((60, 60), (60, 60), Outcome.SHIP, True, None),
        ((60, 60), (12, 12), Outcome.NOT_ENOUGH_EVIDENCE, True, 8),
        # Below the gate, but twelve tests cannot tell; half of them can.
        ((60, 60), (9, 12), Outcome.NOT_ENOUGH_EVIDENCE, False, 236),
        ((60, 60), (6, 12), Outcome.DO_NOT_SHIP, False, None),
        ((56, 60), (60, 60), Outcome.DO_NOT_SHIP, False, None),
        # The training gate is a point estimate: 57/60 is exactly 95 %.
        ((57, 60), (60, 60), Outcome.SHIP, True, None),
        # Exactly on the gate: no number of tests at this rate could prove it.
        ((60, 60), (8, 10), Outcome.NOT_ENOUGH_EVIDENCE, True, None),
        ((60, 60), (0, 0), Outcome.NOT_ENOUGH_EVIDENCE, False, 20),
        ((0, 0), (60, 60), Outcome.NOT_ENOUGH_EVIDENCE, False, 0),
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
    verdict = decide((60, 60), (6, 12), Gates())
    assert verdict.headline == "Do not ship: 50 % of the validation conversations pass; 80 % is needed."
    assert "6 of 12 validation conversations pass: 50 % against 80 %, the gate is not met." in verdict.reasons[1]
    assert "between 25.4 % and 74.6 %" in verdict.reasons[1]
    both = decide((1, 2), (1, 2), Gates())
    assert "50 % of the training conversations pass and 50 % of the validation" in both.headline
    open_question = decide((60, 60), (12, 12), Gates())
    assert open_question.headline == "Not enough evidence: write about 8 more validation tests."
    assert "about 4 more validation tests would prove that at least 80 % pass" in open_question.reasons[2]
    assert "needs at least 20 validation conversations; there are 12" in open_question.reasons[3]
    missed = decide((60, 60), (9, 12), Gates())
    assert missed.headline.startswith("Not enough evidence, and the validation gate is not met: write about 236 more")
    assert "would prove that fewer than 80 % pass" in missed.reasons[2]
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
    with pytest.raises(UsageError, match="the margin is 5; it must lie between 0 and 1"):
        Gates(margin=5)
    with pytest.raises(UsageError, match=r"alpha is 0\.95; it must lie between 0 and 0.5"):
        Gates(alpha=0.95)


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


def turns(wrong: int, conversations: int = 30, *, size: int = 4, margin: float = 0.05) -> TurnComparison:
    """``wrong`` conversations in which the tuned model gets one message wrong; the teacher is always right."""
    tuned = {(f"{n}", p): not (n < wrong and p == 0) for n in range(conversations) for p in range(size)}
    compared = compare_turns("teacher", "validation", tuned, dict.fromkeys(tuned, True), gates=Gates(margin=margin))
    assert compared is not None
    return compared


PASSING = (MustPass("pay", ("a::pays",), ()),)
FAILING = (MustPass("pay", ("a::pays", "a::pays late"), ("a::pays late",)),)
UNTESTED = (MustPass("refund", (), ()),)


@pytest.mark.parametrize(
    ("train", "validation", "compared", "must_pass", "outcome", "headline"),
    [
        # The lines of the table in decide's docstring; each is stopped by its own line only.
        ((60, 60), (30, 30), turns(0), FAILING, "do not ship", "1 test that must pass fails"),
        ((56, 60), (30, 30), turns(0), (), "do not ship", "of the training conversations pass"),
        ((60, 60), (15, 30), turns(0), (), "do not ship", "50 % of the validation conversations pass"),
        ((60, 60), (30, 30), turns(30), (), "do not ship", "25 points behind the teacher; at most 5 are allowed"),
        ((60, 60), (23, 30), turns(0), (), "not enough evidence", "and the validation gate is not met"),
        ((60, 60), (16, 16), turns(0, 16, size=40), (), "not enough evidence", "about 4 more"),
        ((0, 0), (30, 30), turns(0), (), "not enough evidence", "no training conversations"),
        ((60, 60), (30, 30), turns(0), UNTESTED, "not enough evidence", "about 1 more"),
        ((60, 60), (30, 30), turns(2), (), "not enough evidence", "more validation tests"),
        ((60, 60), (30, 30), turns(0), PASSING, "ship", "at most 5 points behind the teacher"),
        # The validation gate is met by the observed rate only.
        ((60, 60), (25, 30), turns(0), (), "ship", "at most 5 points behind the teacher"),
        # The comparison alone is not settled by a wide margin.
        ((60, 60), (30, 30), turns(2, margin=0.1), (), "ship", "at most 10 points"),
    ],
)
def test_the_rule_line_by_line(
    train: tuple[int, int],
    validation: tuple[int, int],
    compared: TurnComparison,
    must_pass: tuple[MustPass, ...],
    outcome: str,
    headline: str,
) -> None:
    verdict = decide(train, validation, Gates(), turns=compared, must_pass=must_pass)
    assert verdict.outcome == outcome
    assert headline in verdict.headline
    assert verdict.refused is (outcome == "do not ship" or not verdict.gates_met)
    assert (verdict.more_tests is None) is (outcome != "not enough evidence")


def test_the_tests_asked_for_settle_it_if_what_was_observed_holds() -> None:
    first = decide((60, 60), (30, 30), Gates(), turns=turns(1))
    assert first.outcome is Outcome.NOT_ENOUGH_EVIDENCE
    assert first.more_tests is not None
    size = 30 + first.more_tests
    again = decide((60, 60), (size, size), Gates(), turns=turns(size // 30, size))
    assert again.outcome is Outcome.SHIP


@given(st.integers(2, 60), st.integers(1, 6), st.data())
def test_one_more_mistake_never_helps(conversations: int, size: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, conversations - 1))
    better, worse = turns(wrong, conversations, size=size), turns(wrong + 1, conversations, size=size)
    order = [Finding.WORSE, Finding.OPEN, Finding.NOT_WORSE]
    assert order.index(worse.finding) <= order.index(better.finding)


def test_sentences_about_messages_and_what_must_pass() -> None:
    verdict = decide((60, 60), (30, 30), Gates(), turns=turns(2), must_pass=(*PASSING, *FAILING, *UNTESTED))
    reasons = " ".join(verdict.reasons)
    assert "on 120 messages of 30 validation conversations: −2 points" in reasons
    assert "Whether it is more than 5 points behind is open" in reasons
    assert "The 1 test that must pass for 'pay' passes." in reasons
    assert "Of the 2 tests that must pass for 'pay', 1 fail: pays late." in reasons
    assert "'refund' must pass, but no test that was run goes through it" in reasons


def test_models_without_a_common_message_are_not_compared() -> None:
    assert compare_turns("teacher", "validation", {("a", 1): True}, {("b", 1): True}, gates=Gates()) is None


@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_students_at_the_margin_are_hardly_ever_shipped(correlation: float) -> None:
    """benchmarks/verdict_calibration.py measures the same with ten times as many."""
    truth = Truth(0.05, correlation=correlation)
    assert shipped(truth, 29, NO_GATES, students=200, seed=5) <= 0.08


def test_good_students_are_shipped_after_the_stated_number_of_conversations() -> None:
    truth = Truth(0.01, correlation=0.2)
    count = conversations_needed(truth.clusters(Random(6), 400), 0.05)
    assert count is not None
    assert shipped(truth, count, Gates(), students=100, seed=7) >= 0.7


def test_equal_models_need_many_tests_to_be_shown_equal() -> None:
    same = {str(number): True for number in range(100)}
    comparison = compare("teacher", "validation", same, same, gates=Gates())
    assert comparison.needed is None
    assert comparison.not_worse
    assert comparison.p_value == 1.0
