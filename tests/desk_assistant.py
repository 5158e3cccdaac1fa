"""The small test assistant and a way to talk to it without a model."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rasa_ft.engine.base import Setup, Turn
from rasa_ft.engine.embedded import EmbeddedConversation, EmbeddedEngine
from rasa_ft.llm.client import Completion, Request

DESK = Path(__file__).parent / "assistants" / "desk"


class SilentLLM:
    """Must not be asked."""

    async def complete(self, request: Request) -> Completion:
        raise AssertionError("a model was asked")


class Talk:
    """A conversation in which every message comes with the commands that it is understood as (syntax v2)."""

    def __init__(self, engine: EmbeddedEngine, setup: Setup | None = None) -> None:
        self.engine = engine
        self.conversation: EmbeddedConversation = asyncio.run(engine.start(setup))

    def say(self, commands: str = "", text: str = "…") -> list[str]:
        """What the bot says: names of responses, or texts where there is none."""
        return said(self.turn(commands, text))

    def click(self, payload: str) -> list[str]:
        return said(asyncio.run(self.conversation.say(payload)))

    def turn(self, commands: str = "", text: str = "…") -> Turn:
        return asyncio.run(self.conversation.say(text, commands=self.engine.codec.parse(commands.replace("; ", "\n"))))

    def prompt(self, text: str) -> str:
        return asyncio.run(self.conversation.prompt(text))

    def slot(self, name: str) -> object:
        return self.conversation.tracker.slots[name]

    @property
    def stack(self) -> list[str]:
        return [frame.flow_id for frame in self.conversation.tracker.stack.frames]


def said(turn: Turn) -> list[str]:
    return [message.utter_action or message.text or "" for message in turn.bot_messages]
