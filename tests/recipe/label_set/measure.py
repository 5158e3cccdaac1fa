"""What the checks of data preparation find in a set of `make`: which mistakes, by what, and how many false alarms."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rasa_ft.engine.base import Turn
from rasa_ft.engine.embedded import EmbeddedEngine
from rasa_ft.llm.client import Completion, Request
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    RephrasedConversation,
    RephrasedTurn,
    Wording,
)
from rasa_ft.recipe.labelling.audit import audited
from rasa_ft.recipe.labelling.check import check
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.labelling.review import Review
from rasa_ft.recipe.labelling.values import agree

from .make import Item

COMPARISON, GROUNDS, OPINION, AUDIT = "comparison", "grounds", "second opinion", "audit"
STEPS = (COMPARISON, GROUNDS, OPINION, AUDIT)


@dataclass(frozen=True)
class Found:
    """``by``: the step that kept the item out of the data; None: it would be in."""

    item: Item
    by: str | None


def findings(
    engine: EmbeddedEngine,
    conversations: Sequence[AnnotatedConversation],
    items: Sequence[Item],
    *,
    opinion_is_right: float | None = None,
) -> list[Found]:
    """What becomes of each item.

    Args:
        opinion_is_right: how often a second model, whose mistakes have nothing to do with the teacher's, understands
            what a text says; None: nobody else is asked.
    """
    opinion = None if opinion_is_right is None else SecondOpinion(_Reader(items, opinion_is_right))
    places = {(conversation.key, index): turn for conversation in conversations for index, turn in _turns(conversation)}
    rephrased: dict[tuple[str, int], RephrasedTurn] = {place: RephrasedTurn(turn) for place, turn in places.items()}
    found = []
    for item in items:
        place = (item.test, item.turn)
        verdict = asyncio.run(check(engine, _Place(engine, places[place], item), places[place], item.text, opinion))  # type: ignore[arg-type]
        rephrased[place] = rephrased[place].judged([verdict])
        by = None if isinstance(verdict, Wording) else _step(engine, places[place], item, opinion)
        found.append(Found(item, by))
    whole = [
        RephrasedConversation(done, tuple(rephrased[done.key, index] for index, _ in _turns(done)))
        for done in conversations
    ]
    kept = {
        (done.key, index, wording.text)
        for done in audited(whole, engine.slots, Review())
        for index, turn in enumerate(done.turns)
        for wording in turn.passing
    }
    return [
        Found(one.item, AUDIT) if one.by is None and (one.item.test, one.item.turn, one.item.text) not in kept else one
        for one in found
    ]


def caught(found: Sequence[Found]) -> float:
    """Share of the wrong items that are kept out."""
    wrong = [one for one in found if one.item.wrong]
    return sum(one.by is not None for one in wrong) / len(wrong)


def false_alarms(found: Sequence[Found]) -> float:
    """Share of the good items that are kept out."""
    good = [one for one in found if not one.item.wrong]
    return sum(one.by is not None for one in good) / len(good)


def table(found: Sequence[Found]) -> list[str]:
    """A line for each kind of item with what found how many of them."""
    rows: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        rows[f"{one.item.wrong}{', blind teacher' if one.item.blind else ''}" if one.item.wrong else "good"].append(one)
    lines = [f"{'':<24}{'items':>7}" + "".join(f"{step:>16}" for step in STEPS) + f"{'in the data':>16}"]
    for name, some in sorted(rows.items(), key=lambda row: (row[0] == "good", row[0])):
        counts = [sum(one.by == step for one in some) for step in (*STEPS, None)]
        lines.append(f"{name:<24}{len(some):>7}" + "".join(f"{count:>16}" for count in counts))
    return [*lines, f"caught {caught(found):.1%}, false alarms {false_alarms(found):.2%}"]


def _turns(conversation: AnnotatedConversation) -> list[tuple[int, AnnotatedTurn]]:
    return list(enumerate(conversation.turns))


def _step(engine: EmbeddedEngine, turn: AnnotatedTurn, item: Item, opinion: SecondOpinion | None) -> str:
    place = _Place(engine, turn, item)
    if not agree(engine.codec.parse("\n".join(item.answer)), turn.commands, engine.slots):
        return COMPARISON
    alone = asyncio.run(check(engine, place, turn, item.text))  # type: ignore[arg-type]
    return OPINION if opinion is not None and isinstance(alone, Wording) else GROUNDS


@dataclass(frozen=True)
class _Place:
    """Where the teacher gives an item's answer."""

    engine: EmbeddedEngine
    turn: AnnotatedTurn
    item: Item

    async def understand(self, text: str, *, metadata: Mapping[str, Any] | None = None) -> Turn:
        answer = "\n".join(self.item.answer)
        # The item's place stands in for the conversation: two places may have the same text.
        prompt = f"{self.item.test}#{self.item.turn}#{text}"
        return replace(self.turn.turn, text=text, prompt=prompt, answer=answer, parsed=self.engine.codec.parse(answer))


class _Reader:
    """A model that reads what a text says, but for some mistakes of its own."""

    def __init__(self, items: Sequence[Item], is_right: float) -> None:
        self._says = {f"{item.test}#{item.turn}#{item.text}": "\n".join(item.says) for item in items}
        self._is_right = is_right

    async def complete(self, request: Request) -> Completion:
        prompt = request.messages[0]["content"]
        is_right = random.Random(prompt).random() < self._is_right
        return Completion(self._says[prompt] if is_right else "cannot handle", "reader", 0.0)
