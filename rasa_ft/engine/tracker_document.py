"""A tracker as the JSON document that custom actions receive (the format of CALM action servers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.events import (
    ActionExecuted,
    ActionExecutionRejected,
    AllSlotsReset,
    BotUttered,
    Event,
    FlowCancelled,
    FlowCompleted,
    FlowInterrupted,
    FlowResumed,
    FlowStarted,
    Restarted,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.calm.tracker import Tracker

_NAMES: Mapping[type[Event], str] = {
    ActionExecuted: "action",
    ActionExecutionRejected: "action_execution_rejected",
    AllSlotsReset: "reset_slots",
    BotUttered: "bot",
    FlowCancelled: "flow_cancelled",
    FlowCompleted: "flow_completed",
    FlowInterrupted: "flow_interrupted",
    FlowResumed: "flow_resumed",
    FlowStarted: "flow_started",
    Restarted: "restart",
    SessionEnded: "session_ended",
    SessionStarted: "session_started",
    SlotSet: "slot",
    UserUttered: "user",
}
# Fields of commands whose name in JSON differs.
_RENAMED = {"slot": "name"}


def tracker_document(tracker: Tracker, *, sender_id: str, channel: str) -> dict[str, Any]:
    """The whole conversation; slots and stack are copies that an action may change without effect.

    Timestamps count events instead of seconds, so that the same conversation gives the same document.
    """
    events = [{**event_document(event), "timestamp": float(index)} for index, event in enumerate(tracker.events)]
    user = tracker.latest_user
    actions = [event.action for event in tracker.events if isinstance(event, ActionExecuted)]
    latest = actions[-1] if actions else None
    return {
        "sender_id": sender_id,
        "slots": dict(tracker.slots),
        "latest_message": _parse_data(user) if user else {},
        "latest_event_time": float(len(events) - 1) if events else None,
        "events": events,
        "stack": [frame.document() for frame in tracker.stack.frames],
        "paused": False,
        "followup_action": tracker.followup,
        "latest_input_channel": channel,
        "active_loop": {},
        "latest_action": {"action_name": latest} if latest else {},
        "latest_action_name": latest,
    }


def event_document(event: Event) -> dict[str, Any]:
    """One event, without a timestamp."""
    metadata = {"active_flow": event.flow_id, "step_id": event.step_id}
    document: dict[str, Any] = {
        "event": _NAMES[type(event)],
        "metadata": {key: value for key, value in metadata.items() if value is not None},
    }
    match event:
        case UserUttered():
            document |= {"text": event.text, "parse_data": _parse_data(event)}
            document["metadata"] |= event.metadata
        case BotUttered():
            document |= {"text": event.text, "data": _bot_data(event)}
            document["metadata"] |= {"utter_action": event.utter_action, "utter_source": event.source}
        case SlotSet():
            document |= {"name": event.slot, "value": event.value, "filled_by": event.filled_by}
            document["metadata"] |= {"reset": True} if event.reset else {}
        case ActionExecuted() | ActionExecutionRejected():
            document["name"] = event.action
        case FlowStarted() | FlowCompleted() | FlowCancelled() | FlowInterrupted() | FlowResumed():
            document |= {"flow_id": event.flow_id, "step_id": event.step_id}
    return document


def _bot_data(event: BotUttered) -> dict[str, Any]:
    return {
        "buttons": [{"title": button.title, "payload": button.payload} for button in event.buttons] or None,
        "quick_replies": list(event.quick_replies) or None,
        "image": event.image,
        "attachment": event.attachment,
        "custom": event.custom,
        "elements": None,
    }


def _parse_data(event: UserUttered) -> dict[str, Any]:
    return {
        "text": event.text,
        "intent": {"name": None, "confidence": 0.0},
        "entities": [],
        "commands": [command_document(command) for command in event.commands],
        "metadata": dict(event.metadata),
    }


def command_document(command: Command) -> dict[str, Any]:
    """The JSON form of a command."""
    values = {_RENAMED.get(item.name, item.name): _plain(getattr(command, item.name)) for item in fields(command)}
    return {"command": command.name, **values}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {"name": value.slot, "value": value.value, "filled_by": value.extractor}
    return value
