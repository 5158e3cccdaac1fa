"""Comparing wordings and finding values in them: all that is meant by "the same text" in data preparation."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any

# Two texts of this similarity (2 * matching characters / all characters) differ in a typing error or an article.
_NEAR = 0.92
# A text that is near has at least this share of the other's characters: 2 * short / (short + long) >= _NEAR.
_SHORTEST = _NEAR / (2 - _NEAR)
_BITS = 512
_PUNCTUATION = re.compile(r"[^\w\s]")
_DIGITS = re.compile(r"\d+")
# What is longer is text.
_MOST_DIGITS = 25


def normalised(text: str) -> str:
    """Case, punctuation and blanks do not count; a text of nothing but punctuation stays as it is."""
    words = _PUNCTUATION.sub(" ", text.casefold()).split()
    return " ".join(words) or text.strip()


def is_near(one: str, other: str) -> bool:
    """Whether two texts are (nearly) the same wording; a differing number always makes them different."""
    return _Form.of(one).is_near(_Form.of(other))


@dataclass(frozen=True)
class _Form:
    """A text made ready for many comparisons.

    ``marks`` has a bit for each character and its first, second, ... occurrence (some share a bit): two texts have at
    least as many characters without a partner as bits that differ, which rules most pairs out at once.
    """

    text: str
    numbers: tuple[str, ...]
    marks: int

    @classmethod
    def of(cls, text: str) -> _Form:
        text = normalised(text)
        seen: dict[str, int] = defaultdict(int)
        marks = 0
        for character in text:
            marks |= 1 << (ord(character) * 37 + seen[character] * 101) % _BITS
            seen[character] += 1
        return cls(text, tuple(_DIGITS.findall(text)), marks)

    def is_near(self, other: _Form) -> bool:
        if self.text == other.text:
            return True
        length = len(self.text) + len(other.text)
        if self.numbers != other.numbers or (length - (self.marks ^ other.marks).bit_count()) / length < _NEAR:
            return False
        matcher = SequenceMatcher(None, self.text, other.text, autojunk=False)
        return matcher.quick_ratio() >= _NEAR and matcher.ratio() >= _NEAR


def distinct(texts: Iterable[str], *others: str) -> list[str]:
    """The texts that say it neither like one of ``others`` nor like an earlier one."""
    known = [_Form.of(text) for text in others]
    kept: list[str] = []
    for text in texts:
        candidate = " ".join(text.split())
        form = _Form.of(candidate)
        if candidate and not any(form.is_near(other) for other in known):
            kept.append(candidate)
            known.append(form)
    return kept


def near_duplicate_share(texts: Sequence[str], others: Iterable[str]) -> float:
    """The share of ``texts`` for which `is_near` holds with any of ``others``; 0 for no texts.

    Made for thousands of each: only texts with the same numbers and of about the same length are looked at.
    """
    groups: dict[tuple[str, ...], list[_Form]] = defaultdict(list)
    for form in {_Form.of(text) for text in others}:
        groups[form.numbers].append(form)
    for group in groups.values():
        group.sort(key=_length)
    forms = [_Form.of(text) for text in texts]
    near = {form: _is_near_any(form, groups.get(form.numbers, [])) for form in set(forms)}
    return sum(near[form] for form in forms) / len(forms) if forms else 0.0


def _is_near_any(form: _Form, group: Sequence[_Form]) -> bool:
    """``group`` is sorted by length."""
    length = len(form.text)
    # One more on each side, since the bounds are rounded.
    start = bisect_left(group, int(length * _SHORTEST) - 1, key=_length)
    end = bisect_right(group, int(length / _SHORTEST) + 1, key=_length)
    return any(form.is_near(other) for other in group[start:end])


def _length(form: _Form) -> int:
    return len(form.text)


def normal_value(value: Any) -> str:
    """One text for all spellings of a slot value: ``True`` and ``true``, ``4`` and ``4.0``, `` Rome`` and ``rome``."""
    text = normalised(str(value)) if isinstance(value, str) else str(value).casefold()
    return plain_number(str(value)) or text


def plain_number(text: str) -> str | None:
    """All digits of a number that were written, in one spelling: ``4`` for ``4.0`` and ``04``; None: it is none."""
    try:
        number = Decimal(text.strip()).normalize()
    except ArithmeticError:
        return None
    return f"{number:f}" if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS else None


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
