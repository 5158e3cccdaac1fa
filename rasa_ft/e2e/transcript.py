"""A failed case in words: a diff of what was expected (``+``) and what happened (``-``), agreed lines in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rasa_ft.calm import events as ev
from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import Assertion, describe_bot, typed
from rasa_ft.e2e.matching import Exchange, is_met, is_slot_event
from rasa_ft.engine.base import Turn


def classic_diff(
    before: Sequence[Exchange], exchange: Exchange, turn: Turn | None, events: Sequence[Event]
) -> list[str]:
    """The case up to the failing exchange."""
    agreed = [f"  {line}" for passed in before for line in _exchange(passed)]
    return [*agreed, *_header(exchange.user, turn), *_actual(exchange, events), *_missing(exchange, events)]


def assertion_diff(exchange: Exchange, turn: Turn | None, events: Sequence[Event], failed: Assertion) -> list[str]:
    """The failing turn: its events, then the assertion."""
    happened = [f"- {line}" for event in events if (line := describe_event(event)) is not None]
    return [*_header(exchange.user, turn), *(happened or ["- (nothing happened)"]), f"+ {failed.key}: {failed.written}"]


def describe_step(step: m.Step) -> str:
    """A step in one line."""
    match step:
        case m.UserStep():
            return f"user: {step.text}"
        case m.BotStep():
            return f'bot: "{step.text}"'
        case m.UtterStep():
            return f"utter: {step.utter}"
        case m.SlotWasSetStep():
            return f"slot: {step.slot}" + (f" = {typed(step.value)}" if step.has_value else " set")
        case m.SlotWasNotSetStep():
            return f"slot: {step.slot} not " + (f"= {typed(step.value)}" if step.has_value else "set")
    raise TypeError(f"not a step: {step!r}")


def describe_event(event: Event) -> str | None:
    """What happened in one line; None for what the test's author does not think about."""
    match event:
        case BotUttered():
            return f"bot: {describe_bot(event)}"
        case SlotSet():
            return f"slot: {event.slot} = {typed(event.value)}" + (" (reset)" if event.reset else "")
        case ev.ActionExecuted():
            return None if event.action == "action_listen" else f"action: {event.action}"
        case ev.FlowStarted():
            return f"flow started: {event.flow_id}"
        case ev.FlowCompleted():
            return f"flow completed: {event.flow_id} at {event.step_id}"
        case ev.FlowCancelled():
            return f"flow cancelled: {event.flow_id}"
    return None


def _exchange(exchange: Exchange) -> Iterator[str]:
    if exchange.user is not None:
        yield describe_step(exchange.user)
    yield from map(describe_step, exchange.expectations)


def _header(user: m.UserStep | None, turn: Turn | None) -> list[str]:
    if user is None:
        return ["  (session start)"]
    model = [f"  model: {'; '.join(turn.answer.split(chr(10)))}"] if turn and turn.answer else []
    return [f"  {describe_step(user)}", *model]


def _actual(exchange: Exchange, events: Sequence[Event]) -> Iterator[str]:
    """Bot messages, and events of the slots that the test names; those that the test expects have no mark."""
    slots = {step.slot for step in exchange.expectations if isinstance(step, m.SlotWasSetStep | m.SlotWasNotSetStep)}
    for event in events:
        if isinstance(event, BotUttered) or (isinstance(event, SlotSet) and event.slot in slots):
            yield f"{' ' if _is_expected(event, exchange) else '-'} {describe_event(event)}"
    expects_bot = any(isinstance(step, m.BotStep | m.UtterStep) for step in exchange.expectations)
    if expects_bot and not any(isinstance(event, BotUttered) for event in events):
        yield "- bot: (said nothing)"


def _is_expected(event: Event, exchange: Exchange) -> bool:
    for step in exchange.expectations:
        if isinstance(step, m.SlotWasNotSetStep):
            if is_slot_event(event, step):
                return False
        elif is_met(step, [event]):
            return True
    return False


def _missing(exchange: Exchange, events: Sequence[Event]) -> Iterator[str]:
    return (f"+ {describe_step(step)}" for step in exchange.expectations if not is_met(step, events))
