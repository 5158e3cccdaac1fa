"""Our own CALM runtime as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasa_ft import __version__
from rasa_ft.calm.assistant import Assistant, load_assistant
from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.events import Event, UserUttered
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.runtime import Runtime
from rasa_ft.calm.tracker import Tracker
from rasa_ft.calm.turn import begin, take_turn
from rasa_ft.engine.action_server import StubbedActions, custom_actions
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.errors import DataError
from rasa_ft.llm.client import LLM
from rasa_ft.understanding.generator import CommandGenerator, Understanding
from rasa_ft.understanding.rendering import current_user_flow
from rasa_ft.yaml_source import did_you_mean

# The name that CALM gives to the channel of tests; response variations may be written for it.
CHANNEL = "collector"


def load_engine(
    project: Path,
    *,
    llm: LLM | None = None,
    endpoints: Path | None = None,
    prompt_template: Path | None = None,
    grammar: bool = False,
) -> EmbeddedEngine:
    """Load the assistant in folder ``project`` and check it.

    Args:
        llm: what understands the user; default: the model that config.yml names.
        endpoints: another file than the project's endpoints.yml.
        prompt_template: another prompt than the one that config.yml names.
        grammar: send the grammar of possible answers with every question; the server must be one that takes it.

    Raises:
        DataError: the assistant has errors, its actions cannot be imported, or its model is not defined.
    """
    assistant = load_assistant(project, endpoints=endpoints)
    config = assistant.generator
    if prompt_template is not None:
        config = replace(config, prompt_template=prompt_template)
    generator = CommandGenerator(config, llm or _configured_llm(project, endpoints), grammar=grammar)
    actions = custom_actions(project, assistant.endpoints.get("action_endpoint"), assistant.domain, channel=CHANNEL)
    return EmbeddedEngine(assistant, generator, Runtime(assistant.domain, assistant.flows, actions, CHANNEL))


def _configured_llm(project: Path, endpoints: Path | None) -> LLM:
    from rasa_ft.llm.config import command_group
    from rasa_ft.llm.groups import build_llm

    return build_llm(command_group(project, endpoints), project=project)


class EmbeddedEngine:
    """A loaded assistant on our own runtime; see `rasa_ft.engine.base.Engine`."""

    def __init__(self, assistant: Assistant, generator: CommandGenerator, runtime: Runtime) -> None:
        self.assistant = assistant
        self.generator = generator
        self.runtime = runtime

    @property
    def name(self) -> str:
        return f"embedded {__version__}"

    @property
    def project(self) -> Path:
        return self.assistant.project

    @property
    def flows(self) -> Mapping[str, Flow]:
        return self.assistant.flows

    @property
    def custom_actions(self) -> frozenset[str]:
        return self.assistant.domain.custom_actions

    @property
    def free_text_slots(self) -> frozenset[str]:
        slots = self.assistant.domain.slots.values()
        return frozenset(slot.name for slot in slots if slot.type == "text" and not slot.builtin)

    @property
    def codec(self) -> Codec:
        return self.generator.codec

    async def start(self, setup: Setup | None = None) -> EmbeddedConversation:
        """A new conversation: session started, fixture slots set.

        Raises:
            DataError: a fixture names a slot, or a stub an action, that the domain does not have.
        """
        setup = setup or Setup()
        self._check(setup)
        runtime = self.runtime
        if setup.stubs is not None:
            runtime = replace(runtime, custom=StubbedActions(setup.stubs))
        return EmbeddedConversation(self.generator, runtime, begin(runtime, setup.fixtures))

    def _check(self, setup: Setup) -> None:
        slots = self.assistant.domain.slots
        for slot, _ in setup.fixtures:
            if slot not in slots:
                raise DataError(f"a fixture sets slot '{slot}', which is not in the domain.{did_you_mean(slot, slots)}")
        for action in setup.stubs or ():
            if action not in self.custom_actions:
                hint = did_you_mean(action, self.custom_actions)
                raise DataError(f"a stub stands for '{action}', which is not a custom action of the domain.{hint}")


class EmbeddedConversation:
    """One conversation; its whole state is one immutable tracker."""

    def __init__(self, generator: CommandGenerator, runtime: Runtime, tracker: Tracker) -> None:
        self._generator = generator
        self._runtime = runtime
        self.tracker = tracker

    @property
    def events(self) -> tuple[Event, ...]:
        return self.tracker.events

    async def say(
        self, text: str, *, metadata: Mapping[str, Any] | None = None, commands: Sequence[Command] | None = None
    ) -> Turn:
        """See `rasa_ft.engine.base.Conversation.say`.

        Button payloads, intents, empty and over-long texts never reach a model, ``commands`` or not.

        Raises:
            DataError: the prompt's template fails, or a stub is missing.
        """
        before = self.tracker
        understood = await self._generator.understand(text, before, self._runtime, answer=commands)
        self.tracker = await take_turn(before, text, understood.commands, self._runtime, metadata)
        return _turn(text, understood, before, self.tracker, metadata or {})

    def prompt(self, text: str, template: Path | None = None) -> str:
        return self._generator.prompt(text, self.tracker, self._runtime, template)

    def fork(self) -> EmbeddedConversation:
        return EmbeddedConversation(self._generator, self._runtime, self.tracker)


def _turn(text: str, understood: Understanding, before: Tracker, after: Tracker, metadata: Mapping[str, Any]) -> Turn:
    events = after.events[len(before.events) :]
    user = next(event for event in events if isinstance(event, UserUttered))
    completion = understood.completion
    return Turn(
        text=text,
        prompt=understood.prompt,
        answer=understood.answer,
        parsed=understood.parsed,
        commands=user.commands,
        events=events,
        active_flow=current_user_flow(before),
        requested_slot=before.stack.requested_slot,
        error=understood.error,
        latency=completion.latency if completion else None,
        prompt_tokens=completion.prompt_tokens if completion else None,
        completion_tokens=completion.completion_tokens if completion else None,
        metadata=dict(metadata),
        parameters=understood.parameters,
    )
