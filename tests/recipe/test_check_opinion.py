"""A second opinion, and three outcomes that are not the same: failed, in doubt, not checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake_engine import REPHRASINGS, FakeEngine, FakeRephraser, teach

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.cases import Suite
from rasa_ft.engine.base import Turn
from rasa_ft.errors import BudgetExceeded, LLMUnavailable
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.recipe.labelling.opinion import SecondOpinion, second_opinion
from rasa_ft.recipe.labelling.review import load_review
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.summary import Summary
from rasa_ft.yaml_source import load_yaml

CODEC = codec_for("v2")
TURN = Turn("to Rome", "the prompt", "", (SetSlot("city", "Rome"),), (), (), "book", "city", parameters={"g": 1})


@dataclass
class Reader:
    """Reads as the teacher does, but for ``says``; an exception is raised."""

    says: Mapping[str, str | Exception] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        text, requested = str(request.hints["user_message"]), request.hints["requested_slot"]
        answer = self.says.get(text) or CODEC.dump(teach(text, requested))
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, "reader", 0.0)


def run(engine: FakeEngine, suite: Suite, out: Path, reader: Reader | None = None, **options: object) -> Summary:
    settings = PrepareSettings(train_frac=0.7, **options)  # type: ignore[arg-type]
    opinion = SecondOpinion(reader) if reader else None
    return asyncio.run(prepare_data(settings, engine, suite, FakeRephraser(REPHRASINGS), out, opinion=opinion))


def test_the_prompt_of_the_teacher_is_read_again() -> None:
    reader = Reader()
    assert asyncio.run(second_opinion(reader, TURN, CODEC)) == (SetSlot("city", "Rome"),)
    (request,) = reader.requests
    assert request.messages == ({"role": "user", "content": "the prompt"},)
    assert request.hints == {
        "purpose": "commands",
        "user_message": "to Rome",
        "active_flow": "book",
        "requested_slot": "city",
    }
    assert request.parameters == {"g": 1}
    with pytest.raises(ValueError, match="no model was asked"):
        asyncio.run(second_opinion(reader, replace(TURN, prompt=None), CODEC))


def test_no_store_answers_for_the_teacher_asked_again(tmp_path: Path) -> None:
    reader = Reader()
    stored = StoredLLM(reader, Store(tmp_path / "answers.sqlite"), {"model": "m"})
    for opinion in (SecondOpinion(stored), SecondOpinion.of_teacher(stored), SecondOpinion.of_teacher(stored)):
        assert asyncio.run(opinion.on(TURN, CODEC)) == (SetSlot("city", "Rome"),)
    assert [request.parameters for request in reader.requests] == [{"g": 1}, {"g": 1, "seed": 2}]


def test_errors_are_no_opinion_and_a_budget_ends_everything() -> None:
    down = LLMUnavailable("the reader is down")
    assert asyncio.run(second_opinion(Reader({"to Rome": down}), TURN, CODEC)) is down
    with pytest.raises(BudgetExceeded):
        asyncio.run(second_opinion(Reader({"to Rome": BudgetExceeded("no")}), TURN, CODEC))


def test_failed_in_doubt_and_not_checked_are_three_things(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    reader = Reader({"I am going to Rome": "set slot city Roma", "it should go to Rome": LLMUnavailable("busy")})
    summary = run(engine, suite, tmp_path / "out", reader)
    conversations = load_yaml(tmp_path / "out/2_rephrasings/tests.yml")["conversations"]
    step = next(step for done in conversations for step in done["steps"] if step["user"] == "to Rome")
    assert step["passing_rephrasings"] == []
    assert [bad["user"] for bad in step["failing_rephrasings"]] == ["to Genoa"]
    (doubt,), (error,) = step["in_doubt"], step["not_checked"]
    assert doubt["user"] == "I am going to Rome"
    assert doubt["reason"] == (
        "the second opinion differs: missing: set slot city Rome; not in the original: set slot city Roma"
    )
    assert (error["user"], error["reason"]) == ("it should go to Rome", "the second opinion failed: busy")
    assert summary["num_rephrasings_in_doubt"] == 1
    assert summary["num_rephrasing_errors"] == 1
    assert summary["incomplete"]
    assert (
        summary["num_failing_rephrased_user_messages"]
        == run(engine, suite, tmp_path / "plain")["num_failing_rephrased_user_messages"]
    )
    text = (tmp_path / "out/3_llm_finetune_data/llm_ft_data.jsonl").read_text()
    assert "I am going to Rome" not in text


def test_messages_of_the_tests_are_read_too_and_keep_their_label(
    engine: FakeEngine, suite: Suite, tmp_path: Path
) -> None:
    reader = Reader({"to Rome": "offtopic reply", "please stop": LLMUnavailable("busy")})
    summary = run(engine, suite, tmp_path / "out", reader, num_rephrases=0)
    assert (summary["num_user_messages_in_doubt"], summary["num_rephrasings_in_doubt"]) == (1, 0)
    assert summary["num_rephrasing_errors"] == 1
    assert '"to Rome"' in (tmp_path / "out/3_llm_finetune_data/llm_ft_data.jsonl").read_text()
    (entry,) = load_yaml(tmp_path / "out/review.yml")["review"]
    assert entry["test"].endswith("::happy")
    assert (entry["turn"], entry["message"], entry["commands"]) == (2, "to Rome", ["set slot city Rome"])
    assert (entry["other"], entry["decision"]) == (["offtopic reply"], None)
    assert entry["history"] == ["USER: I need a ticket", "AI: Where to?"]
    assert load_review([tmp_path / "out/review.yml"], engine).entries == (), "nothing is decided yet"


def test_without_doubts_there_is_nothing_to_review(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    run(engine, suite, tmp_path / "out", Reader())
    assert not (tmp_path / "out/review.yml").exists()
