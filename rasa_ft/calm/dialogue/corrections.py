"""Corrections: a slot that already has a value gets another one, and the flow goes back to where it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rasa_ft.calm.commands import CorrectSlots
from rasa_ft.calm.dialogue.collecting import validation_frame
from rasa_ft.calm.dialogue.runtime import Runtime, origin
from rasa_ft.calm.dialogue.stack import AT_END, CollectFrame, CorrectionFrame, Frame, FrameKind, Stack, UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import SlotSet
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import NEXT_PREFIX, START, CollectStep, Flow


def push_correction(tracker: Tracker, command: CorrectSlots, runtime: Runtime) -> Tracker:
    """With the correction pattern on the stack; unchanged if no flow on the stack collects all these slots.

    A correction that is already under way is ended in favour of the new one.
    """
    collected = _collected_slots(tracker.stack, runtime)
    changes = [fix for fix in command.corrected_slots if tracker.slots.get(fix.slot) != fix.value]
    if not changes or any(fix.slot not in collected for fix in command.corrected_slots):
        return tracker
    names = {fix.slot for fix in changes}
    reset_frames = _reset_frames(tracker, names, runtime)
    frame = CorrectionFrame(
        corrected_slots={fix.slot: {"value": fix.value, "filled_by": fix.extractor} for fix in changes},
        new_slot_values=tuple(fix.value for fix in changes),
        is_reset_only=_always_asked(names, runtime),
        reset_flow_id=reset_frames[-1].flow_id if reset_frames else None,
        reset_step_id=reset_frames[-1].step_id if reset_frames else None,
        reset_frames=reset_frames,
    )
    old = tracker.stack.topmost(CorrectionFrame)
    if old is None:
        return tracker.push(frame)
    ended = tracker.stack.end(item.frame_id for item in tracker.stack.from_frame(old))
    return tracker.with_stack(ended.push_below(old, frame))


def _collected_slots(stack: Stack, runtime: Runtime) -> set[str]:
    flows = (runtime.flows.get(frame.flow_id) for frame in stack.user_frames)
    return {step.slot for flow in flows if flow for step in collect_steps(flow, runtime.flows)}


def _always_asked(slots: set[str], runtime: Runtime) -> bool:
    """Whether no flow would take a value that was given before it asks."""
    return all(
        step.ask_before_filling
        for flow in runtime.flows.values()
        for step in flow.steps
        if isinstance(step, CollectStep) and step.slot in slots
    )


def _reset_frames(tracker: Tracker, slots: set[str], runtime: Runtime) -> tuple[UserFrame, ...]:
    """The active flow, and the flows it called, as they stood at the earliest question for one of ``slots``.

    Earliest in the order of the flow's steps, the question being asked now included.
    """
    candidates = [
        frames
        for stack in (tracker.stack, *tracker.visited)
        if (frames := _active_frames(stack)) and frames[0].frame_id == _active_id(tracker.stack)
    ]
    if not candidates:
        return ()
    now, *earlier = candidates
    asking = [frames for frames in earlier if _collects(frames[-1], slots, runtime)]
    return min((now, *asking), key=lambda frames: _position(frames, runtime.flows))


def _active_id(stack: Stack) -> str | None:
    return stack.top_caller_frame.frame_id if stack.top_caller_frame else None


def _active_frames(stack: Stack) -> tuple[UserFrame, ...]:
    """The topmost flow that was not called, and what it called."""
    caller = stack.top_caller_frame
    return tuple(frame for frame in stack.from_frame(caller) if isinstance(frame, UserFrame)) if caller else ()


def _collects(frame: UserFrame, slots: set[str], runtime: Runtime) -> bool:
    flow = runtime.flows.get(frame.flow_id)
    step = flow.step(frame.step_id) if flow else None
    return isinstance(step, CollectStep) and step.slot in slots


def _position(frames: Sequence[UserFrame], flows: Mapping[str, Flow]) -> tuple[int, ...]:
    """Where each frame stands in its flow, from the calling one down; compares in the order of running."""
    return tuple(_step_index(frame, flows.get(frame.flow_id)) for frame in frames)


def _step_index(frame: UserFrame, flow: Flow | None) -> int:
    ids = [step.id for step in flow.steps] if flow else []
    step_id = frame.step_id.removeprefix(NEXT_PREFIX)
    return ids.index(step_id) if step_id in ids else len(ids)


def correct_slots(tracker: Tracker, runtime: Runtime) -> Tracker:
    """`action_correct_flow_slot`: set the new values and go back to the step that the correction names.

    Slots with a validation of their own are checked as soon as the correction pattern ends.
    """
    frame = tracker.stack.topmost(CorrectionFrame, lambda frame: not frame.is_ending)
    if frame is None:
        return tracker
    if frame.reset_frames:
        tracker = tracker.with_stack(_rewound(tracker.stack, frame.reset_frames))
    flow_id, step_id = origin(tracker)
    for name, change in frame.corrected_slots.items():
        filled_by = change["filled_by"]
        tracker = tracker.apply(SlotSet(name, change["value"], filled_by, flow_id=flow_id, step_id=step_id))
    for name in frame.corrected_slots:
        check = validation_frame(runtime.domain.slots[name])
        if check is not None:
            tracker = tracker.with_stack(tracker.stack.push_below(frame, check))
    return tracker


def _rewound(stack: Stack, reset_frames: Sequence[UserFrame]) -> Stack:
    """``stack`` with the active flow back at ``reset_frames``; what it has called or asked since then ends."""
    start = stack.index(reset_frames[0])
    current = {frame.frame_id: frame for frame in stack.frames}
    # Frames that are still there keep what has changed since, such as their kind.
    back = [replace(current.get(frame.frame_id, frame), step_id=frame.step_id) for frame in reset_frames]
    back[-1] = replace(back[-1], step_id=before_step(back[-1].step_id))
    kept = {frame.frame_id for frame in back}
    rest = [_ended_if_stale(frame) for frame in stack.frames[start:] if frame.frame_id not in kept]
    return stack.with_frames((*stack.frames[:start], *back, *rest))


def before_step(step_id: str) -> str:
    """The position just before a step, from which the flow runs into it."""
    return step_id if step_id == START or step_id.startswith(NEXT_PREFIX) else f"{NEXT_PREFIX}{step_id}"


def _ended_if_stale(frame: Frame) -> Frame:
    called = isinstance(frame, UserFrame) and frame.kind is FrameKind.CALL
    return replace(frame, step_id=AT_END) if called or isinstance(frame, CollectFrame) else frame
