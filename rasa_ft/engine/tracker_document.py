"""A tracker as the JSON document that custom actions receive (the format of CALM action servers)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dialogue.messages import intent_name
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import (
    COMPONENTS,
    ActionExecuted,
    ActionExecutionRejected,
    AllSlotsReset,
    BotUttered,
    ConversationPaused,
    ConversationResumed,
    Event,
    FlowCancelled,
    FlowCompleted,
    FlowInterrupted,
    FlowResumed,
    FlowStarted,
    Restarted,
    RoutingSessionEnded,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.yaml_source import plain

_NAMES: Mapping[type[Event], str] = {
    ActionExecuted: "action",
    ActionExecutionRejected: "action_execution_rejected",
    AllSlotsReset: "reset_slots",
    BotUttered: "bot",
    ConversationPaused: "pause",
    ConversationResumed: "resume",
    FlowCancelled: "flow_cancelled",
    FlowCompleted: "flow_completed",
    FlowInterrupted: "flow_interrupted",
    FlowResumed: "flow_resumed",
    FlowStarted: "flow_started",
    Restarted: "restart",
    RoutingSessionEnded: "routing_session_ended",
    SessionEnded: "session_ended",
    SessionStarted: "session_started",
    SlotSet: "slot",
    UserUttered: "user",
}
# Fields of commands whose name in JSON differs.
_RENAMED = {"slot": "name"}


def tracker_document(tracker: Tracker, *, channel: str) -> dict[str, Any]:
    """The whole conversation; slots and stack are copies that an action may change without effect.

    Events have the time of the message that they follow. Where messages have none, timestamps count events instead, so
    that the same conversation gives the same document.
    """
    times = _times(tracker.events)
    events = [{**event_document(event), "timestamp": time} for event, time in zip(tracker.events, times, strict=True)]
    user = tracker.latest_user
    actions = [event.action for event in tracker.events if isinstance(event, ActionExecuted)]
    latest = actions[-1] if actions else None
    return {
        "sender_id": tracker.sender_id,
        "slots": plain(tracker.slots),
        "latest_message": _parse_data(user) if user else {},
        "latest_event_time": events[-1]["timestamp"] if events else None,
        "events": events,
        "stack": [frame.document() for frame in tracker.stack.frames],
        "paused": tracker.paused,
        "followup_action": tracker.followup,
        "latest_input_channel": channel,
        "active_loop": {},
        "latest_action": {"action_name": latest} if latest else {},
        "latest_action_name": latest,
    }


def _times(events: Iterable[Event]) -> Iterator[float]:
    known: float | None = None
    for index, event in enumerate(events):
        if isinstance(event, UserUttered) and event.time is not None:
            known = event.time
        yield float(index) if known is None else known


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
            source = COMPONENTS.get(event.source, event.source)
            document["metadata"] |= {"utter_action": event.utter_action, "utter_source": source, **event.metadata}
        case SlotSet():
            document |= {"name": event.slot, "value": plain(event.value), "filled_by": event.filled_by}
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
        "elements": event.elements,
    }


def _parse_data(event: UserUttered) -> dict[str, Any]:
    intent = intent_name(event.text)
    return {
        "text": event.text,
        "intent": {"name": intent, "confidence": 1.0 if intent else 0.0},
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
