"""What a step's action name runs: a built-in action, a response, a flow, or the assistant's own code."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rasa_ft.calm.collecting import run_slot_rejections
from rasa_ft.calm.corrections import correct_slots
from rasa_ft.calm.events import (
    ActionExecuted,
    AllSlotsReset,
    BotUttered,
    Button,
    Event,
    Restarted,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.calm.interruptions import cancel_interrupted_flows, continue_interrupted_flow, listed, start_flow
from rasa_ft.calm.runtime import ActionResult, Runtime, origin, signed
from rasa_ft.calm.stack import CancelFrame, CannotHandleFrame, ClarificationFrame, CollectFrame
from rasa_ft.calm.tracker import Tracker

log = logging.getLogger(__name__)

LISTEN = "action_listen"
CORRECT = "action_correct_flow_slot"

Action = Callable[[Tracker, Runtime], Tracker]


async def run_action(name: str, tracker: Tracker, runtime: Runtime) -> Tracker:
    """Run one action; its event is logged where it starts, what it says and sets comes after it.

    Raises:
        ActionFailed, ActionRejected: from the assistant's own code.
    """
    if name in _BUILTIN:
        return _BUILTIN[name](_executed(name, tracker), runtime)
    flow = runtime.started_by(name)
    if flow is not None:
        return start_flow(_executed(name, tracker), flow, tracker.stack)
    if name in runtime.domain.custom_actions:
        result = await runtime.custom.run(name, tracker)
        return apply_result(result, _executed(name, tracker), runtime)
    tracker = _executed(name, tracker)
    return runtime.say(tracker, name) if name in runtime.domain.responses else tracker


def _executed(name: str, tracker: Tracker) -> Tracker:
    flow_id, step_id = origin(tracker)
    return tracker.apply(ActionExecuted(name, flow_id=flow_id, step_id=step_id))


# -- built in -------------------------------------------------------------------------------------------------------


def start_session(tracker: Tracker, runtime: Runtime) -> Tracker:
    """A new session, slots carried over if the domain says so; nothing if this turn has begun the session."""
    users = [event for event in tracker.session_events if isinstance(event, UserUttered)]
    if len(users) == 1:
        return tracker
    carried: list[Event] = [
        SlotSet(name, value)
        for name, value in tracker.slots.items()
        if runtime.domain.session.carry_over_slots and value != tracker.initial_slots.get(name)
    ]
    return tracker.apply(SessionStarted(), *carried)


def _restart(tracker: Tracker, runtime: Runtime) -> Tracker:
    if "utter_restart" in runtime.domain.responses:
        tracker = runtime.say(tracker, "utter_restart")
    return tracker.apply(Restarted(), ActionExecuted("action_session_start"), SessionStarted())


def _cancel_flow(tracker: Tracker, runtime: Runtime) -> Tracker:
    frame = tracker.stack.top
    if not isinstance(frame, CancelFrame):
        return tracker
    return tracker.with_stack(tracker.stack.end(frame.canceled_frames))


def _clarify_flows(tracker: Tracker, runtime: Runtime) -> Tracker:
    frame = tracker.stack.top
    if not isinstance(frame, ClarificationFrame):
        return tracker
    most = int(tracker.slots.get("max_clarification_options") or 3)
    options = listed(frame.names[:most], "or")
    return tracker.with_stack(tracker.stack.update(replace(frame, clarification_options=options)))


def _clean_stack(tracker: Tracker, runtime: Runtime) -> Tracker:
    return tracker.with_stack(tracker.stack.end(frame.frame_id for frame in tracker.stack.frames))


def _repeat_bot_messages(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Say the last run of messages again, but for a question that the flow below is going to ask again anyway."""
    messages = tracker.last_bot_messages()
    below = tracker.stack.frames[-2] if len(tracker.stack.frames) > 1 else None
    if isinstance(below, CollectFrame):
        messages = messages[:-1]
    return tracker.apply(*(signed(message, tracker) for message in messages))


def _hang_up(tracker: Tracker, runtime: Runtime) -> Tracker:
    return tracker.apply(SessionEnded())


def _search(tracker: Tracker, runtime: Runtime) -> Tracker:
    """There are no documents to search, so nothing is found."""
    return tracker.push(CannotHandleFrame(reason="cannot_handle_no_relevant_answer"))


def _nothing(tracker: Tracker, runtime: Runtime) -> Tracker:
    return tracker


_BUILTIN: Mapping[str, Action] = {
    LISTEN: _nothing,
    CORRECT: correct_slots,
    "action_cancel_flow": _cancel_flow,
    "action_cancel_interrupted_flows": cancel_interrupted_flows,
    "action_clarify_flows": _clarify_flows,
    "action_clean_stack": _clean_stack,
    "action_continue_interrupted_flow": continue_interrupted_flow,
    "action_handoff_metric": _nothing,
    "action_hangup": _hang_up,
    "action_repeat_bot_messages": _repeat_bot_messages,
    "action_restart": _restart,
    "action_run_slot_rejections": run_slot_rejections,
    "action_session_start": start_session,
    "action_trigger_search": _search,
}


# -- the assistant's own --------------------------------------------------------------------------------------------


def apply_result(result: ActionResult, tracker: Tracker, runtime: Runtime) -> Tracker:
    """What a custom action answered: first everything it says, then its events."""
    for response in result.responses:
        tracker = _say(response, tracker, runtime)
    for event in result.events:
        tracker = _apply_event(event, tracker, runtime)
    return tracker


def _say(response: Mapping[str, Any], tracker: Tracker, runtime: Runtime) -> Tracker:
    name = response.get("response") or response.get("template") or response.get("utter_action")
    if not name:
        return tracker.apply(signed(_message(response), tracker))
    arguments = {key: value for key, value in response.items() if key not in _MESSAGE_KEYS}
    said = runtime.say(tracker, str(name), **arguments)
    added = _buttons(response)
    if not added or len(said.events) == len(tracker.events):
        return said
    message = said.events[-1]
    assert isinstance(message, BotUttered)  # noqa: S101 - the one event that was just added
    return replace(said, events=(*said.events[:-1], replace(message, buttons=(*message.buttons, *added))))


_MESSAGE_KEYS = frozenset(
    {"response", "template", "utter_action", "text", "buttons", "elements", "custom", "image", "attachment"}
    | {"quick_replies", "metadata"}
)


def _message(document: Mapping[str, Any]) -> BotUttered:
    return BotUttered(
        text=document.get("text"),
        buttons=_buttons(document),
        source="action",
        image=document.get("image"),
        attachment=document.get("attachment"),
        custom=document.get("custom") or None,
        quick_replies=tuple(document.get("quick_replies") or ()),
    )


def _buttons(document: Mapping[str, Any]) -> tuple[Button, ...]:
    buttons = document.get("buttons") or ()
    return tuple(Button(str(button.get("title", "")), str(button.get("payload", ""))) for button in buttons)


def _apply_event(document: Mapping[str, Any], tracker: Tracker, runtime: Runtime) -> Tracker:
    flow_id, step_id = origin(tracker)
    match document.get("event"):
        case "slot" if document.get("name") not in runtime.domain.slots:
            log.warning("a custom action sets the slot %r, which does not exist", document.get("name"))
            return tracker
        case "slot":
            value = document.get("value")
            return tracker.apply(SlotSet(str(document["name"]), value, "CUSTOM", flow_id=flow_id, step_id=step_id))
        case "bot":
            message = _message({**(document.get("data") or {}), "text": document.get("text")})
            return tracker.apply(signed(message, tracker))
        case "followup":
            return tracker.with_followup(document.get("name"))
        case "reset_slots":
            return tracker.apply(AllSlotsReset())
        case "restart":
            return tracker.apply(Restarted())
        case "session_started":
            return tracker.apply(SessionStarted())
        case "session_ended":
            return tracker.apply(SessionEnded())
        case kind:
            log.info("the event %r of a custom action has no effect here", kind)
            return tracker
