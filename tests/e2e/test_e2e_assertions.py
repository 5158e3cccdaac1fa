from pathlib import Path
from typing import Any

import pytest

from rasa_ft.calm import events as ev
from rasa_ft.calm.events import Button
from rasa_ft.e2e import assertions as a
from rasa_ft.errors import Location

HERE = Location(Path("t.yml"), 3)
THERE = Location(Path("t.yml"), 4)

EVENTS = (
    ev.UserUttered("hi"),
    ev.FlowStarted(flow_id="book"),
    ev.ActionExecuted("action_quote", flow_id="book"),
    ev.SlotSet("price", "150"),
    ev.SlotSet("price", 160),
    ev.SlotSet("room", None),
    ev.BotUttered("It is 160.", utter_action="utter_price"),
    ev.BotUttered("Sure?", (Button("Yes", "/y"), Button("No", "/n")), utter_action="utter_sure"),
    ev.FlowStarted(flow_id="pattern_clarification", context={"names": ["b", "a"], "clarification_ids": ["fa", "fb"]}),
    ev.FlowCompleted(flow_id="book", step_id="book_2_x"),
    ev.FlowCancelled(flow_id="other", step_id="s"),
)


def slot(name: str, *value: Any) -> a.ExpectedSlot:
    return a.ExpectedSlot(name, THERE, value[0] if value else None, bool(value))


def make(kind: type[a.Assertion], **fields: Any) -> a.Assertion:
    return kind(HERE, None, **fields)


HOLDS = [
    make(a.FlowStartedAssertion, flow_ids=("book",)),
    make(a.FlowStartedAssertion, flow_ids=("nope", "book")),
    make(a.FlowCompletedAssertion, flow_id="book"),
    make(a.FlowCompletedAssertion, flow_id="book", step_id="book_2_x"),
    make(a.FlowCancelledAssertion, flow_id="other"),
    make(a.ClarificationAssertion, expected=("a", "b")),
    make(a.ClarificationAssertion, expected=("fa", "fb"), operator="all"),
    make(a.ClarificationAssertion, expected=("fa", "fz"), operator="any"),
    make(a.ActionExecutedAssertion, action="action_quote"),
    make(a.SlotWasSetAssertion, slots=(slot("price"), slot("price", "150"), slot("price", 160), slot("room"))),
    make(a.SlotWasNotSetAssertion, slots=(slot("absent"), slot("room"), slot("price", "150"))),
    make(a.BotUtteredAssertion, utter_name="utter_sure", text_matches=r"\d+"),  # met by two different messages
    make(a.BotUtteredAssertion, buttons=(Button("Yes", "/y"),)),
    make(a.BotDidNotUtterAssertion, utter_name="utter_x", text_matches="^x", buttons=(Button("Yes", "/other"),)),
]
FAILS = [
    (make(a.FlowStartedAssertion, flow_ids=("x", "y")), "x or y did not start; started: book, pattern_clarification"),
    (make(a.FlowCompletedAssertion, flow_id="other"), "was not completed; completed: book"),
    (make(a.FlowCompletedAssertion, flow_id="book", step_id="s"), "completed at book_2_x, not at s"),
    (make(a.FlowCancelledAssertion, flow_id="book"), "was not cancelled; cancelled: other"),
    (make(a.ClarificationAssertion, expected=("a",)), "offered a, b, expected exactly a"),
    (make(a.ClarificationAssertion, expected=("fa",), operator="all"), "offered fa, fb, expected exactly fa"),
    (make(a.ClarificationAssertion, expected=("fz",), operator="any"), "expected any of fz"),
    (make(a.ActionExecutedAssertion, action="action_x"), "did not run; ran: action_quote"),
    (make(a.SlotWasSetAssertion, slots=(slot("price", 150),)), "it was set to '150' (str), 160 (int)"),
    (make(a.SlotWasSetAssertion, slots=(slot("absent"),)), "there was no event"),
    (make(a.SlotWasNotSetAssertion, slots=(slot("price"),)), "price was set to 160 (int)"),
    (make(a.SlotWasNotSetAssertion, slots=(slot("price", 160),)), "price was set to 160 (int)"),
    (make(a.BotUtteredAssertion, utter_name="utter_x"), 'the bot said: utter_price "It is 160."; utter_sure'),
    (make(a.BotUtteredAssertion, text_matches="^160"), "matching '^160'"),
    (make(a.BotUtteredAssertion, buttons=(Button("No", "/n"),)), "with the buttons [No]"),
    (make(a.BotUtteredAssertion, buttons=tuple(Button(t, t) for t in "abc")), "with the buttons [a, b, c]"),
    (make(a.BotDidNotUtterAssertion, utter_name="utter_sure"), "must not: utter_sure"),
    (make(a.BotDidNotUtterAssertion, text_matches="160"), "must not: utter_price"),
    (make(a.BotDidNotUtterAssertion, buttons=(Button("No", "/n"),)), "[Yes, No]"),
]


@pytest.mark.parametrize("assertion", HOLDS, ids=lambda found: found.key)
def test_holds(assertion: a.Assertion) -> None:
    assert not isinstance(assertion.check(EVENTS), a.Mismatch)


@pytest.mark.parametrize(("assertion", "message"), FAILS)
def test_fails_and_says_why(assertion: a.Assertion, message: str) -> None:
    mismatch = assertion.check(EVENTS)
    assert isinstance(mismatch, a.Mismatch)
    assert message in mismatch.message
    is_slot = isinstance(assertion, a.SlotWasSetAssertion | a.SlotWasNotSetAssertion)
    assert mismatch.location == (THERE if is_slot else HERE)


def test_no_clarification() -> None:
    mismatch = make(a.ClarificationAssertion, expected=("a",)).check(())
    assert isinstance(mismatch, a.Mismatch) and "no clarification" in mismatch.message


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [(1, 1, True), (1, 1.0, True), (True, 1, False), (0, False, False), ("1", 1, False), (None, None, True)],
)
def test_values_are_compared_without_coercion(actual: Any, expected: Any, equal: bool) -> None:
    assert a.same(actual, expected) is equal
