"""Cutting documents into pieces that are small enough to be found and quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator

SIZE = 1000
OVERLAP = 20
# Where to cut, best first: between paragraphs, lines, sentences, words.
_BOUNDARIES = tuple(re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"[.!?…]['\")\]]*\s|[。！？]", r"\s"))
_LINE_BREAKS = re.compile(r"\r\n?")


def split_text(text: str, size: int = SIZE, overlap: int = OVERLAP) -> list[str]:
    """Pieces of at most ``size`` characters, in order, none of them blank.

    A piece ends at the best boundary in the second half of what it may hold; only a word longer than that is broken.
    Between paragraphs the cut is clean; elsewhere the next piece repeats whole words of up to ``overlap`` characters.
    Nothing but white space is lost.
    """
    text = _LINE_BREAKS.sub("\n", text)
    return [piece for start, end in _spans(text, size, min(overlap, size // 4)) if (piece := text[start:end].strip())]


def _spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > size:
        end, is_paragraph = _cut(text, start, size)
        yield start, end
        start = end if is_paragraph else _repeated_from(text, end, overlap)
    yield start, len(text)


def _cut(text: str, start: int, size: int) -> tuple[int, bool]:
    """Where the piece from ``start`` ends, and whether a paragraph ends there."""
    earliest = start + max(1, size // 2)
    for boundary in _BOUNDARIES:
        ends = [match.end() for match in boundary.finditer(text, earliest - 1, start + size) if match.end() >= earliest]
        if ends:
            return ends[-1], boundary is _BOUNDARIES[0]
    return start + size, False


def _repeated_from(text: str, end: int, overlap: int) -> int:
    """The beginning of the first word that lies within ``overlap`` characters before ``end``."""
    for position in range(max(0, end - overlap), end):
        if position and text[position - 1].isspace() and not text[position].isspace():
            return position
    return end
