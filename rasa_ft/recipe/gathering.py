"""Stages 1 and 2 for all tests: each conversation goes its own way, so that no call waits for another conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rasa_ft.e2e.cases import Suite, TestCase
from rasa_ft.engine.base import Engine
from rasa_ft.recipe.conversations import AnnotatedConversation, RephrasedConversation, RephrasedTurn, is_gold
from rasa_ft.recipe.labelling.annotate import Skipped, annotate
from rasa_ft.recipe.labelling.gold import annotate_gold
from rasa_ft.recipe.labelling.labels import Labels, settled
from rasa_ft.recipe.parallel import Progress, in_parallel, silent
from rasa_ft.recipe.wordings.variants import Rephrasing, with_rephrasings

# Conversations under way for each model call in flight: enough to keep the model busy to the end.
_CONVERSATIONS_PER_CALL = 8


@dataclass(frozen=True)
class Gathered:
    """Conversations with their rephrasings, and the tests that gave none; both in the order of the suite."""

    conversations: tuple[RephrasedConversation, ...]
    skipped: tuple[Skipped, ...]

    @property
    def num_errors(self) -> int:
        """Model calls that failed for good: with another try there would be more data."""
        turns = (turn for conversation in self.conversations for turn in conversation.turns)
        return sum(skipped.is_error for skipped in self.skipped) + sum(turn.num_errors for turn in turns)


async def gather(
    engine: Engine,
    suite: Suite,
    rephrasing: Rephrasing | None,
    *,
    labels: Labels | None = None,
    concurrency: int,
    progress: Progress = silent,
) -> Gathered:
    """Play all cases on the teacher, gold ones with their own commands, and rephrase the messages of those that pass.

    Args:
        rephrasing: None for the original wordings only.
        labels: who decides about labels besides the teacher; None: nobody.
        concurrency: model calls in flight; who asks the models holds that, here it decides how much is under way.

    Raises:
        BudgetExceeded: no model may be asked any more.
    """
    counter = _Counter(len(suite.cases), progress)
    labels = labels or Labels()
    if rephrasing is not None:
        rephrasing = replace(rephrasing, labels=labels, on_turn=counter.rephrased)

    async def one(case: TestCase) -> RephrasedConversation | Skipped:
        play = annotate_gold if is_gold(case) else annotate
        found = await play(engine, case, suite.setup(case))
        if isinstance(found, AnnotatedConversation):
            found = await settled(engine, found, labels)
        counter.annotated(found)
        if isinstance(found, Skipped):
            return found
        if rephrasing is None:
            return RephrasedConversation(found, tuple(map(RephrasedTurn, found.turns)))
        return await with_rephrasings(engine, found, rephrasing)

    limit = _CONVERSATIONS_PER_CALL * concurrency
    found = await in_parallel("gather", suite.cases, one, concurrency=limit)
    return Gathered(
        conversations=tuple(done for done in found if isinstance(done, RephrasedConversation)),
        skipped=_skipped(found),
    )


def _skipped(found: Sequence[RephrasedConversation | Skipped]) -> tuple[Skipped, ...]:
    return tuple(done for done in found if isinstance(done, Skipped))


class _Counter:
    """Tells ``progress`` of cases played and messages rephrased.

    How many messages there will be is guessed from the cases played so far, so that the time left can be told early.
    """

    def __init__(self, cases: int, progress: Progress) -> None:
        self._cases = cases
        self._progress = progress
        self._played = 0
        self._messages = 0
        self._rephrased = 0
        progress("annotate", 0, cases)

    def annotated(self, found: AnnotatedConversation | Skipped) -> None:
        self._played += 1
        if isinstance(found, AnnotatedConversation):
            self._messages += sum(turn.rephrase for turn in found.turns)
        self._progress("annotate", self._played, self._cases)

    def rephrased(self, turn: RephrasedTurn) -> None:
        self._rephrased += 1
        expected = round(self._messages * self._cases / self._played)
        self._progress("rephrase", self._rephrased, max(expected, self._messages))
