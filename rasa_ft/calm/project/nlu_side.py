"""What only the NLU side of a coexistence assistant does: rules, stories and forms, which are not run here.

Tests that need it can be told by the names in them: an intent that starts no flow, a response that no flow says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rasa_ft.calm.flows.model import ActionStep, CollectStep, Flow
from rasa_ft.calm.project.domain import BUILTIN_ACTIONS, Domain
from rasa_ft.calm.project.domain_reading import NLU_MAPPINGS
from rasa_ft.calm.project.out_of_scope import ROUTERS, RULES, policy_part


@dataclass(frozen=True)
class NluSide:
    """Names that occur on the NLU side only; all empty where there is no such side.

    ``actions`` has responses too; ``texts``: the texts of such responses, with the response's name. ``slots`` are
    filled by predicted intents and entities only.
    """

    intents: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()
    slots: frozenset[str] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict)


NO_NLU_SIDE = NluSide()


def nlu_side(
    documents: Iterable[Mapping[str, Any]], flows: Mapping[str, Flow], domain: Domain, ignored: frozenset[str]
) -> NluSide:
    """The NLU side of an assistant.

    Args:
        documents: the contents of its files of rules and stories.
        flows: all flows, patterns included.
        ignored: class names of components and policies that are not run.
    """
    if not any(name in ROUTERS or policy_part(name) is RULES for name in ignored):
        return NO_NLU_SIDE
    steps = [step for document in documents for step in _steps(document)]
    named = {str(step["action"]) for step in steps if isinstance(step.get("action"), str)}
    triggers = {trigger.intent for flow in flows.values() for trigger in flow.nlu_triggers}
    forms = frozenset(domain.forms)
    actions = frozenset((named | set(_asked_by_forms(domain))) - _used_by(flows, domain) - BUILTIN_ACTIONS - forms)
    return NluSide(
        intents=frozenset(({*domain.intents} | set(_intents(steps))) - triggers),
        actions=actions,
        forms=forms,
        slots=frozenset(slot.name for slot in domain.slots.values() if _is_filled_by_nlu_only(slot.mappings)),
        texts={
            variation.text: response.name
            for response in domain.responses.values()
            for variation in response.variations
            if response.name in actions and variation.text
        },
    )


def _steps(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("rules", "stories"):
        for entry in document.get(key) or ():
            steps = entry.get("steps") if isinstance(entry, Mapping) else None
            yield from (step for step in steps or () if isinstance(step, Mapping))


def _intents(steps: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for step in steps:
        alternatives = step["or"] if isinstance(step.get("or"), list) else [step]
        yield from (str(entry["intent"]) for entry in alternatives if isinstance(entry, Mapping) and "intent" in entry)


def _asked_by_forms(domain: Domain) -> Iterator[str]:
    """Names by which forms ask for their slots and check them."""
    for form, slots in domain.forms.items():
        yield f"validate_{form}"
        for slot in slots:
            yield from (
                f"utter_ask_{form}_{slot}",
                f"action_ask_{form}_{slot}",
                f"utter_ask_{slot}",
                f"action_ask_{slot}",
            )


def _used_by(flows: Mapping[str, Flow], domain: Domain) -> set[str]:
    """Actions and responses that flows and the validation of slots name."""
    used = set()
    for step in (step for flow in flows.values() for step in flow.steps):
        if isinstance(step, ActionStep):
            used.add(step.action)
        elif isinstance(step, CollectStep):
            used |= {step.utter, step.ask_action, *(rejection.utter for rejection in step.rejections)}
    for slot in domain.slots.values():
        if slot.validation is not None:
            used |= {slot.validation.refill_utter, *(rejection.utter for rejection in slot.validation.rejections)}
    return used


def _is_filled_by_nlu_only(mappings: Iterable[Any]) -> bool:
    return all(mapping.type in NLU_MAPPINGS for mapping in mappings)
