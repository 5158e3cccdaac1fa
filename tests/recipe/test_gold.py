"""Dialogue understanding tests as gold: their own commands are the labels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from fake_engine import FakeEngine, FakeRephraser
from test_check_opinion import Reader

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.cases import Suite, load_suite
from rasa_ft.e2e.du_cases import Vocabulary, load_any_suite, load_du_suite
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import AnnotatedConversation
from rasa_ft.recipe.gathering import gather
from rasa_ft.recipe.labelling.annotate import Skipped
from rasa_ft.recipe.labelling.gold import annotate_gold
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.yaml_source import load_yaml

WORDS = Vocabulary(
    codec_for("v2"), frozenset({"utter_ask_city", "utter_ask_seats", "utter_done", "utter_chat", "utter_cancelled"})
)
GOLD = """fixtures:
  - london: [{home: London}]
test_cases:
  - test_case: gold
    fixtures: [london]
    steps:
      - user: get me a place on the train
        commands: [start flow book]
      - utter: utter_ask_city
      - user: Rome
        commands: [set slot city Rome]
      - utter: utter_ask_seats
      - user: /SetSlots(seats=2)
        commands: []
      - utter: utter_done
"""
BROKEN = """test_cases:
  - test_case: broken
    steps:
      - user: get me a place on the train
        commands: [start flow book]
      - utter: utter_done
"""
E2E = """test_cases:
  - test_case: e2e
    steps:
      - user: I need a ticket
      - utter: utter_ask_city
  - test_case: talk
    steps:
      - user: what a lovely weather
      - utter: utter_chat
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return folder


def played(engine: FakeEngine, file: Path) -> AnnotatedConversation | Skipped:
    suite = load_du_suite(file, WORDS)
    (case,) = suite.cases
    return asyncio.run(annotate_gold(engine, case, suite.setup(case)))


def test_the_commands_are_the_labels_and_nobody_is_asked(engine: FakeEngine, tmp_path: Path) -> None:
    found = played(engine, write(tmp_path / "t", gold=GOLD) / "gold.yml")
    assert isinstance(found, AnnotatedConversation)
    assert found.is_gold
    assert engine.asked == []
    assert [turn.commands for turn in found.turns] == [(StartFlow("book"),), (SetSlot("city", "Rome"),), ()]
    assert [turn.annotated for turn in found.turns] == [True, True, False]
    assert found.setup.fixtures == (("home", "London"),)
    assert len(found.before) == 3
    assert found.turns[1].before.splitlines() == ["USER: get me a place on the train", "AI: Where to?"]


def test_the_bot_must_say_what_is_listed(engine: FakeEngine, tmp_path: Path) -> None:
    file = write(tmp_path / "t", broken=BROKEN) / "broken.yml"
    found = played(engine, file)
    assert isinstance(found, Skipped)
    assert not found.is_error
    assert f"{file}:6: with the expected commands the bot does not say what is listed" in found.reason


def test_what_breaks_takes_nothing_with_it(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(setup: object = None) -> None:
        raise ZeroDivisionError("in an action")

    monkeypatch.setattr(engine, "start", fails)
    assert played(engine, write(tmp_path / "t", gold=GOLD) / "gold.yml") == Skipped(
        "gold.yml::gold", "ZeroDivisionError: in an action", is_error=True
    )


def test_one_path_may_have_both_kinds(engine: FakeEngine, tmp_path: Path) -> None:
    folder = write(tmp_path / "t", a=E2E, b=GOLD)
    suite = load_any_suite(folder, WORDS)
    assert [case.name for case in suite.cases] == ["e2e", "talk", "gold"]
    assert suite.warnings == ()
    assert load_any_suite(folder / "b.yml", WORDS).cases[0].user_steps[0].commands == (StartFlow("book"),)  # type: ignore[attr-defined]
    assert [case.name for case in load_any_suite(f"{folder}::gold", WORDS).cases] == ["gold"]
    assert load_any_suite(folder / "a.yml", WORDS).cases == load_suite(folder / "a.yml").cases
    found = asyncio.run(gather(engine, suite, None, concurrency=2))
    assert [done.conversation.is_gold for done in found.conversations] == [False, False, True]
    assert engine.asked == ["I need a ticket", "what a lovely weather"]


def test_mistakes_of_both_kinds_are_told_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", a=E2E.replace("utter:", "uter:", 1), b=GOLD.replace("start flow book", "go"))
    with pytest.raises(DataError) as caught:
        load_any_suite(folder, WORDS)
    assert "a.yml:5" in str(caught.value)
    assert "'go' is not a command" in str(caught.value)


def suite_of(tmp_path: Path) -> Suite:
    return load_any_suite(write(tmp_path / "t", a=E2E, b=GOLD), WORDS)


def test_gold_becomes_rows_and_its_tests_come_back(engine: FakeEngine, tmp_path: Path) -> None:
    settings = PrepareSettings(train_frac=1.0)
    rephraser = FakeRephraser({"Rome": ["Rome it is", "to Genoa"]})
    out = tmp_path / "out"
    summary = asyncio.run(prepare_data(settings, engine, suite_of(tmp_path), rephraser, out))
    assert (summary["num_input_e2e_tests"], summary["num_gold_conversations"]) == (3, 1)
    rows = [json.loads(line) for line in (out / "3_llm_finetune_data/llm_ft_data.jsonl").read_text().splitlines()]
    gold = {row["rephrased_user_utterance"] or row["original_user_utterance"]: row["completion"] for row in rows}
    assert gold["get me a place on the train"] == "start flow book", "the teacher would not know"
    assert "to Genoa" not in gold
    tests = out / "4_train_test_split"
    (case,) = load_du_suite(tests / "du_tests/train.yml", WORDS).cases
    again = asyncio.run(annotate_gold(engine, case, Suite((case,)).setup(case)))
    assert isinstance(again, AnnotatedConversation)
    assert [turn.commands for turn in again.turns] == [(StartFlow("book"),), (SetSlot("city", "Rome"),), ()]
    assert [case.name for case in load_suite(tests / "e2e_tests/train.yml").cases] == ["e2e", "talk"]
    assert not (tests / "du_tests/validation.yml").exists()


def test_the_teacher_is_asked_only_for_a_second_opinion(engine: FakeEngine, tmp_path: Path) -> None:
    settings, out = PrepareSettings(train_frac=1.0, num_rephrases=0, audit=False), tmp_path / "out"
    asyncio.run(prepare_data(settings, engine, suite_of(tmp_path), None, out))
    assert "Rome" not in engine.asked
    reader = Reader()
    summary = asyncio.run(
        prepare_data(settings, engine, suite_of(tmp_path), None, out, opinion=SecondOpinion(reader), force=True)
    )
    assert {"Rome", "get me a place on the train"} <= set(engine.asked)
    assert "Rome" not in [request.hints["user_message"] for request in reader.requests]
    (entry,) = load_yaml(out / "review.yml")["review"]
    assert (entry["message"], entry["commands"]) == ("get me a place on the train", ["start flow book"])
    assert (entry["other"], entry["reason"].partition(":")[0]) == (
        ["cannot handle"],
        "the teacher does not agree with the test",
    )
    assert summary["num_user_messages_in_doubt"] == 1


def test_a_teacher_that_is_down_says_nothing_about_gold(engine: FakeEngine, tmp_path: Path) -> None:
    engine.broken = frozenset({"Rome"})
    settings = PrepareSettings(train_frac=1.0, num_rephrases=0)
    summary = asyncio.run(
        prepare_data(settings, engine, suite_of(tmp_path), None, tmp_path / "out", opinion=SecondOpinion(Reader()))
    )
    assert summary["num_rephrasing_errors"] == 1
    assert summary["incomplete"]


def test_the_teacher_does_not_refute_gold_in_a_new_history(engine: FakeEngine, tmp_path: Path) -> None:
    gold = GOLD.replace("user: Rome", "user: the eternal city")
    suite = load_any_suite(write(tmp_path / "t", b=gold), WORDS)
    rephraser = FakeRephraser({"get me a place on the train": ["a ticket please"]})
    settings, out = PrepareSettings(train_frac=1.0, recheck=1.0), tmp_path / "out"
    assert asyncio.run(prepare_data(settings, engine, suite, rephraser, out))["num_dropped_rows"] == 0
    text = (out / "3_llm_finetune_data/llm_ft_data.jsonl").read_text()
    rows = [row for row in map(json.loads, text.splitlines()) if row["original_user_utterance"] == "the eternal city"]
    assert [(row["history"], row["completion"]) for row in rows] == [
        (0, "set slot city Rome"),
        (1, "set slot city Rome"),
    ]
