"""``rasa data validate``: every problem of the assistant, with the place, the line and what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.project import model_option, project_option
from rasa_ft.cli.terminal import visible

if TYPE_CHECKING:
    from rasa_ft.calm.checks.excerpts import Spot
    from rasa_ft.calm.checks.findings import Finding
    from rasa_ft.calm.project.assistant import Assistant

_PATH = click.Path(path_type=Path)
_COLORS = {"error": "red", "warning": "yellow"}


@click.command()
@project_option
@model_option
@click.option("-c", "--config", type=_PATH, help="Configuration file.  [default: config.yml in the project]")
@click.option("-d", "--domain", type=_PATH, help="Domain file or folder.  [default: domain.yml or domain there]")
@click.option("--data", type=_PATH, help="Folder of flow files.  [default: data there]")
@click.option("--endpoints", type=_PATH, help="Endpoints file.  [default: endpoints.yml there]")
@click.option("--fail-on-warnings", is_flag=True, help="Exit with 1 if there are warnings.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
def validate(
    project: Path | None,
    model: Path | None,
    config: Path | None,
    domain: Path | None,
    data: Path | None,
    endpoints: Path | None,
    fail_on_warnings: bool,
    as_json: bool,
) -> int:
    """Check configuration, domain, flows and endpoints; show every problem with its place.

    Each problem has a rule, a name that does not change, in brackets. With --json each is an object with the keys
    severity (error or warning), rule, message, file, line, column, hint; line and column count from 1, and are null
    where there is no place. Exit code 0: no errors; 1: errors.
    """
    from rasa_ft.calm.project.assistant import find_sources
    from rasa_ft.cli.project import find_project
    from rasa_ft.engine.validation import validate_project

    folder = Path() if project is None and config is not None else find_project(".", project, model)
    sources = find_sources(folder, config=config, domain=domain, data=data, endpoints=endpoints)
    assistant, report = validate_project(sources)
    findings = sorted(report.findings, key=_place)
    if as_json:
        _print_json(findings)
    else:
        _print_text(findings, assistant, folder)
    return 1 if report.errors or (fail_on_warnings and report.warnings) else 0


def _place(finding: Finding) -> tuple[str, int]:
    """Findings of one file together, in the order of its lines."""
    return (str(finding.location.file), finding.location.line) if finding.location else ("", 0)


class _Lines:
    """The lines of files, each read once."""

    def __init__(self) -> None:
        self._files: dict[Path, list[str]] = {}

    def of(self, finding: Finding) -> list[str]:
        if finding.location is None:
            return []
        file = finding.location.file
        if file not in self._files:
            self._files[file] = _read(file)
        return self._files[file]


def _read(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _print_json(findings: Sequence[Finding]) -> None:
    import json

    from rasa_ft.calm.checks.excerpts import find_spot

    lines = _Lines()
    documents = [_document(finding, find_spot(finding, lines.of(finding))) for finding in findings]
    click.echo(json.dumps(documents, indent=2, ensure_ascii=False))


def _document(finding: Finding, spot: Spot | None) -> dict[str, Any]:
    place = finding.location
    return {
        "severity": finding.severity,
        "rule": finding.rule,
        "message": finding.message,
        "file": _shown(place.file) if place else None,
        "line": spot.line if spot else place.line if place else None,
        "column": spot.column if spot else None,
        "hint": finding.hint,
    }


def _print_text(findings: Sequence[Finding], assistant: Assistant | None, folder: Path) -> None:
    lines = _Lines()
    for finding in findings:
        _print_finding(finding, lines.of(finding))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    contents = "" if assistant is None else f"{_contents(assistant)}: "
    color = "red" if errors else "yellow" if warnings else "green"
    _echo(click.style(f"{folder.resolve().name}: {contents}{counts}.", fg=color, bold=True))


def _print_finding(finding: Finding, lines: Sequence[str]) -> None:
    from rasa_ft.calm.checks.excerpts import excerpt, find_spot

    spot = find_spot(finding, lines)
    severity = click.style(finding.severity, fg=_COLORS[finding.severity], bold=True)
    rule = click.style(f"[{finding.rule}]", dim=True)
    _echo(f"{_where(finding, spot)}{severity}: {visible(finding.message)}  {rule}")
    for line in excerpt(lines, spot) if spot else ():
        _echo(f"  {visible(line)}")
    if finding.hint:
        _echo(f"  {visible(finding.hint)}")
    _echo("")


def _where(finding: Finding, spot: Spot | None) -> str:
    if finding.location is None:
        return ""
    place = f"{spot.line}:{spot.column}" if spot else str(finding.location.line)
    return f"{_shown(finding.location.file)}:{place}: "


def _shown(file: Path) -> str:
    """Relative to the working folder where it lies below it."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _contents(assistant: Assistant) -> str:
    flows, actions = len(assistant.user_flows), len(assistant.domain.custom_actions)
    return f"{_count(flows, 'flow')}, {_count(actions, 'custom action')}"


def _echo(text: str) -> None:
    """In colour on a terminal only, and not where NO_COLOR is set (https://no-color.org)."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
