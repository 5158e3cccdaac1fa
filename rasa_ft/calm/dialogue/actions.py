"""What a step's action name runs: a built-in action, a response, a flow, or the assistant's own code."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rasa_ft.calm.dialogue.collecting import run_slot_rejections
from rasa_ft.calm.dialogue.corrections import correct_slots
from rasa_ft.calm.dialogue.interruptions import cancel_interrupted_flows, continue_interrupted_flow, listed, start_flow
from rasa_ft.calm.dialogue.runtime import (
    ActionFailed,
    ActionResult,
    OutOfScopeReached,
    Runtime,
    SearchFailed,
    origin,
    reworded,
    signed,
)
from rasa_ft.calm.dialogue.stack import (
    CancelFrame,
    CannotHandleFrame,
    ClarificationFrame,
    CollectFrame,
    InternalErrorFrame,
)
from rasa_ft.calm.dialogue.tracker import SESSION_START_ACTION, Tracker
from rasa_ft.calm.events import (
    ActionExecuted,
    ActionExecutionRejected,
    AllSlotsReset,
    BotUttered,
    Button,
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
)
from rasa_ft.calm.project.domain import ROUTING_SLOT
from rasa_ft.calm.project.out_of_scope import INTENTLESS, VECTOR_STORE
from rasa_ft.yaml_source import plain

log = logging.getLogger(__name__)

LISTEN = "action_listen"
CORRECT = "action_correct_flow_slot"
_SEARCH = "action_trigger_search"
_CHAT = "action_trigger_chitchat"

_FEW, _MANY = 3, 1000

Action = Callable[[Tracker, Runtime], Tracker]


async def run_action(name: str, tracker: Tracker, runtime: Runtime) -> Tracker:
    """Run one action; its event is logged where it starts, what it says and sets comes after it.

    Raises:
        ActionFailed, ActionRejected: from the assistant's own code.
        OutOfScopeReached: a part of the assistant is needed that is not run.
    """
    after = await _run(name, tracker, runtime)
    return after if runtime.rephraser is None else await reworded(after, len(tracker.events), runtime)


async def _run(name: str, tracker: Tracker, runtime: Runtime) -> Tracker:
    if name in runtime.domain.custom_actions:  # in place of a built-in one, where the names agree
        result = await runtime.custom.run(name, tracker)
        try:
            return apply_result(result, executed(name, tracker), runtime)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ActionFailed(f"its answer is not of the form that actions answer in: {error}") from error
    if name == _SEARCH:
        return await _search(executed(name, tracker), runtime)
    if name == _CHAT and INTENTLESS in runtime.ignored:
        raise OutOfScopeReached(INTENTLESS)
    if name in runtime.domain.forms:
        raise OutOfScopeReached(f"the form {name}")
    if name in _BUILTIN:
        return _BUILTIN[name](executed(name, tracker), runtime)
    flow = runtime.started_by(name)
    if flow is not None:
        return start_flow(executed(name, tracker), flow, tracker.stack)
    tracker = executed(name, tracker)
    is_response = name in runtime.domain.responses or name.startswith("utter_")
    return runtime.say(tracker, name) if is_response else tracker


def executed(name: str, tracker: Tracker) -> Tracker:
    """With the event of action ``name``, which runs now."""
    flow_id, step_id = origin(tracker)
    return tracker.apply(ActionExecuted(name, flow_id=flow_id, step_id=step_id))


# -- built in -------------------------------------------------------------------------------------------------------


def start_session(tracker: Tracker, runtime: Runtime) -> Tracker:
    """A new session; all slots that were set in the old one are set again, if the domain says so."""
    carried: list[Event] = [
        SlotSet(name, value)
        for name, value in tracker.slots.items()
        if runtime.domain.session.carry_over_slots and name in tracker.has_been_set
    ]
    return tracker.apply(SessionStarted(), *carried)


def _restart(tracker: Tracker, runtime: Runtime) -> Tracker:
    if "utter_restart" in runtime.domain.responses:
        tracker = runtime.say(tracker, "utter_restart")
    return tracker.apply(Restarted())


def _cancel_flow(tracker: Tracker, runtime: Runtime) -> Tracker:
    frame = tracker.stack.top
    if not isinstance(frame, CancelFrame):
        return tracker
    return tracker.with_stack(tracker.stack.end(frame.canceled_frames))


def _clarify_flows(tracker: Tracker, runtime: Runtime) -> Tracker:
    frame = tracker.stack.top
    if not isinstance(frame, ClarificationFrame):
        return tracker
    options = listed(frame.names[: _most_options(tracker)], "or")
    return tracker.with_stack(tracker.stack.update(replace(frame, clarification_options=options)))


def _most_options(tracker: Tracker) -> int:
    """How many flows a question offers; a slot may hold anything."""
    most = tracker.slots.get("max_clarification_options")
    return int(most) if isinstance(most, int | float) and 0 < most < _MANY else _FEW


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


async def _search(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Say what the documents know.

    Raises:
        OutOfScopeReached: they are in a store that cannot be asked.
    """
    if runtime.search is None and VECTOR_STORE in runtime.ignored:
        raise OutOfScopeReached("the vector store")
    try:
        answer = await runtime.search.answer(tracker, runtime) if runtime.search else None
    except SearchFailed as error:
        log.error("the search for an answer failed: %s", error)
        return tracker.push(InternalErrorFrame())
    if answer is None:
        return tracker.push(CannotHandleFrame(reason="cannot_handle_no_relevant_answer"))
    return executed("action_send_text", tracker).apply(signed(answer, tracker))


def _reset_routing(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Back to where no side of a coexistence assistant has the conversation; what is under way is dropped."""
    ended = tracker.apply(RoutingSessionEnded()).with_followup(LISTEN)
    return ended.apply(SlotSet(ROUTING_SLOT, None)) if ROUTING_SLOT in runtime.domain.slots else ended


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
    "action_reset_routing": _reset_routing,
    "action_restart": _restart,
    "action_run_slot_rejections": run_slot_rejections,
    SESSION_START_ACTION: start_session,
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
        return tracker.apply(signed(bot_message(response), tracker))
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


def bot_message(document: Mapping[str, Any], source: str = "action") -> BotUttered:
    """A message in the shape in which action servers and response servers write it."""
    text = document.get("text")
    return BotUttered(
        text=None if text is None else str(text),
        buttons=_buttons(document),
        source=source,
        image=document.get("image"),
        attachment=document.get("attachment"),
        custom=document.get("custom") or None,
        quick_replies=tuple(document.get("quick_replies") or ()),
        elements=document.get("elements") or None,
    )


def _buttons(document: Mapping[str, Any]) -> tuple[Button, ...]:
    buttons = document.get("buttons") or ()
    return tuple(Button(str(button.get("title", "")), str(button.get("payload", ""))) for button in buttons)


# Only logged: what happens to flows is up to the flow loop.
_FLOW_EVENTS: Mapping[Any, type[Event]] = {
    "flow_started": FlowStarted,
    "flow_completed": FlowCompleted,
    "flow_cancelled": FlowCancelled,
    "flow_interrupted": FlowInterrupted,
    "flow_resumed": FlowResumed,
}


def _apply_event(document: Mapping[str, Any], tracker: Tracker, runtime: Runtime) -> Tracker:
    flow_id, step_id = origin(tracker)
    match document.get("event"):
        case "slot" if document.get("name") not in runtime.domain.slots:
            log.warning("a custom action sets the slot %r, which does not exist", document.get("name"))
            return tracker
        case "slot":
            value = plain(document.get("value"))  # the action may go on working with its own
            return tracker.apply(SlotSet(str(document["name"]), value, "CUSTOM", flow_id=flow_id, step_id=step_id))
        case "bot":
            message = bot_message({**(document.get("data") or {}), "text": document.get("text")})
            return tracker.apply(signed(message, tracker))
        case "followup":
            name = document.get("name")
            return tracker.with_followup(None if name is None else str(name))
        case "reset_slots":
            return tracker.apply(AllSlotsReset())
        case "restart":
            return tracker.apply(Restarted())
        case "session_started":
            return tracker.apply(SessionStarted())
        case "session_ended":
            return tracker.apply(SessionEnded())
        case "pause":
            return tracker.apply(ConversationPaused())
        case "resume":
            return tracker.apply(ConversationResumed())
        case "action":
            return tracker.apply(ActionExecuted(str(document.get("name")), flow_id=flow_id, step_id=step_id))
        case "action_execution_rejected":
            return tracker.apply(ActionExecutionRejected(str(document.get("name"))))
        case kind if kind in _FLOW_EVENTS:
            flow_event = _FLOW_EVENTS[kind]
            return tracker.apply(flow_event(flow_id=document.get("flow_id"), step_id=document.get("step_id")))
        case kind:
            log.info("the event %r of a custom action has no effect here", kind)
            return tracker
