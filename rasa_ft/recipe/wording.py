"""Comparing wordings and finding values in them: all that is meant by "the same text" in data preparation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

# Two texts of this similarity (2 * matching characters / all characters) differ in a typing error or an article.
_NEAR = 0.92
_PUNCTUATION = re.compile(r"[^\w\s]")


def normalised(text: str) -> str:
    """Case, punctuation and blanks do not count; a text of nothing but punctuation stays as it is."""
    words = _PUNCTUATION.sub(" ", text.casefold()).split()
    return " ".join(words) or text.strip()


def is_near(one: str, other: str) -> bool:
    """Whether two texts are (nearly) the same wording; a differing number always makes them different."""
    first, second = normalised(one), normalised(other)
    if first == second:
        return True
    if re.findall(r"\d+", first) != re.findall(r"\d+", second):
        return False
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    return matcher.real_quick_ratio() >= _NEAR and matcher.quick_ratio() >= _NEAR and matcher.ratio() >= _NEAR


def distinct(texts: Iterable[str], original: str) -> list[str]:
    """The texts that say it neither like ``original`` nor like an earlier one."""
    kept: list[str] = []
    for text in texts:
        candidate = " ".join(text.split())
        if candidate and not any(is_near(candidate, other) for other in (original, *kept)):
            kept.append(candidate)
    return kept


def normal_value(value: Any) -> str:
    """One text for all spellings of a slot value: ``True`` and ``true``, ``4`` and ``4.0``, `` Rome`` and ``rome``."""
    text = normalised(str(value)) if isinstance(value, str) else str(value).casefold()
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return text


def states(text: str, value: Any) -> bool:
    """Whether ``text`` contains ``value`` as whole words, case and punctuation apart."""
    wanted = normalised(str(value))
    return bool(wanted) and f" {wanted} " in f" {normalised(text)} "


def exchange_values(text: str, mapping: Mapping[str, str]) -> str:
    """``text`` with every key of ``mapping`` that stands there as whole words replaced by its value, all at once.

    Longer keys go first; case does not matter when searching. Keys that are values too are not replaced twice.
    """
    if not mapping:
        return text
    by_key = {key.casefold(): value for key, value in mapping.items()}
    keys = sorted(by_key, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(key) for key in keys)})(?!\w)", re.IGNORECASE)
    return pattern.sub(lambda match: by_key[match[0].casefold()], text)


def contains_literally(text: str, value: str) -> bool:
    """Whether `exchange_values` would find ``value`` in ``text``."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


def jaccard(one: Sequence[str] | frozenset[str], other: Sequence[str] | frozenset[str]) -> float:
    """Shared members over all members of two sets; 0 for two empty ones."""
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first | second else 0.0
