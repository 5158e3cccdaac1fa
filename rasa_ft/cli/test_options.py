"""Options that all kinds of tests take: which assistant, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rasa_ft.cli.project import model_option, project_option


def test_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``endpoints``, ``project``, ``model``, ``concurrency`` and ``as_json``."""
    options = (
        click.option("--endpoints", type=click.Path(path_type=Path), help="Default: endpoints.yml in the project."),
        project_option,
        model_option,
        click.option(
            "-j",
            "--concurrency",
            type=click.IntRange(min=1),
            default=8,
            show_default=True,
            help="Conversations at a time.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command
