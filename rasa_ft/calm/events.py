"""What happened in a conversation, in order: everything that a tracker says at the end of a turn follows from these.

Names follow the CALM tracker format (``event: user | bot | slot | …``). All events are immutable, so that a
conversation can be forked by sharing its list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dialogue.stack import Stack

# Who makes up texts, by `BotUttered.source`: the component's name, as tests and action servers know it.
COMPONENTS: Mapping[str, str] = {"search": "EnterpriseSearchPolicy", "rephraser": "ContextualResponseRephraser"}


@dataclass(frozen=True)
class Button:
    title: str
    payload: str


@dataclass(frozen=True)
class Draft:
    """How a message came about that something outside may still word anew (`rasa_ft.calm.dialogue.runtime.Rephraser`).

    ``written``: the domain has such a response. ``id`` is the chosen variation's own; ``rephrase`` and
    ``rephrase_prompt`` are its wishes; ``arguments`` are what the response was called with besides slots.
    """

    written: bool = True
    id: str | None = None
    rephrase: bool = False
    rephrase_prompt: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """``flow_id`` and ``step_id`` say which step made the event, where one did."""

    flow_id: str | None = field(default=None, kw_only=True)
    step_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class UserUttered(Event):
    """A user message; ``commands`` are the final ones, after clean-up by the command processor.

    ``time``: when it came, in seconds of the conversation's clock (`rasa_ft.calm.dialogue.sessions`), if it has one.
    """

    text: str
    commands: tuple[Command, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    time: float | None = None


@dataclass(frozen=True)
class BotUttered(Event):
    """A bot message; ``utter_action`` is the response's name.

    ``source`` is one of template, rephraser, server, action, search. ``draft`` is there only between an action and the
    rephraser; it is no part of the event.
    """

    text: str | None
    buttons: tuple[Button, ...] = ()
    utter_action: str | None = None
    source: str = "template"
    image: str | None = None
    attachment: Any = None
    custom: Any = None
    quick_replies: tuple[Any, ...] = ()
    elements: Any = None
    # What a searched answer comes from: ``search_query`` and ``search_results`` (texts); a reworded response:
    # ``domain_ground_truth`` (texts).
    metadata: Mapping[str, Any] = field(default_factory=dict)
    draft: Draft | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class SlotSet(Event):
    slot: str
    value: Any
    filled_by: str | None = None
    reset: bool = False


@dataclass(frozen=True)
class Standing:
    """Where the flows stand while the bot listens; the fields are those of `rasa_ft.calm.dialogue.tracker.Tracker`."""

    stack: Stack
    visited: tuple[Stack, ...]
    followup: str | None


@dataclass(frozen=True)
class ActionExecuted(Event):
    """``standing``: written into the last event of a turn, and no part of what makes two events equal."""

    action: str
    standing: Standing | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class ActionExecutionRejected(Event):
    action: str


@dataclass(frozen=True)
class FlowStarted(Event):
    """``flow_id`` started; the parent is the step that called or linked it."""

    parent_flow_id: str | None = None
    parent_step_id: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FlowCompleted(Event):
    """``flow_id`` ended at ``step_id``."""


@dataclass(frozen=True)
class FlowCancelled(Event):
    pass


@dataclass(frozen=True)
class FlowInterrupted(Event):
    pass


@dataclass(frozen=True)
class FlowResumed(Event):
    pass


@dataclass(frozen=True)
class SessionStarted(Event):
    pass


@dataclass(frozen=True)
class SessionEnded(Event):
    pass


@dataclass(frozen=True)
class Restarted(Event):
    pass


@dataclass(frozen=True)
class AllSlotsReset(Event):
    pass


@dataclass(frozen=True)
class RoutingSessionEnded(Event):
    """The next message belongs to whichever side of a coexistence assistant its router chooses."""


@dataclass(frozen=True)
class ConversationPaused(Event):
    """From here on messages are only logged, until `ConversationResumed`; a person may have taken over."""


@dataclass(frozen=True)
class ConversationResumed(Event):
    pass
