"""A conversation as an immutable value: its events, and what follows from them.

Copying is free, which is how a conversation is forked: two trackers share everything up to the fork.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.copying import replace
from rasa_ft.calm.dialogue.stack import Frame, Stack
from rasa_ft.calm.events import (
    ActionExecuted,
    AllSlotsReset,
    BotUttered,
    ConversationPaused,
    ConversationResumed,
    Event,
    Restarted,
    RoutingSessionEnded,
    SessionEnded,
    SessionStarted,
    SlotSet,
    Standing,
    UserUttered,
)
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.slots import Slot, stored

# Starts a session; an assistant may have its own.
SESSION_START_ACTION = "action_session_start"
# Of a conversation that nobody has named.
DEFAULT_SENDER = "default"


@dataclass(frozen=True)
class Tracker:
    """The state of one conversation.

    ``has_been_set``: slots with any event in this session, resets included. ``visited``: the stack at each question
    asked so far, which corrections go back to. ``followup``: the action that a custom action wants to run next.
    ``sender_id`` names the conversation to custom actions; forks share it. ``types`` are the domain's slots. ``flows``
    are those that the conversation last ran on, None before its first message; they tell whether the assistant was
    changed while a flow was under way.
    """

    initial_slots: Mapping[str, Any]
    slots: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    stack: Stack = field(default_factory=Stack)
    has_been_set: frozenset[str] = frozenset()
    visited: tuple[Stack, ...] = ()
    followup: str | None = None
    ended: bool = False
    paused: bool = False
    types: Mapping[str, Slot] = field(default_factory=dict)
    flows: Mapping[str, Flow] | None = None
    sender_id: str = DEFAULT_SENDER

    @classmethod
    def new(
        cls,
        initial_slots: Mapping[str, Any],
        types: Mapping[str, Slot] | None = None,
        sender_id: str = DEFAULT_SENDER,
    ) -> Tracker:
        """A conversation in which nothing has happened."""
        initial = MappingProxyType(dict(initial_slots))
        return cls(initial_slots=initial, slots=initial, types=types or {}, sender_id=sender_id)

    def apply(self, *events: Event) -> Tracker:
        """With ``events`` appended and their effects."""
        tracker = self
        for event in events:
            tracker = replace(tracker._effect(event), events=(*tracker.events, event))
        return tracker

    def _effect(self, event: Event) -> Tracker:
        match event:
            case SlotSet():
                value = stored(self.types.get(event.slot), event.value)
                slots = MappingProxyType({**self.slots, event.slot: value})
                return replace(self, slots=slots, has_been_set=self.has_been_set | {event.slot})
            case AllSlotsReset():
                return replace(self, slots=self.initial_slots, has_been_set=frozenset())
            case RoutingSessionEnded():
                shared = {name for name in self.slots if name in self.types and self.types[name].shared}
                kept = {name: self.slots[name] for name in shared}
                return replace(
                    self,
                    slots=MappingProxyType({**self.initial_slots, **kept}),
                    stack=Stack(created=self.stack.created),
                    has_been_set=self.has_been_set & shared,
                    visited=(),
                )
            case Restarted() | SessionStarted():
                return replace(
                    self,
                    slots=self.initial_slots,
                    stack=Stack(created=self.stack.created),
                    has_been_set=frozenset(),
                    visited=(),
                    # A restart is followed by a new session.
                    followup=SESSION_START_ACTION if isinstance(event, Restarted) else None,
                    paused=False,
                )
            case ActionExecuted() if event.standing is not None:
                there = event.standing
                return replace(self, stack=there.stack, visited=there.visited, followup=there.followup)
            case SessionEnded():
                return replace(self, ended=True)
            case ConversationPaused() | ConversationResumed():
                return replace(self, paused=isinstance(event, ConversationPaused))
            case _:
                return self

    def moved(self, initial_slots: Mapping[str, Any], types: Mapping[str, Slot]) -> Tracker:
        """The conversation on another domain: slots that are not in it are gone, new ones have their initial value."""
        initial = MappingProxyType(dict(initial_slots))
        kept = {name: value for name, value in self.slots.items() if name in initial}
        return replace(
            self,
            initial_slots=initial,
            slots=MappingProxyType({**initial, **kept}),
            has_been_set=self.has_been_set & initial.keys(),
            types=types,
        )

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
        index = next(index for index in _backwards(self.events) if isinstance(self.events[index], UserUttered))
        user = replace(self.events[index], commands=tuple(commands))
        return replace(self, events=(*self.events[:index], user, *self.events[index + 1 :]))

    def listening(self) -> Tracker:
        """With where the flows stand written into the last event, so that the events alone tell how to go on."""
        last = self.events[-1]
        if not isinstance(last, ActionExecuted):
            return self
        marked = replace(last, standing=Standing(self.stack, self.visited, self.followup))
        return replace(self, events=(*self.events[:-1], marked))

    def document(self) -> dict[str, Any]:
        """What conditions are evaluated on."""
        return {"slots": self.slots, "context": self.stack.context()}

    def session_backwards(self) -> Iterator[Event]:
        """`session_events`, the latest first, for whoever needs only some."""
        for event in reversed(self.events):
            if isinstance(event, Restarted | SessionStarted):
                return
            yield event

    @property
    def session_events(self) -> tuple[Event, ...]:
        """Events after the last restart or session start."""
        return events_since(self.events, (Restarted, SessionStarted))

    @property
    def messages_in_session(self) -> int:
        """How many messages the user has sent since the session began."""
        return sum(isinstance(event, UserUttered) for event in self.session_backwards())

    @property
    def latest_user(self) -> UserUttered | None:
        return next((event for event in reversed(self.events) if isinstance(event, UserUttered)), None)

    def last_bot_messages(self) -> tuple[BotUttered, ...]:
        """The most recent unbroken run of bot messages: between two user messages, or at the start."""
        run: list[BotUttered] = []
        for event in self.session_backwards():
            if isinstance(event, BotUttered):
                run.append(event)
            elif isinstance(event, UserUttered) and run:
                break
        return tuple(reversed(run))


def _backwards(events: tuple[Event, ...]) -> range:
    return range(len(events) - 1, -1, -1)


def events_since(events: tuple[Event, ...], kinds: tuple[type[Event], ...]) -> tuple[Event, ...]:
    """The events after the last one of ``kinds``; all if there is none."""
    for index in _backwards(events):
        if isinstance(events[index], kinds):
            return events[index + 1 :]
    return events
