"""Conversations on their way from tests to training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasa_ft.calm.commands import Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.events import (
    BotUttered,
    Event,
    FlowCancelled,
    FlowCompleted,
    FlowInterrupted,
    FlowResumed,
    FlowStarted,
    SlotSet,
)
from rasa_ft.e2e.cases import TestCase
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.recipe.wording import normal_value

# What a turn did, as far as two runs of it must agree: (kind, name, value).
Trace = tuple[tuple[str, str, str], ...]

_FLOW_EVENTS: dict[type[Event], str] = {
    FlowStarted: "started",
    FlowCompleted: "completed",
    FlowCancelled: "cancelled",
    FlowInterrupted: "interrupted",
    FlowResumed: "resumed",
}


@dataclass(frozen=True)
class Wording:
    """One way to say a message, with the commands that the teacher gave for exactly these words."""

    text: str
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class AnnotatedTurn:
    """A user turn of a passing test.

    ``annotated``: the model was asked and its answer is a label; other turns (button payloads) are only replayed.
    ``rephrase``: whether other wordings make sense. ``before``: the conversation's text up to this message.
    """

    turn: Turn
    annotated: bool
    rephrase: bool
    before: str

    @property
    def text(self) -> str:
        return self.turn.text

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.turn.metadata

    @property
    def original(self) -> Wording:
        return Wording(self.turn.text, self.turn.parsed)

    @property
    def trace(self) -> Trace:
        return trace_of(self.turn.events)

    @property
    def forced(self) -> tuple[Command, ...] | None:
        """The commands for a replay; None where no model was asked, so that the message itself decides."""
        return None if self.turn.prompt is None else self.turn.parsed


@dataclass(frozen=True)
class AnnotatedConversation:
    """A passing test with what the teacher said in each turn."""

    case: TestCase
    setup: Setup
    turns: tuple[AnnotatedTurn, ...]

    @property
    def key(self) -> str:
        return self.case.key

    @property
    def num_annotated(self) -> int:
        return sum(turn.annotated for turn in self.turns)

    @property
    def typed_messages(self) -> tuple[str, ...]:
        """What the user typed, payloads of buttons left out."""
        return tuple(turn.text for turn in self.turns if turn.turn.prompt is not None)


@dataclass(frozen=True)
class Judged:
    """A rephrasing that was not accepted and why; ``is_error``: a model call failed, so nothing is known about it."""

    text: str
    reason: str
    is_error: bool = False


@dataclass(frozen=True)
class RephrasedTurn:
    """A turn with its rephrasings; ``error``: why the rephraser gave none."""

    turn: AnnotatedTurn
    passing: tuple[Wording, ...] = ()
    rejected: tuple[Judged, ...] = ()
    error: str | None = None

    @property
    def wordings(self) -> tuple[Wording, ...]:
        """The original and everything that passed."""
        return (self.turn.original, *self.passing)

    @property
    def failing(self) -> tuple[Judged, ...]:
        """Those that the teacher understood differently."""
        return tuple(judged for judged in self.rejected if not judged.is_error)

    @property
    def num_errors(self) -> int:
        """Failed model calls."""
        return (self.error is not None) + sum(judged.is_error for judged in self.rejected)


@dataclass(frozen=True)
class RephrasedConversation:
    """A conversation with the accepted wordings of each turn."""

    conversation: AnnotatedConversation
    turns: tuple[RephrasedTurn, ...]

    @property
    def key(self) -> str:
        return self.conversation.key


@dataclass(frozen=True)
class DataPoint:
    """One training row before it is formatted.

    ``kind``: original, rephrased, exchanged (values) or transplant. ``history``: which wording variant of the earlier
    turns (0: the original ones). Rows with equal ``prefix`` have prompts that differ in the last message only.
    """

    prompt: str
    completion: str
    conversation: str
    turn: int
    history: int
    kind: str
    original: str
    message: str
    source: str = field(default="")

    @property
    def prefix(self) -> str:
        return f"{self.conversation}#{self.turn}#{self.history}"


def command_key(command: Command) -> tuple[str, ...]:
    """What makes two commands equal: name and arguments, slot values normalised, options in any order."""
    if isinstance(command, SetSlot):
        return (command.name, command.slot, normal_value(command.value))
    if isinstance(command, StartFlow):
        return (command.name, command.flow)
    if isinstance(command, Clarify):
        return (command.name, *sorted(command.options))
    return (command.name,)


def trace_of(events: tuple[Event, ...]) -> Trace:
    """Flow, slot and bot events in order; bot messages by response name, since their text may vary."""
    found: list[tuple[str, str, str]] = []
    for event in events:
        if isinstance(event, SlotSet):
            found.append(("slot", event.slot, normal_value(event.value)))
        elif isinstance(event, BotUttered):
            found.append(("bot", event.utter_action or "", ""))
        elif type(event) in _FLOW_EVENTS:
            found.append(("flow", event.flow_id or "", _FLOW_EVENTS[type(event)]))
    return tuple(found)
