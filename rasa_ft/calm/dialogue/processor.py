"""Executing commands: what each of them does to the slots and the stack, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Clarify,
    Command,
    CorrectSlots,
    Error,
    HandleCodeChange,
    HumanHandoff,
    Knowledge,
    Repeat,
    Restart,
    SessionEnd,
    SessionStart,
    SetSlot,
    SkipQuestion,
    StartFlow,
    UserSilence,
)
from rasa_ft.calm.dialogue.cleanup import clean_up
from rasa_ft.calm.dialogue.collecting import validation_frame
from rasa_ft.calm.dialogue.corrections import push_correction
from rasa_ft.calm.dialogue.interruptions import start_flow, without_completed
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import (
    CHITCHAT,
    CODE_CHANGE,
    HUMAN_HANDOFF,
    REPEAT,
    RESTART,
    SEARCH,
    SESSION_END,
    SESSION_START,
    SKIP_QUESTION,
    USER_SILENCE,
    CancelFrame,
    CannotHandleFrame,
    ClarificationFrame,
    CollectFrame,
    FrameKind,
    InternalErrorFrame,
    PatternFrame,
    Stack,
    UserFrame,
    ValidateSlotFrame,
)
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import Event, FlowCancelled, SlotSet
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.slots import coerce

# Commands that only put their pattern on the stack.
_PATTERNS: dict[type[Command], str] = {
    ChitChat: CHITCHAT,
    Knowledge: SEARCH,
    Repeat: REPEAT,
    HumanHandoff: HUMAN_HANDOFF,
    HandleCodeChange: CODE_CHANGE,
    SessionStart: SESSION_START,
    SessionEnd: SESSION_END,
    Restart: RESTART,
    UserSilence: USER_SILENCE,
}


def process(commands: Sequence[Command], tracker: Tracker, runtime: Runtime) -> Tracker:
    """Clean up ``commands``, write the result into the last user event, and execute it.

    Slots and stack are changed and the events of the commands logged; no flow has run yet. If a flow under way was
    changed since the last turn, that is all there is to handle.
    """
    if _flows_changed(tracker, runtime):
        commands = (HandleCodeChange(),)
    cleaned = clean_up(commands, tracker, runtime)
    return execute(cleaned, commands, replace(tracker, flows=runtime.flows).with_commands(cleaned), runtime)


def _flows_changed(tracker: Tracker, runtime: Runtime) -> bool:
    """Whether a flow on the stack is gone or says something else than when the conversation last ran."""
    known = tracker.flows
    if known is None or known is runtime.flows:
        return False
    return any(known.get(frame.flow_id) != runtime.flows.get(frame.flow_id) for frame in tracker.stack.frames)


def execute(commands: Sequence[Command], given: Sequence[Command], tracker: Tracker, runtime: Runtime) -> Tracker:
    """Carry out clean commands, the last one first, so that what stands first ends up on top of the stack.

    ``given`` are the commands before clean-up: they decide which slots may be filled ahead.
    """
    before = tracker
    to_validate: dict[str, None] = {}
    for command in reversed(_in_order(commands, tracker.stack)):
        changed = _run(command, tracker, before.stack, given, runtime)
        new = changed.events[len(tracker.events) :]
        to_validate.update(dict.fromkeys(event.slot for event in new if isinstance(event, SlotSet)))
        tracker = changed
    tracker = _with_validation(tracker, to_validate, runtime)
    return _last_value_only(tracker, len(before.events))


def _in_order(commands: Sequence[Command], stack: Stack) -> list[Command]:
    """Without an active flow the (last) `StartFlow` goes to the end, so that it is executed before its slots."""
    starts = [index for index, command in enumerate(commands) if isinstance(command, StartFlow)]
    if not starts or _top_own_frame(stack) is not None:
        return list(commands)
    last = starts[-1]
    return [*commands[:last], *commands[last + 1 :], commands[last]]


def _run(command: Command, tracker: Tracker, before: Stack, given: Sequence[Command], runtime: Runtime) -> Tracker:
    """The effect of one command; ``before`` is the stack at the beginning of the turn."""
    match command:
        case SetSlot():
            return _set_slot(command, tracker, given, runtime)
        case StartFlow():
            flow = runtime.flows.get(command.flow)
            return start_flow(tracker, flow, before) if flow else tracker
        case CancelFlow():
            return cancel_flow(tracker, before, runtime)
        case CorrectSlots():
            return push_correction(tracker, command, runtime)
        case Clarify():
            return _clarify(command, tracker, runtime)
        case CannotHandle():
            return tracker.push(CannotHandleFrame(reason=command.reason))
        case Error():
            return tracker.push(InternalErrorFrame(error_type=command.error_type, info=dict(command.info)))
        case SkipQuestion():
            return tracker.push(PatternFrame(SKIP_QUESTION)) if tracker.stack.top_user_frame else tracker
        case _:
            pattern = _PATTERNS.get(type(command))
            return tracker.push(PatternFrame(pattern)) if pattern else tracker


def _set_slot(command: SetSlot, tracker: Tracker, given: Sequence[Command], runtime: Runtime) -> Tracker:
    """Fill a slot that someone waits for; a value that nobody waits for is lost, as in CALM."""
    slot = runtime.domain.slots.get(command.slot)
    if slot is None or not (slot.builtin or command.slot in _fillable_slots(tracker.stack, given, runtime)):
        return tracker
    value = coerce(slot, command.value)
    if value == tracker.slots.get(slot.name):
        return tracker
    frame = tracker.stack.top_user_frame
    return tracker.apply(SlotSet(slot.name, value, command.extractor, flow_id=frame.flow_id if frame else None))


def _fillable_slots(stack: Stack, given: Sequence[Command], runtime: Runtime) -> set[str]:
    running = (stack.top_user_frame, _top_own_frame(stack))
    started = [command.flow for command in given if isinstance(command, StartFlow)]
    flows = [runtime.flows.get(frame.flow_id) for frame in running if frame]
    if started:
        flows += [runtime.flows.get(flow_id) for flow_id in started]
    else:
        flows += [flow for flow in runtime.flows.values() if flow.is_pattern]
    return _prefillable(flows, runtime) | _asked(stack)


def _top_own_frame(stack: Stack) -> UserFrame | None:
    return stack.topmost(UserFrame, lambda frame: frame.kind not in (FrameKind.CALL, FrameKind.LINK))


def _prefillable(flows: Iterable[Flow | None], runtime: Runtime) -> set[str]:
    steps = (step for flow in flows if flow for step in collect_steps(flow, runtime.flows))
    return {step.slot for step in steps if not step.ask_before_filling}


def _asked(stack: Stack) -> set[str]:
    asking = next((item for item in reversed(stack.frames) if isinstance(item, CollectFrame | ValidateSlotFrame)), None)
    if asking is None:
        return set()
    return {asking.collect if isinstance(asking, CollectFrame) else asking.validate}


def cancel_flow(tracker: Tracker, before: Stack, runtime: Runtime) -> Tracker:
    """With the cancellation of the flow that was active in ``before`` on top.

    Inside a called flow it is the calling one that is cancelled and named: it is what the user asked for.
    """
    frame = before.top_caller_frame
    if frame is None:
        return tracker
    cancelled = tuple(item.frame_id for item in before.from_frame(frame))
    pattern = CancelFrame(canceled_name=runtime.flow_name(frame.flow_id, tracker), canceled_frames=cancelled)
    return tracker.push(pattern).apply(FlowCancelled(flow_id=frame.flow_id, step_id=frame.step_id))


def _clarify(command: Clarify, tracker: Tracker, runtime: Runtime) -> Tracker:
    known = tuple(flow_id for flow_id in command.options if flow_id in runtime.flows)
    names = tuple(runtime.flow_name(flow_id, tracker) for flow_id in known)
    return without_completed(tracker).push(ClarificationFrame(names=names, clarification_ids=known))


def _with_validation(tracker: Tracker, slots: Iterable[str], runtime: Runtime) -> Tracker:
    for name in slots:
        frame = validation_frame(runtime.domain.slots[name])
        if frame is not None and tracker.slots.get(name) is not None:
            tracker = tracker.push(frame)
    return tracker


def _last_value_only(tracker: Tracker, start: int) -> Tracker:
    """Of several events on one slot since index ``start``, only the last stays in the log."""
    new = tracker.events[start:]
    last = {event.slot: index for index, event in enumerate(new) if isinstance(event, SlotSet)}
    kept: list[Event] = [
        event for index, event in enumerate(new) if not isinstance(event, SlotSet) or last[event.slot] == index
    ]
    return replace(tracker, events=(*tracker.events[:start], *kept))
