"""``rasa test e2e --suggest-tests``: the tests that are missing, in a folder of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.terminal import visible

if TYPE_CHECKING:
    from rasa_ft.e2e.runner import SuiteResult
    from rasa_ft.e2e.suggestions.suggest import Suggestions
    from rasa_ft.engine.embedded import EmbeddedEngine

_SHOWN = 5


@dataclass(frozen=True)
class Suggested:
    """What was written into ``folder``."""

    folder: Path
    suggestions: Suggestions

    def as_json(self) -> list[dict[str, Any]]:
        """One entry per suggested test; commands by name, for each message."""
        from rasa_ft.e2e.suggestions.files import file_of

        return [
            {
                "name": suggestion.case.name,
                "file": str(file_of(self.folder, suggestion.group)),
                "visits": [{"flow": flow, "step": step} for flow, step in suggestion.visits],
                "commands": [[command.name for command in message] for message in suggestion.commands],
            }
            for suggestion in self.suggestions.cases
        ]


def check_folder(folder: Path | None, engine: EmbeddedEngine) -> None:
    """Before the tests are played: whatever may be suggested can be written.

    Raises:
        UsageError: it would replace what is not from here.
    """
    from rasa_ft.e2e.suggestions.files import check_folder
    from rasa_ft.e2e.suggestions.kinds import GROUP

    if folder is not None:
        check_folder(folder, [*(flow.id for flow in engine.flows.values() if not flow.is_pattern), GROUP])


def write(folder: Path | None, result: SuiteResult, engine: EmbeddedEngine) -> Suggested | None:
    """Suggest tests for what ``result`` has not visited, and write them; None without a folder."""
    from rasa_ft.e2e.coverage import measure
    from rasa_ft.e2e.suggestions.files import write_suggestions
    from rasa_ft.e2e.suggestions.suggest import suggest
    from rasa_ft.e2e.suggestions.values import seen_values

    if folder is None:
        return None
    played = [found for found in result.results if found.status in ("passed", "failed")]
    measured = measure(result, engine.flows)
    domain = engine.assistant.domain
    suggestions = suggest(measured, engine.flows, domain, seen=seen_values(played), root=engine.project)
    write_suggestions(folder, suggestions)
    return Suggested(folder, suggestions)


def show(suggested: Suggested | None) -> None:
    """How many there are, and what none of them leads to; nothing for None."""
    from rasa_ft.e2e.suggestions.kinds import GROUP

    if suggested is None:
        return
    cases, unreached = suggested.suggestions.cases, suggested.suggestions.unreached
    if cases:
        flows = len(suggested.suggestions.groups.keys() - {GROUP})
        where = visible(str(suggested.folder))
        click.echo(f"{_count(len(cases), 'suggested test')} for {_count(flows, 'flow')} in {where}")
    elif not unreached:
        click.echo("No tests to suggest: every step and every kind of command has one.")
    if unreached:
        shown = ", ".join(f"{flow}/{step}" for flow, step in unreached[:_SHOWN])
        more = f" and {len(unreached) - _SHOWN} more" if len(unreached) > _SHOWN else ""
        click.echo(f"No way was found to {_count(len(unreached), 'step')}: {shown}{more}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
