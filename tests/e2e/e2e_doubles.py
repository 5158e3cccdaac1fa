"""A dialogue engine that plays what a test wrote down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec, codec_for
from rasa_ft.calm.events import ActionExecuted, BotUttered, Event, SessionStarted, SlotSet, UserUttered
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.nlu_side import NO_NLU_SIDE, NluSide
from rasa_ft.calm.slots import Slot
from rasa_ft.engine.base import Setup, Turn

Script = Mapping[str, "tuple[Event, ...] | Exception | str | Callable[[], tuple[Event, ...]]"]


@dataclass
class ScriptedEngine:
    """``script``: events by user text; an exception is raised, a text is the turn's model error."""

    script: Script
    flows: Mapping[str, Flow] = field(default_factory=dict)
    commands: Mapping[str, tuple[Command, ...]] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    custom_actions: frozenset[str] = frozenset()
    free_text_slots: frozenset[str] = frozenset()
    slots: Mapping[str, Slot] = field(default_factory=dict)
    nlu_side: NluSide = NO_NLU_SIDE
    name: str = "scripted"
    project: Path = Path()
    said: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    @property
    def codec(self) -> Codec:
        return codec_for("v2")

    async def start(self, setup: Setup | None = None) -> ScriptedConversation:
        slots = tuple(SlotSet(slot, value) for slot, value in (setup or Setup()).fixtures)
        return ScriptedConversation(self, (ActionExecuted("action_session_start"), SessionStarted(), *slots))


@dataclass
class ScriptedConversation:
    engine: ScriptedEngine
    events: tuple[Event, ...]

    async def say(
        self, text: str, *, metadata: Mapping[str, Any] | None = None, commands: Sequence[Command] | None = None
    ) -> Turn:
        engine = self.engine
        engine.said.append((text, dict(metadata or {})))
        engine.running += 1
        engine.most_running = max(engine.most_running, engine.running)
        await asyncio.sleep(engine.delays.get(text, 0))
        engine.running -= 1
        played = engine.script.get(text, ())
        if isinstance(played, Exception):
            raise played
        error = played if isinstance(played, str) else None
        events = () if error else (UserUttered(text), *played)
        self.events = (*self.events, *events)
        understood = engine.commands.get(text, ())
        return Turn(text, "prompt", engine.codec.dump(understood), understood, understood, events, error=error)

    def prompt(self, text: str, template: Path | None = None) -> str:
        return text

    def fork(self) -> ScriptedConversation:
        return ScriptedConversation(self.engine, self.events)


def bot(text: str | None = None, utter: str | None = None, **more: Any) -> BotUttered:
    return BotUttered(text, utter_action=utter, **more)
