"""Stand-in; see the package `rasa` beside this one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def extract(query: str, choices: Iterable[str], limit: int | None = 5) -> list[tuple[str, int]]:
    """The choices that are most like the query, best first, each with a likeness from 0 to 100."""
    scored = [(choice, round(100 * _likeness(query, choice))) for choice in choices]
    return sorted(scored, key=lambda item: -item[1])[:limit]


def _likeness(query: str, choice: str) -> float:
    return SequenceMatcher(None, *(text.lower().replace(" ", "") for text in (query, choice))).ratio()
