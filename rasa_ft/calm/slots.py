"""Slots: their types, what a value is turned into, and who may fill them (spec: CALM domain, slots and mappings)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasa_ft.calm.flows.model import Rejection
from rasa_ft.errors import Location

SLOT_TYPES = ("text", "bool", "float", "categorical", "list", "any")
# What a model writes when it has no value. Exact spellings, as in the CALM format.
_NULLISH = frozenset({"", "[missing information]", "[missing]", "None", "undefined", "null"})


@dataclass(frozen=True)
class MappingCondition:
    """All parts that are given must hold."""

    active_flow: str | None = None
    requested_slot: str | None = None
    active_loop: str | None = None

    def holds(self, active_flow: str | None, requested_slot: str | None) -> bool:
        """Forms (``active_loop``) do not exist here, so a condition on one never holds."""
        return (
            self.active_loop is None
            and self.active_flow in (None, active_flow)
            and self.requested_slot in (None, requested_slot)
        )


@dataclass(frozen=True)
class SlotMapping:
    """One way to fill a slot; ``run_action_every_turn`` names the action of a ``controlled`` mapping."""

    type: str
    conditions: tuple[MappingCondition, ...] = ()
    run_action_every_turn: str | None = None
    allow_nlu_correction: bool = False

    def allowed(self, active_flow: str | None, requested_slot: str | None) -> bool:
        return not self.conditions or any(condition.holds(active_flow, requested_slot) for condition in self.conditions)


FROM_LLM = SlotMapping("from_llm")


@dataclass(frozen=True)
class SlotValidation:
    """Rejections that are checked as soon as a command fills the slot."""

    rejections: tuple[Rejection, ...]
    refill_utter: str


@dataclass(frozen=True)
class Slot:
    """``values`` are the categories (categorical only); the bounds count only if both are set (float only).

    ``builtin`` slots belong to the runtime, not to the assistant. ``shared`` ones keep their values when the
    conversation may change to the other side of a coexistence assistant.
    """

    name: str
    type: str
    values: tuple[str, ...] = ()
    min_value: float | None = None
    max_value: float | None = None
    initial_value: Any = None
    mappings: tuple[SlotMapping, ...] = (FROM_LLM,)
    validation: SlotValidation | None = None
    builtin: bool = False
    shared: bool = False
    location: Location | None = field(default=None, compare=False)

    @property
    def is_llm_fillable(self) -> bool:
        """Whether a command of the model may set this slot at all."""
        return self.has_mapping("from_llm")

    def has_mapping(self, mapping_type: str) -> bool:
        return any(mapping.type == mapping_type for mapping in self.mappings)

    def mapping_allowed(self, active_flow: str | None, requested_slot: str | None) -> bool:
        """Whether the ``conditions`` of at least one mapping hold now; without conditions they always do."""
        return any(mapping.allowed(active_flow, requested_slot) for mapping in self.mappings)


def is_nullish(value: Any) -> bool:
    """Whether a model's value means "no value": None or one of a few exact texts."""
    return value is None or (isinstance(value, str) and value in _NULLISH)


def coerce(slot: Slot, value: Any) -> Any:
    """The value that is stored when a command sets ``slot``; unchanged if it cannot be made fit (see `is_valid`)."""
    if value is None:
        return None
    match slot.type:
        case "bool":
            return _coerce_bool(value)
        case "float":
            return _coerce_float(value)
        case "categorical":
            return _coerce_category(slot, value)
        case "list":
            return list(value) if isinstance(value, list | tuple) else [value]
        case _:
            return value


def stored(slot: Slot | None, value: Any) -> Any:
    """What ``slot`` holds after an event with ``value``, whoever made it.

    Lists hold lists, categorical slots the domain's spelling; other types hold any value as it came.
    """
    if slot is None or slot.type not in ("list", "categorical"):
        return value
    return coerce(slot, value)


def is_valid(slot: Slot, value: Any) -> bool:
    """Whether ``value`` is a value of the slot's type, once coerced. None, which means unset, always is."""
    if value is None:
        return True
    coerced = coerce(slot, value)
    match slot.type:
        case "bool":
            return isinstance(coerced, bool)
        case "float":
            return isinstance(coerced, float) and math.isfinite(coerced) and _within_bounds(slot, coerced)
        case "categorical":
            return coerced in slot.values
        case _:
            return True


def _coerce_bool(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "yes"):
        return True
    if text in ("false", "no"):
        return False
    number = _number(value)
    return value if number is None else number == 1


def _coerce_float(value: Any) -> Any:
    number = _number(value)
    return value if number is None else number


def _number(value: Any) -> float | None:
    """None also for "nan" and "inf": they compare with nothing and cannot be written as JSON."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _coerce_category(slot: Slot, value: Any) -> Any:
    wanted = str(value).lower()
    return next((category for category in slot.values if category.lower() == wanted), value)


def _within_bounds(slot: Slot, number: float) -> bool:
    if slot.min_value is None or slot.max_value is None:
        return True
    return slot.min_value <= number <= slot.max_value


def slot_document(slot: Slot) -> dict[str, Any]:
    """The slot as it stands in a domain that custom actions receive."""
    document: dict[str, Any] = {"type": slot.type, "mappings": [_mapping_document(item) for item in slot.mappings]}
    if slot.values:
        document["values"] = list(slot.values)
    for key in ("min_value", "max_value", "initial_value"):
        if getattr(slot, key) is not None:
            document[key] = getattr(slot, key)
    return document


def _mapping_document(mapping: SlotMapping) -> Mapping[str, Any]:
    document: dict[str, Any] = {"type": mapping.type}
    if mapping.conditions:
        document["conditions"] = [
            {key: value for key, value in vars(condition).items() if value is not None}
            for condition in mapping.conditions
        ]
    if mapping.run_action_every_turn:
        document["run_action_every_turn"] = mapping.run_action_every_turn
    return document
