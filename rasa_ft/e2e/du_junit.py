"""Dialogue understanding tests as JUnit XML, in the shape of `rasa_ft.e2e.junit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.du_runner import DuResult, DuSuiteResult, JudgedStep
from rasa_ft.e2e.junit import junit_xml
from rasa_ft.e2e.runner import CaseResult, Failure, SuiteResult
from rasa_ft.files import write_text


def write_du_junit(path: Path, result: DuSuiteResult, codec: Codec) -> None:
    """Write the results, completely or not at all; what was expected and predicted is in the text of a failure.

    Raises:
        RasaFtError: the file cannot be written.
    """
    entries = tuple(
        CaseResult(found.case, found.status, failure(found, codec), skipped=found.skipped, seconds=found.seconds)
        for found in result.results
    )
    write_text(path, junit_xml(SuiteResult(entries, result.seconds, result.left_out), name="rasa test du"))


def failure(found: DuResult, codec: Codec) -> Failure | None:
    """Why a case did not pass, all messages that were understood otherwise together; None: it did, or was skipped."""
    wrong = [step for step in found.steps if not step.passed]
    if not wrong:
        return found.broken
    message = f"{len(wrong)} of {len(found.steps)} messages understood otherwise"
    lines = [line for step in wrong for line in _lines(step, codec)]
    if found.broken is not None:
        message = f"{message}; {found.broken.message}"
        lines += [f"{found.broken.location}: {found.broken.message}", *found.broken.diff]
    return Failure(message, wrong[0].step.location, tuple(lines))


def _lines(step: JudgedStep, codec: Codec) -> Iterator[str]:
    yield f"{step.step.location}: user: {step.step.text}"
    yield from (f"- {line}" for line in codec.dump(step.predicted).splitlines())
    yield from (f"+ {line}" for line in codec.dump(step.step.commands).splitlines())
