"""A conversation as an immutable value: its events, and what follows from them.

Copying is free, which is how a conversation is forked: two trackers share everything up to the fork.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.events import (
    AllSlotsReset,
    BotUttered,
    Event,
    Restarted,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.calm.stack import Frame, Stack


@dataclass(frozen=True)
class Tracker:
    """The state of one conversation.

    ``has_been_set``: slots with any event in this session, resets included. ``visited``: the stack at each question
    asked so far, which corrections go back to. ``followup``: the action that a custom action wants to run next.
    """

    initial_slots: Mapping[str, Any]
    slots: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    stack: Stack = field(default_factory=Stack)
    has_been_set: frozenset[str] = frozenset()
    visited: tuple[Stack, ...] = ()
    followup: str | None = None
    ended: bool = False

    @classmethod
    def new(cls, initial_slots: Mapping[str, Any]) -> Tracker:
        """A conversation in which nothing has happened."""
        initial = MappingProxyType(dict(initial_slots))
        return cls(initial_slots=initial, slots=initial)

    def apply(self, *events: Event) -> Tracker:
        """With ``events`` appended and their effects."""
        tracker = self
        for event in events:
            tracker = replace(tracker._effect(event), events=(*tracker.events, event))
        return tracker

    def _effect(self, event: Event) -> Tracker:
        match event:
            case SlotSet():
                slots = MappingProxyType({**self.slots, event.slot: event.value})
                return replace(self, slots=slots, has_been_set=self.has_been_set | {event.slot})
            case AllSlotsReset():
                return replace(self, slots=self.initial_slots)
            case Restarted() | SessionStarted():
                return replace(
                    self,
                    slots=self.initial_slots,
                    stack=Stack(created=self.stack.created),
                    has_been_set=frozenset(),
                    visited=(),
                    followup=None,
                )
            case SessionEnded():
                return replace(self, ended=True)
            case _:
                return self

    def with_stack(self, stack: Stack) -> Tracker:
        return replace(self, stack=stack)

    def push(self, frame: Frame) -> Tracker:
        return replace(self, stack=self.stack.push(frame))

    def with_followup(self, action: str | None) -> Tracker:
        return replace(self, followup=action)

    def visit(self) -> Tracker:
        """Remember the stack as it is: a question is about to be asked."""
        return replace(self, visited=(*self.visited, self.stack))

    def with_commands(self, commands: Iterable[Command]) -> Tracker:
        """With the final commands written into the last user event."""
        index = max(index for index, event in enumerate(self.events) if isinstance(event, UserUttered))
        user = replace(self.events[index], commands=tuple(commands))  # type: ignore[call-arg]
        return replace(self, events=(*self.events[:index], user, *self.events[index + 1 :]))

    def document(self) -> dict[str, Any]:
        """What conditions are evaluated on."""
        return {"slots": self.slots, "context": self.stack.context()}

    @property
    def session_events(self) -> tuple[Event, ...]:
        """Events after the last restart or session start."""
        return events_since(self.events, (Restarted, SessionStarted))

    @property
    def latest_user(self) -> UserUttered | None:
        return next((event for event in reversed(self.events) if isinstance(event, UserUttered)), None)

    def last_bot_messages(self) -> tuple[BotUttered, ...]:
        """The most recent unbroken run of bot messages: between two user messages, or at the start."""
        run: list[BotUttered] = []
        for event in reversed(self.session_events):
            if isinstance(event, BotUttered):
                run.append(event)
            elif isinstance(event, UserUttered) and run:
                break
        return tuple(reversed(run))


def events_since(events: tuple[Event, ...], kinds: tuple[type[Event], ...]) -> tuple[Event, ...]:
    """The events after the last one of ``kinds``; all if there is none."""
    for index in range(len(events) - 1, -1, -1):
        if isinstance(events[index], kinds):
            return events[index + 1 :]
    return events
