"""`rasa test du` on the example assistant and its recorded teacher."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rasa_ft.cli.main import run
from rasa_ft.yaml_source import load_yaml

BOT = Path(__file__).parents[2] / "examples/bot"
CASES = BOT / "e2e_tests/cancellations.yml"
ON_BOT = ["--project", str(BOT)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_converted_e2e_tests_pass(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "--from-e2e", str(BOT / "e2e_tests"), "--out", "du"]) == 0
    assert "Review their commands" in capsys.readouterr().err
    assert run(["test", "du", "du", *ON_BOT, "--json", "--output-file", "r.yml"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["number_of_passed_tests"] > 100 and document["number_of_failed_tests"] == 0
    assert document["accuracy"] == {"test_cases": 1.0, "user_utterances": 1.0}
    assert document["f1_score"] == {"macro": 1.0, "micro": 1.0, "weighted_average": 1.0}
    assert document["number_of_unevaluated_user_utterances"] == 0
    assert load_yaml(Path("r.yml"))["command_metrics"] == document["command_metrics"]
    assert run(["test", "du", "--from-e2e", str(CASES), "--out", "du"]) == 2  # never over reviewed tests
    assert "exists already" in capsys.readouterr().err


def test_a_wrong_answer_is_shown_and_spoils_nothing_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "--from-e2e", f"{CASES}::gives up buying a ticket", "--out", "t.yml"]) == 0
    text = Path("t.yml").read_text().replace("destination Stirling", "destination Sterling")
    Path("t.yml").write_text(text)
    capsys.readouterr()
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output", "--json", "--output-prompt"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["number_of_passed_user_utterances"], document["number_of_failed_user_utterances"]) == (1, 1)
    assert document["command_metrics"]["set_slot"]["fn"] == document["command_metrics"]["set_slot"]["fp"] == 1
    (step,) = document["failed_test_steps"]
    assert "set slot destination Sterling" in step["expected_commands"]
    assert "set slot destination Stirling" in step["predicted_commands"][0]["commands"]
    assert step["prompts"][0]["user_prompt"] and step["prompts"][0]["answer"]
    assert not list(Path().glob("dialogue_understanding_test_*"))
    assert run(["test", "du", "t.yml", *ON_BOT]) == 1
    out = capsys.readouterr().out
    assert "t.yml:" in out and "1 of 2 messages as expected; 1 failed, 0 passed" in out
    assert len(list(Path().glob("dialogue_understanding_test_*.yml"))) == 1


def test_commands_that_do_not_lead_to_the_listed_messages_fail(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.yml").write_text(
        "test_cases:\n  - test_case: a\n    steps:\n      - user: I want to book a train to Stirling\n"
        "        commands: [start flow buy_railcard]\n      - utter: utter_ask_origin\n"
    )
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["number_of_failed_tests"] == 1 and document["number_of_unevaluated_user_utterances"] == 1
    assert document["command_metrics"] == {} and document["f1_score"]["micro"] == 0
    assert document["tests_not_judged_to_the_end"][0]["error_path"] == "t.yml:6"
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output"]) == 1
    assert "0 of 0 messages as expected, 1 not judged; 1 failed" in capsys.readouterr().out


def test_a_message_without_a_recording_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.yml").write_text(
        "test_cases:\n  - test_case: a\n    steps:\n      - user: blah blub\n"
        "        commands: [start flow book_ticket]\n      - utter: utter_ask_origin\n"
    )
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["names_of_tests_with_errors"] == ["t.yml::a"] and document["number_of_failed_tests"] == 0
    assert "'blah blub' is not recorded" in document["tests_not_judged_to_the_end"][0]["message"]
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output"]) == 1
    assert "1 could not be judged" in capsys.readouterr().out


def test_all_problems_of_all_files_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("d").mkdir()
    Path("d/a.yml").write_text(
        "test_cases:\n  - test_case: a\n    steps:\n      - user: hi\n        commands: [StartFlow(x)]\n"
        "      - utter: utter_ask_orign\n      - slot_was_set: [x]\n      - user: there\n"
    )
    Path("d/b.yml").write_text("test_cases:\n  - test_case: b\n    steps: [{user: hi, commands: 3}]\n")
    Path("d/c.yml").write_text("test_cases:\n  - test_case: c\n    steps: [{user: hi}]\n")
    assert run(["test", "du", "d", *ON_BOT]) == 1
    err = capsys.readouterr().err
    assert "d/a.yml:5: 'StartFlow(x)' is not a command." in err
    assert "d/a.yml:6: 'utter_ask_orign' is not a response of the domain. Did you mean 'utter_ask_origin'?" in err
    assert "d/a.yml:7: a step of a dialogue understanding test has exactly one of" in err
    assert "d/a.yml:8: a user step needs `commands`" in err
    assert "d/b.yml:3: `commands` must be a list" in err and "5 problems" in err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "--from-e2e", str(CASES)]) == 2
    assert run(["test", "du"]) == 1
    assert "dialogue_understanding_tests does not exist" in capsys.readouterr().err
    assert run(["test", "du", "t.yml", "--no-output", "--output-file", "r.yml"]) == 2
    assert "contradict each other" in capsys.readouterr().err
    assert run(["test", "du", "--from-e2e", str(CASES), "--out", "t.yml", "--fail-fast"]) == 2
    assert "so --fail-fast means nothing" in capsys.readouterr().err
    Path("t_to_review.yml").touch()
    assert run(["test", "du", "--from-e2e", str(CASES), "--out", "t.yml"]) == 2
    assert "t_to_review.yml exists already" in capsys.readouterr().err


def test_options_of_rasa(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "t.yml", "--remote-storage", "aws"]) == 2
    assert "not fetched from a remote storage" in capsys.readouterr().err
    assert (
        run(["test", "du", "--from-e2e", str(CASES), "--out", "t.yml", "--endpoints", str(BOT / "endpoints.yml")]) == 0
    )
    assert run(["train", "--project", str(BOT), "--out", "models"]) == 0
    capsys.readouterr()
    words = ["test", "du", "t.yml", "-m", "models", "--no-output", "--sub-agents", "none", "-vv"]
    assert run(words) == 0
    assert "--sub-agents has no effect" in capsys.readouterr().err
    assert run([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_files_for_build_servers_and_a_stop_at_the_first_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "--from-e2e", str(CASES), "--out", "t.yml"]) == 0
    words = ["test", "du", "t.yml", *ON_BOT, "--no-output", "--fail-fast", "-j", "1"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "message to commands" in out and "not run" not in out
    text = Path("t.yml").read_text()
    Path("t.yml").write_text(text.replace("commands:\n          - start flow", "commands:\n          - stop flow", 1))
    assert run(words) == 1
    assert "'stop flow" in capsys.readouterr().err
    Path("t.yml").write_text(text.replace("          - set slot destination ", "          - set slot origin ", 1))
    assert run([*words, "--json", "--junit-xml", "j.xml"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["number_of_tests_not_run"] == len(document["names_of_tests_not_run"]) > 0
    root = ElementTree.parse("j.xml").getroot()  # noqa: S314  (our own)
    assert root.get("failures") == "1" and int(root.get("skipped", "0")) == document["number_of_tests_not_run"]
    assert run(words) == 1
    assert f"{document['number_of_tests_not_run']} not run" in capsys.readouterr().out


def test_failing_e2e_tests_go_to_a_second_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = CASES.read_text(encoding="utf-8").replace("utter: utter_", "utter: utter_no_", 1)
    Path("e2e.yml").write_text(text, encoding="utf-8")
    assert run(["test", "du", "--from-e2e", "e2e.yml", *ON_BOT, "--out", "t.yml", "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    (case,) = document["to_review"]
    assert f"To review: {case}: e2e.yml:" in err and "Written: t_to_review.yml" in err
    assert len(document["converted"]) > 0 and document["left_out"] == {}
    assert run(["test", "du", "t.yml", *ON_BOT, "--no-output"]) == 0


def test_commands_that_a_generator_of_ones_own_has_or_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.yml").write_text(
        "test_cases:\n  - test_case: a\n    steps:\n      - {user: hi, commands: [hand over, cancel flow]}\n"
    )
    words = ["test", "du", "t.yml", *ON_BOT, "--no-output", "--remove-default-commands", "HumanHandoffCommand"]
    assert run([*words, "CancelFlowCommand"]) == 1
    assert "2 problems" in capsys.readouterr().err
    assert run([*words, "CancelFlowCommand", "--additional-commands", "my.CancelFlowCommand", "-j", "1"]) == 1
    err = capsys.readouterr().err
    assert "'hand over' is not a command" in err and "'cancel flow'" not in err
    assert run([*words, "--additional-commands", "my.DanceCommand"]) == 2
    assert "'my.DanceCommand' is a class of commands that the embedded engine does not have" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "du", "--from-e2e", f"{CASES}::gives up buying a ticket", "--out", "t.yml"]) == 0
    capsys.readouterr()
    assert run(["test", "du", "t.yml", *ON_BOT, "--output-file", "t.yml/r.yml"]) == 1
    out, err = capsys.readouterr()
    assert "2 of 2 messages as expected" in out and "t.yml/r.yml" in err
