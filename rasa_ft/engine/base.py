"""The interface of dialogue engines: what tests, data preparation and evaluation need from a CALM runtime.

Two implementations: `rasa_ft.engine.embedded` (our own runtime) and, with a licence, rasa-pro.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.events import BotUttered, Event, FlowStarted
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.project.out_of_scope import OUT_OF_SCOPE
from rasa_ft.calm.slots import Slot
from rasa_ft.errors import Location

if TYPE_CHECKING:
    from rasa_ft.engine.remembered_actions import ActionMemory


@dataclass(frozen=True)
class Stub:
    """What a custom action returns instead of running; the shapes of an action server's answer.

    ``location`` is where that was written, for errors; it is no part of what makes two stubs equal.
    """

    events: tuple[Mapping[str, Any], ...] = ()
    responses: tuple[Mapping[str, Any], ...] = ()
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Setup:
    """How a conversation begins.

    ``stubs`` None: actions run for real. A mapping (even an empty one): every custom action must be in it.
    ``memory``: what actions answered in conversations with the same memory is not asked of them again.
    """

    fixtures: tuple[tuple[str, Any], ...] = ()
    stubs: Mapping[str, Stub] | None = None
    memory: ActionMemory | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Turn:
    """One user message and everything that followed until the bot listened again.

    ``prompt`` is None when no model was asked (button payloads, blank or over-long text). ``parsed`` is what the
    model's answer said; ``commands`` is what was left after clean-up. ``error`` tells why a model call failed: such a
    turn says nothing about the model's understanding. ``latency`` is the model's answer time in seconds, and
    ``prompt_tokens``/``completion_tokens`` its usage where the server reports them.
    """

    text: str
    prompt: str | None
    answer: str | None
    parsed: tuple[Command, ...]
    commands: tuple[Command, ...]
    events: tuple[Event, ...]
    # What was active when the message came: the top user flow and the slot being asked.
    active_flow: str | None = None
    requested_slot: str | None = None
    error: str | None = None
    latency: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # What the model is asked with besides the prompt, such as the grammar of an answer.
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def out_of_scope(self) -> str | None:
        """The part of the assistant that this turn needed and that is not run; None: it needed none."""
        contexts = (event.context for event in self.events if isinstance(event, FlowStarted))
        found = next((context for context in contexts if context.get("error_type") == OUT_OF_SCOPE), None)
        return None if found is None else str(found["info"]["part"])

    @property
    def bot_messages(self) -> tuple[BotUttered, ...]:
        return tuple(event for event in self.events if isinstance(event, BotUttered))


class Conversation(Protocol):
    """One running conversation. Nothing is shared between conversations, so many may run at once."""

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far, those of the session start and fixtures included."""

    async def say(
        self,
        text: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        commands: Sequence[Command] | None = None,
        time: float | None = None,
    ) -> Turn:
        """Send a message. With ``commands`` no model is asked and they stand in for its answer (a replay);
        the prompt is rendered all the same.

        ``time`` is when the message comes, in seconds of any clock: a new session begins if too much of it has passed
        since the last message. Without it, and without a clock of the engine's own, no session expires.

        Raises:
            BudgetExceeded: the model may not be asked any more. Other failed calls are `Turn.error`.
        """

    async def understand(self, text: str, *, metadata: Mapping[str, Any] | None = None) -> Turn:
        """What the model says to a message, and nothing more: no action runs and the conversation stays as it is.

        ``commands`` and ``events`` of the turn are empty.

        Raises:
            BudgetExceeded: the model may not be asked any more. Other failed calls are `Turn.error`.
        """

    async def prompt(self, text: str, template: Path | None = None) -> str:
        """The prompt that ``text`` would be sent with now; ``template``: another jinja file than the configured one.

        Raises:
            LLMError: the model that flow retrieval embeds with failed.
        """

    def fork(self) -> Conversation:
        """An independent copy of the conversation as it is now."""


class Engine(Protocol):
    """A loaded assistant."""

    @property
    def name(self) -> str:
        """``embedded`` or ``rasa-pro`` with its version."""

    @property
    def project(self) -> Path:
        """The assistant's folder."""

    @property
    def flows(self) -> Mapping[str, Flow]:
        """All flows by id, patterns included."""

    @property
    def custom_actions(self) -> frozenset[str]:
        """Names of the domain's actions that are neither built in nor responses."""

    @property
    def slots(self) -> Mapping[str, Slot]:
        """The domain's slots by name, built-in ones included."""

    @property
    def free_text_slots(self) -> frozenset[str]:
        """Names of the domain's own slots of type text: their values are words of the user."""

    @property
    def nlu_side(self) -> NluSide:
        """What only rules, stories and forms of the assistant would do, where they are not run."""

    @property
    def codec(self) -> Codec:
        """The surface syntax of commands that the assistant's generator uses."""

    async def start(self, setup: Setup | None = None) -> Conversation:
        """A new conversation: session started, fixture slots set."""
