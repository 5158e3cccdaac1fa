"""Values that a suggested conversation may give to slots: likely ones first, and ones that decide conditions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rasa_ft.calm.dialogue.payloads import parse_set_slots
from rasa_ft.calm.events import SlotSet
from rasa_ft.calm.flows.conditions import ConditionError, constants, evaluate, parse_errors, patterns, references
from rasa_ft.calm.flows.model import CollectStep, Flow, Rejection
from rasa_ft.calm.project.domain import Domain
from rasa_ft.calm.responses import Response
from rasa_ft.calm.slots import Slot, coerce, is_valid
from rasa_ft.e2e.runner import CaseResult
from rasa_ft.e2e.suggestions.samples import sample_of

# Any value at all: whoever writes the message chooses it.
FREE = "…"
_NUMBERS = (5, 10, 1, 2, 50, 100, 1000, 0)
_MOST = 32
_EXAMPLE = re.compile(r"(?:\bsuch as|\be\.g\.|\bfor example)[,:]?\s+[\"']?([^\"',;()]+?)(?=[\"',;()]|\.(?:\s|$)|$)")
_NOT_BY_MESSAGES = (None, "CUSTOM", "fixture")


def seen_values(results: Iterable[CaseResult]) -> dict[str, tuple[Any, ...]]:
    """What messages have filled slots with, by slot, the most frequent value first."""
    counts: dict[str, Counter[str]] = {}
    values: dict[tuple[str, str], Any] = {}
    for event in (event for result in results for event in result.events):
        by_message = isinstance(event, SlotSet) and event.filled_by not in _NOT_BY_MESSAGES and not event.reset
        if isinstance(event, SlotSet) and by_message and event.value is not None:
            key = repr(event.value)
            counts.setdefault(event.slot, Counter())[key] += 1
            values[event.slot, key] = event.value
    return {slot: tuple(values[slot, key] for key, _ in found.most_common()) for slot, found in counts.items()}


class Values:
    """Which values the slots of an assistant may be given.

    Args:
        seen: values that tests have given, by slot, likely ones first.
    """

    def __init__(
        self, domain: Domain, flows: Mapping[str, Flow], seen: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self.slots = domain.slots
        self._responses = domain.responses
        self._seen = seen or {}
        self._of_conditions = _values_of_conditions(flows.values(), domain.slots.values())
        self._answers: dict[CollectStep, tuple[Any, ...]] = {}

    def answers(self, step: CollectStep) -> tuple[Any, ...]:
        """Values that a user may answer ``step`` with and that are not refused, likely ones first; at least `FREE`."""
        if step not in self._answers:
            self._answers[step] = self._found_answers(step)
        return self._answers[step]

    def _found_answers(self, step: CollectStep) -> tuple[Any, ...]:
        slot = self.slots.get(step.slot)
        if slot is None:
            return (FREE,)
        of_slot = slot.validation.rejections if slot.validation else ()
        offered = _offered(self._responses.get(step.utter), slot.name)
        examples = _EXAMPLE.findall(step.description or "")
        likely = (*self._seen.get(slot.name, ()), *offered, *(example.strip() for example in examples))
        found = self._values(slot, likely)
        return tuple(v for v in found if not _is_refused(slot, v, (*step.rejections, *of_slot)))[:_MOST] or (FREE,)

    def all_of(self, slot: Slot) -> tuple[Any, ...]:
        """What a slot may hold when a conversation begins or an action has filled it; its initial value first."""
        others = self._values(slot, self._seen.get(slot.name, ()))
        distinct = [value for value in (None, *others) if value != slot.initial_value]
        return (slot.initial_value, *distinct)[:_MOST]

    def _values(self, slot: Slot, likely: Sequence[Any]) -> tuple[Any, ...]:
        values = (*likely, *_of_type(slot), *self._of_conditions.get(slot.name, ()))
        found: dict[str, Any] = {}
        for value in (_plain(coerce(slot, value)) for value in values):
            if is_valid(slot, value) and value is not None:
                found.setdefault(repr(value), value)
        return tuple(found.values())


def _plain(value: Any) -> Any:
    """Whole numbers as people write them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_type(slot: Slot) -> tuple[Any, ...]:
    match slot.type:
        case "bool":
            return (True, False)
        case "float":
            return (*_NUMBERS, *(bound for bound in (slot.min_value, slot.max_value) if bound is not None))
        case "categorical":
            return slot.values
        case _:
            return (FREE,)


def _offered(response: Response | None, slot: str) -> list[Any]:
    """What the buttons of a question fill the slot with."""
    variations = response.variations if response else ()
    payloads = [str(button.get("payload", "")) for variation in variations for button in variation.buttons]
    return [value for payload in payloads for name, value in parse_set_slots(payload) or () if name == slot]


def _is_refused(slot: Slot, value: Any, rejections: Iterable[Rejection]) -> bool:
    slots = {slot.name: value}
    try:
        return any(evaluate(rejection.condition, {"slots": slots}, {"slots": slots}) for rejection in rejections)
    except ConditionError:
        return True


def _values_of_conditions(flows: Iterable[Flow], slots: Iterable[Slot]) -> dict[str, tuple[Any, ...]]:
    """By slot, what the conditions that name it compare with, and numbers just beside that."""
    found: dict[str, dict[Any, None]] = {}
    for condition in _conditions(flows, slots):
        if parse_errors(condition):
            continue
        values = dict.fromkeys(_near(condition))
        for reference in references(condition):
            found.setdefault(reference.removeprefix("slots.").split(".")[0], {}).update(values)
    return {slot: tuple(values) for slot, values in found.items()}


def _near(condition: str | bool | None) -> Iterator[Any]:
    for value in constants(condition):
        yield value
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield from (value + 1, value - 1)
    yield from (text for pattern in patterns(condition) if (text := sample_of(pattern)))


def _conditions(flows: Iterable[Flow], slots: Iterable[Slot]) -> Iterator[str | bool | None]:
    for flow in flows:
        yield flow.guard
        for step in flow.steps:
            yield from (branch.condition for branch in step.next)
            if isinstance(step, CollectStep):
                yield from (rejection.condition for rejection in step.rejections)
    for slot in slots:
        if slot.validation is not None:
            yield from (rejection.condition for rejection in slot.validation.rejections)
