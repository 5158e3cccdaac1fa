"""From a model's commands to those that make sense now: one pass in the model's order, building a new list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Clarify,
    Command,
    CorrectedSlot,
    CorrectSlots,
    Knowledge,
    Repeat,
    SetSlot,
    StartFlow,
)
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import CHITCHAT, ContinueInterruptedFrame, CorrectionFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.flows.model import ActionStep
from rasa_ft.calm.project.out_of_scope import INTENTLESS

# Values of buttons (`/SetSlots(…)`) and of forced raw text; they may fill any slot.
PAYLOAD_READER = "CommandPayloadReader"
_ONCE = (CannotHandle, Repeat, ChitChat)


def clean_up(commands: Sequence[Command], tracker: Tracker, runtime: Runtime) -> tuple[Command, ...]:
    """The commands to execute: impossible ones replaced or dropped, values of filled slots turned into a correction."""
    cleaned: list[Command] = []
    for command in commands:
        cleaned = _with(command, cleaned, commands, tracker, runtime)
    if runtime.clarify_several_starts and not tracker.stack:
        cleaned = _with_question(cleaned)
    return _without_repetition(cleaned)


def _with_question(commands: list[Command]) -> list[Command]:
    """Several flows to start become the question which of them is meant, where the first of them stood."""
    flows = tuple(dict.fromkeys(command.flow for command in commands if isinstance(command, StartFlow)))
    if len(flows) < 2:
        return commands
    first = next(index for index, command in enumerate(commands) if isinstance(command, StartFlow))
    others = [command for command in commands if not isinstance(command, StartFlow)]
    return [*others[:first], Clarify(flows), *others[first:]]


def _with(
    command: Command, done: list[Command], given: Sequence[Command], tracker: Tracker, runtime: Runtime
) -> list[Command]:
    """``done`` with what is left of ``command``."""
    match command:
        case SetSlot():
            return _with_slot(command, done, tracker, runtime)
        case CancelFlow() if not tracker.stack:
            return [*done, CannotHandle()]
        case CancelFlow() if command in done:
            return done
        case StartFlow() if _runs_already(command, tracker):
            return done
        case ChitChat() if not _can_chat(runtime):
            return [*done, CannotHandle("cannot_handle_chitchat")]
        case ChitChat() | Knowledge():
            return [command, *done]
        case Clarify() if not all(isinstance(other, Clarify) for other in given) or done:
            return done
        case _:
            return [*done, command]


def _with_slot(command: SetSlot, done: list[Command], tracker: Tracker, runtime: Runtime) -> list[Command]:
    slot = runtime.domain.slots.get(command.slot)
    if slot is None:
        return [*done, CannotHandle(f"The slot '{command.slot}' does not exist.")]
    if command.extractor != PAYLOAD_READER and not slot.is_llm_fillable:
        is_set = any(isinstance(other, SetSlot) and other.slot == slot.name for other in done)
        return done if is_set else [*done, CannotHandle(f"The slot '{command.slot}' is not filled from messages.")]
    current = tracker.slots.get(command.slot)
    if command.slot not in tracker.has_been_set or current is None or command.slot == tracker.stack.requested_slot:
        return [*done, command]
    if str(command.value) == str(current) or _is_being_corrected(command, tracker):
        return done
    return _with_correction(CorrectedSlot(command.slot, command.value, command.extractor), done)


def _is_being_corrected(command: SetSlot, tracker: Tracker) -> bool:
    frame = tracker.stack.top_pattern
    if not isinstance(frame, CorrectionFrame) or command.slot not in frame.corrected_slots:
        return False
    return str(frame.corrected_slots[command.slot]["value"]) == str(command.value)


def _with_correction(fix: CorrectedSlot, done: list[Command]) -> list[Command]:
    """``fix`` in the one correction, which stands where the first of them was; the last value of a slot counts."""
    for index, command in enumerate(done):
        if isinstance(command, CorrectSlots):
            others = tuple(other for other in command.corrected_slots if other.slot != fix.slot)
            return [*done[:index], replace(command, corrected_slots=(*others, fix)), *done[index + 1 :]]
    return [*done, CorrectSlots((fix,))]


def _runs_already(command: StartFlow, tracker: Tracker) -> bool:
    frame = tracker.stack.top_user_frame
    asks_to_continue = isinstance(tracker.stack.top_pattern, ContinueInterruptedFrame)
    return frame is not None and frame.flow_id == command.flow and not asks_to_continue


def _can_chat(runtime: Runtime) -> bool:
    """Whether `pattern_chitchat` can answer: by itself, or by a policy that the assistant has (and that is not run)."""
    flow = runtime.flows.get(CHITCHAT)
    actions = {step.action for step in flow.steps if isinstance(step, ActionStep)} if flow else set()
    return flow is not None and ("action_trigger_chitchat" not in actions or INTENTLESS in runtime.ignored)


def _without_repetition(commands: Sequence[Command]) -> tuple[Command, ...]:
    """At most one of the kinds `_ONCE`, and `CannotHandle` only if nothing else is left."""
    kept: list[Command] = []
    for command in commands:
        if not isinstance(command, _ONCE) or not any(type(other) is type(command) for other in kept):
            kept.append(command)
    others = [command for command in kept if not isinstance(command, CannotHandle)]
    return tuple(others or kept)
