"""A test that needs a part which is not run is skipped with the reason, never failed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm.events import FlowStarted, SlotSet
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.project.out_of_scope import OUT_OF_SCOPE
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.coverage import measure
from rasa_ft.e2e.results import write_cases_by_status, write_results
from rasa_ft.e2e.runner import CaseResult, SuiteResult, run_suite

SIDE = NluSide(
    intents=frozenset({"greet", "inform"}),
    actions=frozenset({"utter_greet", "action_rooms"}),
    forms=frozenset({"room_form"}),
    slots=frozenset({"when"}),
    texts={"Hello there": "utter_greet"},
)


def reach(part: str) -> FlowStarted:
    context = {"error_type": OUT_OF_SCOPE, "info": {"part": part}}
    return FlowStarted(flow_id="pattern_internal_error", context=context)


ENGINE = ScriptedEngine(
    {
        "hi": (bot("Hi", "utter_hi"), SlotSet("size", 1)),
        "agent": (bot("Oops", "utter_internal_error_rasa"), reach("the agent clerk")),
        "unknown": "the model is down",
    },
    nlu_side=SIDE,
)


def played(tmp_path: Path, *cases: str, fail_fast: bool = False) -> SuiteResult:
    text = "".join(f"  - test_case: case {n}\n    steps: [{steps}]\n" for n, steps in enumerate(cases))
    (tmp_path / "t.yml").write_text(f"test_cases:\n{text}", encoding="utf-8")
    return asyncio.run(run_suite(ENGINE, load_suite(tmp_path / "t.yml"), concurrency=1, fail_fast=fail_fast))


def only(tmp_path: Path, steps: str) -> CaseResult:
    (found,) = played(tmp_path, steps).results
    return found


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (
            "{user: hi, assertions: [{generative_response_is_relevant: {threshold: 1}}]}",
            "needs a language model as judge",
        ),
        (
            "{user: hi, assertions: [{generative_response_is_grounded: {threshold: 1}}]}",
            "needs a language model as judge",
        ),
        ("{user: hi, assertions: [{tool_executed: x}]}", "'tool_executed' is not for CALM assistants"),
        ("{user: /greet}", "intent 'greet' starts no flow"),
        ('{user: hi}, {user: \'/inform{"city": "Rome"}\'}', "intent 'inform' starts no flow"),
        ("{user: hi, assertions: [{slot_was_set: [{name: route_session_to_calm, value: false}]}]}", "NLU side"),
        ("{user: hi}, {slot_was_set: [{route_session_to_calm: false}]}", "NLU side"),
        ("{user: hi, assertions: [{action_executed: room_form}]}", "form 'room_form' is not run"),
    ],
)
def test_seen_before_it_is_played(tmp_path: Path, steps: str, reason: str) -> None:
    ENGINE.said.clear()
    found = only(tmp_path, steps)
    assert (found.status, found.turns, found.failure) == ("skipped", (), None)
    assert found.skipped is not None and found.skipped.startswith(f"{tmp_path / 't.yml'}:3: ")
    assert reason in found.skipped
    assert ENGINE.said == []


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("{user: agent}, {user: hi}", "t.yml:3: the conversation needs the agent clerk."),
        ("{user: agent, assertions: [{bot_uttered: {text_matches: Done}}]}", "needs the agent clerk"),
        ("{user: hi}, {utter: utter_greet}", "'utter_greet' is run by rules, stories or forms only"),
        ("{user: hi}, {utter: utter_hi}, {utter: utter_greet}", "'utter_greet' is run by rules"),
        ("{user: hi, assertions: [{bot_uttered: {utter_name: utter_greet}}]}", "'utter_greet' is run by rules"),
        ("{user: hi, assertions: [{bot_uttered: {text_matches: Hello there}}]}", "'Hello there' is said by rules"),
        ("{user: hi, assertions: [{action_executed: action_rooms}]}", "'action_rooms' is run by rules"),
        ("{user: hi}, {bot: Hello there}", "'Hello there' is said by rules"),
        ("{user: hi}, {slot_was_set: [{when: noon}]}", "slot 'when' is filled by NLU only"),
        ("{user: hi, assertions: [{slot_was_set: [{name: when}]}]}", "slot 'when' is filled by NLU only"),
        ("{user: unknown}, {utter: utter_greet}", "'utter_greet' is run by rules"),  # no recorded answer, say
    ],
)
def test_seen_when_it_is_not_as_expected(tmp_path: Path, steps: str, reason: str) -> None:
    found = only(tmp_path, steps)
    assert (found.status, found.failure) == ("skipped", None)
    assert found.skipped is not None and reason in found.skipped
    assert len(found.turns) == 1


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ("{user: hi}, {utter: utter_hi}", "passed"),
        ("{user: hi}, {slot_was_set: [{size: 1}]}, {slot_was_not_set: [when]}", "passed"),
        ("{user: hi}, {slot_was_set: [{route_session_to_calm: true}]}", "failed"),
        ("{user: hi}, {utter: utter_other}", "failed"),
        ("{user: hi, assertions: [{bot_uttered: {text_matches: Hello}}]}", "failed"),
        ("{user: hi, assertions: [{action_executed: action_x}, {flow_started: f}]}", "failed"),
        ("{user: hi}, {utter: utter_other}, {user: hi}, {utter: utter_greet}", "failed"),  # before the NLU turn
        ("{user: unknown}, {utter: utter_hi}", "error"),
        ("{user: /SetSlots(a=1)}", "passed"),
        ("{user: /unheard}", "passed"),
        ("{utter: utter_hi}, {user: hi}", "failed"),
    ],
)
def test_what_needs_nothing_else_is_judged(tmp_path: Path, steps: str, status: str) -> None:
    assert only(tmp_path, steps).status == status


def test_skipped_cases_count_neither_way(tmp_path: Path) -> None:
    passes, skips = "{user: hi}, {bot: Hi}", "{user: /greet}"
    result = played(tmp_path, skips, passes, skips, fail_fast=True)
    assert [found.status for found in result.results] == ["skipped", "passed", "skipped"]
    assert result.all_passed
    assert played(tmp_path, skips).all_passed
    assert not played(tmp_path, skips, "{user: hi}, {bot: Bye}").all_passed
    measured = measure(result, {})
    assert (measured.passed_commands["start flow"], measured.failed.flows) == (0, ())


def test_skipped_cases_are_in_no_result_file(tmp_path: Path) -> None:
    result = played(tmp_path, "{user: hi}, {bot: Hi}", "{user: /greet}", "{user: hi}, {bot: Bye}")
    write_cases_by_status(tmp_path / "out", result)
    files = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert sorted(files) == ["failed.yml", "passed.yml"]
    assert "case 1" not in files["failed.yml"] + files["passed.yml"]
    passed, failed = write_results(tmp_path / "results.yml", result)
    assert "case 1" not in passed.read_text() + failed.read_text()
