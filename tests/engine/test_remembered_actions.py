"""Custom actions that data preparation runs once, however often it plays a test."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from small_bot import Scripted, small_engine

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.calm.dialogue.runtime import ActionFailed
from rasa_ft.engine.base import Setup
from rasa_ft.engine.embedded import EmbeddedEngine
from rasa_ft.engine.remembered_actions import ActionMemory
from rasa_ft.llm.client import Completion, Request

FLOWS = """
  pay:
    description: pay somebody
    steps:
      - collect: amount
      - action: action_pay
"""
DOMAIN = """
slots:
  amount: {type: text, mappings: [{type: from_llm}]}
  receipt: {type: text, mappings: [{type: controlled}]}
responses:
  utter_ask_amount: [{text: How much?}]
actions: [action_pay]
"""


@pytest.fixture
def engine(tmp_path: Path) -> EmbeddedEngine:
    receipt = [{"event": "slot", "name": "receipt", "value": "r1"}]
    return small_engine(tmp_path, FLOWS, DOMAIN, actions={"action_pay": receipt})


@pytest.fixture
def actions(engine: EmbeddedEngine) -> Scripted:
    assert isinstance(engine.runtime.custom, Scripted)
    return engine.runtime.custom


async def pays(engine: EmbeddedEngine, memory: ActionMemory | None, text: str, amount: str) -> str:
    conversation = await engine.start(Setup(memory=memory))
    await conversation.say(text, commands=[StartFlow("pay"), SetSlot("amount", amount)])
    return str(next(event.value for event in conversation.events if getattr(event, "slot", "") == "receipt"))


def test_the_same_conversation_in_other_words(engine: EmbeddedEngine, actions: Scripted) -> None:
    memory = ActionMemory()
    for text in ("pay five", "five, please"):
        assert asyncio.run(pays(engine, memory, text, "5")) == "r1"
    assert actions.ran == ["action_pay"]


def test_other_values_another_memory_and_none_at_all(engine: EmbeddedEngine, actions: Scripted) -> None:
    memory = ActionMemory()
    for remembered, amount in ((memory, "5"), (memory, "6"), (ActionMemory(), "5"), (None, "5"), (None, "5")):
        asyncio.run(pays(engine, remembered, "pay", amount))
    assert actions.ran == ["action_pay"] * 5


def test_failures_are_not_remembered(engine: EmbeddedEngine, actions: Scripted) -> None:
    memory = ActionMemory()
    actions.answers = {"action_pay": ActionFailed("down")}

    async def fails() -> None:
        conversation = await engine.start(Setup(memory=memory))
        await conversation.say("pay", commands=[StartFlow("pay"), SetSlot("amount", "5")])

    asyncio.run(fails())
    asyncio.run(fails())
    assert actions.ran == ["action_pay"] * 2


class Eager:
    async def complete(self, request: Request) -> Completion:
        return Completion("start flow pay\nset slot amount 5", "eager", 0.0)


def test_understanding_runs_no_action_and_leaves_no_trace(engine: EmbeddedEngine, actions: Scripted) -> None:
    engine.generator = replace(engine.generator, llm=Eager())

    async def understood() -> int:
        conversation = await engine.start()
        before = len(conversation.events)
        turn = await conversation.understand("pay five", metadata={"a": 1})
        assert turn.parsed == (StartFlow("pay"), SetSlot("amount", "5"))
        assert (turn.events, turn.commands, turn.metadata) == ((), (), {"a": 1})
        return len(conversation.events) - before

    assert asyncio.run(understood()) == 0
    assert actions.ran == []
