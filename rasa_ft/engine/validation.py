"""Everything that is wrong with a project: the assistant's files and the models that it names."""

from __future__ import annotations

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.project.assistant import Assistant, Sources, inspect_assistant
from rasa_ft.errors import DataError
from rasa_ft.llm.config import command_group, load_model_groups

# After these the models are known to be unusable, and would be reported once more.
_SAID_ALREADY = frozenset({"unreadable-file", "unknown-model-group", "mixed-model-references"})


def validate_project(sources: Sources) -> tuple[Assistant | None, Report]:
    """All findings about all files; the assistant if none of them is an error."""
    assistant, report = inspect_assistant(sources)
    _check_models(sources, report)
    return (None if report.errors else assistant), report


def _check_models(sources: Sources, report: Report) -> None:
    if _SAID_ALREADY & {finding.rule for finding in report.errors}:
        return
    try:
        if sources.endpoints is not None:
            load_model_groups(sources.endpoints)
        command_group(sources.project, sources.endpoints, sources.config)
    except DataError as error:
        report.add(error, "invalid-model")
