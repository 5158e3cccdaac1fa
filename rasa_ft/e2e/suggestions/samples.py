"""A text that fits a regular expression: a short and likely one, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

# Before the rest of what is printable, so that "[a-z0-9]{4}" becomes "abcd" and "[0-9]{4}" becomes "1234".
_DIGITS = "1234567890"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LIKELY = _LETTERS + _LETTERS.upper() + _DIGITS
_PRINTABLE = _LIKELY + "".join(chr(code) for code in range(32, 127) if not chr(code).isalnum())
_OFTEN = 3
_LONGEST = 1_000


class _NoSample(Exception):
    """The expression says something that is not followed here."""


def sample_of(pattern: str) -> str | None:
    """A text in which `re.search` finds ``pattern``; None if none was found."""
    from re import _parser  # type: ignore[attr-defined]  # what the module compiles expressions with

    try:
        text = "".join(_sampled(_parser.parse(pattern), {}))
        return text if re.search(pattern, text) else None
    except (re.error, _NoSample, RecursionError, OverflowError):
        return None


def _sampled(items: Iterable[tuple[Any, Any]], groups: dict[int, str]) -> Iterator[str]:
    for operation, argument in items:
        yield _one(str(operation), argument, groups)


def _one(operation: str, argument: Any, groups: dict[int, str]) -> str:
    match operation:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return _cycled([letter for letter in _PRINTABLE if ord(letter) != argument], 1)
        case "ANY":
            return _LIKELY[0]
        case "IN":
            return _cycled(_members(argument), 1)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, repeated = argument
            return _repeated(least, most, repeated, groups)
        case "BRANCH":
            return "".join(_sampled(argument[1][0], groups))
        case "SUBPATTERN":
            groups[argument[0]] = "".join(_sampled(argument[3], groups))
            return groups[argument[0]]
        case "GROUPREF":
            return groups.get(argument, "")
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return ""
    raise _NoSample(operation)


def _repeated(least: int, most: Any, items: Any, groups: dict[int, str]) -> str:
    """As often as must be; what may come any number of times comes a few times if it must come at all."""
    times = min(int(most), _OFTEN) if least == 1 else least
    is_set = len(items) == 1 and str(items[0][0]) == "IN"
    once = _cycled(_members(items[0][1]), 1) if is_set else "".join(_sampled(items, groups))
    if len(once) * times > _LONGEST:
        raise _NoSample
    return _cycled(_members(items[0][1]), times) if is_set else once * times


def _cycled(letters: list[str], times: int) -> str:
    if not letters:
        raise _NoSample
    return "".join(letters[index % len(letters)] for index in range(times))


def _members(items: Iterable[tuple[Any, Any]]) -> list[str]:
    """The likeliest characters of a set that are of one kind."""
    items = list(items)
    negated = bool(items) and str(items[0][0]) == "NEGATE"
    found = [letter for letter in _PRINTABLE if any(_is_member(letter, *item) for item in items) != negated]
    for kind in (_LETTERS, _LETTERS.upper(), _DIGITS):
        if of_kind := [letter for letter in kind if letter in found]:
            return of_kind
    return found or [chr(argument) for operation, argument in items if str(operation) == "LITERAL"]


def _is_member(letter: str, operation: Any, argument: Any) -> bool:
    match str(operation):
        case "LITERAL":
            return ord(letter) == argument
        case "RANGE":
            return bool(argument[0] <= ord(letter) <= argument[1])
        case "CATEGORY":
            return re.fullmatch(_CATEGORIES.get(str(argument), "(?!)"), letter) is not None
    return False


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
}
