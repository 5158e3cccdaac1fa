"""Conversations on their way from tests to training data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rasa_ft.calm.commands import Command
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
from rasa_ft.e2e.du_cases import DuUserStep
from rasa_ft.engine.base import Conversation, Setup, Turn
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
class Doubt:
    """A wording whose label is neither confirmed nor refuted: a person has to decide.

    ``commands`` are the teacher's (or the test's own), ``other`` what somebody else understands, if anybody was asked.
    """

    text: str
    commands: tuple[Command, ...]
    reason: str
    other: tuple[Command, ...] | None = None


@dataclass(frozen=True)
class AnnotatedTurn:
    """A user turn of a passing test.

    ``annotated``: there is a label: the commands that the model gave, or a person in its place. Other turns (button
    payloads, labels that a person refused) are only replayed. ``rephrase``: whether other wordings make sense.
    ``before``: the conversation's text up to this message.

    ``written``: the label where a person wrote other commands than those that the conversation was played with.
    ``doubt`` in the label leaves it as it is; ``opinion_error``: why nobody else could be asked about it.
    """

    turn: Turn
    annotated: bool
    rephrase: bool
    before: str
    written: tuple[Command, ...] | None = None
    doubt: Doubt | None = None
    opinion_error: str | None = None

    @property
    def text(self) -> str:
        return self.turn.text

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.turn.metadata

    @property
    def commands(self) -> tuple[Command, ...]:
        """The label."""
        return self.turn.parsed if self.written is None else self.written

    @property
    def original(self) -> Wording:
        """The message with its label."""
        return Wording(self.turn.text, self.commands)

    @property
    def played(self) -> Wording:
        """The message with the commands that lead on to the next one."""
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
    """A passing test with what the teacher said in each turn.

    ``before[i]`` is the conversation as it was when message i came.
    """

    case: TestCase
    setup: Setup
    turns: tuple[AnnotatedTurn, ...]
    before: tuple[Conversation, ...] = field(default=(), compare=False, repr=False)

    @property
    def key(self) -> str:
        return self.case.key

    @property
    def num_annotated(self) -> int:
        return sum(turn.annotated for turn in self.turns)

    @property
    def is_gold(self) -> bool:
        """Whether the commands are the test's own, and no model's."""
        return is_gold(self.case)

    @property
    def typed_messages(self) -> tuple[str, ...]:
        """What the user typed, payloads of buttons left out."""
        return tuple(turn.text for turn in self.turns if turn.turn.prompt is not None)


def is_gold(case: TestCase) -> bool:
    """Whether a test says itself what its messages mean."""
    return any(isinstance(step, DuUserStep) for step in case.steps)


@dataclass(frozen=True)
class Judged:
    """A rephrasing that was not accepted and why; ``is_error``: a model call failed, so nothing is known about it."""

    text: str
    reason: str
    is_error: bool = False


Verdict = Wording | Judged | Doubt


@dataclass(frozen=True)
class RephrasedTurn:
    """A turn with its rephrasings; ``error``: why the rephraser gave none.

    ``apart``: wordings for which a person wrote other commands than the original's, so that the conversation cannot go
    on behind them.
    """

    turn: AnnotatedTurn
    passing: tuple[Wording, ...] = ()
    rejected: tuple[Judged, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    apart: tuple[Wording, ...] = ()
    error: str | None = None

    def judged(self, verdicts: Iterable[Verdict]) -> RephrasedTurn:
        """With more rephrasings."""
        found = list(verdicts)
        return replace(
            self,
            passing=(*self.passing, *(verdict for verdict in found if isinstance(verdict, Wording))),
            rejected=(*self.rejected, *(verdict for verdict in found if isinstance(verdict, Judged))),
            doubts=(*self.doubts, *(verdict for verdict in found if isinstance(verdict, Doubt))),
        )

    @property
    def wordings(self) -> tuple[Wording, ...]:
        """The original, if it has a label, and everything that passed."""
        return (self.turn.original, *self.passing) if self.turn.annotated else self.passing

    @property
    def spoken(self) -> tuple[Wording, ...]:
        """What may be said in a new conversation, which goes on as the original did; empty: only the original."""
        return self.passing if self.turn.written is None else ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All rephrasings, accepted or not."""
        found: tuple[Verdict, ...] = (*self.passing, *self.rejected, *self.doubts, *self.apart)
        return tuple(verdict.text for verdict in found)

    @property
    def failing(self) -> tuple[Judged, ...]:
        """Those that the teacher understood differently."""
        return tuple(judged for judged in self.rejected if not judged.is_error)

    @property
    def num_errors(self) -> int:
        """Failed model calls."""
        errors = (self.error, self.turn.opinion_error)
        return sum(error is not None for error in errors) + sum(judged.is_error for judged in self.rejected)


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
