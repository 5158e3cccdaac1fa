"""Stage 2: other wordings of one message, each understood by the teacher as the original was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rasa_ft.engine.base import Engine
from rasa_ft.errors import LLMError
from rasa_ft.llm.client import LLM
from rasa_ft.recipe.conversations import AnnotatedConversation, RephrasedConversation, RephrasedTurn
from rasa_ft.recipe.labelling.check import check
from rasa_ft.recipe.labelling.labels import Labels, with_decision
from rasa_ft.recipe.labelling.review import Entry
from rasa_ft.recipe.parallel import together
from rasa_ft.recipe.wordings.rephrase import rephrase
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig


@dataclass(frozen=True)
class Rephrasing:
    """How rephrasings are made.

    Attributes:
        llm: the rephraser.
        number: accepted wordings wanted for each message.
        refills: how often more are asked for while some are missing.
        labels: who decides about them besides the teacher.
        on_turn: called with each finished turn.
    """

    llm: LLM
    number: int
    refills: int = 0
    config: RephraseConfig = field(default_factory=RephraseConfig)
    labels: Labels = field(default_factory=Labels)
    on_turn: Callable[[RephrasedTurn], None] = lambda turn: None


async def with_rephrasings(
    engine: Engine, conversation: AnnotatedConversation, rephrasing: Rephrasing
) -> RephrasedConversation:
    """``conversation`` with wordings of all messages that can be said in other words.

    Raises:
        BudgetExceeded: no model may be asked any more. Other failed calls are kept with their turn.
    """

    async def one(index: int) -> RephrasedTurn:
        turn = RephrasedTurn(conversation.turns[index])
        if turn.turn.rephrase:
            turn = await _rephrased(engine, conversation, index, rephrasing)
            rephrasing.on_turn(turn)
        return turn

    turns = await together(one(index) for index in range(len(conversation.turns)))
    return RephrasedConversation(conversation, tuple(turns))


async def _rephrased(
    engine: Engine, conversation: AnnotatedConversation, index: int, rephrasing: Rephrasing
) -> RephrasedTurn:
    """Ask and check until enough wordings passed, nothing new comes, or the refills are used up.

    What people decided about wordings that do not come again counts all the same.
    """
    turn = conversation.turns[index]
    decided = dict(rephrasing.labels.review.at(conversation.key, index, turn.text))
    decided.pop(turn.text, None)
    found = await _asked(engine, conversation, index, rephrasing, decided)
    for entry in decided.values():
        if entry.message not in found.texts:
            found = with_decision(engine, found, entry)
    return found


async def _asked(
    engine: Engine,
    conversation: AnnotatedConversation,
    index: int,
    rephrasing: Rephrasing,
    decided: Mapping[str, Entry],
) -> RephrasedTurn:
    found = RephrasedTurn(conversation.turns[index])
    for attempt in range(1 + rephrasing.refills):
        missing = rephrasing.number - len(found.passing)
        if missing <= 0:
            break
        try:
            texts = await rephrase(
                rephrasing.llm,
                found.turn,
                number=missing,
                codec=engine.codec,
                config=rephrasing.config,
                avoid=found.texts,
                round=attempt,
            )
        except LLMError as error:
            return replace(found, error=str(error))
        if not texts:
            break
        place, opinion = conversation.before[index], rephrasing.labels.opinion
        new = [text for text in texts if text not in decided]
        found = found.judged(await together(check(engine, place, found.turn, text, opinion) for text in new))
        for text in texts:
            if text in decided:
                found = with_decision(engine, found, decided[text])
    return found
