"""What a run of dialogue understanding tests says in figures, and as JUnit XML."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from du_bot import TEST, engine_saying, play, run

from rasa_ft.calm.commands import Clarify, HumanHandoff, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.du_commands import chosen_commands
from rasa_ft.e2e.du_junit import write_du_junit
from rasa_ft.e2e.du_results import du_document
from rasa_ft.e2e.du_runner import DuSuiteResult
from rasa_ft.e2e.junit import NOT_RUN
from rasa_ft.errors import UsageError
from rasa_ft.yaml_source import dump_yaml, parse_yaml, plain

V2 = codec_for("v2")


def document(result: DuSuiteResult, **options: bool) -> dict[str, Any]:
    return du_document(result, V2, component="Compact", config={"name": "Compact"}, **options)


def test_times_and_tokens(tmp_path: Path) -> None:
    found = document(play(tmp_path, TEST, go="start flow travel", Perth="set slot town Perth"))
    assert found["latency"]["Compact"] == {"p50": 250, "p90": 250, "p99": 250}  # milliseconds; the total in seconds:
    assert list(found["latency"]["total"]) == ["p50", "p90", "p99"] and 0 < found["latency"]["total"]["p99"] < 100
    assert found["prompt_token"] == {"Compact": {"p50": 10, "p90": 10, "p99": 10}}
    assert found["completion_token"] == {"Compact": {"p50": 2, "p90": 2, "p99": 2}}


def test_pressed_buttons_take_no_time_and_no_tokens(tmp_path: Path) -> None:
    test = TEST.replace("user: Perth", "user: /SetSlots(town=Perth)").replace("[start flow travel]", "[offtopic reply]")
    found = document(play(tmp_path, test.replace("user: go", "user: /SetSlots(town=Ayr)")))
    assert found["latency"] == found["prompt_token"] == found["completion_token"] == {}


def test_the_counts_of_each_command_and_their_averages(tmp_path: Path) -> None:
    found = document(play(tmp_path, TEST, go="start flow travel\nset slot town Ayr", Perth="set slot town Perth\n"))
    assert found["command_metrics"] == {
        "set_slot": {
            **{"tp": 1, "fp": 1, "fn": 0, "total_count": 1},
            **{"precision": 0.5, "recall": 1.0, "f1_score": pytest.approx(2 / 3)},
        },
        "start_flow": {"tp": 1, "fp": 0, "fn": 0, "total_count": 1, "precision": 1.0, "recall": 1.0, "f1_score": 1.0},
    }
    assert found["f1_score"]["macro"] == found["f1_score"]["weighted_average"] == pytest.approx(5 / 6)
    assert found["f1_score"]["micro"] == pytest.approx(0.8)
    assert found["accuracy"] == {"test_cases": 0, "user_utterances": 0.5}
    assert (found["number_of_passed_user_utterances"], found["number_of_failed_user_utterances"]) == (1, 1)


def test_a_failed_message(tmp_path: Path) -> None:
    result = play(tmp_path, TEST, go="offtopic reply", Perth="set slot town Perth")
    found = document(result)
    assert found["names_of_failed_tests"] == [f"{tmp_path}/t.yml::a trip"] and found["names_of_passed_tests"] == []
    (step,) = found["failed_test_steps"]
    assert step == {
        "file": f"{tmp_path}/t.yml",
        "test_case": "a trip",
        "conversation": ["user: go"],
        "failed_user_utterance": "go",
        "error_line": 5,
        "pass_status": False,
        "expected_commands": ["start flow travel"],
        "predicted_commands": [{"component": "Compact", "commands": ["offtopic reply"]}],
        "prompts": [
            {
                "component_name": "Compact",
                "llm_response_metadata": {"latency": 0.25, "prompt_tokens": 10, "completion_tokens": 2},
            }
        ],
    }
    (prompt,) = document(result, prompts=True)["failed_test_steps"][0]["prompts"]
    assert "go" in prompt["user_prompt"] and prompt["answer"] == "offtopic reply"
    assert plain(parse_yaml(dump_yaml(found), Path("r.yml"))) == found


def test_nothing_judged_divides_nothing(tmp_path: Path) -> None:
    found = document(DuSuiteResult(()))
    assert found["accuracy"] == {"test_cases": 0, "user_utterances": 0} and not DuSuiteResult(()).all_passed
    assert found["f1_score"] == {"macro": 0, "micro": 0, "weighted_average": 0}
    test = "test_cases: [{test_case: a, steps: [{user: hm, commands: []}, {utter: utter_ask_rephrase}]}]"
    found = document(play(tmp_path, test, hm=""))
    assert found["command_metrics"] == {} and found["f1_score"]["macro"] == 0
    assert found["accuracy"] == {"test_cases": 1, "user_utterances": 1}


def test_what_was_not_judged_is_not_counted(tmp_path: Path) -> None:
    found = document(play(tmp_path, TEST.replace("Done.", "Did."), go="start flow travel", Perth="set slot town Perth"))
    assert found["number_of_failed_tests"] == 1 and found["accuracy"] == {"test_cases": 0, "user_utterances": 1}
    assert list(found["command_metrics"]) == ["start_flow"] and found["number_of_unevaluated_user_utterances"] == 1
    (broken,) = found["tests_not_judged_to_the_end"]
    assert broken["error_path"] == f"{tmp_path}/t.yml:10" and broken["error"] is False


def test_junit(tmp_path: Path) -> None:
    cases = "".join(
        f"  - test_case: {name}\n    steps:\n      - {{user: {name}, commands: [start flow travel]}}\n"
        f"      - utter: {said}\n"
        for name, said in (("good", "utter_ask_town"), ("bad", "utter_ask_town"), ("broken", "utter_done"))
    )
    (tmp_path / "t.yml").write_text(f"test_cases:\n{cases}")
    engine = engine_saying(tmp_path / "bot", {"good": "start flow travel", "bad": "offtopic reply"})
    write_du_junit(tmp_path / "j.xml", run(engine, tmp_path / "t.yml"), V2)
    root = ElementTree.parse(tmp_path / "j.xml").getroot()  # noqa: S314  (our own)
    assert (root.get("name"), root.get("tests"), root.get("failures")) == ("rasa test du", "3", "2")
    good, bad, broken = root.iter("testcase")
    assert len(good) == 0 and bad[0].get("message") == "1 of 1 messages understood otherwise"
    assert bad[0].text is not None and bad[0].text.splitlines()[1:] == [
        f"{tmp_path}/t.yml:8: user: bad",
        "- offtopic reply",
        "+ start flow travel",
    ]
    assert "the bot does not say what is listed" in str(broken[0].get("message"))
    write_du_junit(tmp_path / "j.xml", run(engine, tmp_path / "t.yml", fail_fast=True), V2)
    *_, last = ElementTree.parse(tmp_path / "j.xml").getroot().iter("testcase")  # noqa: S314  (our own)
    assert (last[0].tag, last[0].get("message")) == ("skipped", NOT_RUN)


def test_both_kinds_of_failure_in_one_case(tmp_path: Path) -> None:
    result = play(tmp_path, TEST.replace("Done.", "Did."), go="offtopic reply")
    write_du_junit(tmp_path / "j.xml", result, V2)
    (case,) = ElementTree.parse(tmp_path / "j.xml").getroot().iter("testcase")  # noqa: S314  (our own)
    assert str(case[0].get("message")).startswith("1 of 1 messages understood otherwise; with the expected commands")
    assert case[0].text is not None and '+ bot: "Did."' in case[0].text


def test_commands_that_the_generator_does_not_have() -> None:
    part = chosen_commands(V2, removed=["HumanHandoffCommand", "ClarifyCommand"], additional=["my.ClarifyCommand"])
    assert part.parse("hand over\nstart flow a\ndisambiguate flows") == (StartFlow("a"), Clarify(()))
    assert part.dump([HumanHandoff(), StartFlow("a")]) == "start flow a" and part.version == "v2"
    assert chosen_commands(V2, additional=["rasa.CannotHandleCommand"]) is V2
    with pytest.raises(UsageError, match=r"'my.Jump' is a class of commands that the embedded engine does not have"):
        chosen_commands(V2, additional=["my.Jump"])
    with pytest.raises(UsageError, match=r"'HandoffCommand' is no command. Did you mean 'HumanHandoffCommand'"):
        chosen_commands(V2, removed=["HandoffCommand"])


def test_a_removed_command_is_none_in_answers_either(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(TEST)
    engine = engine_saying(tmp_path / "bot", {"go": "start flow travel\nhand over", "Perth": "set slot town Perth"})
    assert not run(engine, tmp_path / "t.yml").all_passed
    assert run(engine, tmp_path / "t.yml", codec=chosen_commands(V2, removed=["HumanHandoffCommand"])).all_passed
