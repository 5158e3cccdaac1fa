"""A failed case in words: a diff of what was expected (``+``) and what happened (``-``), agreed lines in between.

Where both are nearly the same, lines with ``?`` point at what differs, as those of Python's `difflib.ndiff`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from rasa_ft.calm import events as ev
from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import Assertion, describe_bot, typed
from rasa_ft.e2e.matching import Exchange, is_met, is_slot_event
from rasa_ft.engine.base import Turn

# How alike two texts are that are shown side by side, from 0 to 1, and how long they may be.
_NEAR = 0.75
_LONGEST_COMPARED = 2000
# What stands below the actual and below the expected text.
_MARKS = {"equal": "  ", "replace": "^^", "delete": "- ", "insert": " +"}


def classic_diff(
    before: Sequence[Exchange], exchange: Exchange, turn: Turn | None, events: Sequence[Event]
) -> list[str]:
    """The case up to the failing exchange."""
    agreed = [line for passed in before for step in _exchange(passed) for line in _marked(" ", step)]
    return [*agreed, *_header(exchange.user, turn), *_compared(exchange, events)]


def assertion_diff(
    before: Sequence[Turn], exchange: Exchange, turn: Turn | None, events: Sequence[Event], failed: Assertion
) -> list[str]:
    """The conversation up to the failing turn, whose ``events`` are marked, then the assertion."""
    agreed = [line for played in before for line in (*_said(played.text, played), *_happened(" ", played.events))]
    happened = list(_happened("-", events)) or ["- (nothing happened)"]
    return [*agreed, *_header(exchange.user, turn), *happened, *_marked("+", f"{failed.key}: {failed.written}")]


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


def _marked(mark: str, text: str) -> Iterator[str]:
    return (f"{mark} {line}" for line in text.split("\n"))


def _happened(mark: str, events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        if (described := describe_event(event)) is not None:
            yield from _marked(mark, described)


def _exchange(exchange: Exchange) -> Iterator[str]:
    if exchange.user is not None:
        yield describe_step(exchange.user)
    yield from map(describe_step, exchange.expectations)


def _header(user: m.UserStep | None, turn: Turn | None) -> list[str]:
    if user is None:
        return ["  (session start)"]
    return _said(user.text, turn)


def _said(text: str, turn: Turn | None) -> list[str]:
    model = [f"  model: {'; '.join(turn.answer.split(chr(10)))}"] if turn and turn.answer else []
    return [*_marked(" ", f"user: {text}"), *model]


def _compared(exchange: Exchange, events: Sequence[Event]) -> Iterator[str]:
    """Bot messages, and events of the slots that the test names; those that the test expects have no mark.

    What the test expects and did not get stands after what is most like it, or at the end.
    """
    slots = {step.slot for step in exchange.expectations if isinstance(step, m.SlotWasSetStep | m.SlotWasNotSetStep)}
    missing = [step for step in exchange.expectations if not is_met(step, events)]
    for event in events:
        if not (isinstance(event, BotUttered) or (isinstance(event, SlotSet) and event.slot in slots)):
            continue
        described = describe_event(event) or ""
        if _is_expected(event, exchange):
            yield from _marked(" ", described)
        elif (near := _nearest(event, missing)) is not None:
            missing.remove(near)
            yield from _side_by_side(described, describe_step(near))
        else:
            yield from _marked("-", described)
    expects_bot = any(isinstance(step, m.BotStep | m.UtterStep) for step in exchange.expectations)
    if expects_bot and not any(isinstance(event, BotUttered) for event in events):
        yield "- bot: (said nothing)"
    for step in missing:
        yield from _marked("+", describe_step(step))


def _is_expected(event: Event, exchange: Exchange) -> bool:
    for step in exchange.expectations:
        if isinstance(step, m.SlotWasNotSetStep):
            if is_slot_event(event, step):
                return False
        elif is_met(step, [event]):
            return True
    return False


# --- what is nearly the same -----------------------------------------------------------------------------------------


def _nearest(event: Event, steps: Sequence[m.Step]) -> m.Step | None:
    """The step that most likely stands for ``event``."""
    found = max(steps, key=lambda step: _likeness(event, step), default=None)
    return found if found is not None and _likeness(event, found) >= _NEAR else None


def _likeness(event: Event, step: m.Step) -> float:
    """From 0 to 1; 0 also for what is too long to be compared."""
    match event, step:
        case BotUttered(), m.BotStep():
            pair = event.text or "", step.text
        case BotUttered(), m.UtterStep():
            pair = event.utter_action or "", step.utter
        case SlotSet(), m.SlotWasSetStep() if event.slot == step.slot:
            pair = describe_event(event) or "", describe_step(step)
        case _:
            return 0.0
    return _matcher(*pair).ratio() if max(map(len, pair)) <= _LONGEST_COMPARED else 0.0


def _side_by_side(actual: str, expected: str) -> Iterator[str]:
    if "\n" in actual + expected:
        return (line.rstrip("\n") for line in difflib.ndiff(actual.split("\n"), expected.split("\n")))
    hints = _hints(actual, expected)
    pairs = zip(("-", "+"), (actual, expected), hints, strict=True)
    return (line for mark, text, hint in pairs for line in (f"{mark} {text}", *([f"? {hint}"] if hint else [])))


def _hints(actual: str, expected: str) -> tuple[str, str]:
    """Below each text ``^`` for what was replaced, ``-`` for what is too much, ``+`` for what was lacking."""
    below_actual = below_expected = ""
    for kind, start, end, from_, to in _matcher(actual, expected).get_opcodes():
        marks = _MARKS[kind]
        below_actual += marks[0] * (end - start)
        below_expected += marks[1] * (to - from_)
    return below_actual.rstrip(), below_expected.rstrip()


def _matcher(actual: str, expected: str) -> difflib.SequenceMatcher[str]:
    return difflib.SequenceMatcher(difflib.IS_CHARACTER_JUNK, actual, expected)
