"""When two commands say the same: slot values are compared as the assistant's slots would hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.slots import Slot, coerce, is_nullish
from rasa_ft.recipe.wording import normal_value, normalised, plain_number

Slots = Mapping[str, Slot]
_NOTHING = "no value"


def value_key(slot: Slot | None, value: Any) -> str:
    """One text for all spellings of a value that are one value of ``slot``.

    ``150`` and ``150.0`` of a float, ``yes`` and ``true`` of a bool (as the runtime coerces them), a category in any
    case, texts but for case and punctuation. A text of digits keeps them all: booking ``007`` is not booking ``7``.
    """
    if is_nullish(value):
        return _NOTHING
    if slot is None:
        return normal_value(value)
    held = coerce(slot, value)
    match slot.type:
        case "float":
            return plain_number(str(held)) or normalised(str(held))
        case "list":
            return " | ".join(map(normal_value, held))
        case "any":
            return normal_value(held)
        case _:
            return normalised(str(held))


def command_key(command: Command, slots: Slots) -> tuple[str, ...]:
    """What makes two commands equal: name and arguments, slot values by `value_key`, options in any order."""
    if isinstance(command, SetSlot):
        return (command.name, command.slot, value_key(slots.get(command.slot), command.value))
    if isinstance(command, StartFlow):
        return (command.name, command.flow)
    if isinstance(command, Clarify):
        return (command.name, *sorted(command.options))
    return (command.name,)


def agree(commands: Iterable[Command], others: Iterable[Command], slots: Slots) -> bool:
    """Whether both are the same commands, each as often as the other has it, in any order."""
    return _count(commands, slots) == _count(others, slots)


def without(commands: Iterable[Command], others: Iterable[Command], slots: Slots) -> tuple[Command, ...]:
    """The commands that remain when each of ``others`` has taken an equal one away."""
    counts = _count(others, slots)
    remaining = []
    for command in commands:
        if counts[command_key(command, slots)]:
            counts[command_key(command, slots)] -= 1
        else:
            remaining.append(command)
    return tuple(remaining)


def aligned(commands: Iterable[Command], original: Sequence[Command], slots: Slots) -> tuple[Command, ...]:
    """``commands`` in the order of the equal ones in ``original``: one order for all wordings of a message."""
    left = list(commands)
    ordered = []
    for wanted in original:
        match = next(command for command in left if command_key(command, slots) == command_key(wanted, slots))
        left.remove(match)
        ordered.append(match)
    return tuple(ordered)


def _count(commands: Iterable[Command], slots: Slots) -> Counter[tuple[str, ...]]:
    return Counter(command_key(command, slots) for command in commands)
