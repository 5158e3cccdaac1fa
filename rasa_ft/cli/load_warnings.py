"""What a loaded assistant has that changes results, told before they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rasa_ft.cli.terminal import visible

if TYPE_CHECKING:
    from rasa_ft.calm.project.assistant import Assistant

# The checks whose findings mean that the assistant behaves otherwise here than its authors may expect.
CHANGES_RESULTS = frozenset(
    {"out-of-scope", "custom-component", "no-generator", "knowledge", "no-documents", "missing-action-class"}
)


def show_warnings(assistant: Assistant) -> None:
    """On stderr: findings that change results in full, the others as a count."""
    important = [finding for finding in assistant.warnings if finding.rule in CHANGES_RESULTS]
    for finding in important:
        click.echo(f"Warning: {visible(finding)}", err=True)
    others = len(assistant.warnings) - len(important)
    if others:
        noun = "warning" if others == 1 else "warnings"
        click.echo(f"{others} {'more ' if important else ''}{noun}: rasa data validate shows them.", err=True)
