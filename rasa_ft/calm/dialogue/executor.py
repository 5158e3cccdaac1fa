"""The flow loop: from the top of the stack to the next action, until the bot listens again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from rasa_ft.calm.copying import replace
from rasa_ft.calm.dialogue.actions import CORRECT, LISTEN, executed, run_action
from rasa_ft.calm.dialogue.collecting import can_ask, collect_frame
from rasa_ft.calm.dialogue.interruptions import after_end
from rasa_ft.calm.dialogue.processor import cancel_flow
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, OutOfScopeReached, Runtime
from rasa_ft.calm.dialogue.stack import HUMAN_HANDOFF, Frame, FrameKind, InternalErrorFrame, PatternFrame, UserFrame
from rasa_ft.calm.dialogue.tracker import SESSION_START_ACTION, Tracker
from rasa_ft.calm.events import ActionExecuted, ActionExecutionRejected, FlowCompleted, FlowStarted, SlotSet
from rasa_ft.calm.flows.conditions import ConditionError, holds, render
from rasa_ft.calm.flows.graph import resettable_slots
from rasa_ft.calm.flows.model import (
    END,
    NEXT_PREFIX,
    START,
    ActionStep,
    CallStep,
    CollectStep,
    Flow,
    LinkStep,
    SetSlotsStep,
    Step,
)
from rasa_ft.calm.project.out_of_scope import OUT_OF_SCOPE
from rasa_ft.calm.templates import is_template

log = logging.getLogger(__name__)

# Steps between two actions. Ends what would never end by itself.
MAX_STEPS = 250
_CORRECTION_FACTOR = 5


@dataclass(frozen=True)
class _Pause:
    """The loop has come to an action."""

    tracker: Tracker
    action: str


class _FlowFault(Exception):
    """A flow cannot go on: it has no step to go to, or goes round for ever."""


async def run_until_listening(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Run flows and actions until `action_listen`, which is logged."""
    limit, count = runtime.max_actions, 0
    while count < limit and not tracker.ended:
        pause = _next_action(tracker, runtime)
        try:
            tracker = await _perform(pause, runtime)
        except ActionRejected:
            return pause.tracker.apply(ActionExecutionRejected(pause.action), ActionExecuted(LISTEN))
        except OutOfScopeReached as reached:
            tracker = _out_of_scope(pause.tracker, str(reached), runtime)
        except ActionFailed as error:
            log.error("action %s failed: %s", pause.action, error)
            tracker = _failed(pause.tracker, runtime)
        if pause.action == LISTEN:
            return tracker
        limit = runtime.max_actions * _CORRECTION_FACTOR if pause.action == CORRECT else limit
        count += 1
    if not tracker.ended:
        log.warning("the turn ends after %d actions", limit)
    return tracker.apply(ActionExecuted(LISTEN))


async def _perform(pause: _Pause, runtime: Runtime) -> Tracker:
    """Run the action. In the turn whose message began the session no further session starts."""
    if pause.action == SESSION_START_ACTION and pause.tracker.messages_in_session == 1:
        return executed(pause.action, pause.tracker)
    return await run_action(pause.action, pause.tracker, runtime)


def _next_action(tracker: Tracker, runtime: Runtime) -> _Pause:
    if tracker.followup is not None:
        return _Pause(tracker.with_followup(None), tracker.followup)
    try:
        return advance(tracker, runtime)
    except _FlowFault as fault:
        log.error("%s", fault)
    try:
        return advance(_given_up(tracker), runtime)
    except _FlowFault as fault:  # even the pattern that tells of failures fails
        log.error("%s", fault)
        return _Pause(tracker.with_stack(tracker.stack.with_frames(())), LISTEN)


def _given_up(tracker: Tracker) -> Tracker:
    """With the top user flow ended and the failure announced."""
    frame = tracker.stack.top_user_frame
    gone = tracker.stack.from_frame(frame) if frame else tracker.stack.frames
    stack = tracker.stack.end(item.frame_id for item in gone)
    return tracker.with_stack(stack).push(InternalErrorFrame())


def _failed(tracker: Tracker, runtime: Runtime) -> Tracker:
    """The active flow is cancelled; the failure is told first, then the cancellation."""
    return cancel_flow(tracker, tracker.stack, runtime).push(InternalErrorFrame())


def _out_of_scope(tracker: Tracker, part: str, runtime: Runtime) -> Tracker:
    """As `_failed`, with the cause in the pattern's frame, by which the turn can be told from a failure."""
    log.warning("the conversation needs %s, which is not run", part)
    error = InternalErrorFrame(error_type=OUT_OF_SCOPE, info={"part": part})
    return cancel_flow(tracker, tracker.stack, runtime).push(error)


# -- from step to step ----------------------------------------------------------------------------------------------


def advance(tracker: Tracker, runtime: Runtime) -> _Pause:
    """Walk through steps until one of them has an action to run.

    Raises:
        _FlowFault: no successor, or `MAX_STEPS` steps without an action.
    """
    for _ in range(MAX_STEPS):
        frame = tracker.stack.top
        if frame is None:
            return _Pause(tracker, LISTEN)
        flow = runtime.flows.get(frame.flow_id)
        if flow is None:
            log.warning("flow %s does not exist any more; it is taken off the stack", frame.flow_id)
            tracker = tracker.with_stack(tracker.stack.pop())
            continue
        if frame.step_id == START:
            tracker = _begun(tracker, frame)
        step_id = _successor(frame, flow, tracker)
        if step_id == END:
            tracker = _ended(tracker, frame, flow, runtime)
            continue
        step = None if step_id is None else flow.step(step_id)
        if step_id is None or step is None:
            log.warning("flow %s has no step %s any more; it is taken off the stack", flow.id, frame.step_id)
            tracker = tracker.with_stack(tracker.stack.pop())
            continue
        tracker = tracker.with_stack(tracker.stack.update(replace(frame, step_id=step_id)))
        result = _run_step(step, tracker, flow, runtime)
        if isinstance(result, _Pause):
            return result
        tracker = result
    raise _FlowFault(
        f"{MAX_STEPS} steps ran without an action; flows: {[item.flow_id for item in tracker.stack.frames]}"
    )


def _begun(tracker: Tracker, frame: Frame) -> Tracker:
    parent = frame if isinstance(frame, UserFrame) else None
    return tracker.apply(
        FlowStarted(
            flow_id=frame.flow_id,
            parent_flow_id=parent.parent_flow_id if parent else None,
            parent_step_id=parent.parent_step_id if parent else None,
            context=frame.document(),
        )
    )


def _successor(frame: Frame, flow: Flow, tracker: Tracker) -> str | None:
    """The id of the step to go to; None: the frame stands on a step that does not exist."""
    if frame.step_id == START:
        return flow.steps[0].id
    if frame.step_id.startswith(NEXT_PREFIX):
        return frame.step_id.removeprefix(NEXT_PREFIX)
    step = flow.step(frame.step_id)
    if step is None:
        return None
    if isinstance(step, LinkStep):
        return END
    document = tracker.document()
    variables = {"context": document["context"]}
    for branch in step.next:
        if holds(branch.condition, document, variables):
            return branch.target
    raise _FlowFault(f"nothing follows step {step.id} of flow {flow.id}")


def _run_step(step: Step, tracker: Tracker, flow: Flow, runtime: Runtime) -> Tracker | _Pause:
    match step:
        case ActionStep():
            return _action(step, tracker, runtime)
        case CollectStep():
            return _collect(step, tracker, flow, runtime)
        case SetSlotsStep():
            events = (SlotSet(slot, value, flow_id=flow.id, step_id=step.id) for slot, value in step.assignments)
            return tracker.apply(*events)
        case LinkStep():
            return _link(step, tracker, flow)
        case CallStep() if step.mcp_server is not None or step.flow not in runtime.flows:
            kind = "the agent" if step.mcp_server is None else "the MCP tool"
            return _out_of_scope(tracker, f"{kind} {step.flow}", runtime)
        case CallStep():
            called = UserFrame(step.flow, kind=FrameKind.CALL, parent_flow_id=flow.id, parent_step_id=step.id)
            return tracker.push(called)
        case _:
            return tracker


def _action(step: ActionStep, tracker: Tracker, runtime: Runtime) -> Tracker | _Pause:
    try:
        name = render(step.action, {"context": tracker.stack.context()})
    except ConditionError as error:
        raise _FlowFault(f"step {step.id}: {error}") from error
    if runtime.has_action(name):
        return _Pause(tracker, name)
    if not is_template(step.action):
        log.warning("step %s: there is no action %s; it is passed over", step.id, name)
    return tracker


def _collect(step: CollectStep, tracker: Tracker, flow: Flow, runtime: Runtime) -> Tracker:
    if not can_ask(step, runtime):
        log.error("step %s: there is nothing to ask for slot %s with", step.id, step.slot)
        return _failed(tracker, runtime)
    asking = tracker.visit().push(collect_frame(step))
    if not step.ask_before_filling:
        return asking
    return asking.apply(SlotSet(step.slot, None, flow_id=flow.id, step_id=step.id))


def _link(step: LinkStep, tracker: Tracker, flow: Flow) -> Tracker:
    """The linked flow waits below until this one has ended."""
    frame = tracker.stack.top
    assert frame is not None  # noqa: S101 - the frame whose step this is
    linked: Frame = UserFrame(step.flow, kind=FrameKind.LINK, parent_flow_id=flow.id, parent_step_id=step.id)
    if step.flow == HUMAN_HANDOFF:
        linked = PatternFrame(HUMAN_HANDOFF)
    return tracker.with_stack(tracker.stack.push_below(frame, linked))


def _ended(tracker: Tracker, frame: Frame, flow: Flow, runtime: Runtime) -> Tracker:
    tracker = after_end(tracker.with_stack(tracker.stack.pop()), frame, runtime)
    return _reset_slots(tracker, frame, flow, runtime).apply(FlowCompleted(flow_id=flow.id, step_id=_last_step(frame)))


def _last_step(frame: Frame) -> str:
    return END if frame.is_ending else frame.step_id


def _reset_slots(tracker: Tracker, frame: Frame, flow: Flow, runtime: Runtime) -> Tracker:
    """Give the flow's slots their initial values; a called flow's stay until its caller ends."""
    if isinstance(frame, UserFrame) and frame.kind is FrameKind.CALL:
        return tracker
    names = resettable_slots(flow, runtime.flows)
    events = (SlotSet(name, tracker.initial_slots.get(name), reset=True, flow_id=flow.id) for name in names)
    return tracker.apply(*events)
