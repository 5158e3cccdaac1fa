from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rasa_ft.cli.main import run
from rasa_ft.cli.project import find_project

BOT = Path(__file__).parents[2] / "examples/bot"
TESTS = BOT / "e2e_tests/cancellations.yml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_passing_tests_with_coverage(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(TESTS), "--coverage-report", "-o", "res.yml"]) == 0
    out, err = capsys.readouterr()
    assert "0 failed, 4 passed" in out and "target: 90% of all steps" in out
    assert "Written: e2e_coverage_results" in err
    assert (elsewhere / "res_passed.yml").is_file()
    # What was written knows its assistant and plays the same.
    assert run(["test", "e2e", "e2e_coverage_results/passed.yml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["passed"], document["failed"], document["errors"]) == (4, 0, 0)


def test_failing_test_shows_a_diff_and_exits_with_1(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TESTS.read_text(encoding="utf-8").replace("utter: utter_", "utter: utter_no_", 1)
    (elsewhere / "t.yml").write_text(text, encoding="utf-8")
    assert run(["test", "e2e", "t.yml", "--project", str(BOT), "--fail-fast"]) == 1
    out = capsys.readouterr().out
    assert "+ utter: utter_no_" in out and "FAILED t.yml::" in out and "3 not run" in out


def test_unrecorded_message_is_an_error_not_a_failure(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "t.yml").write_text("test_cases: [{test_case: a, steps: [{user: blah blub}, {bot: x}]}]\n")
    assert run(["test", "e2e", "t.yml", "--project", str(BOT), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["failed"], document["errors"]) == (0, 1)
    assert document["results"][0]["status"] == "error"
    assert run(["test", "e2e", "t.yml", "--project", str(BOT)]) == 1
    assert "1 case could not be judged: 'blah blub' is not recorded" in capsys.readouterr().out


def test_coverage_below_the_targets_can_be_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(TESTS), "--require-coverage"]) == 3
    err = capsys.readouterr().err
    assert "% is below 90 %." in err and "Below 80 %: " in err and "coverage.html" in err


def test_a_minimum_of_coverage_can_be_required(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(TESTS), "--min-coverage", "1"]) == 0
    assert (elsewhere / "e2e_coverage_results/coverage.html").is_file()
    assert run(["test", "e2e", str(TESTS), "--min-coverage", "99.5"]) == 3
    err = capsys.readouterr().err
    assert "% is below 99.5 %." in err and "Below 80" not in err
    assert run(["test", "e2e", str(TESTS), "--min-coverage", "101"]) == 2


def test_broken_tests_are_told_before_anything_is_loaded(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "t.yml").write_text("test_cases: [{test_case: a, steps: [{usr: hi}]}]")
    assert run(["test", "e2e", "t.yml"]) == 1  # there is no assistant here: not even looked for
    out, err = capsys.readouterr()
    assert "t.yml:1: a step has exactly one of" in err and not out


def test_tests_that_need_what_is_not_run_are_skipped(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "{test_case: a, steps: [{user: hi, assertions: [{tool_executed: x}]}]}"
    (elsewhere / "t.yml").write_text(f"test_cases: [{other}]")
    words = ["test", "e2e", "t.yml", "--project", str(BOT), "-o", "r.yml"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "SKIPPED t.yml::a\n  t.yml:1: assertion 'tool_executed' is not for CALM assistants" in out
    assert "0 failed, 0 passed, 1 skipped" in out
    assert "name" not in (elsewhere / "r_passed.yml").read_text() + (elsewhere / "r_failed.yml").read_text()
    assert run([*words, "--json", "--coverage-report"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["skipped"], document["failed"], document["passed"]) == (1, 0, 0)
    assert document["results"][0]["status"] == "skipped" and "not for CALM" in document["results"][0]["skipped"]
    assert not list(elsewhere.glob("e2e_coverage_results/*.yml"))


def test_no_tests_and_wrong_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e"]) == 1
    assert "e2e_tests does not exist" in capsys.readouterr().err
    assert run(["test", "e2e", "-j", "0"]) == 2


def test_project_is_found(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "bot/e2e_tests/deep").mkdir(parents=True)
    (elsewhere / "bot/config.yml").write_text("")
    (elsewhere / "out").mkdir()
    assert find_project("bot/e2e_tests/deep::a case") == Path("bot")
    assert find_project("bot") == Path("bot")
    assert find_project("out", Path("given")) == Path("given")
    assert find_project("out/passed.yml") == Path()
    (elsewhere / "out/coverage.json").write_text('{"project": "../bot"}')
    assert find_project("out/passed.yml") == Path("bot") == find_project("out")
    monkeypatch.chdir(elsewhere / "bot/e2e_tests")
    assert find_project("deep") == elsewhere / "bot"


def test_shell_presses_buttons_and_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["I want to book a train to Stirling", "/stop"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert run(["shell", "--project", str(BOT), "--show-commands"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("bot: Which station") and "start flow book_ticket" in err


def test_shell_numbers_mean_buttons(monkeypatch: pytest.MonkeyPatch) -> None:
    from rasa_ft.calm.events import Button
    from rasa_ft.cli.shell import _read

    buttons = (Button("Yes", "/SetSlots(confirm=true)"), Button("No", "/SetSlots(confirm=false)"))
    for typed, sent in (("2", "/SetSlots(confirm=false)"), ("3", "3"), (" yes ", "yes"), ("/stop", None)):
        monkeypatch.setattr("builtins.input", lambda _, typed=typed: typed)
        assert _read(buttons) == sent


def test_result_files_for_build_servers_and_for_another_run(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TESTS.read_text(encoding="utf-8").replace("utter: utter_", "utter: utter_no_", 1)
    (elsewhere / "t.yml").write_text(text, encoding="utf-8")
    words = ["test", "e2e", "t.yml", "--project", str(BOT), "--junit-xml", "out/junit.xml", "-f", "out/again.yml"]
    assert run([*words, "--json"]) == 1
    first = json.loads(capsys.readouterr().out)
    root = ElementTree.parse(elsewhere / "out/junit.xml").getroot()  # noqa: S314  (our own)
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    (again,) = (elsewhere / "out").glob("again_*_*")
    assert run(["test", "e2e", str(again), "--project", str(BOT), "--json"]) == 1
    second = json.loads(capsys.readouterr().out)
    failed = [found for found in first["results"] if found["status"] == "failed"]
    assert [found["difference"] for found in second["results"]] == [found["difference"] for found in failed]


def test_fail_fast_is_honest(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(TESTS), "--fail-fast", "-f"]) == 0  # all passed: nothing is written
    assert not list(elsewhere.iterdir())
    text = TESTS.read_text(encoding="utf-8").replace("utter: utter_", "utter: utter_no_", 1)
    (elsewhere / "t.yml").write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert run(["test", "e2e", "t.yml", "--project", str(BOT), "--fail-fast", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["not_run"] == len(document["not_run_cases"]) == 3


def test_missing_tests_are_suggested(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["test", "e2e", str(TESTS), "--suggest-tests", "todo"]
    assert run(words) == 0
    assert "22 suggested tests for 12 flows in todo" in capsys.readouterr().out
    files = {file.name: file.read_bytes() for file in (elsewhere / "todo").iterdir()}
    assert {"book_ticket.yml", "commands.yml"} < files.keys()
    assert not (elsewhere / "e2e_coverage_results").exists()
    # Until somebody writes their messages they do no harm, and nothing is learnt from them.
    assert run(["test", "e2e", "todo", "--project", str(BOT)]) == 0
    assert "22 skipped" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    suggested = json.loads(capsys.readouterr().out)["suggested_tests"]
    assert len(suggested) == 22 and {found["file"] for found in suggested} == {f"todo/{name}" for name in files}
    assert suggested[0]["commands"][:2] == [["start flow"], ["set slot"]] and suggested[0]["visits"][0]["flow"]
    assert {file.name: file.read_bytes() for file in (elsewhere / "todo").iterdir()} == files


def test_suggestions_replace_nothing_that_somebody_wrote(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "todo").mkdir()
    mine = elsewhere / "todo/book_ticket.yml"
    mine.write_text("# mine\n", encoding="utf-8")
    assert run(["test", "e2e", str(TESTS), "--suggest-tests", "todo"]) == 2
    out, err = capsys.readouterr()
    assert "todo holds files that suggested tests would replace: book_ticket.yml" in err and not out
    assert [file.name for file in (elsewhere / "todo").iterdir()] == ["book_ticket.yml"]
    assert mine.read_text(encoding="utf-8") == "# mine\n"
    assert run(["test", "e2e", str(TESTS), "--suggest-tests", str(mine)]) == 2


def test_a_complete_suite_needs_no_suggestions(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(BOT / "e2e_tests"), "--suggest-tests", "todo"]) == 0
    assert "No tests to suggest: every step and every kind of command has one." in capsys.readouterr().out
    assert not (elsewhere / "todo").exists()
