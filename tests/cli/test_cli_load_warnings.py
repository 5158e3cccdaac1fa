"""What is told of an assistant before its tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.calm.checks.findings import Finding
from rasa_ft.calm.checks.rules import RULES
from rasa_ft.calm.project.assistant import Assistant
from rasa_ft.cli.load_warnings import CHANGES_RESULTS, show_warnings

FORMS = Finding("warning", "out of scope, not run: forms.\x1b[2J", rule="out-of-scope")
STYLE = Finding("warning", "a button sends text.", rule="free-text-payload")


def shown(capsys: pytest.CaptureFixture[str], *warnings: Finding) -> str:
    show_warnings(Assistant(Path(), None, None, None, None, warnings=warnings))  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_what_changes_results_is_told_and_the_rest_counted(capsys):
    assert shown(capsys) == ""
    assert shown(capsys, STYLE) == "1 warning: rasa data validate shows them.\n"
    told = shown(capsys, STYLE, FORMS, STYLE)
    assert told == "Warning: out of scope, not run: forms.\\x1b[2J\n2 more warnings: rasa data validate shows them.\n"


def test_rules_exist():
    assert CHANGES_RESULTS.issubset(RULES)
