"""Several flows at once: starting one over another, coming back, and what follows when one ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from rasa_ft.calm.dialogue.runtime import Runtime, signed
from rasa_ft.calm.dialogue.stack import (
    SEARCH,
    CancelFrame,
    CollectFrame,
    CompletedFrame,
    ContinueInterruptedFrame,
    Frame,
    FrameKind,
    PatternFrame,
    Stack,
    UserFrame,
)
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, FlowCancelled, FlowCompleted, FlowInterrupted, FlowResumed
from rasa_ft.calm.flows.model import Flow

log = logging.getLogger(__name__)

CHOICE_SLOT = "interrupted_flow_to_continue"
# Before, the flow that was under way just asked its question again after an answer from documents.
_OFFERS_AFTER_SEARCH = (3, 16, 0)


def listed(names: Sequence[str], last: str) -> str:
    """``a, b and c`` with ``last`` as the word before the last name."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def start_flow(tracker: Tracker, flow: Flow, before: Stack) -> Tracker:
    """With ``flow`` on top of the stack: begun, or taken up again where it was left.

    ``before`` is the stack at the beginning of the turn: flows that it holds are interrupted by a new one, flows that
    were started in this same turn are not.
    """
    tracker = without_completed(tracker)
    tracker, was_asking = _without_continue_interrupted(tracker)
    if _is_active(before, flow.id) or _is_active(tracker.stack, flow.id):
        return _resumed(tracker, flow.id) if was_asking else tracker
    if any(frame.flow_id == flow.id for frame in tracker.stack.user_frames):
        interrupted = tracker.stack.top_user_frame
        return _interrupted(_resumed(tracker, flow.id), interrupted)
    if before.top_user_frame is None:
        return tracker.push(UserFrame(flow.id, kind=FrameKind.REGULAR))
    interrupted = tracker.stack.top_user_frame
    return _interrupted(tracker.push(UserFrame(flow.id, kind=FrameKind.INTERRUPT)), interrupted)


def _is_active(stack: Stack, flow_id: str) -> bool:
    """Whether the flow runs on top, itself or through flows that it calls."""
    caller = stack.top_caller_frame
    return caller is not None and any(
        isinstance(frame, UserFrame) and frame.flow_id == flow_id for frame in stack.from_frame(caller)
    )


def _interrupted(tracker: Tracker, frame: UserFrame | None) -> Tracker:
    return tracker.apply(FlowInterrupted(flow_id=frame.flow_id, step_id=frame.step_id)) if frame else tracker


def _resumed(tracker: Tracker, flow_id: str) -> Tracker:
    """With the frames of ``flow_id`` moved to the top, and the lowest flow of the stack the regular one."""
    stack = _retagged(_moved_up(tracker.stack, flow_id))
    frame = stack.topmost(UserFrame, lambda frame: frame.flow_id == flow_id)
    step_id = frame.step_id if frame else None
    return tracker.with_stack(stack).apply(FlowResumed(flow_id=flow_id, step_id=step_id))


def _moved_up(stack: Stack, flow_id: str) -> Stack:
    group = stack.group(flow_id)
    return stack.with_frames((*stack.without(group).frames, *group))


def _retagged(stack: Stack) -> Stack:
    roots = [frame for frame in stack.user_frames if frame.is_root]
    for index, frame in enumerate(roots):
        stack = stack.update(replace(frame, kind=FrameKind.INTERRUPT if index else FrameKind.REGULAR))
    return stack


def without_completed(tracker: Tracker) -> Tracker:
    """With a `pattern_completed` that waits on top ended."""
    return _without_top_pattern(tracker, CompletedFrame)[0]


def _without_continue_interrupted(tracker: Tracker) -> tuple[Tracker, bool]:
    return _without_top_pattern(tracker, ContinueInterruptedFrame)


def _without_top_pattern(tracker: Tracker, kind: type[PatternFrame]) -> tuple[Tracker, bool]:
    """With the pattern on top, and the question it asks, taken away; and whether there was one."""
    frame = tracker.stack.top_pattern
    if not isinstance(frame, kind):
        return tracker, False
    stack = tracker.stack.without(tracker.stack.from_frame(frame))
    return tracker.with_stack(stack).apply(FlowCompleted(flow_id=frame.flow_id, step_id=frame.step_id)), True


def after_end(tracker: Tracker, ended: Frame, runtime: Runtime) -> Tracker:
    """With the pattern that follows the end of ``ended``, which is no longer on the stack, if any does."""
    return _offer_interrupted(_announce_completion(tracker, ended, runtime), ended, runtime)


def _announce_completion(tracker: Tracker, ended: Frame, runtime: Runtime) -> Tracker:
    """`pattern_completed`: nothing is left to do."""
    ends_a_topic = isinstance(ended, UserFrame) or ended.flow_id == SEARCH
    flow = runtime.flows.get(ended.flow_id)
    if tracker.stack or not ends_a_topic or flow is None or not flow.run_pattern_completed:
        return tracker
    return tracker.push(CompletedFrame(previous_flow_name=runtime.flow_name(flow.id, tracker)))


def _offer_interrupted(tracker: Tracker, ended: Frame, runtime: Runtime) -> Tracker:
    """`pattern_continue_interrupted`: something was left unfinished before."""
    interrupts = isinstance(ended, UserFrame) and ended.kind is FrameKind.INTERRUPT
    waiting = [frame for frame in tracker.stack.user_frames if frame.is_root and not frame.is_ending]
    searched = ended.flow_id == SEARCH and runtime.version >= _OFFERS_AFTER_SEARCH
    if not waiting or not (interrupts or searched):
        return tracker
    names = [runtime.flow_name(frame.flow_id, tracker) for frame in waiting]
    offer = ContinueInterruptedFrame(
        interrupted_flow_names=tuple(names),
        interrupted_flow_ids=tuple(frame.flow_id for frame in waiting),
        interrupted_flow_options=listed(names, "and"),
        multiple_flows_interrupted=len(names) > 1,
        previous_flow_name=names[-1],
    )
    top = tracker.stack.top
    if isinstance(top, UserFrame) and top.kind is FrameKind.LINK:  # a linked flow comes first
        return tracker.with_stack(tracker.stack.push_below(top, offer))
    return tracker.push(offer)


def continue_interrupted_flow(tracker: Tracker, runtime: Runtime) -> Tracker:
    """`action_continue_interrupted_flow`: take up the flow that the user chose, by id or name, or the only one."""
    frame = tracker.stack.top_pattern
    if not isinstance(frame, ContinueInterruptedFrame):
        return tracker
    flow_id = _chosen(frame, tracker)
    if flow_id is None:
        hint = f"That is not among what was left open: {frame.interrupted_flow_options}."
        return tracker.apply(signed(BotUttered(hint, source="action"), tracker))
    above = tracker.stack.from_frame(frame)
    resumed = _resumed(tracker.with_stack(tracker.stack.without(above)), flow_id)
    return resumed.with_stack(resumed.stack.with_frames((*resumed.stack.frames, *above)))


def _chosen(frame: ContinueInterruptedFrame, tracker: Tracker) -> str | None:
    if not frame.multiple_flows_interrupted:
        return frame.interrupted_flow_ids[0]
    wanted = str(tracker.slots.get(CHOICE_SLOT)).lower()
    for flow_id, name in zip(frame.interrupted_flow_ids, frame.interrupted_flow_names, strict=True):
        if wanted in (flow_id.lower(), name.lower()):
            return flow_id
    return None


def cancel_interrupted_flows(tracker: Tracker, runtime: Runtime) -> Tracker:
    """`action_cancel_interrupted_flows`: a cancellation for each of them."""
    frame = tracker.stack.top_pattern
    if not isinstance(frame, ContinueInterruptedFrame):
        return tracker
    for flow_id in frame.interrupted_flow_ids:
        own = [item for item in tracker.stack.group(flow_id) if isinstance(item, UserFrame | CollectFrame)]
        if own:
            ids = tuple(item.frame_id for item in own)
            tracker = tracker.push(CancelFrame(canceled_name=flow_id, canceled_frames=ids))
            tracker = tracker.apply(FlowCancelled(flow_id=flow_id, step_id=own[0].step_id))
    return tracker
