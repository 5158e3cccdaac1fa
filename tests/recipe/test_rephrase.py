from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.dsl import codec_for
from rasa_ft.engine.base import Turn
from rasa_ft.errors import BudgetExceeded, RequestRejected
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.recordings import load_recordings
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.recipe.conversations import AnnotatedTurn
from rasa_ft.recipe.wordings.rephrase import MOST_AT_ONCE, rephrase
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig

WORDS = [f"{one}{two}" for one in "bcdfgklmnp" for two in ("aro", "eni", "ilu", "osa", "uta", "yxe", "ovi")]
PLAIN = RephraseConfig(styles=(), typos=0.0)


@dataclass
class Inventive:
    """Gives ``answers`` (or raises them), then as many new wordings as it is asked for."""

    answers: list[str | Exception] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    invented: int = 0

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        number = request.hints["number"]
        texts = [f"{word} {word}" for word in WORDS[self.invented : self.invented + number]]
        self.invented += number
        answer = self.answers.pop(0) if self.answers else json.dumps({"wordings": texts})
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, "fake", 0.0)

    @property
    def prompts(self) -> list[str]:
        return [request.messages[0]["content"] for request in self.requests]


def turn(text: str = "to Rome") -> AnnotatedTurn:
    commands = (SetSlot("city", "Rome"),)
    said = Turn(text, "prompt", None, commands, commands, (), active_flow="book", requested_slot="city")
    return AnnotatedTurn(said, annotated=True, rephrase=True, before="AI: Where to?")


def ask(llm: LLM, number: int = 3, **options: Any) -> list[str]:
    return asyncio.run(rephrase(llm, turn(), number=number, codec=codec_for("v2"), **options))


def test_each_wording_is_asked_for_in_a_manner_of_its_own() -> None:
    llm = Inventive()
    config = RephraseConfig(styles=("curt", "florid"), personas=("a pilot",), typos=1.0, languages=("de",))
    ask(llm, 2, config=config)
    (prompt,) = llm.prompts
    lines = [line for line in prompt.splitlines() if line[:2] in ("1.", "2.")]
    assert sorted(line.split("; ")[0][3:] for line in lines) == ["curt", "florid"]
    for line in lines:
        assert "said by a pilot" in line
        assert "typing errors" in line
        assert line.endswith("language: de")
    assert "the language that its line below names" in prompt
    assert "letter by letter: Rome" in prompt


def test_without_manners_the_template_asks_for_variety_itself() -> None:
    llm = Inventive()
    ask(llm, config=PLAIN)
    assert "polite and curt" in llm.prompts[0]
    assert "the language of the original" in llm.prompts[0]
    assert "1. " not in llm.prompts[0]


def test_many_wordings_are_asked_for_in_parts_that_know_each_other() -> None:
    llm = Inventive()
    texts = ask(llm, 45, avoid=["off to Rome"])
    assert len(texts) == 45
    assert [request.hints["number"] for request in llm.requests] == [15, 15, 15]
    assert max(request.hints["number"] for request in llm.requests) <= MOST_AT_ONCE
    assert [request.hints.get("asked") for request in llm.requests] == [None, 15, 30]
    listed = [[line[2:] for line in prompt.split("exist already")[1].splitlines()[1:]] for prompt in llm.prompts]
    assert [[line for line in lines if line in texts] for lines in listed] == [[], texts[:15], texts[:30]]
    assert all(lines[0] == "off to Rome" for lines in listed)


def test_a_part_that_repeats_an_earlier_one_adds_nothing() -> None:
    llm = Inventive(answers=['["off we go", "Rome it is"]', '["Rome it is!", "just Rome"]'])
    assert ask(llm, 2 * MOST_AT_ONCE) == ["off we go", "Rome it is", "just Rome"]


@pytest.mark.parametrize("number", [0, -2])
def test_nothing_wanted_nothing_asked(number: int) -> None:
    llm = Inventive()
    assert ask(llm, number) == []
    assert llm.requests == []


def test_wordings_to_avoid_do_not_come_back() -> None:
    llm = Inventive(answers=['["I go to Rome!", "to Rome", "Rome", "rome.", "Rome it is", "a", "b", "c"]'])
    assert ask(llm, 3, avoid=["i go to rome", "A"]) == ["Rome", "Rome it is", "b"]


# --- questions and the store -----------------------------------------------------------------------------------------


def stored(inner: LLM, tmp_path: Path) -> StoredLLM:
    return StoredLLM(inner, Store(tmp_path / "answers.sqlite"), {"model": "m"})


@pytest.mark.parametrize("avoid", [(), ("off to Rome",)])
def test_a_further_round_is_another_question_for_every_template(tmp_path: Path, avoid: Sequence[str]) -> None:
    template = tmp_path / "own.jinja2"
    template.write_text("Say '{{ message }}' differently.", encoding="utf-8")
    inner = Inventive()
    llm = stored(inner, tmp_path)
    config = RephraseConfig(prompt_template=template)
    first, second = (ask(llm, config=config, avoid=avoid, round=number) for number in (0, 1))
    assert not set(first) & set(second)
    assert ask(llm, config=config, avoid=avoid, round=1) == second
    assert len(inner.requests) == 2
    assert [request.hints.get("round") for request in inner.requests] == [None, 1]


def test_equal_parts_are_different_questions(tmp_path: Path) -> None:
    inner = Inventive(answers=["[]"])
    assert len(ask(stored(inner, tmp_path), 2 * MOST_AT_ONCE, config=PLAIN)) == MOST_AT_ONCE
    assert len(inner.requests) == 2


def test_the_same_question_is_answered_from_the_store(tmp_path: Path) -> None:
    inner = Inventive()
    assert ask(stored(inner, tmp_path), 30) == ask(stored(inner, tmp_path), 30)
    assert len(inner.requests) == 2


def test_a_failure_in_a_later_part_is_not_hidden() -> None:
    llm = Inventive(answers=['["a"]', BudgetExceeded("enough")])
    with pytest.raises(BudgetExceeded):
        ask(llm, 2 * MOST_AT_ONCE)


def test_recorded_wordings_come_once(tmp_path: Path) -> None:
    texts = [f"{word} in Rome" for word in WORDS[:30]]
    turns = {"turns": [{"user": "to Rome", "commands": ["set slot city Rome"], "rephrasings": texts}]}
    (tmp_path / "turns.yml").write_text(json.dumps(turns), encoding="utf-8")
    llm = load_recordings(tmp_path, model="m")
    assert ask(llm, 25) == texts[:25]
    assert ask(llm, 5, avoid=texts[:25], round=1) == []


# --- answer formats --------------------------------------------------------------------------------------------------


def client(server: FakeOpenAI) -> LLM:
    config = model_config({"provider": "self-hosted", "model": "m", "api_base": server.url})
    return build_llm(ModelGroup("rephraser", (config,)), project=Path())


def good(*texts: str) -> Reply:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(texts)}}
    return Reply(body=json.dumps({"id": "1", "object": "x", "created": 0, "model": "m", "choices": [choice]}))


def test_servers_are_asked_for_a_json_object(server: FakeOpenAI) -> None:
    server.replies = [good("a", "b")]
    assert ask(client(server)) == ["a", "b"]
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["wordings"] == {"type": "array", "items": {"type": "string"}}


def test_a_server_that_refuses_the_format_is_asked_plainly_from_then_on(server: FakeOpenAI) -> None:
    llm = client(server)
    server.replies = [Reply(status=400, body="{}"), good("a"), good("b")]
    assert ask(llm) == ["a"]
    assert ask(llm) == ["b"]
    assert ["response_format" in request for request in server.requests] == [True, False, False]
    server.replies = [good("c")]
    assert ask(client(server)) == ["c"]
    assert "response_format" in server.requests[-1], "another model is not judged by the first one"


def test_a_prompt_that_is_refused_says_nothing_about_the_format(server: FakeOpenAI) -> None:
    llm = client(server)
    server.replies = [Reply(status=400, body="{}"), Reply(status=400, body="{}"), good("a")]
    with pytest.raises(RequestRejected):
        ask(llm)
    assert ask(llm) == ["a"]
    assert "response_format" in server.requests[-1]
