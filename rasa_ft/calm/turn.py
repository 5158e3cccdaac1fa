"""One turn of a conversation, from the commands of a message to the bot listening again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rasa_ft.calm.actions import LISTEN, run_action
from rasa_ft.calm.commands import Command
from rasa_ft.calm.events import ActionExecuted, SessionStarted, SlotSet, UserUttered
from rasa_ft.calm.executor import run_until_listening
from rasa_ft.calm.processor import process
from rasa_ft.calm.runtime import ActionFailed, ActionRejected, Runtime
from rasa_ft.calm.tracker import Tracker

log = logging.getLogger(__name__)


def begin(runtime: Runtime, fixtures: Sequence[tuple[str, Any]] = ()) -> Tracker:
    """A conversation whose session has just started, with slots set beforehand."""
    tracker = Tracker.new(runtime.domain.initial_slots())
    tracker = tracker.apply(ActionExecuted("action_session_start"), SessionStarted(), ActionExecuted(LISTEN))
    return tracker.apply(*(SlotSet(slot, value, "fixture") for slot, value in fixtures))


async def take_turn(
    tracker: Tracker,
    text: str,
    commands: Sequence[Command],
    runtime: Runtime,
    metadata: Mapping[str, Any] | None = None,
) -> Tracker:
    """The conversation after the user said ``text``, which was understood as ``commands``.

    A conversation that has ended only keeps the message.
    """
    tracker = tracker.apply(UserUttered(text, tuple(commands), dict(metadata or {})))
    if tracker.ended:
        return tracker
    tracker = await _run_every_turn_actions(tracker, runtime)
    return await run_until_listening(process(commands, tracker, runtime), runtime)


async def _run_every_turn_actions(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Controlled slots may name an action that fills them anew at every message."""
    mappings = (mapping for slot in runtime.domain.slots.values() for mapping in slot.mappings)
    actions = dict.fromkeys(mapping.run_action_every_turn for mapping in mappings if mapping.run_action_every_turn)
    for action in actions:
        try:
            tracker = await run_action(action, tracker, runtime)
        except (ActionFailed, ActionRejected) as error:
            log.error("action %s, which runs every turn, failed: %s", action, error)
    return tracker
