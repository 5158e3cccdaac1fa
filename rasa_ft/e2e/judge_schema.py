"""Reading who judges: the section ``llm_judge`` of a conftest file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasa_ft.e2e.model import JudgeSettings
from rasa_ft.e2e.problems import Problems, place

SECTION = "llm_judge"
_KEYS = ("llm", "embeddings")
_ROOT_FILES = ("config.yml", "domain.yml", "domain", "config")


def read_judge(problems: Problems, data: Mapping[str, Any]) -> JudgeSettings | None:
    """The section of a conftest file's content; what the models' entries say is checked when they are needed."""
    if data.get(SECTION) is None:
        return None
    section = problems.mapping(data, SECTION, f"`{SECTION}`") or {}
    problems.keys(section, _KEYS, f"`{SECTION}`")
    entries = {
        key: problems.mapping(section, key, f"`{key}` of `{SECTION}`") for key in _KEYS if section.get(key) is not None
    }
    return JudgeSettings(place(problems.file, data, SECTION), **entries)


def is_assistant(folder: Path) -> bool:
    """Whether ``folder`` is an assistant's, above which no judge is looked for."""
    return any((folder / name).exists() for name in _ROOT_FILES)
