"""Asking for one slot: the frames that ask, and the check of what was answered."""

from __future__ import annotations

import logging
from typing import Any

from rasa_ft.calm.dialogue.runtime import Runtime, origin
from rasa_ft.calm.dialogue.stack import CollectFrame, ValidateSlotFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import SlotSet
from rasa_ft.calm.flows.conditions import ConditionError, evaluate
from rasa_ft.calm.flows.model import CollectStep, Rejection
from rasa_ft.calm.slots import Slot, coerce, is_valid

log = logging.getLogger(__name__)

INTERNAL_ERROR_RESPONSE = "utter_internal_error_rasa"
_TYPE_REJECTIONS = {
    "bool": "utter_boolean_slot_rejection",
    "float": "utter_float_slot_rejection",
    "categorical": "utter_categorical_slot_rejection",
}


def collect_frame(step: CollectStep) -> CollectFrame:
    """The frame that asks for the slot of ``step``."""
    return CollectFrame(collect=step.slot, utter=step.utter, collect_action=step.ask_action, rejections=step.rejections)


def can_ask(step: CollectStep, runtime: Runtime) -> bool:
    """Whether there is anything to ask with, or a value to begin with."""
    slot = runtime.domain.slots.get(step.slot)
    has_value = slot is not None and slot.initial_value is not None
    return step.utter in runtime.domain.responses or runtime.has_action(step.ask_action) or has_value


def validation_frame(slot: Slot) -> ValidateSlotFrame | None:
    """The frame that checks ``slot`` at once, if its domain entry asks for that."""
    if slot.validation is None:
        return None
    return ValidateSlotFrame(
        validate=slot.name,
        refill_utter=slot.validation.refill_utter,
        refill_action=f"action_ask_{slot.name}",
        rejections=slot.validation.rejections,
    )


def run_slot_rejections(tracker: Tracker, runtime: Runtime) -> Tracker:
    """Refuse or coerce the value of the slot that the top frame asks for.

    A value that is not of the slot's type, or that a rejection condition holds for, is set to None and then answered.
    Nothing happens to a slot that was never set: an initial value is not checked.
    """
    frame = tracker.stack.asking_frame
    slot = runtime.domain.slots.get(tracker.stack.requested_slot or "")
    if frame is None or slot is None or slot.name not in tracker.has_been_set:
        return tracker
    value = tracker.slots.get(slot.name)
    if value is None:
        return tracker
    if not is_valid(slot, value):
        return _refuse(tracker, runtime, slot.name, value, _TYPE_REJECTIONS.get(slot.type, INTERNAL_ERROR_RESPONSE))
    coerced = coerce(slot, value)
    for rejection in frame.rejections:
        response = _answer_to(rejection, slot.name, coerced)
        if response is not None:
            return _refuse(tracker, runtime, slot.name, value, response)
    if coerced != value or type(coerced) is not type(value):
        return _set(tracker, slot.name, coerced)
    return tracker


def _answer_to(rejection: Rejection, slot: str, value: Any) -> str | None:
    """The response that refuses ``value``, or None if it is fine. The condition sees this one slot only."""
    slots = {slot: value}
    try:
        refused = evaluate(rejection.condition, {"slots": slots}, {"slots": slots})
    except ConditionError as error:
        log.error("rejection %r of slot %s cannot be evaluated: %s", rejection.condition, slot, error)
        return INTERNAL_ERROR_RESPONSE
    return rejection.utter if refused else None


def _refuse(tracker: Tracker, runtime: Runtime, slot: str, value: Any, response: str) -> Tracker:
    """The answer comes after the slot's event in the log, but its text is made while the slot has its value."""
    start = len(tracker.events)
    said = runtime.say(tracker, response, value=value).events[start:]
    return _set(tracker, slot, None).apply(*said)


def _set(tracker: Tracker, slot: str, value: Any) -> Tracker:
    flow_id, step_id = origin(tracker)
    return tracker.apply(SlotSet(slot, value, flow_id=flow_id, step_id=step_id))
