"""Transplants: a message that means the same anywhere, put into the middle of another conversation.

Customers change the subject, chat and ask questions at any point; tests show that at a few points only.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rasa_ft.calm.commands import CannotHandle, ChitChat, Command, Knowledge, Repeat, SetSlot, StartFlow
from rasa_ft.calm.events import BotUttered, Event, FlowCancelled, FlowCompleted, FlowStarted
from rasa_ft.recipe.conversations import RephrasedConversation, Wording

_ANYWHERE = (ChitChat, Knowledge, CannotHandle, Repeat)


@dataclass(frozen=True)
class Donor:
    """A message, in all its wordings, whose commands do not depend on where it is said."""

    conversation: str
    wordings: tuple[Wording, ...]

    @property
    def commands(self) -> tuple[Command, ...]:
        return self.wordings[0].commands

    @property
    def flows(self) -> frozenset[str]:
        return frozenset(command.flow for command in self.commands if isinstance(command, StartFlow))


@dataclass(frozen=True)
class Place:
    """A point in a conversation: what has happened so far and what the bot waits for."""

    conversation: str
    events: Sequence[Event]
    requested_slot: str | None


def donors_of(conversations: Iterable[RephrasedConversation]) -> tuple[Donor, ...]:
    """Single small-talk, question, nonsense or repeat messages, and opening messages that start a flow.

    A message that starts a flow later on may lean on what was said before, so only openings are taken.
    """
    return tuple(
        Donor(conversation.key, turn.wordings)
        for conversation in conversations
        for index, turn in enumerate(conversation.turns)
        if turn.turn.annotated and _means_the_same_anywhere(turn.turn.commands, opening=index == 0)
    )


def transplant(
    donors: Sequence[Donor], place: Place, free_text_slots: frozenset[str], rng: random.Random
) -> tuple[Donor, Wording] | None:
    """A donor that fits ``place`` in one of its wordings; None if a few tries find none."""
    if not donors:
        return None
    for donor in rng.sample(donors, min(len(donors), 5)):
        if _fits(donor, place, free_text_slots):
            return donor, rng.choice(donor.wordings)
    return None


def open_flows(events: Iterable[Event]) -> frozenset[str]:
    """Flows that were started and neither ended nor cancelled."""
    flows: set[str] = set()
    for event in events:
        if isinstance(event, FlowStarted):
            flows.add(event.flow_id or "")
        elif isinstance(event, FlowCompleted | FlowCancelled):
            flows.discard(event.flow_id or "")
    return frozenset(flows)


def _means_the_same_anywhere(commands: Sequence[Command], *, opening: bool) -> bool:
    if len(commands) == 1 and isinstance(commands[0], _ANYWHERE):
        return True
    starts = any(isinstance(command, StartFlow) for command in commands)
    return opening and starts and all(isinstance(command, StartFlow | SetSlot) for command in commands)


def _fits(donor: Donor, place: Place, free_text_slots: frozenset[str]) -> bool:
    if donor.conversation == place.conversation or donor.flows & open_flows(place.events):
        return False
    if isinstance(donor.commands[0], Repeat):
        return any(isinstance(event, BotUttered) for event in place.events)
    # Where any text is an answer, nonsense is one too.
    return not (isinstance(donor.commands[0], CannotHandle) and place.requested_slot in free_text_slots)
