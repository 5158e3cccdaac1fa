"""Whose word counts besides the teacher's: people's decisions, and a second opinion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rasa_ft.engine.base import Conversation, Engine
from rasa_ft.errors import LLMError
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    Doubt,
    Judged,
    RephrasedTurn,
    Wording,
)
from rasa_ft.recipe.labelling.check import difference
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.labelling.review import REJECT, Entry, Review, with_decisions
from rasa_ft.recipe.labelling.values import agree, aligned
from rasa_ft.recipe.parallel import together


@dataclass(frozen=True)
class Labels:
    """``opinion``: who is asked besides the teacher; None: nobody. ``review``: what people decided."""

    opinion: SecondOpinion | None = None
    review: Review = field(default_factory=Review)


async def settled(engine: Engine, conversation: AnnotatedConversation, labels: Labels) -> AnnotatedConversation:
    """The conversation with the labels that people decided on, and doubts in the others if a second opinion differs.

    About messages of gold tests the teacher is the second opinion.

    Raises:
        BudgetExceeded: no model may be asked any more.
    """
    conversation = with_decisions(conversation, labels.review)
    if labels.opinion is None:
        return conversation
    opinion = labels.opinion

    async def one(index: int) -> AnnotatedTurn:
        turn = conversation.turns[index]
        if not turn.annotated or turn.text in labels.review.at(conversation.key, index, turn.text):
            return turn
        place = conversation.before[index] if conversation.is_gold else None
        return await _doubted(engine, turn, opinion, place)

    turns = await together(one(index) for index in range(len(conversation.turns)))
    return replace(conversation, turns=tuple(turns))


async def _doubted(
    engine: Engine, turn: AnnotatedTurn, opinion: SecondOpinion, place: Conversation | None
) -> AnnotatedTurn:
    """``place``: where the teacher is asked instead."""
    if place is not None:
        who = "the teacher does not agree with the test"
        asked = await place.understand(turn.text, metadata=turn.metadata)
        other = LLMError(asked.error) if asked.error is not None else asked.parsed
    else:
        who = "the second opinion differs"
        other = await opinion.on(turn.turn, engine.codec)
    if isinstance(other, LLMError):
        return replace(turn, opinion_error=str(other))
    reason = difference(engine, turn.commands, other)
    return replace(turn, doubt=Doubt(turn.text, turn.commands, f"{who}: {reason}", other)) if reason else turn


def with_decision(engine: Engine, turn: RephrasedTurn, entry: Entry) -> RephrasedTurn:
    """``turn`` with a rephrasing that a person has decided about."""
    if entry.decision == REJECT:
        return turn.judged([Judged(entry.message, "rejected in the review")])
    commands, original = entry.decided, turn.turn.commands
    if agree(commands, original, engine.slots):
        return turn.judged([Wording(entry.message, aligned(commands, original, engine.slots))])
    return replace(turn, apart=(*turn.apart, Wording(entry.message, commands)))
