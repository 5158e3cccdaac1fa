"""What a flow is, once loaded: steps in source order with their ids and resolved successors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
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
    location: Location = field(compare=False)


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
    """``mcp_server``: the server whose tool is called instead of a flow."""

    flow: str
    mcp_server: str | None = None


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
    """``steps``: every step, nested ones too, depth first in source order; the first one is where the flow begins.

    ``translated_names`` has the name in other languages, by language. Two flows are equal if they say the same,
    wherever they stand.
    """

    id: str
    name: str
    description: str
    steps: tuple[Step, ...]
    location: Location = field(compare=False)
    guard: str | bool | None = None
    always_include_in_prompt: bool = False
    nlu_triggers: tuple[NluTrigger, ...] = ()
    persisted_slots: tuple[str, ...] = ()
    run_pattern_completed: bool = True
    translated_names: Mapping[str, str] = field(default_factory=dict, hash=False)

    def name_in(self, language: str | None) -> str:
        """The human name; in ``language``, if it is translated."""
        return self.translated_names.get(language or "", self.name)

    @property
    def is_pattern(self) -> bool:
        return self.id.startswith(PATTERN_PREFIX)

    def step(self, step_id: str) -> Step | None:
        return self._steps_by_id.get(step_id)

    @cached_property
    def _steps_by_id(self) -> Mapping[str, Step]:
        return {step.id: step for step in reversed(self.steps)}

    @cached_property
    def own_collect_steps(self) -> tuple[CollectStep, ...]:
        """In source order; not those of called flows."""
        return tuple(step for step in self.steps if isinstance(step, CollectStep))

    @cached_property
    def has_calls(self) -> bool:
        return any(isinstance(step, CallStep) for step in self.steps)
