"""`rasa test du` on the example assistant and its recorded teacher."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert step["prompts"][0]["user_prompt"]
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
