"""The bar that shows how far a run of tests is."""

from __future__ import annotations

import pytest

from rasa_ft.cli.test_progress import progress_bar


def test_counts_by_status_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar(3) as ended:
        for status in ("passed", "failed", "passed"):
            ended(status)
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err and "2 passed, 1 failed" in err and "0:00" in err


def test_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with progress_bar(1) as ended:
        ended("passed")
    assert "playing" not in capsys.readouterr().err
