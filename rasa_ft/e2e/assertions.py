"""Assertions of user steps: what they demand of a turn's events, and whether they got it.

Meaning and keys follow the CALM end-to-end test format. Two points are stricter on purpose: a message with fewer
buttons than expected does not match, and with ``assertion_order_enabled`` nothing matches after the last event.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rasa_ft.calm import events as ev
from rasa_ft.calm.events import Button, Event
from rasa_ft.errors import Location

CLARIFICATION = "pattern_clarification"
NOTHING_CONSUMED = -1


@dataclass(frozen=True)
class Mismatch:
    """Why an assertion failed, in one sentence; ``location`` is that of the entry that failed."""

    message: str
    location: Location


@dataclass(frozen=True)
class Assertion(ABC):
    """``written`` is the value as it stood in the file, for writing it again; ``kind`` is its key."""

    location: Location
    written: Any
    kind: ClassVar[str] = ""
    sees_session_start: ClassVar[bool] = False

    @property
    def key(self) -> str:
        return self.kind

    @abstractmethod
    def check(self, events: Sequence[Event]) -> int | Mismatch:
        """Look at ``events``.

        Returns:
            The index of the event that decided it (`NOTHING_CONSUMED` if none did), or why it failed.
        """


@dataclass(frozen=True)
class UnsupportedAssertion(Assertion):
    """Known to the format, but made for another engine; its case is skipped."""

    name: str = ""
    reason: str = ""

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        return Mismatch(self.reason, self.location)

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True)
class FlowStartedAssertion(Assertion):
    """One of ``flow_ids`` started."""

    kind: ClassVar[str] = "flow_started"
    flow_ids: tuple[str, ...] = ()

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        found = _first(events, lambda event: isinstance(event, ev.FlowStarted) and event.flow_id in self.flow_ids)
        if found is not None:
            return found
        started = _names(event.flow_id for event in events if isinstance(event, ev.FlowStarted))
        return Mismatch(f"flow {_either(self.flow_ids)} did not start; started: {started}", self.location)


@dataclass(frozen=True)
class _FlowEndedAssertion(Assertion):
    flow_id: str = ""
    step_id: str | None = None
    event_type: ClassVar[type[Event]] = Event
    verb: ClassVar[str] = ""

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        found = _first(events, lambda event: isinstance(event, self.event_type) and event.flow_id == self.flow_id)
        if found is None:
            ended = _names(event.flow_id for event in events if isinstance(event, self.event_type))
            return Mismatch(f"flow {self.flow_id} was not {self.verb}; {self.verb}: {ended}", self.location)
        step = events[found].step_id
        if self.step_id is not None and step != self.step_id:
            return Mismatch(f"flow {self.flow_id} was {self.verb} at {step}, not at {self.step_id}", self.location)
        return found


@dataclass(frozen=True)
class FlowCompletedAssertion(_FlowEndedAssertion):
    kind: ClassVar[str] = "flow_completed"
    event_type: ClassVar[type[Event]] = ev.FlowCompleted
    verb: ClassVar[str] = "completed"


@dataclass(frozen=True)
class FlowCancelledAssertion(_FlowEndedAssertion):
    kind: ClassVar[str] = "flow_cancelled"
    event_type: ClassVar[type[Event]] = ev.FlowCancelled
    verb: ClassVar[str] = "cancelled"


@dataclass(frozen=True)
class ClarificationAssertion(Assertion):
    """The user was offered flows. ``operator`` None: ``expected`` are names; else ``any`` or ``all`` of these ids."""

    kind: ClassVar[str] = "pattern_clarification_contains"
    expected: tuple[str, ...] = ()
    operator: str | None = None

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        found = _first(events, lambda event: isinstance(event, ev.FlowStarted) and event.flow_id == CLARIFICATION)
        if found is None:
            return Mismatch("no clarification was asked", self.location)
        event = events[found]
        context = event.context if isinstance(event, ev.FlowStarted) else {}
        offered = set(context.get("names" if self.operator is None else "clarification_ids") or ())
        expected = set(self.expected)
        if offered & expected if self.operator == "any" else offered == expected:
            return found
        how = "any of" if self.operator == "any" else "exactly"
        return Mismatch(
            f"the clarification offered {_names(sorted(offered))}, expected {how} {_names(self.expected)}",
            self.location,
        )


@dataclass(frozen=True)
class ActionExecutedAssertion(Assertion):
    kind: ClassVar[str] = "action_executed"
    sees_session_start: ClassVar[bool] = True
    action: str = ""

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        found = _first(events, lambda event: isinstance(event, ev.ActionExecuted) and event.action == self.action)
        if found is not None:
            return found
        ran = _names(event.action for event in events if isinstance(event, ev.ActionExecuted))
        return Mismatch(f"action {self.action} did not run; ran: {ran}", self.location)


@dataclass(frozen=True)
class ExpectedSlot:
    name: str
    location: Location
    value: Any = None
    has_value: bool = False


@dataclass(frozen=True)
class SlotWasSetAssertion(Assertion):
    kind: ClassVar[str] = "slot_was_set"
    sees_session_start: ClassVar[bool] = True
    slots: tuple[ExpectedSlot, ...] = ()

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        last = NOTHING_CONSUMED
        for slot in self.slots:
            found = _first(events, lambda event, slot=slot: _sets(event, slot))  # type: ignore[misc]
            if found is None:
                wanted = f"{slot.name} to {typed(slot.value)}" if slot.has_value else slot.name
                return Mismatch(f"slot {wanted} was not set; {_slot_history(events, slot.name)}", slot.location)
            last = max(last, found)
        return last


@dataclass(frozen=True)
class SlotWasNotSetAssertion(Assertion):
    """Looks at the last event of each slot in the turn."""

    kind: ClassVar[str] = "slot_was_not_set"
    sees_session_start: ClassVar[bool] = True
    slots: tuple[ExpectedSlot, ...] = ()

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        for slot in self.slots:
            values = [event.value for event in events if isinstance(event, ev.SlotSet) and event.slot == slot.name]
            if values and (same(values[-1], slot.value) if slot.has_value else values[-1] is not None):
                return Mismatch(f"slot {slot.name} was set to {typed(values[-1])}", slot.location)
        return NOTHING_CONSUMED


@dataclass(frozen=True)
class _BotAssertion(Assertion):
    sees_session_start: ClassVar[bool] = True
    utter_name: str | None = None
    text_matches: str | None = None
    buttons: tuple[Button, ...] = ()

    def has_text(self, message: ev.BotUttered) -> bool:
        return self.text_matches is not None and re.search(self.text_matches, message.text or "") is not None


@dataclass(frozen=True)
class BotUtteredAssertion(_BotAssertion):
    """Each given property is met by some bot message, not necessarily the same one."""

    kind: ClassVar[str] = "bot_uttered"

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        last = NOTHING_CONSUMED
        for wanted, meets in self._properties():
            found = _first(events, lambda event, meets=meets: isinstance(event, ev.BotUttered) and meets(event))  # type: ignore[misc]
            if found is None:
                said = "; ".join(describe_bot(event) for event in events if isinstance(event, ev.BotUttered))
                return Mismatch(f"no bot message {wanted}; the bot said: {said or 'nothing'}", self.location)
            last = max(last, found)
        return last

    def _properties(self) -> Iterable[tuple[str, Callable[[ev.BotUttered], bool]]]:
        if self.utter_name is not None:
            yield f"from {self.utter_name}", lambda message: message.utter_action == self.utter_name
        if self.text_matches is not None:
            yield f"matching {self.text_matches!r}", self.has_text
        if self.buttons:
            titles = ", ".join(button.title for button in self.buttons)
            yield f"with the buttons [{titles}]", lambda message: message.buttons[: len(self.buttons)] == self.buttons


@dataclass(frozen=True)
class BotDidNotUtterAssertion(_BotAssertion):
    """No bot message has any of the given properties."""

    kind: ClassVar[str] = "bot_did_not_utter"

    def check(self, events: Sequence[Event]) -> int | Mismatch:
        for message in events:
            if isinstance(message, ev.BotUttered) and self._forbids(message):
                return Mismatch(f"the bot said what it must not: {describe_bot(message)}", self.location)
        return NOTHING_CONSUMED

    def _forbids(self, message: ev.BotUttered) -> bool:
        named = self.utter_name is not None and message.utter_action == self.utter_name
        return named or self.has_text(message) or any(button in message.buttons for button in self.buttons)


def same(actual: Any, expected: Any) -> bool:
    """Equality of slot values without coercion: ``"150"`` is not 150 and ``true`` is not 1."""
    if isinstance(actual, bool) != isinstance(expected, bool):
        return False
    return bool(actual == expected)


def typed(value: Any) -> str:
    """A slot's value with its type where that says something: ``'150' (str)``."""
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def describe_bot(message: ev.BotUttered) -> str:
    """A bot message in one line: ``utter_name "text" [button, button]``."""
    name = f"{message.utter_action} " if message.utter_action else ""
    text = f'"{message.text}"' if message.text is not None else "(no text)"
    buttons = f" [{', '.join(button.title for button in message.buttons)}]" if message.buttons else ""
    return f"{name}{text}{buttons}"


def _sets(event: Event, slot: ExpectedSlot) -> bool:
    if not isinstance(event, ev.SlotSet) or event.slot != slot.name:
        return False
    return not slot.has_value or same(event.value, slot.value)


def _slot_history(events: Sequence[Event], name: str) -> str:
    values = [typed(event.value) for event in events if isinstance(event, ev.SlotSet) and event.slot == name]
    return f"it was set to {', '.join(values)}" if values else "there was no event of that slot"


def _first(events: Sequence[Event], matches: Callable[[Event], bool]) -> int | None:
    return next((index for index, event in enumerate(events) if matches(event)), None)


def _names(names: Iterable[str | None]) -> str:
    return ", ".join(str(name) for name in names) or "none"


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def as_yaml(assertion: Assertion) -> Mapping[str, Any]:
    """The assertion as it is written in a test file."""
    return {assertion.key: assertion.written}
