"""Our own CALM runtime as an engine."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa_ft import __version__
from rasa_ft.calm.checks.findings import Finding
from rasa_ft.calm.commands import Command
from rasa_ft.calm.dialogue.runtime import LAST_PATCH, MAX_ACTIONS, NEWEST, OLDEST, CustomActions, Runtime, Version
from rasa_ft.calm.dialogue.sessions import arrive, begin_conversation, is_ignored
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dialogue.turn import take_turn
from rasa_ft.calm.dialogue.versions import flows_of, keeps_punctuation
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.events import Event, UserUttered
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.assistant import Assistant, load_assistant
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.slots import Slot
from rasa_ft.engine.action_server import StubbedActions, custom_actions
from rasa_ft.engine.archive import open_archive
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.engine.in_process_actions import InProcessActions
from rasa_ft.engine.remembered_actions import RememberedActions
from rasa_ft.engine.wording import rephraser_of
from rasa_ft.errors import DataError
from rasa_ft.llm.client import LLM, aclose
from rasa_ft.llm.store import Store
from rasa_ft.understanding.generator import CommandGenerator, Understanding
from rasa_ft.understanding.knowledge import Knowledge, close_knowledge, load_knowledge
from rasa_ft.understanding.rendering import current_user_flow
from rasa_ft.yaml_source import did_you_mean

# The name that CALM gives to the channel of tests; response variations may be written for it.
CHANNEL = "collector"
VERSION_VARIABLE = "RASA_FT_RASA_PRO_VERSION"


def load_engine(
    project: Path,
    *,
    llm: LLM | None = None,
    config: Path | None = None,
    domain: Path | None = None,
    data: Path | None = None,
    endpoints: Path | None = None,
    validate: bool = True,
    prompt_template: Path | None = None,
    grammar: bool = False,
    clock: Callable[[], float] | None = None,
    knowledge: Knowledge | None = None,
    answers: Store | None = None,
    rephrase: bool = True,
    now: datetime | None = None,
) -> EmbeddedEngine:
    """Load the assistant in folder ``project``, or in the archive of that name, and check it.

    Args:
        llm: what understands the user; default: the model that config.yml names.
        config: another file than the project's config.yml; so for ``domain``, ``data`` and ``endpoints``.
        validate: as in `load_assistant`.
        prompt_template: another prompt than the one that config.yml names.
        grammar: send the grammar of possible answers with every question; the server must be one that takes it.
        clock: the time in seconds, for messages that come without one; sessions expire by it. Default: none does.
        knowledge: what chooses flows and answers from documents; default: what the configuration names.
        answers: where answers from documents are kept and looked up; default: every question is asked.
        rephrase: False: the bot says what is written, whatever ``nlg`` in endpoints.yml says. For runs that are about
            commands: a rephraser costs a call for each message, and no two runs would have the same texts.
        now: the time that prompts show (in the assistant's time zone), for runs that must give the same prompts again.

    Raises:
        DataError: the assistant has errors, its actions cannot be imported, or its model is not defined.
    """
    if project.is_file():
        project = open_archive(project)
    assistant = load_assistant(project, config=config, domain=domain, data=data, endpoints=endpoints, validate=validate)
    settings = assistant.generator
    if prompt_template is not None:
        settings = replace(settings, prompt_template=prompt_template)
    knowledge = knowledge or load_knowledge(assistant, answers=answers)
    environment = _environment()
    actions = custom_actions(project, assistant.endpoints.get("action_endpoint"), assistant.domain, channel=CHANNEL)
    assistant = replace(
        assistant,
        flows=flows_of(assistant.flows, environment["version"]),
        warnings=(*assistant.warnings, *knowledge.warnings, *_missing_actions(actions, assistant)),
    )
    asked = llm or _configured_llm(project, endpoints, config)
    generator = CommandGenerator(
        settings,
        asked,
        grammar=grammar,
        retriever=knowledge.retriever,
        keeps_punctuation=keeps_punctuation(environment["version"]),
        clock=datetime.now if now is None else _standing(now),
    )
    ignored = assistant.config.ignored
    runtime = Runtime(
        assistant.domain,
        assistant.flows,
        actions,
        CHANNEL,
        search=knowledge.search,
        rephraser=rephraser_of(assistant, endpoints) if rephrase else None,
        clock=clock,
        ignored=ignored,
        **environment,
    )
    return EmbeddedEngine(assistant, generator, runtime, knowledge, owns_llm=llm is None)


def _missing_actions(actions: CustomActions, assistant: Assistant) -> tuple[Finding, ...]:
    finding = actions.missing(assistant.domain.custom_actions) if isinstance(actions, InProcessActions) else None
    return (finding,) if finding else ()


def _standing(now: datetime) -> Callable[[ZoneInfo], datetime]:
    """A clock that stands still."""
    return lambda zone: now.replace(tzinfo=zone)


def _environment() -> dict[str, Any]:
    """What the environment says about the runtime; the first two variables are CALM's."""
    several = os.environ.get("CLARIFY_ON_MULTIPLE_START_FLOWS", "")
    most = os.environ.get("MAX_NUMBER_OF_PREDICTIONS_CALM") or str(MAX_ACTIONS)
    if not most.strip().isdecimal():
        raise DataError(
            f"MAX_NUMBER_OF_PREDICTIONS_CALM is {most!r}.",
            hint="It must be a whole number: the most actions of a turn.",
        )
    several_starts = several.strip().lower() == "true"
    return {"max_actions": int(most), "clarify_several_starts": several_starts, "version": _version()}


def _version() -> Version:
    """The version of rasa-pro to behave like."""
    wanted = os.environ.get(VERSION_VARIABLE, "").strip()
    if not wanted:
        return NEWEST
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", wanted)
    version = (int(match[1]), int(match[2]), int(match[3] or LAST_PATCH)) if match else None
    if version is None or not OLDEST <= version <= NEWEST:
        oldest, newest = (".".join(map(str, known[:2])) for known in (OLDEST, NEWEST))
        raise DataError(f"{VERSION_VARIABLE} is {wanted!r}.", hint=f"It must be a version from {oldest} to {newest}.")
    return version


def _configured_llm(project: Path, endpoints: Path | None, config: Path | None) -> LLM:
    from rasa_ft.llm.config import command_group
    from rasa_ft.llm.groups import build_llm

    return build_llm(command_group(project, endpoints, config), project=project)


class EmbeddedEngine:
    """A loaded assistant on our own runtime; see `rasa_ft.engine.base.Engine`.

    ``owns_llm``: the generator's model is closed with the engine.
    """

    def __init__(
        self,
        assistant: Assistant,
        generator: CommandGenerator,
        runtime: Runtime,
        knowledge: Knowledge | None = None,
        *,
        owns_llm: bool = False,
    ) -> None:
        self.assistant = assistant
        self.generator = generator
        self.runtime = runtime
        self.knowledge = knowledge or Knowledge()
        self._owns_llm = owns_llm

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
    def slots(self) -> Mapping[str, Slot]:
        return self.assistant.domain.slots

    @property
    def free_text_slots(self) -> frozenset[str]:
        slots = self.assistant.domain.slots.values()
        return frozenset(slot.name for slot in slots if slot.type == "text" and not slot.builtin)

    @property
    def nlu_side(self) -> NluSide:
        return self.assistant.nlu_side

    @property
    def codec(self) -> Codec:
        return self.generator.codec

    async def aclose(self) -> None:
        """Close the connections of its models, in the event loop in which they were asked.

        A model that was given to `load_engine` stays open: it belongs to whoever gave it.
        """
        await close_knowledge(self.knowledge)
        await aclose(self.runtime.rephraser)
        if self._owns_llm:
            await aclose(self.generator.llm)

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
        elif setup.memory is not None:
            runtime = replace(runtime, custom=RememberedActions(runtime.custom, setup.memory))
        # Actions keep what they know by the conversation's name, so no two have the same.
        tracker = await begin_conversation(runtime, setup.fixtures, uuid.uuid4().hex)
        return EmbeddedConversation(self.generator, runtime, tracker)

    def resume(self, conversation: EmbeddedConversation) -> EmbeddedConversation:
        """``conversation``, which began on an earlier version of this assistant, continued on this one.

        If a flow that is under way has changed, the next message is answered with `pattern_code_change`.
        """
        domain = self.assistant.domain
        tracker = conversation.tracker.moved(domain.initial_slots(), domain.slots)
        return EmbeddedConversation(self.generator, self.runtime, tracker)

    def _check(self, setup: Setup) -> None:
        slots = self.assistant.domain.slots
        for slot, _ in setup.fixtures:
            if slot not in slots:
                raise DataError(f"a fixture sets slot '{slot}', which is not in the domain.{did_you_mean(slot, slots)}")
        for action, stub in (setup.stubs or {}).items():
            if action not in self.custom_actions:
                nearest = did_you_mean(action, self.custom_actions)
                message = f"a stub stands for '{action}', which is not a custom action of the domain.{nearest}"
                raise DataError(message, location=stub.location)


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
        self,
        text: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        commands: Sequence[Command] | None = None,
        time: float | None = None,
    ) -> Turn:
        """See `rasa_ft.engine.base.Conversation.say`.

        Button payloads, intents, empty and over-long texts never reach a model, ``commands`` or not.

        Raises:
            DataError: the prompt's template fails, or a stub is missing.
        """
        start, runtime = len(self.tracker.events), self._runtime
        if time is None and runtime.clock is not None:
            time = runtime.clock()
        before = await arrive(self.tracker, runtime, time, metadata or {})
        understood = Understanding(())
        if not is_ignored(text, before, runtime):
            understood = await self._generator.understand(text, before, runtime, answer=commands)
        self.tracker = await take_turn(before, text, understood.commands, runtime, metadata, time)
        events = self.tracker.events[start:]
        user = next(event for event in events if isinstance(event, UserUttered))
        return _turn(text, understood, before, user.commands, events, metadata or {})

    async def understand(self, text: str, *, metadata: Mapping[str, Any] | None = None) -> Turn:
        """See `rasa_ft.engine.base.Conversation.understand`."""
        before = await arrive(self.tracker, self._runtime, None, metadata or {})
        understood = Understanding(())
        if not is_ignored(text, before, self._runtime):
            understood = await self._generator.understand(text, before, self._runtime)
        return _turn(text, understood, before, (), (), metadata or {})

    async def prompt(self, text: str, template: Path | None = None) -> str:
        return await self._generator.prompt(text, self.tracker, self._runtime, template)

    def fork(self) -> EmbeddedConversation:
        return EmbeddedConversation(self._generator, self._runtime, self.tracker)


def _turn(
    text: str,
    understood: Understanding,
    before: Tracker,
    commands: tuple[Command, ...],
    events: tuple[Event, ...],
    metadata: Mapping[str, Any],
) -> Turn:
    """``before``: the conversation that the message was read in; ``commands``: what was left of them to be run."""
    completion = understood.completion
    return Turn(
        text=text,
        prompt=understood.prompt,
        answer=understood.answer,
        parsed=understood.parsed,
        commands=commands,
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
