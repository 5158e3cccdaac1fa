"""Which tests need a part of the assistant that is not run, or are not written yet: they are skipped, never failed.

Some show it before they are played (an assertion for another engine, an intent that starts no flow). Others only
may need it, such as one that expects a response of a rule: they are skipped if the turn is not as expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rasa_ft.calm.project.domain import ROUTING_SLOT
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.project.out_of_scope import INTENTLESS
from rasa_ft.e2e import assertions as a
from rasa_ft.e2e import model as m
from rasa_ft.e2e.judging import JudgedAssertion
from rasa_ft.e2e.matching import Exchange

# How the messages of suggested tests begin, until somebody has written them.
UNWRITTEN = "TODO:"
_INTENT = re.compile(r"/([^\s{@/(]+)")


def reason_to_skip(case: m.TestCase, side: NluSide, *, has_judge: bool = False) -> str | None:
    """Why ``case`` cannot be judged, if that can be seen before it is played; file and line come first.

    ``has_judge``: whether this run asks a language model about what others worded.
    """
    return next((f"{step.location}: {reason}" for step, reason in _certain(case, side, has_judge)), None)


def reason_to_excuse(exchange: Exchange, side: NluSide) -> str | None:
    """Why a turn may differ from what is expected although the flows are right; None: there is no such reason."""
    for name in _expected_names(exchange):
        if name in side.actions:
            return f"'{name}' is run by rules, stories or forms only, which are not run."
    for text in _expected_texts(exchange):
        if text in side.texts:
            return f"{text!r} is said by rules, stories or forms only, which are not run."
    for slot in _expected_slots(exchange):
        if slot in side.slots:
            return f"slot '{slot}' is filled by NLU only, which is not run."
    return None


def _certain(case: m.TestCase, side: NluSide, has_judge: bool) -> Iterator[tuple[m.Step | a.Assertion, str]]:
    for step in case.steps:
        if isinstance(step, m.UserStep):
            if step.text.startswith(UNWRITTEN):
                yield step, "not written yet."
            intent = _INTENT.match(step.text)
            if intent and intent[1] in side.intents:
                yield step, f"intent '{intent[1]}' starts no flow; it belongs to the NLU side, which is not run."
            yield from _certain_assertions(step, side, has_judge)
        elif isinstance(step, m.SlotWasSetStep) and _is_routed_away(step.slot, step.value):
            yield step, _ROUTED_AWAY


_ROUTED_AWAY = "the conversation belongs to the NLU side, which is not run."


def _certain_assertions(step: m.UserStep, side: NluSide, has_judge: bool) -> Iterator[tuple[a.Assertion, str]]:
    for assertion in step.assertions:
        if isinstance(assertion, a.UnsupportedAssertion):
            yield assertion, assertion.reason
        elif isinstance(assertion, JudgedAssertion):
            if not has_judge:
                yield assertion, f"assertion '{assertion.key}' needs a language model as judge; this run asks none."
            elif assertion.utter_source == INTENTLESS:
                yield assertion, f"{INTENTLESS} is not run."
        elif isinstance(assertion, a.SlotWasSetAssertion):
            if any(_is_routed_away(slot.name, slot.value) for slot in assertion.slots):
                yield assertion, _ROUTED_AWAY
        elif isinstance(assertion, a.ActionExecutedAssertion) and assertion.action in side.forms:
            yield assertion, f"form '{assertion.action}' is not run."


def _is_routed_away(slot: str, value: object) -> bool:
    return slot == ROUTING_SLOT and value is False


def _expected_names(exchange: Exchange) -> Iterator[str]:
    for step in exchange.expectations:
        if isinstance(step, m.UtterStep):
            yield step.utter
    for assertion in exchange.user.assertions if exchange.user else ():
        if isinstance(assertion, a.ActionExecutedAssertion):
            yield assertion.action
        elif isinstance(assertion, a.BotUtteredAssertion) and assertion.utter_name:
            yield assertion.utter_name


def _expected_texts(exchange: Exchange) -> Iterator[str]:
    for step in exchange.expectations:
        if isinstance(step, m.BotStep):
            yield step.text
    for assertion in exchange.user.assertions if exchange.user else ():
        if isinstance(assertion, a.BotUtteredAssertion) and assertion.text_matches:
            yield assertion.text_matches


def _expected_slots(exchange: Exchange) -> Iterator[str]:
    for step in exchange.expectations:
        if isinstance(step, m.SlotWasSetStep):
            yield step.slot
    for assertion in exchange.user.assertions if exchange.user else ():
        if isinstance(assertion, a.SlotWasSetAssertion):
            yield from (slot.name for slot in assertion.slots)
