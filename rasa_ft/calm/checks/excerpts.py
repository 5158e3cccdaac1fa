"""The lines of a file that a finding is about, with a mark under the word that is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import combining, east_asian_width

from rasa_ft.calm.checks.findings import Finding

# Longer lines are cut around the mark.
_WIDEST = 110


@dataclass(frozen=True)
class Spot:
    """Where the mark stands: line and column from 1, and how many characters it covers."""

    line: int
    column: int
    length: int


def find_spot(finding: Finding, lines: Sequence[str]) -> Spot | None:
    """The place of the culprit in the file with these ``lines``.

    The word itself, where it stands between the finding's first and last line; else the first word from where the
    reader said, or of the line. None: the finding has no place, or the file no such line.
    """
    place = finding.location
    if place is None or not 0 < place.line <= len(lines):
        return None
    found = _search(finding.culprit, lines, place.line, max(place.line, place.end_line), place.column)
    if found is not None:
        return found
    text = lines[place.line - 1]
    start = place.column - 1 if 0 < place.column <= len(text) else 0
    word = re.compile(r"\w[\w.-]*").search(text, start)
    return Spot(place.line, word.start() + 1, len(word[0])) if word else Spot(place.line, start + 1, 1)


def _search(culprit: str | None, lines: Sequence[str], first: int, last: int, column: int) -> Spot | None:
    if not culprit or "\n" in culprit:
        return None
    word = re.compile(rf"(?<![\w-]){re.escape(culprit)}(?![\w-])")
    for number in range(first, min(last, len(lines)) + 1):
        start = column - 1 if number == first and column > 0 else 0
        match = word.search(lines[number - 1], start)
        if match is not None:
            return Spot(number, match.start() + 1, len(culprit))
    return None


def excerpt(lines: Sequence[str], spot: Spot) -> tuple[str, ...]:
    """The marked line with the one before it, numbered, and a line of carets under the culprit."""
    number_width = len(str(spot.line))
    has_context = spot.line > 1 and bool(lines[spot.line - 2].strip())
    shown = (spot.line - 1, spot.line) if has_context else (spot.line,)
    offset = max(0, spot.column - 1 + spot.length - _WIDEST)
    numbered = [f"{number:>{number_width}} | {_cut(lines[number - 1], offset)}" for number in shown]
    before = _cut(lines[spot.line - 1], offset)[: spot.column - 1 - offset]
    carets = "^" * max(1, _width(lines[spot.line - 1][spot.column - 1 : spot.column - 1 + spot.length]))
    return (*numbered, f"{'':>{number_width}} | {_blank(before)}{carets[:_WIDEST]}")


def _cut(line: str, offset: int) -> str:
    part = line[offset : offset + _WIDEST].rstrip("\r\n")
    return f"{part}…" if len(line.rstrip()) > offset + _WIDEST else part


def _blank(text: str) -> str:
    """Blanks as wide as ``text``; tabs stay tabs, so that the mark stays under its word."""
    return "".join("\t" if char == "\t" else " " * _width(char) for char in text)


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
