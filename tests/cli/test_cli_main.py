"""The command line as a contract: instant help, suggestions, exit codes, no tracebacks."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from rasa_ft.cli import main as main_module
from rasa_ft.cli.main import cli, run
from rasa_ft.errors import DataError, GateNotMet, Location, MissingRequirement

HEAVY = ("torch", "litellm", "openai", "transformers", "vllm", "matplotlib", "rasa_sdk", "pydantic", "rich")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rasa_ft.cli.main import run; code = run(['--help']); "
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "0 []"
    assert "llm" in result.stdout


@pytest.mark.parametrize(
    "path",
    [
        [],
        ["llm"],
        ["llm", "finetune"],
        ["test"],
        ["test", "e2e"],
        ["llm", "finetune", "prepare-data"],
        ["llm", "finetune", "train"],
        ["llm", "finetune", "serve"],
        ["llm", "finetune", "evaluate"],
        ["llm", "finetune", "run"],
        ["shell"],
        ["train"],
        ["data", "validate"],
        ["plugin", "enable"],
    ],
)
def test_every_command_has_help(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_a_typo_gets_a_suggestion_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["llm", "finetune", "prepare-date"]) == 2
    assert "Did you mean 'prepare-data'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("the flow is broken.", location=Location(Path("flows.yml"), 7), hint="Mend it."), 1),
        (GateNotMet("validation is below its gate."), 3),
        (MissingRequirement("torch is missing."), 4),
        (KeyboardInterrupt(), 130),
        (click.UsageError("no such option"), 2),
        (RuntimeError("surprise"), 1),
    ],
)
def test_errors_become_exit_codes_without_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setitem(main_module.Root.groups, "broken", broken)
    monkeypatch.setitem(cli.lazy, "broken", ("", "a test"))
    assert run(["broken"]) == code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    if isinstance(error, DataError):
        assert shown == "Error: flows.yml:7: the flow is broken.\n  Mend it.\n"
