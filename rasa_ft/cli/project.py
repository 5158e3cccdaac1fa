"""Which assistant a command is about: a project's folder, an archive, or what is nearest when nobody said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

CONFIG = "config.yml"


def project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--project``; the command hands it to `find_project`."""
    return click.option(
        "--project",
        type=click.Path(path_type=Path),
        help="The assistant: its folder, or an archive.  [default: the nearest folder with a config.yml]",
    )(command)


def model_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-m``/``--model``; the command hands it to `find_project`."""
    return click.option(
        "-m",
        "--model",
        type=click.Path(path_type=Path),
        help="An archive made by `rasa train`, or a folder of them: the newest.  [default: the project's files]",
    )(command)


def find_project(path: str | Path, project: Path | None = None, model: Path | None = None) -> Path:
    """The assistant's folder: ``project`` or ``model``, else the nearest one from ``path`` upwards with a config.yml.

    Either may be an archive, which is unpacked into the user's cache; ``model`` may be a folder of archives, of which
    the newest is taken. A coverage folder made by ``rasa test e2e`` remembers the assistant that it was made with.
    Failing all that, the working folder.

    Raises:
        DataError: an archive is damaged or not one of ours.
        UsageError: both ``project`` and ``model`` are given.
    """
    if project is not None and model is not None:
        from rasa_ft.errors import UsageError

        raise UsageError("--project and --model both name the assistant.", hint="Give one of them.")
    if project is not None:
        return _unpacked(project) if project.is_file() else project
    if model is not None:
        return _of_model(model)
    start = Path(str(path).partition("::")[0])
    folders = (start, *start.parents)
    found = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    return found or _remembered(start) or _above_working_folder(start) or Path()


def _of_model(place: Path) -> Path:
    from rasa_ft.engine.archive import newest_archive

    if not place.is_dir():
        return _unpacked(place)
    if (place / CONFIG).is_file():
        return place
    newest = newest_archive(place)
    click.echo(f"Using {newest}", err=True)
    return _unpacked(newest)


def _unpacked(archive: Path) -> Path:
    from rasa_ft.engine.archive import open_archive

    return open_archive(archive)


def _remembered(path: Path) -> Path | None:
    folder = path if path.is_dir() else path.parent
    try:
        found = folder / json.loads((folder / "coverage.json").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _shortened(found) if (found / CONFIG).is_file() else None


def _above_working_folder(path: Path) -> Path | None:
    return next((folder for folder in path.resolve().parents if (folder / CONFIG).is_file()), None)


def _shortened(path: Path) -> Path:
    """Relative to the working folder where it lies below it."""
    real, here = path.resolve(), Path.cwd()
    return real.relative_to(here) if real.is_relative_to(here) else real
