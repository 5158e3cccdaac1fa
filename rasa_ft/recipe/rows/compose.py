"""Stage 3: new conversations from accepted wordings, played through the engine, each with its data points."""

from __future__ import annotations

from dataclasses import dataclass

from rasa_ft.engine.base import Engine
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation
from rasa_ft.recipe.parallel import seeded
from rasa_ft.recipe.rows.exchange import exchange, exchanged_trace, slots_set
from rasa_ft.recipe.rows.histories import History, histories_of
from rasa_ft.recipe.rows.points import Dropped, Plan, Scene, points_of
from rasa_ft.recipe.rows.replay import Replay, ScriptedTurn, replay

# How often other values are drawn for one conversation: the assistant may refuse some of them.
_DRAWS = 3


@dataclass(frozen=True)
class Composed:
    """Data points of one conversation, rows with one prefix next to each other, and what gave none."""

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
        found = await points_of(Scene(engine, conversation, history, played, plan))
        points.extend(point for point in found if isinstance(point, DataPoint))
        dropped.extend(point for point in found if isinstance(point, Dropped))
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
