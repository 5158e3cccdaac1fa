"""Stage 3: new conversations from accepted wordings, played through the engine, and their data points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rasa_ft.engine.base import Engine
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation, Wording
from rasa_ft.recipe.exchange import ValuePool, exchange, exchanged_trace, slots_set
from rasa_ft.recipe.histories import History, histories_of
from rasa_ft.recipe.parallel import seeded
from rasa_ft.recipe.replay import Replay, ScriptedTurn, replay
from rasa_ft.recipe.transplants import Donor, Place, offered, transplant

# How often other values are drawn for one conversation: the assistant may refuse some of them.
_DRAWS = 3


@dataclass(frozen=True)
class Augmentation:
    """What is done to training conversations only.

    ``exchange_fraction`` of the new conversations get other values from ``pool``; each new conversation gets up to
    ``transplants`` messages of ``donors``.
    """

    exchange_fraction: float = 0.0
    pool: ValuePool = field(default_factory=dict)
    transplants: int = 0
    donors: Sequence[Donor] = ()


@dataclass(frozen=True)
class Plan:
    """How conversations become data points; see `PrepareSettings`."""

    template: Path
    seed: int
    histories: int | None
    wordings_per_turn: int
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Dropped:
    """A new conversation that did not go as the original did."""

    conversation: str
    history: int
    reason: str


@dataclass(frozen=True)
class Composed:
    """Data points of one conversation, rows with one prefix next to each other."""

    points: tuple[DataPoint, ...]
    dropped: tuple[Dropped, ...]


async def compose(engine: Engine, conversation: RephrasedConversation, plan: Plan) -> Composed:
    """Play every history of ``conversation`` from the test's own set-up and render the student's prompts.

    A history whose flows, slots or bot messages differ from the original is dropped, with the reason.
    """
    points: list[DataPoint] = []
    dropped: list[Dropped] = []
    for history in histories_of(conversation, limit=plan.histories, wordings_per_turn=plan.wordings_per_turn):
        played, history = await _play_exchanged(engine, conversation, history, plan)
        if played.divergence:
            dropped.append(Dropped(conversation.key, history.index, played.divergence))
            continue
        points.extend(await _points(engine, conversation, history, played, plan))
    return Composed(tuple(points), tuple(dropped))


async def _play_exchanged(
    engine: Engine, conversation: RephrasedConversation, history: History, plan: Plan
) -> tuple[Replay, History]:
    """The history with exchanged values where it is chosen for that and stays on its course, else as it is."""
    augmentation = plan.augmentation
    rng = seeded(plan.seed, "exchange", conversation.key, history.index)
    chosen = history.index and rng.random() < augmentation.exchange_fraction
    for _ in range(_DRAWS if chosen else 0):
        other = exchange(history, conversation.conversation, augmentation.pool, rng)
        if other is None:
            break
        played = await _play(engine, conversation, other)
        if not played.divergence:
            return played, other
    return await _play(engine, conversation, history), history


async def _play(engine: Engine, conversation: RephrasedConversation, history: History) -> Replay:
    turns = conversation.conversation.turns
    script = [
        ScriptedTurn(wording.text, wording.commands if turn.annotated else turn.forced, turn.metadata)
        for turn, wording in zip(turns, history.spoken, strict=True)
    ]
    expected = [exchanged_trace(turn.trace, history.exchanged) for turn in turns]
    # What actions make of other values (a fare, a reference) may differ; what the user said and the course may not.
    values_of = slots_set(history.spoken) if history.exchanged else None
    return await replay(engine, conversation.conversation.setup, script, expected, values_of=values_of)


async def _points(
    engine: Engine, conversation: RephrasedConversation, history: History, played: Replay, plan: Plan
) -> list[DataPoint]:
    guests = _places_for_guests(conversation, history, plan)
    points: list[DataPoint] = []
    for index, wordings in enumerate(history.current):
        for wording in wordings:
            points.append(await _point(engine, conversation, history, played, plan, index, wording))
        if index in guests:
            points.extend(await _guest(engine, conversation, history, played, plan, index))
    return points


async def _point(
    engine: Engine,
    conversation: RephrasedConversation,
    history: History,
    played: Replay,
    plan: Plan,
    index: int,
    wording: Wording,
) -> DataPoint:
    original = conversation.turns[index].turn.text
    kind = "exchanged" if history.exchanged else "original" if wording.text == original else "rephrased"
    return DataPoint(
        prompt=await played.before[index].prompt(wording.text, plan.template),
        completion=engine.codec.dump(wording.commands),
        conversation=conversation.key,
        turn=index,
        history=history.index,
        kind=kind,
        original=original,
        message=wording.text,
    )


def _places_for_guests(conversation: RephrasedConversation, history: History, plan: Plan) -> frozenset[int]:
    """Turns of this history that get a transplanted message."""
    augmentation = plan.augmentation
    turns = [index for index, wordings in enumerate(history.current) if wordings]
    if not augmentation.transplants or not augmentation.donors:
        return frozenset()
    rng = seeded(plan.seed, "places", conversation.key, history.index)
    return frozenset(rng.sample(turns, min(augmentation.transplants, len(turns))))


async def _guest(
    engine: Engine, conversation: RephrasedConversation, history: History, played: Replay, plan: Plan, index: int
) -> list[DataPoint]:
    """At most one transplanted message before turn ``index``."""
    rng = seeded(plan.seed, "guest", conversation.key, history.index, index)
    before = played.before[index]
    place = Place(conversation.key, before.events, played.turns[index].requested_slot)
    found = transplant(plan.augmentation.donors, place, engine.free_text_slots, rng)
    if found is None:
        return []
    donor, wording = found
    prompt = await before.prompt(wording.text, plan.template)
    if not offered(donor, prompt):
        return []
    return [
        DataPoint(
            prompt=prompt,
            completion=engine.codec.dump(wording.commands),
            conversation=conversation.key,
            turn=index,
            history=history.index,
            kind="transplant",
            original=donor.wordings[0].text,
            message=wording.text,
            source=donor.conversation,
        )
    ]
