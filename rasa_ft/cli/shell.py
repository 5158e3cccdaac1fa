"""``rasa shell``: a conversation with the assistant in the terminal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.project import model_option, project_option
from rasa_ft.cli.terminal import visible

if TYPE_CHECKING:
    from rasa_ft.calm.events import BotUttered, Button
    from rasa_ft.engine.base import Turn
    from rasa_ft.engine.embedded import EmbeddedConversation, EmbeddedEngine

STOP_WORDS = ("/stop", "/quit", "/exit")


@click.command()
@project_option
@model_option
@click.option("--endpoints", type=click.Path(path_type=Path), help="Default: endpoints.yml there.")
@click.option("--show-commands", is_flag=True, help="Show what each message was understood as.")
@click.option("--debug", is_flag=True, help="Show prompt, commands, events and stack of each turn.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yml",
    help="Add a test case to this file.",
)
@click.option("--metadata", metavar="JSON", help="Goes along with every message.")
@click.pass_context
def shell(
    context: click.Context,
    project: Path | None,
    model: Path | None,
    endpoints: Path | None,
    show_commands: bool,
    debug: bool,
    record: Path | None,
    metadata: str | None,
) -> None:
    """Talk to the assistant; a number presses a button, /stop ends.

    With --record the conversation becomes an E2E test that `rasa test e2e` can run; a file that is there keeps its
    cases. A message that the model could not answer is then taken back, and what was said before Ctrl-C is kept.
    """
    from rasa_ft.cli.load_warnings import show_warnings
    from rasa_ft.cli.project import find_project
    from rasa_ft.e2e.recording import check_recordable
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.engine.health import check_models_if_wanted

    sent = _metadata(metadata)
    if record is not None:
        check_recordable(record)
    # Sessions expire as in production; but not in a recording, since a test has no pauses.
    clock = time.time if record is None else None
    engine = load_engine(find_project(".", project, model), endpoints=endpoints, clock=clock)
    show_warnings(engine.assistant)
    check_models_if_wanted(engine.assistant)
    # `--debug` is taken from the command line before click sees it.
    debug = debug or bool((context.find_root().obj or {}).get("debug"))
    click.echo("Talk to the assistant; /stop ends.", err=True)
    session = _Session(engine, sent, show_commands, debug, recording=record is not None)
    try:
        session.run()
    finally:
        if record is not None:
            _write(session.turns, record, sent)


def _metadata(text: str | None) -> dict[str, Any]:
    from rasa_ft.errors import UsageError

    if text is None:
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(key.isidentifier() and key.isascii() for key in values):
        raise UsageError("--metadata must be a JSON object.", hint="""For example '{"channel": "app"}'.""")
    return values


def _write(turns: list[Turn], file: Path, metadata: Mapping[str, Any]) -> None:
    from rasa_ft.e2e.recording import append_case, recorded_case

    if not turns:
        click.echo(f"Nothing was said, so {file} was left alone.", err=True)
        return
    case = append_case(recorded_case(turns, file, metadata))
    click.echo(f"Written: {case.id}", err=True)


class _Session:
    """One conversation; ``turns`` are those that count."""

    def __init__(
        self, engine: EmbeddedEngine, metadata: Mapping[str, Any], show_commands: bool, debug: bool, *, recording: bool
    ) -> None:
        self.engine = engine
        self.metadata = metadata
        self.show_commands = show_commands
        self.debug = debug
        self.recording = recording
        self.turns: list[Turn] = []
        self._prompt: str | None = None

    def run(self) -> None:
        """Until the user stops."""
        # One loop for the whole conversation: the model's connections belong to it.
        with asyncio.Runner() as runner:
            conversation = runner.run(self.engine.start())
            buttons: tuple[Button, ...] = ()
            while (text := _read(buttons)) is not None:
                if self.recording and not text:
                    continue  # a test cannot hold an empty message
                before = conversation.fork()
                turn = runner.run(conversation.say(text, metadata=self.metadata))
                self._explain(turn, conversation)
                buttons = _show(turn)
                if self.recording and turn.error is not None:
                    click.secho("The message is taken back.", fg="red", err=True)
                    conversation = before
                else:
                    self.turns.append(turn)

    def _explain(self, turn: Turn, conversation: EmbeddedConversation) -> None:
        if self.debug:
            from rasa_ft.cli.shell_debug import describe_turn

            lines = describe_turn(turn, conversation.tracker.stack, self.engine.codec, self._prompt)
            click.secho(visible("\n".join(lines)), fg="cyan", err=True)
            self._prompt = turn.prompt or self._prompt
        elif self.show_commands:
            click.secho(visible(self.engine.codec.dump(turn.parsed)) or "(no commands)", fg="cyan", err=True)


def _read(buttons: tuple[Button, ...]) -> str | None:
    """The next message; None at the end."""
    try:
        # Bytes that are no text would stop every request that carries them.
        text = input("you: ").encode("utf-8", "replace").decode("utf-8").strip()
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
        click.secho(f"The model gave no usable answer: {visible(turn.error)}", fg="red", err=True)
    for message in turn.bot_messages:
        _show_message(message)
    return turn.bot_messages[-1].buttons if turn.bot_messages else ()


def _show_message(message: BotUttered) -> None:
    for part in (message.text, message.image, message.attachment, message.custom):
        if part is not None:
            click.echo(f"bot: {visible(part)}")
    for number, button in enumerate(message.buttons, start=1):
        click.echo(f"  {number}. {visible(button.title)}")
