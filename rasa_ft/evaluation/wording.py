"""The verdict's sentences: headline and reasons, each with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rasa_ft.evaluation.clustered import MIN_CONVERSATIONS
from rasa_ft.evaluation.comparisons import Comparison, Finding, TurnComparison
from rasa_ft.evaluation.gates import GateResult
from rasa_ft.evaluation.must_pass import MustPass

_SHOWN_NAMES = 5


def failing(must_pass: Sequence[MustPass]) -> list[str]:
    """The ids of the tests that must pass and fail, each once."""
    return list(dict.fromkeys(case for wanted in must_pass for case in wanted.failed))


def ship_headline(turns: TurnComparison | None) -> str:
    if turns is None:
        return "Ship: both gates are met, and there are enough validation tests to prove it."
    return (
        f"Ship: both gates are met, and the tuned model is shown to be at most {points(turns.margin)} points behind "
        f"the {turns.other}."
    )


def refusal_headline(
    gates: Sequence[GateResult], turns: TurnComparison | None, must_pass: Sequence[MustPass], *, by_gates: bool
) -> str:
    failed = failing(must_pass)
    if failed:
        return f"Do not ship: {count(len(failed), 'test')} that must pass {'fails' if len(failed) == 1 else 'fail'}."
    if by_gates or turns is None:
        missed = [gate for gate in gates if gate.total and not gate.met]
        shortfalls = " and ".join(
            f"{percent(gate.rate)} of the {_adjective(gate)} conversations pass" for gate in missed
        )
        needed = " and ".join(percent(gate.threshold) for gate in missed)
        return f"Do not ship: {shortfalls}; {needed} {'is' if len(missed) == 1 else 'are'} needed."
    return (
        f"Do not ship: on single messages the tuned model is {points(-turns.difference)} points behind the "
        f"{turns.other}; at most {points(turns.margin)} are allowed."
    )


def open_headline(missed: Sequence[GateResult], more: int | None) -> str:
    also = "".join(f", and the {_adjective(gate)} gate is not met" for gate in missed)
    if more == 0:
        return f"Not enough evidence{also}: there are no training conversations."
    tests = f"write about {count(more, 'more validation test')}" if more else "far more validation tests are needed"
    return f"Not enough evidence{also}: {tests}."


def gate_sentence(gate: GateResult, confidence: float) -> str:
    if gate.rate is None:
        return f"There are no {_adjective(gate)} conversations, so nothing is known about that gate."
    relation = "the gate is met" if gate.met else "the gate is not met"
    return (
        f"{gate.passed} of {gate.total} {_adjective(gate)} conversations pass: {percent(gate.rate)} against "
        f"{percent(gate.threshold)}, {relation}. As far as {count(gate.total, 'test')} can tell, the true rate lies "
        f"between {percent(gate.interval.low)} and {percent(gate.interval.high)} ({percent(confidence)} confidence)."
    )


def gate_request(gate: GateResult) -> str:
    """How many more tests the gate asks for while it is not settled."""
    if gate.more is None:
        return "The validation rate is so close to its gate that no reasonable number of tests could prove it."
    if gate.rate is None:
        return f"If all of them passed, {count(gate.more, 'validation conversation')} would prove the gate."
    proof = "at least" if gate.met else "fewer than"
    return (
        f"If the rate stays as it is, about {count(gate.more, 'more validation test')} would prove "
        f"that {proof} {percent(gate.threshold)} pass."
    )


def too_few_sentence(gate: GateResult) -> str:
    return (
        f"A verdict to ship needs at least {MIN_CONVERSATIONS} validation conversations; there "
        f"{'is' if gate.total == 1 else 'are'} {gate.total}."
    )


def must_pass_sentence(wanted: MustPass) -> str:
    tests = f"{count(len(wanted.tests), 'test')} that must pass for '{wanted.name}'"
    if not wanted.tests:
        return f"'{wanted.name}' must pass, but no test that was run goes through it, so nothing is known about it."
    if not wanted.failed:
        return f"The {tests} {'passes' if len(wanted.tests) == 1 else 'pass'}."
    named = ", ".join(case.rpartition("::")[2] for case in wanted.failed[:_SHOWN_NAMES])
    rest = len(wanted.failed) - _SHOWN_NAMES
    return f"Of the {tests}, {len(wanted.failed)} fail: {named}{f' and {rest} more' if rest > 0 else ''}."


def turns_sentence(turns: TurnComparison) -> str:
    """The messages beside the other model's, and what they show."""
    margin, other = points(turns.margin), turns.other
    if turns.finding is Finding.NOT_WORSE:
        shown = f"The tuned model is at most {margin} points behind"
    elif turns.finding is Finding.WORSE:
        shown = f"The tuned model is more than {margin} points behind"
    elif turns.more is None:
        shown = f"The difference is so close to {margin} points that no reasonable number of tests could settle it"
    else:
        shown = (
            f"Whether it is more than {margin} points behind is open; about "
            f"{count(turns.more, 'more conversation')} like these would settle it"
        )
    return (
        f"Message by message against the {other}, on {count(turns.rates.messages, 'message')} of "
        f"{count(turns.conversations, f'{turns.split} conversation')}: {signed(turns.difference)} points (interval "
        f"{signed(turns.interval.low)} to {signed(turns.interval.high)}, each end passed with a risk of "
        f"{percent(turns.alpha)}). {shown}."
    )


def comparison_sentence(comparison: Comparison) -> str:
    pairs, other = comparison.pairs, comparison.other
    tests = count(pairs.total, f"{comparison.split} conversation")
    span = f"{signed(comparison.interval.low)} to {signed(comparison.interval.high)}"
    return (
        f"Against the {other} on the same {tests}: {signed(comparison.difference)} points (interval {span}). "
        f"Only the tuned model passes {pairs.only_first} of them, only the {other} {pairs.only_second} "
        f"(McNemar's exact test: {_p_value(comparison.p_value)})."
    )


def unanswered_sentence(unanswered: int) -> str:
    return (
        f"In {count(unanswered, 'conversation')} the model server gave no answer; they count as failed, "
        "so run the evaluation again."
    )


def signed(difference: float) -> str:
    """A difference of fractions in whole points, with its sign."""
    return f"{100 * difference:+.0f}".replace("-", "\N{MINUS SIGN}")


def points(difference: float) -> str:
    """A fraction in points: ``0.05`` as ``5``, ``0.025`` as ``2.5``."""
    return f"{100 * difference:.1f}".removesuffix(".0")


def percent(rate: float | None) -> str:
    return "no tests" if rate is None else f"{points(rate)} %"


def count(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _adjective(gate: GateResult) -> str:
    return "training" if gate.split == "train" else gate.split


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
