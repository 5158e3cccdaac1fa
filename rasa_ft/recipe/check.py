"""Stage 2b: does the teacher understand a rephrasing as it understood the original, at the same place?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rasa_ft.calm.commands import Command, SetSlot
from rasa_ft.engine.base import Conversation, Engine
from rasa_ft.recipe.conversations import AnnotatedTurn, Judged, Wording, command_key
from rasa_ft.recipe.wording import states


async def check(engine: Engine, place: Conversation, turn: AnnotatedTurn, text: str) -> Wording | Judged:
    """Send ``text`` instead of the turn's message.

    Args:
        place: the conversation as it was before the turn; it is not changed.

    Returns:
        A `Wording` if the commands are the same; `Judged` if they are not, or if the model's call failed, which says
        nothing about the rephrasing (`Judged.is_error`).
    """
    asked = await place.fork().say(text, metadata=turn.metadata)
    if asked.error is not None:
        return Judged(text, asked.error, is_error=True)
    reason = difference(engine, turn, text, asked.parsed)
    return Judged(text, reason) if reason else Wording(text, aligned(asked.parsed, turn.turn.parsed))


def difference(engine: Engine, turn: AnnotatedTurn, text: str, commands: tuple[Command, ...]) -> str | None:
    """Why ``commands`` are not those of the original, or None.

    Commands are compared as multisets, slot values normalised. A free-text value that the user of the original stated
    must be stated in the rephrasing (or earlier) too.
    """
    missing = _without(turn.turn.parsed, commands)
    extra = _without(commands, turn.turn.parsed)
    if missing or extra:
        parts = [("missing", missing), ("not in the original", extra)]
        return "; ".join(f"{what}: {_dump(engine, some)}" for what, some in parts if some)
    for command in commands:
        if isinstance(command, SetSlot) and not _grounded(engine, turn, text, command):
            return f"'{command.value}' for {command.slot} is stated neither in it nor before"
    return None


def aligned(commands: Iterable[Command], original: Iterable[Command]) -> tuple[Command, ...]:
    """``commands`` in the order of the equal ones in ``original``: one order for all wordings of a message."""
    left = list(commands)
    ordered = []
    for wanted in original:
        match = next(command for command in left if command_key(command) == command_key(wanted))
        left.remove(match)
        ordered.append(match)
    return tuple(ordered)


def _grounded(engine: Engine, turn: AnnotatedTurn, text: str, command: SetSlot) -> bool:
    if command.slot not in engine.free_text_slots or not isinstance(command.value, str):
        return True
    if not states(f"{turn.before}\n{turn.text}", command.value):
        return True  # the teacher puts it into its own words in the original too
    return states(f"{turn.before}\n{text}", command.value)


def _without(commands: tuple[Command, ...], others: tuple[Command, ...]) -> tuple[Command, ...]:
    """The commands that remain when each of ``others`` has taken an equal one away."""
    counts = Counter(command_key(other) for other in others)
    remaining = []
    for command in commands:
        if counts[command_key(command)]:
            counts[command_key(command)] -= 1
        else:
            remaining.append(command)
    return tuple(remaining)


def _dump(engine: Engine, commands: tuple[Command, ...]) -> str:
    return ", ".join(engine.codec.dump([command]) or command.name for command in commands)
