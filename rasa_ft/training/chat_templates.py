"""Chat templates for base models that have none; the chosen one is saved with the tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.training.config import TEMPLATES
from rasa_ft.training.conversations import adds_begin
from rasa_ft.yaml_source import did_you_mean


def apply_template(tokenizer: Any, chosen: str) -> None:
    """Give the tokenizer the template ``chosen``: the name of one of ours, or a Jinja file.

    One of ours begins with the begin token if the tokenizer puts one before a text by itself.

    Raises:
        DataError: there is no such template.
    """
    text = _template(chosen)
    if not chosen.endswith(".jinja") and "bos_token" not in text and adds_begin(tokenizer):
        text = "{{- bos_token -}}" + text
    tokenizer.chat_template = text


def template_names() -> list[str]:
    """The names of the templates that come with the package."""
    return sorted(path.stem for path in TEMPLATES.glob("*.jinja"))


def _template(chosen: str) -> str:
    known = template_names()
    if chosen in known:
        return (TEMPLATES / f"{chosen}.jinja").read_text(encoding="utf-8").rstrip("\n")
    try:
        return Path(chosen).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"chat_template: there is no '{chosen}'.{did_you_mean(chosen, known)}",
            hint=f"Ours are {', '.join(known)}; or give the path of a .jinja file.",
        ) from None
