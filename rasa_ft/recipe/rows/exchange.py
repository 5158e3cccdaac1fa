"""Value exchange: other values for free-text slots, consistently in messages, commands and state.

A small model that has seen ten names in training likes to answer with one of the ten. Exchanging them between
conversations teaches it to copy. Only values that stand literally in the user's words are exchanged, so that the label
stays true by construction; the replay then gives transcript and slots.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from rasa_ft.calm.commands import Command, SetSlot
from rasa_ft.recipe.conversations import AnnotatedConversation, RephrasedConversation, Trace, Wording
from rasa_ft.recipe.rows.histories import History
from rasa_ft.recipe.wording import contains_literally, exchange_values, normal_value, states

# Values by slot, each list sorted and free of values that differ in spelling only.
ValuePool = Mapping[str, Sequence[str]]


def value_pool(conversations: Iterable[RephrasedConversation], slots: Collection[str]) -> ValuePool:
    """What users said for each of ``slots``; only values that stand in the message that set them."""
    found: dict[str, dict[str, str]] = {}
    for conversation in conversations:
        for turn in conversation.turns:
            for wording in turn.wordings if turn.turn.annotated else ():
                for slot, value in _literal_values(wording, slots):
                    values = found.setdefault(slot, {})
                    normal = normal_value(value)
                    values[normal] = min(value, values.get(normal, value))
    return {slot: sorted(values.values()) for slot, values in sorted(found.items())}


def exchange(
    history: History,
    conversation: AnnotatedConversation,
    pool: ValuePool,
    rng: random.Random,
) -> History | None:
    """``history`` with every value exchanged that can be; None if none can."""
    mapping: dict[str, str] = {}
    taken = {normal_value(value) for _, value in _values(history.spoken)}
    for slot, value in dict.fromkeys(_values(history.spoken)):
        if slot not in pool or not isinstance(value, str) or value in mapping:
            continue
        if not _may_change(value, history, conversation, pool):
            continue
        others = [other for other in pool[slot] if normal_value(other) not in taken]
        if others:
            mapping[value] = rng.choice(others)
            taken.add(normal_value(mapping[value]))
    if not mapping:
        return None
    return replace(
        history,
        spoken=tuple(_exchanged(wording, mapping) for wording in history.spoken),
        current=tuple(
            tuple(_exchanged(wording, mapping) for wording in wordings if _all_literal(wording, mapping))
            for wordings in history.current
        ),
        exchanged=tuple(sorted(mapping.items())),
    )


def exchanged_trace(trace: Trace, exchanged: Iterable[tuple[str, str]]) -> Trace:
    """What a turn must do when its values are exchanged."""
    mapping = {normal_value(old): normal_value(new) for old, new in exchanged}
    return tuple(
        (kind, name, mapping.get(value, value)) if kind == "slot" else (kind, name, value)
        for kind, name, value in trace
    )


def slots_set(wordings: Iterable[Wording]) -> frozenset[str]:
    """The slots that the commands of ``wordings`` set."""
    return frozenset(slot for slot, _ in _values(wordings))


def _literal_values(wording: Wording, slots: Collection[str]) -> Iterable[tuple[str, str]]:
    for slot, value in _values([wording]):
        if slot in slots and isinstance(value, str) and contains_literally(wording.text, value):
            yield slot, value


def _values(wordings: Iterable[Wording]) -> list[tuple[str, object]]:
    return [
        (command.slot, command.value)
        for wording in wordings
        for command in wording.commands
        if isinstance(command, SetSlot)
    ]


def _may_change(value: str, history: History, conversation: AnnotatedConversation, pool: ValuePool) -> bool:
    """Whether the value comes from the user alone: typed, not offered by the bot, not a fixture, not a payload."""
    if any(normal_value(fixed) == normal_value(value) for _, fixed in conversation.setup.fixtures):
        return False
    first = True
    for turn, wording in zip(conversation.turns, history.spoken, strict=True):
        if not turn.annotated:
            if states(turn.text, value):
                return False
            continue
        slots = [slot for slot, other in _values([wording]) if normal_value(other) == normal_value(value)]
        if not slots:
            continue
        if not contains_literally(wording.text, value) or any(slot not in pool for slot in slots):
            return False
        if first and states("\n".join(line for line in turn.before.splitlines() if line.startswith("AI:")), value):
            return False
        first = False
    return True


def _all_literal(wording: Wording, mapping: Mapping[str, str]) -> bool:
    """Whether the text has every value that is exchanged in its commands."""
    old = {normal_value(value): value for value in mapping}
    return all(
        contains_literally(wording.text, old[normal_value(value)])
        for _, value in _values([wording])
        if normal_value(value) in old
    )


def _exchanged(wording: Wording, mapping: Mapping[str, str]) -> Wording:
    values = {normal_value(old): new for old, new in mapping.items()}

    def other(command: Command) -> Command:
        if isinstance(command, SetSlot) and normal_value(command.value) in values:
            return replace(command, value=values[normal_value(command.value)])
        return command

    return Wording(exchange_values(wording.text, mapping), tuple(other(command) for command in wording.commands))
