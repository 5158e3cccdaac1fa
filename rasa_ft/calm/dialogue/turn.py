"""One turn of a conversation, from the commands of a message to the bot listening again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import Command, Restart, UserSilence
from rasa_ft.calm.dialogue.actions import LISTEN, run_action
from rasa_ft.calm.dialogue.executor import run_until_listening
from rasa_ft.calm.dialogue.processor import process
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, Runtime
from rasa_ft.calm.dialogue.tracker import DEFAULT_SENDER, SESSION_START_ACTION, Tracker
from rasa_ft.calm.events import ActionExecuted, SessionStarted, SlotSet, UserUttered
from rasa_ft.calm.project.domain import ROUTING_SLOT
from rasa_ft.calm.project.out_of_scope import ROUTERS

log = logging.getLogger(__name__)

# How often in a row the user has said nothing; anything that is said ends the row.
_SILENCES = "consecutive_silence_timeouts"


def begin(runtime: Runtime, fixtures: Sequence[tuple[str, Any]] = (), sender_id: str = DEFAULT_SENDER) -> Tracker:
    """A conversation whose session has just started, with slots set beforehand."""
    tracker = Tracker.new(runtime.domain.initial_slots(), runtime.domain.slots, sender_id)
    tracker = tracker.apply(ActionExecuted(SESSION_START_ACTION), SessionStarted(), ActionExecuted(LISTEN))
    return with_fixtures(tracker, fixtures)


def with_fixtures(tracker: Tracker, fixtures: Sequence[tuple[str, Any]]) -> Tracker:
    """With slots set as a test wants them."""
    return tracker.apply(*(SlotSet(slot, value, "fixture") for slot, value in fixtures))


async def take_turn(
    tracker: Tracker,
    text: str,
    commands: Sequence[Command],
    runtime: Runtime,
    metadata: Mapping[str, Any] | None = None,
    time: float | None = None,
) -> Tracker:
    """The conversation after the user said ``text``, which was understood as ``commands``.

    A conversation that has ended only keeps the message, and so does a paused one, unless it is restarted.

    Args:
        time: when the message came (`rasa_ft.calm.dialogue.sessions`).
    """
    if not tracker.ended and UserSilence() not in commands and tracker.slots.get(_SILENCES):
        tracker = tracker.apply(SlotSet(_SILENCES, 0.0))
    tracker = tracker.apply(UserUttered(text, tuple(commands), dict(metadata or {}), time))
    if tracker.ended or (tracker.paused and Restart() not in commands):
        return tracker
    tracker = await _run_every_turn_actions(_routed(tracker, runtime), runtime)
    return (await run_until_listening(process(commands, tracker, runtime), runtime)).listening()


def _routed(tracker: Tracker, runtime: Runtime) -> Tracker:
    """As a router leaves it that sends all messages to the flows; none is run (`rasa_ft.calm.project.out_of_scope`)."""
    if ROUTERS.isdisjoint(runtime.ignored) or tracker.slots.get(ROUTING_SLOT) is not None:
        return tracker
    return tracker.apply(SlotSet(ROUTING_SLOT, True))


async def _run_every_turn_actions(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Controlled slots may name an action that fills them anew at every message."""
    for action in runtime.domain.every_turn_actions:
        try:
            tracker = await run_action(action, tracker, runtime)
        except (ActionFailed, ActionRejected) as error:
            log.error("action %s, which runs every turn, failed: %s", action, error)
    return tracker
