"""Options that command lines written for rasa carry: how much is told, and what only Rasa Pro has."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import click

_FORMAT = "%(levelname)s %(name)s: %(message)s"


def rasa_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-v``, ``--quiet`` and ``--logging-config-file`` have effect; ``--sub-agents`` has none, and says so;
    ``--remote-storage`` is refused. The command itself sees none of them.
    """

    @functools.wraps(command)
    def told(
        *args: Any,
        verbose: int,
        quiet: bool,
        logging_config_file: Path | None,
        remote_storage: str | None,
        sub_agents: str | None,
        **options: Any,
    ) -> Any:
        _refuse_remote_storage(remote_storage)
        if logging_config_file is not None:
            _configure_logging(logging_config_file)
        with _silence() if quiet else _log_messages(verbose):
            if sub_agents is not None:
                click.echo("Warning: --sub-agents has no effect, since agents are not run.", err=True)
            return command(*args, **options)

    listed = (
        click.option("-v", "--verbose", count=True, help="Show log messages; -vv shows all of them."),
        click.option("--quiet", is_flag=True, help="Nothing on stderr but errors."),
        click.option(
            "--logging-config-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Python's logging configuration, as YAML.",
        ),
        click.option("--remote-storage", hidden=True),
        click.option("--sub-agents", hidden=True),
    )
    found: Callable[..., Any] = told
    for option in reversed(listed):
        found = option(found)
    return found


def _refuse_remote_storage(place: str | None) -> None:
    from rasa_ft.errors import UsageError

    if place is not None:
        raise UsageError(
            f"--remote-storage {place}: models are not fetched from a remote storage here.",
            hint="Download the archive and name it with --model.",
        )


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on stderr; errors are told by whoever catches them outside."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


@contextmanager
def _log_messages(verbose: int) -> Iterator[None]:
    """Our own log messages on stderr: warnings, with one ``-v`` what is less than that, with two all."""
    if not verbose:
        yield
        return
    log = logging.getLogger("rasa_ft")
    before, handler = log.level, logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    log.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _configure_logging(file: Path) -> None:
    from logging.config import dictConfig

    from rasa_ft.errors import DataError, Location
    from rasa_ft.yaml_source import load_yaml, plain

    content = plain(load_yaml(file))
    try:
        dictConfig(content)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"not a configuration of logging: {error}.", location=Location(file, 1)) from None
