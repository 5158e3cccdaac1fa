"""Dialogue understanding tests: reading, the replay with expected commands, and what is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from desk_assistant import SilentLLM
from e2e_doubles import ScriptedEngine, bot
from small_bot import small_engine

from rasa_ft.calm.commands import Clarify, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.du_cases import DuUserStep, Vocabulary, load_du_suite, write_du_suite
from rasa_ft.e2e.du_results import du_document, scores
from rasa_ft.e2e.du_runner import DuSuiteResult, run_du_suite, says
from rasa_ft.e2e.model import BotStep, SlotWasSetStep, UtterStep
from rasa_ft.errors import DataError, Location
from rasa_ft.llm.client import Completion, Request

WORDS = Vocabulary(codec_for("v2"), frozenset({"utter_ask_town", "utter_done"}))
PLACE = Location(Path("t.yml"), 1)
FLOWS = """
  travel:
    description: go somewhere
    run_pattern_completed: false
    steps:
      - collect: town
      - action: utter_done
      - action: utter_can_do_something_else
"""
DOMAIN = """
slots: {town: {type: text, mappings: [{type: from_llm}]}}
responses:
  utter_ask_town: [{text: Where?}]
  utter_done: [{text: Done.}]
  utter_can_do_something_else: [{text: More?}]
"""
TEST = """
test_cases:
  - test_case: a trip
    steps:
      - user: go
        commands: [start flow travel]
      - utter: utter_ask_town
      - user: Perth
        commands: [set slot town perth]
      - bot: Done.
      - utter: utter_can_do_something_else
"""


class Answers(SilentLLM):
    def __init__(self, **answers: str) -> None:
        self.answers = answers

    async def complete(self, request: Request) -> Completion:
        text = self.answers[str(request.hints["user_message"])]
        return Completion(text=text, model="m", latency=0.25, prompt_tokens=10, completion_tokens=2)


def play(folder: Path, test: str, **answers: str) -> DuSuiteResult:
    engine = small_engine(folder / "bot", FLOWS, DOMAIN)
    engine.generator = type(engine.generator)(engine.generator.config, Answers(**answers))
    (folder / "t.yml").write_text(test)
    responses = frozenset(engine.assistant.domain.responses)
    suite = load_du_suite(folder / "t.yml", Vocabulary(engine.codec, responses))
    return asyncio.run(run_du_suite(engine, suite))


def document(result: DuSuiteResult) -> dict:
    return du_document(result, codec_for("v2"), component="Compact", config={"name": "Compact"})


def test_all_right(tmp_path):
    result = play(tmp_path, TEST, go="start flow travel\nstart flow travel", Perth="set slot town PERTH")
    assert result.all_passed and scores(result).exact == 2
    found = document(result)
    assert found["latency"]["Compact"]["p50"] == 250 and found["latency"]["total"]["p99"] < 10
    assert found["prompt_token"] == {"Compact": {"p50": 10, "p90": 10, "p99": 10}}
    assert found["command_metrics"]["set_slot"]["total_count"] == 1


def test_one_mistake_does_not_spoil_the_rest(tmp_path):
    result = play(tmp_path, TEST, go="offtopic reply", Perth="set slot town Perth")
    assert [step.passed for step in result.results[0].steps] == [False, True]
    found = document(result)
    assert found["number_of_failed_tests"] == 1 and found["accuracy"] == {"test_cases": 0, "user_utterances": 0.5}
    metrics = found["command_metrics"]
    assert (metrics["start_flow"]["fn"], metrics["chitchat"]["fp"], metrics["set_slot"]["tp"]) == (1, 1, 1)
    step = found["failed_test_steps"][0]
    assert step["conversation"] == ["user: go"] and step["error_line"] == 5
    assert step["predicted_commands"] == [{"component": "Compact", "commands": ["offtopic reply"]}]
    assert "prompts" not in step


@pytest.mark.parametrize(
    ("old", "new", "line", "shown"),
    [
        ("- bot: Done.", "- bot: Did.", 10, '+ bot: "Did."'),
        ("      - bot: Done.\n", "", 10, "- bot: "),
        ("      - utter: utter_can_do_something_else\n", "", 8, "- bot: "),
    ],
)
def test_a_history_that_is_not_the_tests_fails_the_case(tmp_path, old, new, line, shown):
    result = play(tmp_path, TEST.replace(old, new), go="start flow travel", Perth="set slot town Perth")
    (case,) = result.results
    assert (case.status, len(case.steps), case.not_judged) == ("failed", 1, 1)
    assert case.broken is not None and case.broken.location.line == line
    assert any(entry.startswith(shown) for entry in case.broken.diff)
    assert document(result)["number_of_unevaluated_user_utterances"] == 1 and scores(result).turns == 1


def test_a_crash_is_an_error_of_its_case_only(tmp_path):
    result = play(tmp_path, TEST, go="start flow travel")
    (case,) = result.results
    assert (case.status, len(case.steps)) == ("error", 1) and not result.all_passed
    assert "KeyError" in case.broken.message and case.broken.location.line == 8


def test_nothing_judged_divides_nothing():
    found = document(DuSuiteResult(()))
    assert found["accuracy"] == {"test_cases": 0, "user_utterances": 0} and not DuSuiteResult(()).all_passed


def test_no_commands_expected(tmp_path):
    test = TEST[: TEST.index("      - utter: utter_ask_town")].replace("[start flow travel]", "[]")
    (case,) = play(tmp_path, test, go="").results
    assert case.status == "failed"  # the bot says that it did not understand, which the test does not list


def test_tests_that_need_what_is_not_run_are_skipped(tmp_path):
    engine = ScriptedEngine({})
    object.__setattr__(engine, "nlu_side", type(engine.nlu_side)(intents=frozenset({"greet"})))
    (tmp_path / "t.yml").write_text("test_cases: [{test_case: a, steps: [{user: /greet, commands: []}]}]")
    result = asyncio.run(run_du_suite(engine, load_du_suite(tmp_path / "t.yml", WORDS)))
    assert result.results[0].status == "skipped" and result.all_passed
    assert document(result)["number_of_skipped_tests"] == 1


def test_bot_messages_one_by_one():
    asked, generated = UtterStep(PLACE, "utter_ask_town"), UtterStep(PLACE, "placeholder_generated_answer")
    assert says((asked, BotStep(PLACE, "b")), (bot("x", "utter_ask_town"), bot(" b ")))
    assert says((asked,), (bot("made by an action"),))  # as the reference: no name satisfies any
    assert says((generated,), (bot("x", "utter_ask_town", source="rephraser"),))
    assert not says((generated,), (bot("x", "utter_ask_town"),))
    assert not says((asked,), ())
    assert not says((SlotWasSetStep(PLACE, "town"),), (bot("x"),))


def test_reading_and_writing_again(tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(
        "fixtures: [{f: [{town: Ayr}]}]\nmetadata: [{m: {k: v}}]\ntest_cases:\n  - test_case: a\n    fixtures: [f]\n"
        "    steps:\n      - user: go\n        metadata: m\n"
        "        commands: [start flow travel, set slot town New York, disambiguate flows, start flow travel]\n"
        "      - utter: placeholder_generated_answer\n      - bot: hi\n"
    )
    (case,) = load_du_suite(file, WORDS).cases
    step = case.user_steps[0]
    assert isinstance(step, DuUserStep) and step.metadata == {"k": "v"} and case.fixtures == (("town", "Ayr"),)
    assert step.commands == (StartFlow("travel"), SetSlot("town", "New York"), Clarify(()))
    write_du_suite([case], tmp_path / "one.yml", WORDS.codec)
    write_du_suite([case], tmp_path / "folder", WORDS.codec)
    for path in (tmp_path / "one.yml", tmp_path / "folder"):
        (again,) = load_du_suite(path, WORDS).cases
        assert again.user_steps[0].commands == step.commands and again.fixtures == case.fixtures
        assert [type(found) for found in again.steps] == [type(found) for found in case.steps]


def test_each_kind_is_left_out_of_the_others_folder(tmp_path):
    (tmp_path / "du.yml").write_text(TEST.replace("utter_can_do_something_else", "utter_done"))
    (tmp_path / "e2e.yml").write_text("test_cases: [{test_case: e, steps: [{user: hi}]}]")
    du, e2e = load_du_suite(tmp_path, WORDS), load_suite(tmp_path)
    assert [case.name for case in du.cases] == ["a trip"] and "it is an E2E test" in du.warnings[0]
    assert [case.name for case in e2e.cases] == ["e"] and "a dialogue understanding test" in e2e.warnings[0]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{user: a, bot: b}", "not user and bot"),
        ("{}", "not nothing"),
        ("5", "must be a mapping"),
        ("{user: a, commands: [], assertions: []}", "unknown key 'assertions'"),
        ("{user: a, commands: [7]}", "must be text"),
        ("{utter: 7}", "must be text"),
        ("{user: a, commands: [jump]}", "'jump' is not a command.\n  This assistant's generator writes"),
    ],
)
def test_what_is_no_step(tmp_path, step, message):
    steps = f"[{{user: a, commands: []}}, {step}]"
    (tmp_path / "t.yml").write_text(f"test_cases: [{{test_case: a, steps: {steps}}}]")
    with pytest.raises(DataError, match=r"t\.yml:1") as error:
        load_du_suite(tmp_path / "t.yml", WORDS)
    assert message in str(error.value)
