"""Stage 2b: does the teacher understand a rephrasing as it understood the original, at the same place?"""

from __future__ import annotations

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.engine.base import Conversation, Engine, Turn
from rasa_ft.errors import LLMError
from rasa_ft.recipe.conversations import AnnotatedTurn, Doubt, Judged, Wording
from rasa_ft.recipe.labelling.grounding import Wordings, objection
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.labelling.values import aligned, without


async def check(
    engine: Engine, place: Conversation, turn: AnnotatedTurn, text: str, opinion: SecondOpinion | None = None
) -> Wording | Judged | Doubt:
    """Ask the teacher about ``text`` instead of the turn's message; no action runs.

    Args:
        place: the conversation as it was before the turn; it is not changed.
        opinion: who is asked too if the teacher finds nothing wrong.

    Returns:
        A `Wording` if the commands are those of the turn and their values stand in the text or before it. `Judged` if
        not, or if a model's call failed, which says nothing about the rephrasing (`Judged.is_error`). `Doubt` if only
        a person can tell.
    """
    asked = await place.understand(text, metadata=turn.metadata)
    if asked.error is not None:
        return Judged(text, asked.error, is_error=True)
    reason = difference(engine, turn.commands, asked.parsed)
    if reason:
        return Judged(text, reason)
    commands = aligned(asked.parsed, turn.commands, engine.slots)
    found = objection(Wordings(text, turn.text, turn.before), commands, engine.slots)
    if found:
        return Judged(text, found.reason) if found.is_sure else Doubt(text, commands, found.reason)
    return await _confirmed(engine, asked, Wording(text, commands), opinion)


async def _confirmed(
    engine: Engine, asked: Turn, wording: Wording, opinion: SecondOpinion | None
) -> Wording | Judged | Doubt:
    if opinion is None:
        return wording
    other = await opinion.on(asked, engine.codec)
    if isinstance(other, LLMError):
        return Judged(wording.text, f"the second opinion failed: {other}", is_error=True)
    reason = difference(engine, wording.commands, other)
    return Doubt(wording.text, wording.commands, f"the second opinion differs: {reason}", other) if reason else wording


def difference(engine: Engine, original: tuple[Command, ...], commands: tuple[Command, ...]) -> str | None:
    """What ``commands`` lack of the ``original`` ones and have beside them; None if they are the same.

    They are compared as multisets, slot values as the assistant's slots hold them.
    """
    missing, extra = without(original, commands, engine.slots), without(commands, original, engine.slots)
    parts = [("missing", missing), ("not in the original", extra)]
    return "; ".join(f"{what}: {_dump(engine.codec, some)}" for what, some in parts if some) or None


def _dump(codec: Codec, commands: tuple[Command, ...]) -> str:
    return ", ".join(codec.dump([command]) or command.name for command in commands)
