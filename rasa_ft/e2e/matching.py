"""The classic style: bot, utter and slot steps compared with one turn's events.

Order inside the turn does not matter, what is not expected is ignored, and one event may satisfy several steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import same


@dataclass(frozen=True)
class Exchange:
    """A user message and what the test expects of its turn; ``user`` None: what the session starts with."""

    user: m.UserStep | None
    expectations: tuple[m.Step, ...]


def exchanges(steps: Iterable[m.Step]) -> Iterator[Exchange]:
    """Cut a case's steps into turns; the first exchange is that of the session start and may be empty."""
    user: m.UserStep | None = None
    expectations: list[m.Step] = []
    for step in steps:
        if isinstance(step, m.UserStep):
            yield Exchange(user, tuple(expectations))
            user, expectations = step, []
        else:
            expectations.append(step)
    yield Exchange(user, tuple(expectations))


def is_met(step: m.Step, events: Sequence[Event]) -> bool:
    """Whether the turn's ``events`` are what ``step`` expects."""
    match step:
        case m.BotStep():
            return any(isinstance(event, BotUttered) and event.text == step.text for event in events)
        case m.UtterStep():
            return any(isinstance(event, BotUttered) and event.utter_action == step.utter for event in events)
        case m.SlotWasSetStep():
            return any(is_slot_event(event, step) for event in events)
        case m.SlotWasNotSetStep():
            return not any(is_slot_event(event, step) for event in events)
    raise TypeError(f"not an expectation: {step!r}")


def is_slot_event(event: Event, step: m.SlotWasSetStep | m.SlotWasNotSetStep) -> bool:
    """Whether the event sets the step's slot (to the step's value, if it names one)."""
    if not isinstance(event, SlotSet) or event.slot != step.slot:
        return False
    return not step.has_value or same(event.value, step.value)
