"""Whether the values of a label have a ground in the words: in the rephrasing, or in the conversation before it.

The commands of a rephrasing equal those of the original, so what is looked for is a text that has *changed* while its
commands have not. A value that the original states must be stated again. A value that the teacher put into its own
words (``tomorrow`` as a date, ``my wife and I`` as 2) cannot be found in the original either, so there only another
number or name in its place tells something. And a number in digits that only the rephrasing has is mostly a value that
the commands lack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rasa_ft.calm.commands import Command, SetSlot
from rasa_ft.calm.slots import Slot, coerce, is_nullish
from rasa_ft.recipe.labelling.values import Slots
from rasa_ft.recipe.wording import plain_number, states

# "one" is left out: it stands for anything.
_SMALL = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPOKEN = {word: number for number, word in enumerate(_SMALL.split(), start=2)} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), start=2)
}
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_SPOKEN_NUMBER = re.compile(
    rf"\b(?:(?P<tens>{_TENS.replace(' ', '|')})[ -](?P<ones>one|{'|'.join(_SMALL.split()[:8])})|{'|'.join(_SPOKEN)})\b",
    re.IGNORECASE,
)
# A capital inside of a sentence; the word "I" and its short forms are none.
_NAME = re.compile(r"(?<=[a-z,;] )(?!I\b)[A-Z][\w-]+")
# Up to here numbers hide in words such as "a", "my wife and I", "both".
_SAID_IN_MANY_WAYS = 2


@dataclass(frozen=True)
class Wordings:
    """A rephrasing, what it rephrases, and the conversation before that."""

    text: str
    original: str
    before: str


@dataclass(frozen=True)
class Objection:
    """Why a label may not be true; ``is_sure``: it is not, else a person has to look."""

    reason: str
    is_sure: bool = True


def objection(said: Wordings, commands: Iterable[Command], slots: Slots) -> Objection | None:
    """Why ``commands``, which are the original's too, may not be what the rephrasing says; sure objections first."""
    values = [command for command in commands if isinstance(command, SetSlot) and not is_nullish(command.value)]
    found = [complaint for value in values if (complaint := _objection(said, value, slots.get(value.slot)))]
    if not found:
        new = _new_numbers(said.text, said.original, said.before, *(str(command.value) for command in values))
        return Objection(f"no command has {_listed(new)}", is_sure=False) if new else None
    return min(found, key=lambda complaint: not complaint.is_sure)


def _objection(said: Wordings, command: SetSlot, slot: Slot | None) -> Objection | None:
    match slot.type if slot else "text":
        case "bool":
            return None  # there are a thousand ways to say yes
        case "float":
            return _number_objection(said, command)
        case "categorical":
            return _category_objection(said, command, slot) if slot else None
        case _:
            return _text_objection(said, command) if isinstance(command.value, str) else None


def _text_objection(said: Wordings, command: SetSlot) -> Objection | None:
    value = str(command.value)
    if _states(said.text, value):
        return None
    stated = _states(said.original, value)
    if stated and not _states(said.before, value):
        return Objection(f"'{value}' for {command.slot} is stated neither in it nor before")
    others = _new_numbers(_in_digits(said.text), said.original, value)
    if stated:
        # It refers to what was said before, unless it names something else.
        others |= _names(said.text) - _names(said.original) - _names(value)
    elif not _numbers(said.original):
        return None
    return Objection(f"it says {_listed(others)}, not '{value}' for {command.slot}", is_sure=False) if others else None


def _number_objection(said: Wordings, command: SetSlot) -> Objection | None:
    number = plain_number(str(command.value))
    if number is None:
        return _text_objection(said, command)
    if number in _numbers(said.text):
        return None
    others = _new_numbers(_in_digits(said.text), said.original, said.before)
    reason = f"{number} for {command.slot} is stated neither in it nor before"
    if number not in _numbers(said.original):
        return Objection(f"it says {_listed(others)}, not {number} for {command.slot}", False) if others else None
    if others:
        # Words may be part of a longer number.
        return Objection(reason, is_sure=bool(_new_numbers(said.text, said.original, said.before)))
    is_needed = number not in _numbers(said.before) and float(number) > _SAID_IN_MANY_WAYS
    # It may be there in words that are not known here.
    return Objection(reason, is_sure=False) if is_needed else None


def _category_objection(said: Wordings, command: SetSlot, slot: Slot) -> Objection | None:
    category = str(coerce(slot, command.value))
    if states(said.text, category):
        return None
    others = [
        other
        for other in slot.values
        if other != category and states(said.text, other) and not states(said.original, other)
    ]
    return Objection(f"it says {_listed(others)}, not '{category}' for {slot.name}", is_sure=False) if others else None


def _states(text: str, value: Any) -> bool:
    """Whether ``text`` has ``value``, numbers in digits or in words."""
    return states(text, value) or states(_in_digits(text), _in_digits(str(value)))


def _in_digits(text: str) -> str:
    return _SPOKEN_NUMBER.sub(_as_digits, text)


def _as_digits(match: re.Match[str]) -> str:
    if match["tens"] is None:
        return str(_SPOKEN[match[0].casefold()])
    return str(_SPOKEN[match["tens"].casefold()] + _SPOKEN.get(match["ones"].casefold(), 1))


def _new_numbers(text: str, *known: str) -> set[str]:
    """The numbers in digits in ``text`` that stand in none of the ``known`` texts, in digits or in words."""
    old = _numbers("\n".join(known))
    return {match[0] for match in _NUMBER.finditer(text) if old.isdisjoint(_readings(match[0]))}


def _numbers(text: str) -> set[str]:
    """The numbers in a text, in digits and in words, in every reading."""
    return {number for match in _NUMBER.finditer(_in_digits(text)) for number in _readings(match[0])}


def _readings(digits: str) -> Iterator[str]:
    """``1,200`` may be either of two numbers."""
    for reading in {digits, digits.replace(",", ""), digits.replace(",", ".")}:
        yield plain_number(reading) or reading


def _names(text: str) -> set[str]:
    return {match[0].casefold() for match in _NAME.finditer(text)}


def _listed(values: Iterable[str]) -> str:
    return " and ".join(f"'{value}'" for value in sorted(values))
