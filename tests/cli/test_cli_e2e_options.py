"""Command lines as they are written for rasa, and what is shown on a terminal."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from rasa_ft.cli.main import run

BOT = Path(__file__).parents[2] / "examples/bot"
TESTS = BOT / "e2e_tests/cancellations.yml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failing(folder: Path) -> list[str]:
    """The words that play a file of four tests of which one fails, at a response nearly named as it should be."""
    text = TESTS.read_text(encoding="utf-8").replace("utter: utter_", "utter: utter_x_", 1)
    (folder / "t.yml").write_text(text, encoding="utf-8")
    return ["test", "e2e", "t.yml", "--project", str(BOT)]


def test_results_and_failed_tests_without_a_value(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*failing(elsewhere), "-o", "-f"]) == 1
    written = sorted(path.name for path in (elsewhere / "tests").iterdir())
    assert [name.rpartition("_")[2] for name in written[1:]] == ["failed.yml", "passed.yml"]
    assert written[0].startswith("e2e_failed_tests_") and (elsewhere / "tests" / written[0] / "t.yml").is_file()
    assert written[1:] == ["e2e_results_failed.yml", "e2e_results_passed.yml"]
    assert capsys.readouterr().err.count("Written: tests/") == 3


def test_the_path_may_be_left_out(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "tests").mkdir()
    words = ["test", "e2e", "--project", str(BOT), "--json"]
    (elsewhere / "tests/e2e_test_cases.yml").write_text(
        "test_cases: [{test_case: one, steps: [{user: /SetSlots(confirm=true)}]}]\n"
    )
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["name"] == "tests/e2e_test_cases.yml::one"
    (elsewhere / "e2e_tests").mkdir()
    (elsewhere / "e2e_tests/t.yml").write_text(
        "test_cases: [{test_case: two, steps: [{user: /SetSlots(confirm=true)}]}]\n"
    )
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["name"] == "e2e_tests/t.yml::two"


def test_what_passed_is_named_after_its_own_file(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*failing(elsewhere), "--coverage-report"]) == 1
    for path in ("e2e_coverage_results/passed.yml", "e2e_coverage_results/passed"):
        capsys.readouterr()
        assert run(["test", "e2e", path, "--json", "-o", "again.yml"]) == 0
        names = [found["name"] for found in json.loads(capsys.readouterr().out)["results"]]
        assert len(names) == 3 and all(name.startswith("t.yml::") for name in names)
    assert "name: t.yml::" in (elsewhere / "again_passed.yml").read_text()


def test_quiet_is_quiet_but_for_results_and_errors(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*failing(elsewhere), "--quiet", "-o", "--sub-agents", "sub_agents"]) == 1
    out, err = capsys.readouterr()
    assert "1 failed, 3 passed" in out and err == ""
    assert run(["test", "e2e", "nowhere", "--quiet"]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err


def test_log_messages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from rasa_ft.engine import embedded

    load, log = embedded.load_engine, logging.getLogger("rasa_ft.engine")
    before = logging.getLogger("rasa_ft").level

    def telling(*args: object, **options: object) -> object:
        log.info("some detail")
        log.debug("every detail")
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(embedded, "load_engine", telling)
    for words, told in (([], []), (["-v"], ["some"]), (["-vv"], ["some", "every"]), (["-v", "--quiet"], [])):
        assert run(["test", "e2e", str(TESTS), *words]) == 0
        err = capsys.readouterr().err
        assert [word for word in ("some", "every") if f"{word} detail" in err] == told
    assert logging.getLogger("rasa_ft").level == before and not logging.getLogger("rasa_ft").handlers


def test_a_configuration_of_logging(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = elsewhere / "logging.yml"
    handler = "{h: {class: logging.FileHandler, filename: own.log}}"
    file.write_text(
        f"version: 1\nhandlers: {handler}\nloggers: {{own: {{handlers: [h], level: INFO}}}}\n"
        "disable_existing_loggers: false\n"
    )
    assert run(["test", "e2e", str(TESTS), "--logging-config-file", str(file)]) == 0
    logging.getLogger("own").info("heard")
    assert "heard" in (elsewhere / "own.log").read_text()
    file.write_text("version: 3\n")
    assert run(["test", "e2e", str(TESTS), "--logging-config-file", str(file)]) == 1
    assert "logging.yml:1: not a configuration of logging: Unsupported version: 3." in capsys.readouterr().err


def test_what_only_rasa_pro_has_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "e2e", str(TESTS), "--remote-storage", "aws"]) == 2
    assert "--remote-storage aws: models are not fetched from a remote storage" in capsys.readouterr().err
    assert run(["test", "e2e", str(TESTS), "--sub-agents", "sub_agents", "--debug"]) == 0
    assert "--sub-agents has no effect, since agents are not run" in capsys.readouterr().err


def test_a_terminal_shows_colours_and_how_long_it_will_take(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = failing(elsewhere)
    assert run(words) == 1
    plain, err = capsys.readouterr()
    assert "\x1b[" not in plain + err and "playing" not in err
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run(words) == 1
    coloured, err = capsys.readouterr()
    for style, mark in (("31", "-"), ("33", "?"), ("32", "+")):
        assert any(line.startswith(f"\x1b[{style}m  {mark} ") for line in coloured.splitlines()), mark
    assert "playing" in err and "4/4" in err and "0:00:00" in err  # the time that is left
