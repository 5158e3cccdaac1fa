"""Makes rephrasings.jsonl: rephrasings at real places of examples/bot's tests, some with a label that is wrong.

Good ones are those of the recordings whose recorded commands are those of the message that they rephrase. Wrong ones
are made of good ones, in equal shares:

value    another value stands in the text: `to York` becomes `to Durham`
flow     the text starts another flow
missing  text and commands differ by a command: the text says less, or more, than the message it is to rephrase

In two thirds of them the teacher reads what the text says (or, for some `missing`, leaves a command out); in one third
it is ``blind``: it repeats the commands of the original message, so that comparing these finds nothing.

Run it as `python tests/recipe/label_set/make.py` after a change of the example's tests or recordings.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rasa_ft.calm.commands import Command, SetSlot, StartFlow
from rasa_ft.e2e.cases import load_suite
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.files import write_jsonl
from rasa_ft.llm.config import load_model_groups
from rasa_ft.llm.groups import build_llm
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn
from rasa_ft.recipe.gathering import gather
from rasa_ft.recipe.labelling.values import Slots, agree, command_key
from rasa_ft.recipe.wording import contains_literally, exchange_values
from rasa_ft.recipe.wordings.rephrase import rephrase

BOT = Path(__file__).parents[3] / "examples" / "bot"
FILE = Path(__file__).with_name("rephrasings.jsonl")
SEED = 7
SIZE = 1000
WRONG = 50
_ENOUGH = 20


@dataclass(frozen=True)
class Item:
    """A rephrasing of message ``turn`` (from 0) of ``test``: what the teacher answers to it, and what it says.

    ``wrong``: empty, or the kind of mistake.
    """

    test: str
    turn: int
    text: str
    answer: tuple[str, ...]
    says: tuple[str, ...]
    wrong: str = ""
    blind: bool = False


@dataclass(frozen=True)
class Source:
    """A message with its good rephrasings."""

    test: str
    index: int
    turn: AnnotatedTurn
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Mistake:
    """A text that ``says`` something, and what a teacher that is not blind answers to it."""

    text: str
    says: tuple[Command, ...]
    answer: tuple[Command, ...]


def load_items(file: Path = FILE) -> list[Item]:
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [Item(**{**row, "answer": tuple(row["answer"]), "says": tuple(row["says"])}) for row in rows]


def example() -> tuple[EmbeddedEngine, list[AnnotatedConversation]]:
    """The example assistant, and its tests played on the recorded teacher."""
    engine = load_engine(BOT, rephrase=False)
    found = asyncio.run(gather(engine, load_suite(BOT / "e2e_tests"), None, concurrency=8))
    return engine, [done.conversation for done in found.conversations]


def sources(engine: EmbeddedEngine, conversations: Sequence[AnnotatedConversation]) -> list[Source]:
    """All messages with rephrasings that are recorded with the same commands."""
    llm = build_llm(load_model_groups(BOT / "endpoints.yml")["rephraser"], project=BOT)

    async def all_of_them() -> list[Source]:
        found = []
        for conversation in conversations:
            for index, turn in enumerate(conversation.turns):
                if turn.rephrase:
                    texts = await rephrase(llm, turn, number=_ENOUGH, codec=engine.codec)
                    read = [await conversation.before[index].understand(text) for text in texts]
                    good = [one.text for one in read if agree(one.parsed, turn.commands, engine.slots)]
                    found.append(Source(conversation.key, index, turn, tuple(good)))
        return found

    return asyncio.run(all_of_them())


def make(engine: EmbeddedEngine, pool: Sequence[Source], seed: int) -> list[Item]:
    """A set of `SIZE` items, `WRONG` of them wrong, each rephrasing at most once."""
    rng = random.Random(seed)
    wrong = list(_Mistakes(engine, pool, rng).some(WRONG))
    taken = {(item.test, item.turn, item.text) for item in wrong}
    good = [
        Item(
            source.test, source.index, text, _lines(engine, source.turn.commands), _lines(engine, source.turn.commands)
        )
        for source in pool
        for text in source.texts
        if (source.test, source.index, text) not in taken
    ]
    items = [*wrong, *rng.sample(good, SIZE - len(wrong))]
    return sorted(items, key=lambda item: (item.test, item.turn, item.text))


class _Mistakes:
    """Wrong items of every kind in turn, one for each message."""

    def __init__(self, engine: EmbeddedEngine, pool: Sequence[Source], rng: random.Random) -> None:
        self._engine, self._slots = engine, engine.slots
        self._pool, self._rng = pool, rng
        self._values = _values(pool, engine.slots)

    def some(self, number: int) -> Iterator[Item]:
        makers: list[tuple[str, Callable[[Source, bool], Mistake | None]]] = [
            ("value", self._other_value),
            ("flow", self._other_flow),
            ("missing", self._other_content),
        ]
        left = self._rng.sample(list(self._pool), len(self._pool))
        for index in range(number):
            kind, maker = makers[index % len(makers)]
            # Of three mistakes of a kind, the teacher is blind for one.
            blind = index // len(makers) % 3 == 0
            found = None
            while found is None:
                source = left.pop()
                found = maker(source, blind) if source.texts else None
                left = left if found is not None else [source, *left]
            answer = source.turn.commands if blind else found.answer
            says = _lines(self._engine, found.says)
            yield Item(source.test, source.index, found.text, _lines(self._engine, answer), says, kind, blind)

    def _other_value(self, source: Source, blind: bool) -> Mistake | None:
        text = self._rng.choice(source.texts)
        for command in source.turn.commands:
            if isinstance(command, SetSlot) and contains_literally(text, str(command.value)):
                others = [value for value in self._values[command.slot] if value.casefold() not in text.casefold()]
                if others:
                    other = self._rng.choice(others)
                    commands = tuple(
                        replace(item, value=other) if item is command else item for item in source.turn.commands
                    )
                    return Mistake(exchange_values(text, {str(command.value): other}), commands, commands)
        return None

    def _other_flow(self, source: Source, blind: bool) -> Mistake | None:
        flows = _flows(source)
        others = [other for other in self._pool if other.texts and _flows(other) and not _flows(other) & flows]
        return self._of(self._rng.choice(others)) if flows else None

    def _other_content(self, source: Source, blind: bool) -> Mistake | None:
        """Text of a message of the same flow that says a part of it, or more; or the text as it is, read in part."""
        wanted = source.turn.commands
        if not blind and len(wanted) > 1 and self._rng.random() < 1 / 2:
            return Mistake(self._rng.choice(source.texts), wanted, wanted[: self._rng.randrange(1, len(wanted))])
        others = [other for other in self._pool if other.texts and self._is_more_or_less(source.turn, other.turn)]
        return self._of(self._rng.choice(others)) if others else None

    def _of(self, other: Source) -> Mistake:
        return Mistake(self._rng.choice(other.texts), other.turn.commands, other.turn.commands)

    def _is_more_or_less(self, one: AnnotatedTurn, other: AnnotatedTurn) -> bool:
        if (one.turn.active_flow, one.turn.requested_slot) != (other.turn.active_flow, other.turn.requested_slot):
            return False
        kinds = [{command_key(item, self._slots)[:2] for item in turn.commands} for turn in (one, other)]
        return kinds[0] < kinds[1] or kinds[1] < kinds[0]


def _lines(engine: EmbeddedEngine, commands: Sequence[Command]) -> tuple[str, ...]:
    return tuple(engine.codec.dump(commands).splitlines())


def _flows(source: Source) -> frozenset[str]:
    return frozenset(command.flow for command in source.turn.commands if isinstance(command, StartFlow))


def _values(pool: Sequence[Source], slots: Slots) -> dict[str, list[str]]:
    """What is said for each slot; all categories of a categorical one."""
    found: dict[str, set[str]] = {}
    for source in pool:
        for command in source.turn.commands:
            if isinstance(command, SetSlot):
                found.setdefault(command.slot, set(slots[command.slot].values)).add(str(command.value))
    return {slot: sorted(values) for slot, values in found.items()}


if __name__ == "__main__":
    engine, conversations = example()
    write_jsonl(FILE, [asdict(item) for item in make(engine, sources(engine, conversations), SEED)])
