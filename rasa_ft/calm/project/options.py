"""Options that several components of an assistant have in common: prompt templates, models, time zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from rasa_ft.calm.checks.findings import Report, get_typed, shown
from rasa_ft.calm.templates import template_syntax_error
from rasa_ft.files import exists
from rasa_ft.yaml_source import location_of, plain

UTC = "UTC"
# The second is what the option was called at first.
TEMPLATE_KEYS = ("prompt_template", "prompt")


def read_prompt_template(
    node: Mapping[str, Any], folders: Sequence[Path], report: Report, what: str, keys: Sequence[str] = TEMPLATE_KEYS
) -> Path | None:
    """The template that a component names; None: the built-in one.

    Args:
        folders: where a relative path may start, the usual place first.
        what: whose template it is, for messages.
        keys: under which keys it may stand; the first one given counts.
    """
    key = next((key for key in keys if node.get(key)), keys[-1])
    written = get_typed(node, key, str, report)
    if written is None:
        return None
    path = find_file(written, folders)
    problem = _template_problem(path)
    if problem is not None:
        report.error(f"{what} {written} {problem}.", location_of(node, key), rule="prompt-template", culprit=written)
    return path


def find_file(written: str, folders: Sequence[Path]) -> Path:
    """The file that a configuration means by a relative path: in the first folder that has it, else in the first."""
    places = [folder / written for folder in folders]
    return next((place for place in places if exists(place)), places[0])


def _template_problem(path: Path) -> str | None:
    """What is wrong with a template, as the end of a sentence; None if nothing is."""
    if not exists(path):
        return "does not exist"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    problem = template_syntax_error(text)
    return problem and f"is not a jinja template: {problem}"


def read_model(node: Mapping[str, Any], key: str, report: Report) -> Mapping[str, Any] | None:
    """A model as written: ``{model_group: id}`` or its own settings; None without one."""
    written = get_typed(node, key, dict, report)
    return None if written is None else MappingProxyType(plain(written))


def read_timezone(node: Mapping[str, Any], report: Report) -> str:
    """The name of a time zone that exists."""
    name = str(get_typed(node, "timezone", str, report, default=UTC))
    if name == UTC:
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        place, hint = location_of(node, "timezone"), "For example Europe/Berlin."
        report.error(f"{shown(name)} is not a time zone.", place, hint, rule="invalid-timezone", culprit=name)
        return UTC
    return name
