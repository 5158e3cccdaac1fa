"""``rasa data validate``, ``rasa train`` and ``rasa shell``: the assistant itself, on the embedded engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rasa_ft.calm.assistant import Assistant
    from rasa_ft.calm.events import BotUttered, Button
    from rasa_ft.engine.base import Turn

STOP_WORDS = ("/stop", "/quit", "/exit")


def _project_options(command: Callable[..., Any]) -> Callable[..., Any]:
    folder = click.Path(path_type=Path, file_okay=False)
    command = click.option("--endpoints", type=click.Path(path_type=Path), help="Default: endpoints.yml there.")(
        command
    )
    return click.option(
        "--project", type=folder, help="The assistant's folder.  [default: the nearest one with a config.yml]"
    )(command)


@click.command()
@_project_options
@click.option("--fail-on-warnings", is_flag=True, help="Exit with 1 if there are warnings.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def validate(project: Path | None, endpoints: Path | None, fail_on_warnings: bool, as_json: bool) -> int:
    """Check configuration, domain, flows and endpoints; show every problem with its place."""
    from rasa_ft.calm.assistant import load_assistant
    from rasa_ft.cli.project import find_project

    folder = find_project(".", project)
    assistant = load_assistant(folder, endpoints=endpoints)
    if as_json:
        _print_json(assistant)
    else:
        for finding in assistant.warnings:
            click.echo(f"Warning: {finding}")
        click.echo(f"{folder.resolve().name}: {_contents(assistant)}, {len(assistant.warnings)} warnings.")
    return 1 if fail_on_warnings and assistant.warnings else 0


def _print_json(assistant: Assistant) -> None:
    import json

    warnings = [
        {
            "message": finding.message,
            "file": str(finding.location.file) if finding.location else None,
            "line": finding.location.line if finding.location else None,
            "hint": finding.hint,
        }
        for finding in assistant.warnings
    ]
    click.echo(json.dumps({"flows": list(assistant.user_flows), "warnings": warnings}, indent=2, ensure_ascii=False))


def _contents(assistant: Assistant) -> str:
    domain = assistant.domain
    return f"{len(assistant.user_flows)} flows, {len(domain.custom_actions)} custom actions, no errors"


@click.command()
@_project_options
def train(project: Path | None, endpoints: Path | None) -> None:
    """Check that the assistant can run; the embedded engine has nothing to train."""
    from rasa_ft.cli.project import find_project
    from rasa_ft.engine.embedded import load_engine

    folder = find_project(".", project)
    engine = load_engine(folder, endpoints=endpoints)
    for finding in engine.assistant.warnings:
        click.echo(f"Warning: {finding}", err=True)
    click.echo(f"{folder.resolve().name}: {_contents(engine.assistant)}; its actions and its model can be used.")
    click.echo("Nothing was trained: the embedded engine runs the files as they are.", err=True)
    click.echo("For a command model of your own:  rasa llm finetune run", err=True)


@click.command()
@_project_options
@click.option("--show-commands", is_flag=True, help="Show what each message was understood as.")
def shell(project: Path | None, endpoints: Path | None, show_commands: bool) -> None:
    """Talk to the assistant; a number presses a button, /stop ends."""
    from rasa_ft.cli.project import find_project
    from rasa_ft.engine.embedded import load_engine

    engine = load_engine(find_project(".", project), endpoints=endpoints)
    click.echo("Talk to the assistant; /stop ends.", err=True)
    # One loop for the whole conversation: the model's connections belong to it.
    with asyncio.Runner() as runner:
        conversation = runner.run(engine.start())
        buttons: tuple[Button, ...] = ()
        while (text := _read(buttons)) is not None:
            turn = runner.run(conversation.say(text))
            if show_commands:
                click.secho(engine.codec.dump(turn.parsed) or "(no commands)", fg="cyan", err=True)
            buttons = _show(turn)


def _read(buttons: tuple[Button, ...]) -> str | None:
    """The next message; None at the end."""
    try:
        text = input("you: ").strip()
    except EOFError:
        return None
    if text in STOP_WORDS:
        return None
    if text.isdecimal() and 0 < int(text) <= len(buttons):
        return buttons[int(text) - 1].payload
    return text


def _show(turn: Turn) -> tuple[Button, ...]:
    """Print the bot's side; the buttons of its last message."""
    if turn.error is not None:
        click.secho(f"The model gave no usable answer: {turn.error}", fg="red", err=True)
    for message in turn.bot_messages:
        _show_message(message)
    return turn.bot_messages[-1].buttons if turn.bot_messages else ()


def _show_message(message: BotUttered) -> None:
    for part in (message.text, message.image, message.attachment, message.custom):
        if part is not None:
            click.echo(f"bot: {part}")
    for number, button in enumerate(message.buttons, start=1):
        click.echo(f"  {number}. {button.title}")
