"""Messages that need no model: button payloads, intents, forced raw text, and texts that are empty or too long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Command,
    Error,
    Knowledge,
    Restart,
    SessionEnd,
    SessionStart,
    SetSlot,
    SkipQuestion,
    StartFlow,
    UserSilence,
)
from rasa_ft.calm.dialogue.cleanup import PAYLOAD_READER
from rasa_ft.calm.dialogue.payloads import PREFIX, parse_set_slots
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import (
    CANCEL_FLOW,
    CANNOT_HANDLE,
    CHITCHAT,
    RESTART,
    SEARCH,
    SESSION_END,
    SESSION_START,
    SKIP_QUESTION,
    USER_SILENCE,
)
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.flows.model import CollectStep, Flow
from rasa_ft.calm.project.domain import DEFAULT_INTENTS

EMPTY = "rasa_internal_error_user_input_empty"
TOO_LONG = "rasa_internal_error_user_input_too_long"
_INTENT = re.compile(r"/([^\s{@/]+)(?:@[\d.]+)?\s*(?:\{.*\})?\s*$", re.DOTALL)
_BY_PATTERN: Mapping[str, Command] = {
    SESSION_START: SessionStart(),
    SESSION_END: SessionEnd(),
    RESTART: Restart(),
    USER_SILENCE: UserSilence(),
    CANCEL_FLOW: CancelFlow(),
    CHITCHAT: ChitChat(),
    SEARCH: Knowledge(),
    SKIP_QUESTION: SkipQuestion(),
    CANNOT_HANDLE: CannotHandle(),
}


@dataclass(frozen=True)
class Reading:
    """``commands`` None: a model has to understand ``text``, which may differ from what was sent."""

    text: str
    commands: tuple[Command, ...] | None = None


def read_message(text: str, tracker: Tracker, runtime: Runtime, max_characters: int) -> Reading:
    """What can be said about a message without a model.

    Args:
        max_characters: longer texts are refused; negative: none is.
    """
    slot = _forced_raw_slot(tracker, runtime)
    if slot is not None:
        return Reading(text, (SetSlot(slot, text, PAYLOAD_READER),))
    if text.startswith("/"):
        reading = _read_slash(text, runtime)
        if reading.commands is not None:
            return reading
        text = reading.text
    return Reading(text, _size_error(text, max_characters))


def _size_error(text: str, max_characters: int) -> tuple[Command, ...] | None:
    if not text.strip():
        return (Error(EMPTY),)
    if 0 <= max_characters < len(text):
        return (Error(TOO_LONG, (("max_characters", max_characters),)),)
    return None


def asking_step(tracker: Tracker, runtime: Runtime) -> CollectStep | None:
    """The collect step, of a flow or a pattern, whose question is on top of the stack."""
    if tracker.stack.asking_frame is None:
        return None
    context = tracker.stack.context()
    flow = runtime.flows.get(str(context.get("flow_id")))
    step = flow.step(str(context.get("step_id"))) if flow else None
    return step if isinstance(step, CollectStep) else None


def _forced_raw_slot(tracker: Tracker, runtime: Runtime) -> str | None:
    """The slot that takes any next message as its value."""
    step = asking_step(tracker, runtime)
    if step is None or not step.force_slot_filling:
        return None
    slot = runtime.domain.slots.get(step.slot)
    return step.slot if slot is not None and slot.has_mapping("from_text") else None


def intent_name(text: str) -> str | None:
    """The intent that a message such as ``/book`` names, known or not; payloads that fill slots name none."""
    match = None if text.startswith(PREFIX) else _INTENT.match(text)
    return match[1] if match else None


def _read_slash(text: str, runtime: Runtime) -> Reading:
    if text.startswith(PREFIX):
        commands = _set_slots(text, runtime)
        return Reading(text.removeprefix("/") if commands is None else text, commands)
    match = _INTENT.match(text)
    known = DEFAULT_INTENTS | set(runtime.domain.intents) | _triggers(runtime).keys()
    if match is None or match[1] not in known:
        return Reading(text.lstrip("/ "))
    return Reading(text, _intent_commands(match[1], runtime))


def _set_slots(text: str, runtime: Runtime) -> tuple[Command, ...] | None:
    """None: not a proper payload, or an unknown slot."""
    pairs = parse_set_slots(text)
    if pairs is None or any(name not in runtime.domain.slots for name, _ in pairs):
        return None
    return tuple(SetSlot(name, value, PAYLOAD_READER) for name, value in pairs)


def _triggers(runtime: Runtime) -> dict[str, Flow]:
    return {trigger.intent: flow for flow in runtime.flows.values() for trigger in flow.nlu_triggers}


def _intent_commands(intent: str, runtime: Runtime) -> tuple[Command, ...]:
    flow = _triggers(runtime).get(intent)
    if flow is None:
        return () if intent in runtime.domain.intents else (CannotHandle("cannot_handle_invalid_intent"),)
    if not flow.is_pattern:
        return (StartFlow(flow.id),)
    command = _BY_PATTERN.get(flow.id)
    return (command,) if command else ()
