from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from desk_assistant import DESK

from rasa_ft.calm.commands import CannotHandle, Clarify, Error, SetSlot, StartFlow
from rasa_ft.engine.embedded import load_engine
from rasa_ft.errors import LLMUnavailable
from rasa_ft.llm.client import Completion, Request


class AnsweringLLM:
    """Gives its answer to everything and keeps the requests."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Completion(self.answer, "test", latency=0.5, prompt_tokens=100, completion_tokens=7)


def turns(llm: AnsweringLLM, *texts: str):
    async def talk():
        conversation = await load_engine(DESK, llm=llm).start()
        return [await conversation.say(text) for text in texts]

    return asyncio.run(talk())


def hints(llm: AnsweringLLM) -> list[Mapping[str, Any]]:
    return [request.hints for request in llm.requests]


def test_an_answer_becomes_commands_and_is_kept_in_the_turn():
    llm = AnsweringLLM("start flow book_desk\nstart flow dream\nset slot day friday.")
    (turn,) = turns(llm, "a desk\non friday")
    assert turn.answer == llm.answer
    assert turn.parsed == (StartFlow("book_desk"), StartFlow("dream"), SetSlot("day", "friday"))
    assert turn.commands == (StartFlow("book_desk"), SetSlot("day", "friday"))
    assert llm.requests[0].messages == ({"role": "user", "content": turn.prompt},)
    assert (turn.latency, turn.prompt_tokens, turn.completion_tokens, turn.error) == (0.5, 100, 7, None)


def test_the_question_is_described_in_hints():
    llm = AnsweringLLM("start flow meeting")
    turns(llm, "a meeting", "Ann\nMiller")
    assert hints(llm) == [
        {"purpose": "commands", "user_message": "a meeting", "active_flow": None, "requested_slot": None},
        {"purpose": "commands", "user_message": "Ann\nMiller", "active_flow": "meeting", "requested_slot": "name"},
    ]


def test_a_pattern_is_no_active_flow():
    llm = AnsweringLLM("provide info")
    turns(llm, "how are things", "yes")
    assert hints(llm)[1]["active_flow"] is None
    assert hints(llm)[1]["requested_slot"] == "continue_conversation"


def test_a_failed_call_is_told_apart_from_a_wrong_answer():
    (turn,) = turns(AnsweringLLM(LLMUnavailable("the server is away.")), "hello")
    assert turn.error == "the server is away."
    assert turn.commands == (Error(),)
    assert turn.parsed == ()
    assert [message.utter_action for message in turn.bot_messages] == ["utter_internal_error_rasa"]


@pytest.mark.parametrize(
    ("answer", "commands"),
    [
        ("I am not sure", (CannotHandle(),)),
        ("", (CannotHandle(),)),
        ("start flow pattern_chitchat", (CannotHandle(),)),
        ("start flow identify", (CannotHandle(),)),
        ("set slot flow_name park_car", (StartFlow("park_car"),)),
        ("disambiguate flows park_car, book_desk", (Clarify(("book_desk", "park_car")),)),
        ("disambiguate flows park_car nonsense", (StartFlow("park_car"),)),
        ("disambiguate flows nonsense", (Clarify(),)),
    ],
)
def test_commands_that_do_not_fit(answer, commands):
    (turn,) = turns(AnsweringLLM(answer), "hm")
    assert turn.commands == commands


def test_buttons_ask_no_model():
    llm = AnsweringLLM("cannot handle")
    (turn,) = turns(llm, "/book")
    assert (turn.prompt, turn.answer, llm.requests) == (None, None, [])


def test_a_question_that_insists_on_an_answer(talk):
    talk.say("start flow give_reason")
    assert talk.turn("start flow book_desk; set slot day friday").commands == (CannotHandle(),)
    assert talk.turn("cancel flow; set slot reason boredom").commands == (SetSlot("reason", "boredom"),)
