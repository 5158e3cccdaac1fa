"""Which assistant a command is about, when nobody said."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG = "config.yml"


def find_project(path: str | Path, project: Path | None = None) -> Path:
    """The assistant's folder: ``project`` if given, else the nearest one from ``path`` upwards with a config.yml.

    A coverage folder made by ``rasa test e2e`` remembers the assistant that it was made with. Failing all that, the
    working folder.
    """
    if project is not None:
        return project
    start = Path(str(path).partition("::")[0])
    folders = (start, *start.parents)
    found = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    return found or _remembered(start) or _above_working_folder(start) or Path()


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
