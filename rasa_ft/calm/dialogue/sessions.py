"""Sessions: how a conversation begins, when a new session begins by itself, and messages that nobody listens to.

Time is what the caller says it is: a message comes at a number of seconds, and only the distance between two messages
counts. Tests and data preparation give no times, so that a conversation is one session and every replay is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import Restart
from rasa_ft.calm.dialogue.actions import LISTEN, executed, run_action, start_session
from rasa_ft.calm.dialogue.messages import read_message
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, Runtime
from rasa_ft.calm.dialogue.tracker import DEFAULT_SENDER, SESSION_START_ACTION, Tracker
from rasa_ft.calm.dialogue.turn import begin, with_fixtures
from rasa_ft.calm.events import ActionExecuted, SlotSet

log = logging.getLogger(__name__)

METADATA_SLOT = "session_started_metadata"
_SECONDS = 60


async def begin_conversation(
    runtime: Runtime, fixtures: Sequence[tuple[str, Any]] = (), sender_id: str = DEFAULT_SENDER
) -> Tracker:
    """As `rasa_ft.calm.dialogue.turn.begin`, with the assistant's own `action_session_start` if it has one."""
    if SESSION_START_ACTION not in runtime.domain.custom_actions:
        return begin(runtime, fixtures, sender_id)
    tracker = Tracker.new(runtime.domain.initial_slots(), runtime.domain.slots, sender_id)
    return with_fixtures(await _new_session(tracker, runtime), fixtures)


async def arrive(tracker: Tracker, runtime: Runtime, time: float | None, metadata: Mapping[str, Any]) -> Tracker:
    """What happens when a message comes, before it is read: a session that is too old gives way to a new one.

    The metadata of a session's first message goes into a slot, where the action that starts sessions finds it.

    Args:
        time: when the message came, in seconds; None: unknown, the session goes on.
    """
    if tracker.ended:
        return tracker
    if _has_expired(tracker, runtime, time):
        tracker = await _new_session(_with_metadata(tracker, metadata), runtime)
    elif not metadata or tracker.messages_in_session:
        return tracker
    return _with_metadata(tracker, metadata)


def is_ignored(text: str, tracker: Tracker, runtime: Runtime) -> bool:
    """Whether nobody reads ``text``: the conversation has ended, or is paused and ``text`` does not restart it."""
    if not tracker.paused:
        return tracker.ended
    return read_message(text, tracker, runtime, max_characters=-1).commands != (Restart(),)


def _has_expired(tracker: Tracker, runtime: Runtime, time: float | None) -> bool:
    session = runtime.domain.session
    user = tracker.latest_user
    if time is None or user is None or user.time is None:
        return False
    if session.expiration_minutes <= 0 or not session.start_after_expiry:
        return False
    return time - user.time > session.expiration_minutes * _SECONDS


def _with_metadata(tracker: Tracker, metadata: Mapping[str, Any]) -> Tracker:
    if not metadata or tracker.slots.get(METADATA_SLOT) == metadata:
        return tracker
    return tracker.apply(SlotSet(METADATA_SLOT, dict(metadata)))


async def _new_session(tracker: Tracker, runtime: Runtime) -> Tracker:
    """With a session started by the assistant's own action, or by ours if that fails, and the bot listening."""
    tracker = tracker.with_stack(tracker.stack.with_frames(()))  # no step of a flow does this
    try:
        tracker = await run_action(SESSION_START_ACTION, tracker, runtime)
    except (ActionFailed, ActionRejected) as error:
        log.error("the assistant's own %s failed: %s", SESSION_START_ACTION, error)
        tracker = start_session(executed(SESSION_START_ACTION, tracker), runtime)
    return tracker if tracker.events[-1] == ActionExecuted(LISTEN) else tracker.apply(ActionExecuted(LISTEN))
