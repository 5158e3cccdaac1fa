"""What a flow is, once loaded: steps in source order with their ids and resolved successors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rasa_ft.errors import Location

START = "START"
END = "END"
NEXT_PREFIX = "NEXT:"
PATTERN_PREFIX = "pattern_"


@dataclass(frozen=True)
class Branch:
    """Where to go when ``condition`` (a predicate; None is always true) holds: a step id or `END`."""

    condition: str | None
    target: str
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Step:
    """``next`` is tried in order; its last branch is unconditional. Empty for links."""

    id: str
    next: tuple[Branch, ...]
    location: Location


@dataclass(frozen=True)
class ActionStep(Step):
    action: str


@dataclass(frozen=True)
class Rejection:
    """A value is refused with response ``utter`` when predicate ``condition`` holds."""

    condition: str
    utter: str
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class CollectStep(Step):
    slot: str
    utter: str
    description: str | None = None
    ask_before_filling: bool = False
    reset_after_flow_ends: bool = True
    force_slot_filling: bool = False
    rejections: tuple[Rejection, ...] = ()

    @property
    def ask_action(self) -> str:
        return f"action_ask_{self.slot}"


@dataclass(frozen=True)
class LinkStep(Step):
    flow: str


@dataclass(frozen=True)
class CallStep(Step):
    flow: str


@dataclass(frozen=True)
class SetSlotsStep(Step):
    assignments: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class NoopStep(Step):
    pass


@dataclass(frozen=True)
class NluTrigger:
    intent: str
    confidence_threshold: float = 0.0


@dataclass(frozen=True)
class Flow:
    """``steps``: every step, nested ones too, depth first in source order; the first one is where the flow begins."""

    id: str
    name: str
    description: str
    steps: tuple[Step, ...]
    location: Location
    guard: str | bool | None = None
    always_include_in_prompt: bool = False
    nlu_triggers: tuple[NluTrigger, ...] = ()
    persisted_slots: tuple[str, ...] = ()
    run_pattern_completed: bool = True

    @property
    def is_pattern(self) -> bool:
        return self.id.startswith(PATTERN_PREFIX)

    def step(self, step_id: str) -> Step | None:
        return next((step for step in self.steps if step.id == step_id), None)
