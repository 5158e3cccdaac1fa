"""What the slots hold on a walk, and what they must hold for a branch to be taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from rasa_ft.calm.flows.conditions import ConditionError, evaluate, references
from rasa_ft.calm.flows.graph import successors
from rasa_ft.calm.flows.model import CallStep, CollectStep, Flow, LinkStep, Step
from rasa_ft.calm.templates import is_template
from rasa_ft.e2e.coverage import Node
from rasa_ft.e2e.suggestions.values import Values

# Who a value comes from. What a conversation begins with becomes a fixture.
USER, FLOW, ACTION, FIXTURE = "user", "flow", "action", "fixture"
_MOST_COMBINATIONS = 500
_ALL_KNOWN = ("bool", "categorical")

Condition = str | bool | None


@dataclass(frozen=True)
class Known:
    """What one slot holds: the first of ``options``, which the branches taken so far allow, of ``all``.

    ``asked_at``: the index in the walk's path of the step that asked the user for it.
    """

    options: tuple[Any, ...]
    origin: str
    all: tuple[Any, ...] = ()
    asked_at: int | None = None

    @property
    def value(self) -> Any:
        return self.options[0]

    @property
    def is_fixture(self) -> bool:
        """Whether a conversation has to begin with it; the first of ``all`` is the slot's initial value."""
        return self.origin == FIXTURE and self.value != self.all[0]


class Choices:
    """Decides on the values of slots, as late as possible."""

    def __init__(self, flows: Mapping[str, Flow], values: Values) -> None:
        self._flows = flows
        self._values = values
        self._read: dict[Node, frozenset[str]] = {}

    def unset(self, name: str, *, acted: bool = False) -> Known:
        """A slot that nothing in the walk has set: it holds what the conversation begins with.

        ``acted``: custom actions have run, which may have set it if messages cannot.
        """
        slot = self._values.slots.get(name)
        if slot is None:
            return Known((None,), FLOW)
        everything = self._values.all_of(slot)
        return Known(everything, ACTION if acted and not slot.is_llm_fillable else FIXTURE, everything)

    def acted_on(self, name: str, known: Known) -> Known:
        """What the slot holds once a custom action has run: still the same, or anything if messages cannot fill it."""
        slot = self._values.slots.get(name)
        if known.origin != FIXTURE or slot is None or slot.is_llm_fillable:
            return known
        others = tuple(value for value in known.all if value != known.value)
        return Known((known.value, *others), ACTION, known.all)

    def made(
        self, known: Mapping[str, Known], demands: Iterable[tuple[Condition, bool]], acted: bool
    ) -> tuple[Mapping[str, Known], bool] | None:
        """``known`` with the choices that make each condition hold, or not hold, as demanded.

        Returns:
            None if that cannot be; else also whether it is up to an action, or to what is not understood here.
        """
        is_open = False
        for condition, wanted in demands:
            found = self._with(known, condition, wanted, acted)
            if found is None:
                return None
            known, is_open = found[0], is_open or found[1]
        return known, is_open

    def _with(
        self, known: Mapping[str, Known], condition: Condition, wanted: bool, acted: bool
    ) -> tuple[Mapping[str, Known], bool] | None:
        if condition is None or isinstance(condition, bool):
            return (known, False) if (condition is not False) == wanted else None
        try:
            names = _slots(condition)
        except ConditionError:  # counts as false
            return None if wanted else (known, False)
        if names is None:
            return known, True
        before = {name: known.get(name) or self.unset(name, acted=acted) for name in names}
        fitting = _fitting(condition, wanted, {name: found.options for name, found in before.items()})
        if fitting is None:
            possible = _fitting(condition, wanted, {name: found.all or found.options for name, found in before.items()})
            return None if possible is not None or all(map(self._is_all_known, names)) else (known, True)
        after = {name: replace(found, options=fitting[name]) for name, found in before.items()}
        return {**known, **after}, any(found.origin == ACTION for found in before.values())

    def _is_all_known(self, name: str) -> bool:
        slot = self._values.slots.get(name)
        return slot is None or slot.type in _ALL_KNOWN

    def relevant(self, known: Mapping[str, Known], frames: Iterable[Node]) -> tuple[tuple[str, str], ...]:
        """What of ``known`` can still make a difference; two walks with equal answers can go on alike."""
        live = frozenset().union(*(self._read_after(node) for node in frames))
        return tuple((name, repr(known[name].options)) for name in sorted(live & known.keys()))

    def _read_after(self, node: Node) -> frozenset[str]:
        """Slots that the steps which can follow look at."""
        if node not in self._read:
            self._read[node] = frozenset(self._reads(node, {node[0]}))
        return self._read[node]

    def _reads(self, node: Node, entered: set[str]) -> Iterator[str]:
        for step in _following(self._flows[node[0]], node[1]):
            for branch in step.next:
                yield from _names(branch.condition)
            if isinstance(step, CollectStep):
                yield step.slot
            if isinstance(step, CallStep | LinkStep) and step.flow in self._flows and step.flow not in entered:
                entered.add(step.flow)
                first = self._flows[step.flow].steps[:1]
                yield from (slot for start in first for slot in self._reads((step.flow, start.id), entered))


def _slots(condition: str) -> tuple[str, ...] | None:
    """Names of the slots that decide a condition; None if something else does.

    Raises:
        ConditionError: it is malformed.
    """
    named = references(condition)
    if is_template(condition) or not all(name.startswith("slots.") for name in named):
        return None
    return tuple(dict.fromkeys(name.split(".")[1] for name in named))


def _names(condition: Condition) -> tuple[str, ...]:
    try:
        return (_slots(condition) or ()) if isinstance(condition, str) else ()
    except ConditionError:
        return ()


def _fitting(condition: str, wanted: bool, options: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]] | None:
    """Options with which the condition is as wanted: all of them for one slot, the first combination for several."""
    combinations = islice(product(*options.values()), _MOST_COMBINATIONS)
    fitting = (
        values for values in combinations if _holds(condition, dict(zip(options, values, strict=True))) == wanted
    )
    if len(options) == 1:
        found = tuple(value for (value,) in fitting)
        return dict.fromkeys(options, found) if found else None
    first = next(fitting, None)
    return None if first is None else {name: (value,) for name, value in zip(options, first, strict=True)}


def _holds(condition: str, slots: Mapping[str, Any]) -> bool:
    try:
        return evaluate(condition, {"slots": slots, "context": {}})
    except ConditionError:
        return False


def _following(flow: Flow, step_id: str) -> list[Step]:
    """The step and all that can follow it in the same flow."""
    found: dict[str, Step] = {}
    waiting = [step_id]
    while waiting:
        step = flow.step(waiting.pop())
        if step is not None and step.id not in found:
            found[step.id] = step
            waiting.extend(successors(step))
    return list(found.values())
