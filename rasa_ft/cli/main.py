"""The command line: a lazily loaded tree, so that ``--help`` is instant, and one place that turns errors into codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

import rasa_ft
from rasa_ft.cli.terminal import visible
from rasa_ft.errors import RasaFtError


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    ``lazy`` maps a command's name to ``(module:attribute, one line of help)``, so that listing imports nothing.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return None
        module, attribute = self.lazy[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.lazy:
            nearest = get_close_matches(args[0], self.lazy, n=1)
            suggestion = f" Did you mean '{nearest[0]}'?" if nearest else ""
            ctx.fail(f"No such command '{args[0]}'.{suggestion}")
        return super().resolve_command(ctx, args)


finetune = LazyGroup(
    "finetune",
    help="From passing E2E tests to a tuned, served and re-tested model.",
    lazy={
        "prepare-data": ("rasa_ft.cli.prepare_data:prepare_data", "annotate, rephrase, check and split training data"),
        "train": ("rasa_ft.cli.train:train", "fine-tune a model on the prepared data"),
        "serve": ("rasa_ft.cli.serve:serve", "serve a model behind the OpenAI API with vLLM"),
        "evaluate": ("rasa_ft.cli.evaluate:evaluate", "re-run the E2E tests on the tuned model and give a verdict"),
        "export": ("rasa_ft.cli.export:export", "write the model as adapter, merged model or GGUF, and push it"),
        "deploy": ("rasa_ft.cli.deploy:deploy", "write Kubernetes manifests that serve the model"),
        "run": ("rasa_ft.cli.run:run", "all of it in one go, from E2E tests to the verdict"),
    },
)
llm = click.Group("llm", help="Language models of your own.", commands={"finetune": finetune})
data = LazyGroup(
    "data",
    help="The assistant's files.",
    lazy={"validate": ("rasa_ft.cli.validate:validate", "check domain, flows, config and endpoints")},
)
test = LazyGroup(
    "test",
    help="Run tests on the assistant.",
    lazy={
        "e2e": ("rasa_ft.cli.test:e2e", "play conversations and check what the assistant does"),
        "du": ("rasa_ft.cli.test_du:du", "check which commands each message is understood as"),
    },
)
plugin = LazyGroup(
    "plugin",
    help="Make plain `rasa …` work in this environment.",
    lazy={
        "enable": ("rasa_ft.cli.plugin:enable", "put a `rasa` command beside `rasa-ft`"),
        "disable": ("rasa_ft.cli.plugin:disable", "take it away again"),
        "status": ("rasa_ft.cli.plugin:status", "say whether it is there"),
    },
)


class Root(LazyGroup):
    """The top of the tree: groups are at hand, the rest is lazy."""

    groups = {"test": test, "llm": llm, "data": data, "plugin": plugin}  # noqa: RUF012

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return self.groups.get(name) or super().get_command(ctx, name)


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "test": ("", "run E2E and dialogue understanding tests on the assistant"),
        "llm": ("", "fine-tune, serve and evaluate a model of your own"),
        "train": ("rasa_ft.cli.train_assistant:train", "check the assistant and pack it into a model archive"),
        "shell": ("rasa_ft.cli.shell:shell", "talk to the assistant in the terminal"),
        "data": ("", "check the assistant's files"),
        "plugin": ("", "make plain `rasa …` work in this environment"),
    },
)
@click.version_option(rasa_ft.__version__, prog_name="rasa-ft")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """From passing E2E tests to a small command model of your own, with proof that it is good enough."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``rasa-ft`` and of the plain ``rasa`` that ``plugin enable`` puts beside it."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _load_dotenv()
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """The exit code of one call: 0 fine, 1 failed, 2 usage, 3 gate, 4 something to install, 130 interrupted."""
    debug = "--debug" in arguments
    try:
        # Accepted anywhere, as with rasa.
        words = [word for word in arguments if word != "--debug"]
        result = cli.main(words, standalone_mode=False, obj={"debug": debug})
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. What was finished is kept; the same command goes on from there.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`… | head`): not an error, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RasaFtError as error:
        if debug:
            raise
        click.echo(f"Error: {visible(error)}", err=True)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"Error: {type(error).__name__}: {visible(error)}\n"
            "  A bug in rasa_ft: run again with --debug and report it.",
            err=True,
        )
        return 1


def _load_dotenv() -> None:
    if Path(".env").is_file():
        from dotenv import load_dotenv

        load_dotenv(".env")


if __name__ == "__main__":
    main()
