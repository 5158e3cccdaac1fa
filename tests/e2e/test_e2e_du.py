"""Dialogue understanding tests: reading, the replay with expected commands, and the verdict on each message."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from du_bot import TEST, WORDS, actions_run, asked, engine_saying, play, run
from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm.commands import Clarify, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.du_cases import DuUserStep, Vocabulary, gold_conversations, load_du_suite, write_du_suite
from rasa_ft.e2e.du_replay import says
from rasa_ft.e2e.du_results import du_document, scores
from rasa_ft.e2e.du_runner import DuSuiteResult, run_du_suite
from rasa_ft.e2e.model import BotStep, SlotWasSetStep, UtterStep
from rasa_ft.errors import BudgetExceeded, DataError, Location

PLACE = Location(Path("t.yml"), 1)


def document(result: DuSuiteResult) -> dict:
    return du_document(result, codec_for("v2"), component="Compact", config={"name": "Compact"})


def test_all_right(tmp_path):
    result = play(tmp_path, TEST, go="start flow travel\nstart flow travel", Perth="set slot town PERTH")
    assert result.all_passed and scores(result).exact == 2


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
    assert document(result)["number_of_passed_tests"] == 0


def test_every_line_of_a_difference_is_marked(tmp_path):
    result = play(tmp_path, TEST.replace("bot: Done.", 'bot: "Done.\\nAll."'), **{"go": "start flow travel"})
    assert result.results[0].broken is not None
    assert result.results[0].broken.diff[-3:] == ('+ bot: "Done.', '+ All."', "+ utter: utter_can_do_something_else")


def test_a_crash_is_an_error_of_its_case_only(tmp_path):
    result = play(tmp_path, TEST, go="start flow travel")
    (case,) = result.results
    assert (case.status, len(case.steps)) == ("error", 1) and not result.all_passed
    assert "KeyError" in case.broken.message and case.broken.location.line == 8


def test_no_commands_expected(tmp_path):
    test = """
test_cases:
  - test_case: mumbling
    steps:
      - {user: mumble, commands: []}
      - utter: utter_ask_rephrase
      - {user: go, commands: [start flow travel]}
      - utter: utter_ask_town
"""
    result = play(tmp_path, test, mumble="", go="start flow travel")
    assert result.all_passed and [step.index for step in result.steps] == [0, 2]
    result = play(tmp_path, test, mumble="offtopic reply", go="start flow travel")
    assert [step.passed for step in result.steps] == [False, True]
    unlisted = test.replace("      - utter: utter_ask_rephrase\n", "")
    assert play(tmp_path, unlisted, mumble="", go="").results[0].not_judged == 2


def test_any_clarification(tmp_path):
    test = """
test_cases:
  - test_case: unclear
    steps:
      - {user: hm, commands: [disambiguate flows]}
      - utter: utter_clarification_no_options_rasa
"""
    assert play(tmp_path, test, hm="disambiguate flows pay travel").all_passed
    assert play(tmp_path, test, hm="disambiguate flows").all_passed
    assert not play(tmp_path, test, hm="start flow pay").all_passed
    particular = test.replace("disambiguate flows]", "disambiguate flows travel pay]").replace("_no_", "_")
    assert play(tmp_path, particular, hm="disambiguate flows pay, travel").all_passed
    assert not play(tmp_path, particular, hm="disambiguate flows").all_passed


@pytest.mark.parametrize(
    ("generator", "version", "start", "fill"),
    [
        ("SingleStepLLMCommandGenerator", "v1", "StartFlow(travel)", 'SetSlot(town, "Perth")'),
        ("CompactLLMCommandGenerator", "v2", "start flow travel", "set slot town Perth"),
        ("SearchReadyLLMCommandGenerator", "v3", "start flow travel", "set slot town Perth"),
    ],
)
def test_the_syntax_of_the_assistants_generator(tmp_path, generator, version, start, fill):
    (tmp_path / "t.yml").write_text(
        TEST.replace("[start flow travel]", f"['{start}']").replace("[set slot town perth]", f"['{fill}']")
    )
    engine = engine_saying(tmp_path / "bot", {"go": start, "Perth": fill}, generator=generator)
    assert engine.codec.version == version and run(engine, tmp_path / "t.yml").all_passed
    case = load_du_suite(tmp_path / "t.yml", Vocabulary(engine.codec, engine.assistant.domain.responses)).cases[0]
    write_du_suite([case], tmp_path / "again.yml", engine.codec)
    assert run(engine, tmp_path / "again.yml").all_passed


def test_the_conftest_chain_fixtures_and_metadata(tmp_path):
    (tmp_path / "conftest.yml").write_text("fixtures: [{away: [{town: Ayr}]}]")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/t.yml").write_text(
        "metadata: [{phone: {device: phone}}]\ntest_cases:\n  - test_case: knows where\n    fixtures: [away]\n"
        "    metadata: phone\n    steps:\n      - {user: go, commands: [start flow travel]}\n"
        "      - utter: utter_done\n      - utter: utter_can_do_something_else\n"
        "  - test_case: asks\n    steps:\n      - {user: go, commands: [start flow travel]}\n"
        "      - utter: utter_ask_town\n"
    )
    engine = engine_saying(tmp_path / "bot", {"go": "start flow travel"})
    result = run(engine, tmp_path / "deep")
    assert result.all_passed and len(result.results) == 2
    assert result.steps[0].turn.metadata == {"device": "phone"} and result.steps[1].turn.metadata == {}
    (one,) = run(engine, f"{tmp_path / 'deep'}::asks").results
    assert one.case.name == "asks" and one.case.fixtures == ()
    with pytest.raises(DataError, match="Did you mean 'asks'"):
        run(engine, f"{tmp_path / 'deep'}::ask")


def test_the_history_of_a_message_is_the_expected_one(tmp_path):
    engine = engine_saying(tmp_path / "bot", {"go": "offtopic reply", "Perth": "set slot town Perth"})
    result = play(tmp_path, TEST, engine=engine)
    assert [step.passed for step in result.steps] == [False, True]
    assert "Where?" in asked(engine)[1]


PAY = """
stub_custom_actions: {action_pay: {events: [], responses: [{text: Paid.}]}}
test_cases:
  - test_case: pays
    steps:
      - {user: pay, commands: [start flow pay]}
      - bot: Paid.
      - utter: utter_done
"""


def test_stubs_stand_in_and_actions_run_once(tmp_path):
    assert play(tmp_path, PAY, pay="start flow pay").all_passed
    for_real = PAY[PAY.index("test_cases") :].replace("      - bot: Paid.\n", "")
    engine = engine_saying(tmp_path / "bot", {"pay": "start flow pay"}, actions={"action_pay": []})
    assert play(tmp_path, for_real, engine=engine).all_passed
    assert actions_run(engine) == ["action_pay"]


def test_a_wrong_answer_is_not_played(tmp_path):
    test = f"stub_custom_actions: {{action_log: {{events: [], responses: []}}}}{TEST}"
    (case,) = play(tmp_path, test, go="start flow pay", Perth="set slot town Perth").results
    # A mistake of the model, not of the test, although action_pay has no stub.
    assert case.status == "failed" and [step.passed for step in case.steps] == [False, True]


def test_pressed_buttons_need_no_model(tmp_path):
    test = TEST.replace("user: Perth", "user: /SetSlots(town=Perth)")
    result = play(tmp_path, test, go="start flow travel")
    assert result.all_passed and [step.seconds is None for step in result.steps] == [False, True]
    wrong = play(tmp_path, test.replace("town perth", "town Ayr"), go="start flow travel")
    assert [step.passed for step in wrong.steps] == [True, False]


def test_fail_fast_ends_with_the_first_in_order(tmp_path):
    cases = "".join(
        f"  - test_case: {name}\n    steps:\n      - {{user: {name}, commands: [start flow travel]}}\n"
        "      - utter: utter_ask_town\n"
        for name in ("good", "bad", "fine", "worse")
    )
    (tmp_path / "t.yml").write_text(f"test_cases:\n{cases}")
    right = dict.fromkeys(("good", "fine"), "start flow travel")
    engine = engine_saying(tmp_path / "bot", {**right, "bad": "", "worse": ""})
    for concurrency in (1, 4):
        result = run(engine, tmp_path / "t.yml", fail_fast=True, concurrency=concurrency)
        assert [found.status for found in result.results] == ["passed", "failed"] and not result.all_passed
        assert [case.name for case in result.left_out] == ["fine", "worse"]
    result = run(engine, tmp_path / "t.yml")
    assert len(result.results) == 4 and result.left_out == ()
    assert run(engine, f"{tmp_path / 't.yml'}::good", fail_fast=True).all_passed


def test_a_spent_budget_ends_the_run(tmp_path):
    engine = engine_saying(tmp_path / "bot", {})

    class Spent(type(engine.generator.llm)):
        async def complete(self, request):
            raise BudgetExceeded("no more")

    engine.generator = replace(engine.generator, llm=Spent({}))
    with pytest.raises(BudgetExceeded):
        play(tmp_path, TEST, engine=engine)


def test_an_action_that_ends_the_program_is_an_error_of_its_case(tmp_path):
    engine = engine_saying(tmp_path / "bot", {}, actions={"action_pay": lambda _: sys.exit(3)})
    (case,) = play(tmp_path, PAY[PAY.index("test_cases") :], engine=engine).results
    assert case.status == "error" and case.broken is not None and case.broken.message == "SystemExit: 3"


def test_the_scripts_of_a_suite(tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(
        "fixtures: [{f: [{town: Ayr}]}]\nmetadata: [{m: {k: v}}]\n"
        "stub_custom_actions: {action_pay: {events: [], responses: [{text: Paid.}]}}\n"
        "test_cases:\n  - test_case: a\n    fixtures: [f]\n    steps:\n      - bot: Hello.\n"
        "      - {user: pay, metadata: m, commands: [start flow pay]}\n      - bot: Paid.\n"
        "      - {user: hm, commands: []}\n"
    )
    (script,) = gold_conversations(load_du_suite(file, WORDS))
    assert [(turn.text, turn.commands, turn.metadata) for turn in script.turns] == [
        ("pay", (StartFlow("pay"),), {"k": "v"}),
        ("hm", (), {}),
    ]
    assert script.setup.fixtures == (("town", "Ayr"),) and script.setup.stubs is not None
    assert script.setup.stubs["action_pay"].responses == ({"text": "Paid."},) and script.case.name == "a"


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
