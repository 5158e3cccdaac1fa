"""The data points of one played conversation: for every message and each of its wordings, the prompt and the label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rasa_ft.calm.commands import Clarify, StartFlow
from rasa_ft.engine.base import Engine
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation, Wording
from rasa_ft.recipe.labelling.check import difference
from rasa_ft.recipe.parallel import seeded
from rasa_ft.recipe.rows.exchange import ValuePool
from rasa_ft.recipe.rows.histories import History
from rasa_ft.recipe.rows.replay import Replay
from rasa_ft.recipe.rows.transplants import Donor, Place, transplant


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
    recheck: float = 0.0
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Dropped:
    """A new conversation that did not go as the original did, or one row of it with a label that cannot be right.

    ``is_row``: only this row is missing. ``is_error``: the model call that should have told failed.
    """

    conversation: str
    history: int
    reason: str
    is_row: bool = False
    is_error: bool = False


@dataclass(frozen=True)
class Scene:
    """A history of a conversation that was played, and what is made of it."""

    engine: Engine
    conversation: RephrasedConversation
    history: History
    played: Replay
    plan: Plan

    def point(self, index: int, wording: Wording, prompt: str, *, donor: Donor | None = None) -> DataPoint:
        original = donor.wordings[0].text if donor else self.conversation.turns[index].turn.text
        return DataPoint(
            prompt=prompt,
            completion=self.engine.codec.dump(wording.commands),
            conversation=self.conversation.key,
            turn=index,
            history=self.history.index,
            kind="transplant" if donor else self._kind(wording, original),
            original=original,
            message=wording.text,
            source=donor.conversation if donor else "",
        )

    def dropped(self, index: int, wording: Wording, reason: str, *, is_error: bool = False) -> Dropped:
        place = f"turn {index + 1} ('{wording.text}')"
        return Dropped(self.conversation.key, self.history.index, f"{place}: {reason}", is_row=True, is_error=is_error)

    def _kind(self, wording: Wording, original: str) -> str:
        if self.history.exchanged:
            return "exchanged"
        return "original" if wording.text == original else "rephrased"


async def points_of(scene: Scene) -> list[DataPoint | Dropped]:
    """All rows of a scene; `Dropped` where a label would ask for what its prompt does not offer, or was refuted."""
    guests = _places_for_guests(scene)
    found: list[DataPoint | Dropped] = []
    for index, wordings in enumerate(scene.history.current):
        for wording in wordings:
            found.append(await _point(scene, index, wording))
        if index in guests:
            found.extend(await _guest(scene, index))
    return found


async def _point(scene: Scene, index: int, wording: Wording) -> DataPoint | Dropped:
    prompt = await scene.played.before[index].prompt(wording.text, scene.plan.template)
    flow = not_offered(wording, prompt)
    if flow is not None:
        return scene.dropped(index, wording, f"flow {flow} is not among those in the prompt")
    return await _refuted(scene, index, wording) or scene.point(index, wording, prompt)


async def _refuted(scene: Scene, index: int, wording: Wording) -> Dropped | None:
    """The teacher's second look at some rows: a wording was accepted behind the original words, and is trained here
    behind others."""
    rng = seeded(scene.plan.seed, "recheck", scene.conversation.key, scene.history.index, index, wording.text)
    turn = scene.conversation.turns[index].turn
    is_a_persons = turn.written is not None or (scene.conversation.conversation.is_gold and wording == turn.original)
    if not scene.history.index or rng.random() >= scene.plan.recheck or is_a_persons:
        return None
    asked = await scene.played.before[index].understand(wording.text, metadata=turn.metadata)
    if asked.error is not None:
        return scene.dropped(index, wording, asked.error, is_error=True)
    reason = difference(scene.engine, wording.commands, asked.parsed)
    return scene.dropped(index, wording, f"behind other words: {reason}") if reason else None


def not_offered(wording: Wording, prompt: str) -> str | None:
    """A flow that the commands start or ask about although the prompt does not name it."""
    flows: list[str] = []
    for command in wording.commands:
        if isinstance(command, StartFlow):
            flows.append(command.flow)
        elif isinstance(command, Clarify):
            flows.extend(command.options)
    return next((flow for flow in flows if not re.search(rf"(?<![\w-]){re.escape(flow)}(?![\w-])", prompt)), None)


def _places_for_guests(scene: Scene) -> frozenset[int]:
    """Turns of this history that get a transplanted message."""
    augmentation, history = scene.plan.augmentation, scene.history
    turns = [index for index, wordings in enumerate(history.current) if wordings]
    if not augmentation.transplants or not augmentation.donors:
        return frozenset()
    rng = seeded(scene.plan.seed, "places", scene.conversation.key, history.index)
    return frozenset(rng.sample(turns, min(augmentation.transplants, len(turns))))


async def _guest(scene: Scene, index: int) -> list[DataPoint]:
    """At most one transplanted message before turn ``index``."""
    rng = seeded(scene.plan.seed, "guest", scene.conversation.key, scene.history.index, index)
    before = scene.played.before[index]
    place = Place(scene.conversation.key, before.events, scene.played.turns[index].requested_slot)
    found = transplant(scene.plan.augmentation.donors, place, scene.engine.free_text_slots, rng)
    if found is None:
        return []
    donor, wording = found
    prompt = await before.prompt(wording.text, scene.plan.template)
    # A guarded flow must not become a label.
    return [] if not_offered(wording, prompt) else [scene.point(index, wording, prompt, donor=donor)]
