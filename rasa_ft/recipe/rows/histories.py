"""Which wordings are put together into new conversations."""

from __future__ import annotations

from dataclasses import dataclass

from rasa_ft.recipe.conversations import RephrasedConversation, Wording


@dataclass(frozen=True)
class History:
    """A conversation in one choice of words.

    ``spoken[i]`` is what the user says in turn i. ``current[i]`` are the wordings of turn i that become data points,
    all behind the same earlier turns; empty for turns without a label. ``index`` 0 is the original.
    ``exchanged``: values of the original and what stands in their place.
    """

    index: int
    spoken: tuple[Wording, ...]
    current: tuple[tuple[Wording, ...], ...]
    exchanged: tuple[tuple[str, str], ...] = ()


def histories_of(
    conversation: RephrasedConversation, *, limit: int | None, wordings_per_turn: int
) -> tuple[History, ...]:
    """The original conversation and one more for each passing rephrasing of its most rephrased turn, up to ``limit``.

    New conversation i takes from each turn its passing rephrasing number i, starting over where a turn has fewer, and
    the original where it has none, or where a person changed its label: then only the original leads on as before.
    """
    most = max((len(turn.passing) for turn in conversation.turns if turn.turn.annotated), default=0)
    count = most if limit is None else min(most, limit)
    return (
        _original(conversation, wordings_per_turn),
        *(_new(conversation, i, wordings_per_turn) for i in range(count)),
    )


def _original(conversation: RephrasedConversation, wordings: int) -> History:
    return History(
        index=0,
        spoken=tuple(turn.turn.played for turn in conversation.turns),
        current=tuple(
            (*turn.wordings[:wordings], *turn.apart) if turn.turn.annotated else () for turn in conversation.turns
        ),
    )


def _new(conversation: RephrasedConversation, number: int, wordings: int) -> History:
    return History(
        index=number + 1,
        spoken=tuple(_rotated(turn.spoken, number, 1, turn.turn.played)[0] for turn in conversation.turns),
        current=tuple(
            _rotated(turn.passing, number * wordings, wordings, turn.turn.original) if turn.turn.annotated else ()
            for turn in conversation.turns
        ),
    )


def _rotated(passing: tuple[Wording, ...], start: int, count: int, original: Wording) -> tuple[Wording, ...]:
    """``count`` different passing rephrasings from number ``start`` on, around the end; the original if none passed."""
    if not passing:
        return (original,)
    return tuple(passing[(start + offset) % len(passing)] for offset in range(min(count, len(passing))))
