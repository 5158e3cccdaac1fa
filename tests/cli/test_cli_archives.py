"""`rasa train` and what takes its archives."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rasa_ft.cli.main import run
from rasa_ft.cli.project import find_project
from rasa_ft.engine.archive import read_archive
from rasa_ft.errors import DataError, UsageError

BOT = Path(__file__).parents[2] / "examples/bot"
DESK = Path(__file__).parents[1] / "assistants/desk"
TESTS = BOT / "e2e_tests/cancellations.yml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def train(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Path, str]:
    """(what stdout names, stderr)"""
    capsys.readouterr()
    assert run(["train", *words]) == 0
    out, err = capsys.readouterr()
    return Path(out.strip()), err


def test_an_archive_beside_the_assistant(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(DESK, elsewhere, dirs_exist_ok=True)
    path, err = train(capsys)
    assert path.parent == Path("models") and path.is_file()
    assert "desk: " in err and "Nothing had to be trained" in err
    again, err = train(capsys)
    assert again == path and "Nothing has changed" in err
    other, err = train(capsys, "--force", "--fixed-model-name", "bot", "--out", "elsewhere")
    assert other == Path("elsewhere/bot.tar.gz")
    assert read_archive(other).contents == read_archive(path).contents
    assert run(["train", "--fixed-model-name", "../bot"]) == 2


def test_scattered_files(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for old, new in (("config.yml", "config/a.yml"), ("domain.yml", "domains/d.yml"), ("data", "flows")):
        (elsewhere / new).parent.mkdir(exist_ok=True)
        (shutil.copytree if (DESK / old).is_dir() else shutil.copy)(DESK / old, elsewhere / new)
    shutil.copytree(DESK / "actions", elsewhere / "actions")
    shutil.copy(DESK / "endpoints.yml", elsewhere / "e.yml")
    words = ["-c", "config/a.yml", "-d", "domains", "--data", "flows", "--endpoints", "e.yml"]
    path, _ = train(capsys, *words)
    assert path.parent == Path("models")
    assert run(["data", "validate", "-m", str(path)]) == 0
    assert capsys.readouterr().out.startswith("desk-")


def test_skipping_the_validation(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(DESK, elsewhere, dirs_exist_ok=True)
    flow = "flows:\n  extra:\n    description: one more\n    steps:\n      - collect: nothing_known\n"
    (elsewhere / "data/extra.yml").write_text(flow)
    assert run(["train"]) == 1
    assert "nothing_known" in capsys.readouterr().err and not (elsewhere / "models").exists()
    path, err = train(capsys, "--skip-validation")
    assert "Warning: " in err and "nothing_known" in err and path.is_file()


def test_every_command_takes_an_archive(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest of a folder with -m, a file with -m or --project; it plays as the folder does."""
    path, _ = train(capsys, "--project", str(BOT), "--out", "models")
    (elsewhere / "models/older.tar.gz").write_bytes(b"broken")
    os.utime(elsewhere / "models/older.tar.gz", (1, 1))
    for words in (["-m", "models"], ["--model", str(path)], ["--project", str(path)]):
        assert run(["test", "e2e", str(TESTS), *words, "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["passed"] == 4
        assert (f"Using {path}" in err) == (words[1] == "models")
    assert run(["test", "e2e", str(TESTS), "-m", "models", "--coverage-report"]) == 0
    # The coverage folder remembers the archive's assistant.
    capsys.readouterr()
    assert run(["test", "e2e", "e2e_coverage_results/passed.yml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 4
    assert (
        run(
            [
                "llm",
                "finetune",
                "prepare-data",
                str(BOT / "e2e_tests/corrections.yml"),
                "-m",
                "models",
                "--num-rephrases",
                "0",
            ]
        )
        == 0
    )
    assert run(["llm", "finetune", "run", str(path)]) == 2
    assert "name them with --tests" in capsys.readouterr().err


def test_actions_come_from_the_archive(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BOT, elsewhere / "bot", ignore=shutil.ignore_patterns("models", "__pycache__"))
    path, _ = train(capsys, "--project", "bot")
    shutil.move("bot/e2e_tests", "tests")
    shutil.rmtree("bot/actions")
    assert run(["test", "e2e", "tests/cancellations.yml", "--project", "bot"]) == 1
    shutil.copy(path, "kept.tar.gz")
    shutil.rmtree("bot")
    assert run(["test", "e2e", "tests/cancellations.yml", "-m", "kept.tar.gz"]) == 0


def test_what_is_no_archive(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "x.tar.gz").write_bytes(b"no")
    for words, told in (
        (["-m", "x.tar.gz"], "x.tar.gz is not a .tar.gz archive."),
        (["--project", "x.tar.gz"], "x.tar.gz is not a .tar.gz archive."),
        (["-m", "models"], "models does not exist."),
    ):
        assert run(["data", "validate", *words]) == 1
        assert told in capsys.readouterr().err
    (elsewhere / "models").mkdir()
    assert run(["shell", "-m", "models"]) == 1
    assert "there is no archive in models" in capsys.readouterr().err


def test_finding_the_assistant(elsewhere: Path) -> None:
    assert find_project(".", None, DESK) == DESK
    assert find_project(".", DESK) == DESK
    with pytest.raises(UsageError, match="both name the assistant"):
        find_project(".", DESK, DESK)
    with pytest.raises(DataError, match="ghost does not exist"):
        find_project(".", None, Path("ghost"))
