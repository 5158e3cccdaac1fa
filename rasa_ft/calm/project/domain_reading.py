"""One domain file as slots, responses and names; what is wrong with it goes into a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, known_keys, shown, type_name
from rasa_ft.calm.flows.steps import read_rejections
from rasa_ft.calm.project.out_of_scope import FORMS, warn
from rasa_ft.calm.responses import Response, SlotCondition, Variation
from rasa_ft.calm.slots import FROM_LLM, SLOT_TYPES, MappingCondition, Slot, SlotMapping, SlotValidation
from rasa_ft.errors import Location
from rasa_ft.yaml_source import did_you_mean, location_of, plain

DOMAIN_KEYS = frozenset(
    {"slots", "responses", "actions", "session_config", "intents", "entities", "forms", "e2e_actions"}
)
_SLOT_KEYS = frozenset(
    {
        "type",
        "mappings",
        "initial_value",
        "values",
        "min_value",
        "max_value",
        "influence_conversation",
        "shared_for_coexistence",
        "validation",
        "value_reset_delay",
        "allow_llm_set",
    }
)
_VARIATION_KEYS = frozenset(
    {
        "id",
        "text",
        "condition",
        "channel",
        "buttons",
        "button_type",
        "quick_replies",
        "image",
        "attachment",
        "custom",
        "elements",
        "metadata",
        "translation",
        "allow_interruptions",
    }
)
NLU_MAPPINGS = ("from_entity", "from_intent", "from_trigger_intent")
_MAPPING_TYPES = ("from_llm", "controlled", "from_text", *NLU_MAPPINGS)
_SESSION_KEYS = {
    "session_expiration_time": ("expiration_minutes", float),
    "carry_over_slots_to_new_session": ("carry_over_slots", bool),
    "start_session_after_expiry": ("start_after_expiry", bool),
}
_SLOT_NAME = re.compile(r"[A-Za-z_][\w-]*")

_Names = tuple[tuple[str, Location | None], ...]


@dataclass(frozen=True)
class DomainPart:
    """What one file says; ``session`` has the fields of `rasa_ft.calm.project.domain.Session` that it sets.

    ``forms``: the slots that each form asks for.
    """

    file: Path
    slots: Mapping[str, Slot] = field(default_factory=dict)
    responses: Mapping[str, Response] = field(default_factory=dict)
    actions: _Names = ()
    actions_with_domain: frozenset[str] = frozenset()
    intents: _Names = ()
    session: Mapping[str, Any] = field(default_factory=dict)
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_domain_part(content: Any, file: Path, report: Report) -> DomainPart:
    """Read the parsed content of ``file``."""
    if not isinstance(content, Mapping):
        report.error(
            "a domain must be a mapping with slots, responses or actions.", Location(file, 1), rule="wrong-type"
        )
        return DomainPart(file)
    known_keys(content, DOMAIN_KEYS | {"version", "config"}, "a domain", report, rule="broken-section")
    forms = _forms(content, report)
    return DomainPart(
        file=file,
        slots=dict(_named(content, "slots", report, read_slot)),
        responses=dict(_named(content, "responses", report, read_response)),
        actions=_names(content, "actions", report),
        actions_with_domain=frozenset(_wanting_domain(content)),
        intents=_names(content, "intents", report),
        session=_session(get_typed(content, "session_config", dict, report, default={}), report),
        forms=forms,
    )


def _named(content: Mapping[str, Any], key: str, report: Report, read: Any) -> list[tuple[str, Any]]:
    node = get_typed(content, key, dict, report, default={}, rule="broken-section")
    items = ((str(name), read(str(name), value, location_of(node, name), report)) for name, value in node.items())
    return list(items)


def _forms(content: Mapping[str, Any], report: Report) -> Mapping[str, tuple[str, ...]]:
    node = get_typed(content, "forms", dict, report, default={})
    if node:
        warn(FORMS, location_of(content, "forms"), report, [str(name) for name in node])
    return {str(name): tuple(_required_slots(form)) for name, form in node.items()}


def _required_slots(form: Any) -> list[str]:
    slots = form.get("required_slots") if isinstance(form, Mapping) else None
    return [str(slot) for slot in slots] if isinstance(slots, Mapping | list) else []


def _names(content: Mapping[str, Any], key: str, report: Report) -> _Names:
    """A list of names; an entry may be a mapping of the name to its options."""
    node = get_typed(content, key, list, report, default=(), rule="broken-section")
    names: list[tuple[str, Location | None]] = []
    for index, entry in enumerate(node):
        name = next(iter(entry)) if isinstance(entry, Mapping) and len(entry) == 1 else entry
        if isinstance(name, str):
            names.append((name, location_of(node, index)))
        else:
            report.error(f"'{key}' must list names, not {shown(entry)}.", location_of(node, index), rule="wrong-type")
    return tuple(names)


def _wanting_domain(content: Mapping[str, Any]) -> Iterable[str]:
    listed = content.get("actions")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping):
            yield from (str(name) for name, options in entry.items() if _sends_domain(options))


def _sends_domain(options: Any) -> bool:
    return isinstance(options, Mapping) and options.get("send_domain") is True


def _session(node: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    known_keys(node, _SESSION_KEYS, "session_config", report)
    values = {name: get_typed(node, key, kind, report) for key, (name, kind) in _SESSION_KEYS.items()}
    return {name: value for name, value in values.items() if value is not None}


def read_slot(name: str, node: Any, location: Location | None, report: Report) -> Slot:
    """One slot; if it is beyond reading, one that has at least the name."""
    if not _SLOT_NAME.fullmatch(name):
        report.error(
            f"'{name}' cannot name a slot.",
            location,
            "Use letters, digits, '_' and '-', not beginning with a digit.",
            rule="invalid-slot-name",
            culprit=name,
        )
    if not isinstance(node, Mapping):
        report.error(f"slot '{name}' must be a mapping with a 'type'.", location, rule="wrong-type", culprit=name)
        return Slot(name, "any", location=location)
    known_keys(node, _SLOT_KEYS, "a slot", report)
    slot_type = _slot_type(name, node, location, report)
    if slot_type == "any" and node.get("influence_conversation") is True:
        report.error(
            f"slot '{name}' of type any cannot influence the conversation.",
            location,
            rule="influence-conversation",
            culprit="influence_conversation",
        )
    return Slot(
        name=name,
        type=slot_type,
        values=_values(name, slot_type, node, location, report),
        min_value=get_typed(node, "min_value", float, report),
        max_value=get_typed(node, "max_value", float, report),
        initial_value=plain(node.get("initial_value")),
        mappings=_mappings(name, node, report),
        validation=_validation(name, node, report),
        shared=get_typed(node, "shared_for_coexistence", bool, report, default=False),
        location=location,
    )


def _slot_type(name: str, node: Mapping[str, Any], location: Location | None, report: Report) -> str:
    slot_type = node.get("type")
    if slot_type in SLOT_TYPES:
        return str(slot_type)
    if slot_type is None:
        report.error(
            f"slot '{name}' has no 'type'.",
            location,
            f"Types: {', '.join(SLOT_TYPES)}.",
            rule="unknown-slot-type",
            culprit=name,
        )
    else:
        message = f"slot '{name}' has the unknown type {shown(slot_type)}.{did_you_mean(str(slot_type), SLOT_TYPES)}"
        report.error(
            message,
            location_of(node, "type"),
            f"Types: {', '.join(SLOT_TYPES)}.",
            rule="unknown-slot-type",
            culprit=str(slot_type),
        )
    return "any"


def _values(
    name: str, slot_type: str, node: Mapping[str, Any], location: Location | None, report: Report
) -> tuple[str, ...]:
    values = tuple(
        _category(value) for value in get_typed(node, "values", list, report, default=()) if value is not None
    )
    if slot_type == "categorical" and not values:
        report.error(f"categorical slot '{name}' has no 'values'.", location, rule="missing-values", culprit=name)
    elif slot_type != "categorical" and values:
        report.warning(
            f"'values' of slot '{name}' are ignored: it is not categorical.",
            location_of(node, "values"),
            rule="unused-values",
            culprit="values",
        )
        return ()
    return values


def _category(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mappings(name: str, node: Mapping[str, Any], report: Report) -> tuple[SlotMapping, ...]:
    nodes = get_typed(node, "mappings", list, report, default=())
    mappings = (_mapping(name, item, location_of(nodes, index), report) for index, item in enumerate(nodes))
    return tuple(mapping for mapping in mappings if mapping is not None) or (FROM_LLM,)


def _mapping(name: str, node: Any, location: Location | None, report: Report) -> SlotMapping | None:
    kind = node.get("type") if isinstance(node, Mapping) else None
    kind = "controlled" if kind == "custom" else kind
    if kind not in _MAPPING_TYPES:
        message = f"slot '{name}' has a mapping without a known type.{did_you_mean(str(kind), _MAPPING_TYPES)}"
        report.error(message, location, f"Types: {', '.join(_MAPPING_TYPES)}.", rule="unknown-mapping")
        return None
    action = node.get("run_action_every_turn") or node.get("action")
    if action and kind != "controlled":
        report.error(
            f"'run_action_every_turn' of slot '{name}' needs a mapping of type controlled.",
            location,
            rule="run-action-every-turn",
        )
    return SlotMapping(
        type=kind,
        conditions=_mapping_conditions(node, report),
        run_action_every_turn=action,
        allow_nlu_correction=get_typed(node, "allow_nlu_correction", bool, report, default=False),
    )


def _mapping_conditions(node: Mapping[str, Any], report: Report) -> tuple[MappingCondition, ...]:
    conditions = []
    for entry in get_typed(node, "conditions", list, report, default=()):
        if not isinstance(entry, Mapping):
            report.error(
                f"a mapping condition must be a mapping, not {shown(entry)}.",
                location_of(node, "conditions"),
                rule="wrong-type",
            )
            continue
        known_keys(entry, ("active_flow", "requested_slot", "active_loop"), "a mapping condition", report)
        conditions.append(
            MappingCondition(entry.get("active_flow"), entry.get("requested_slot"), entry.get("active_loop"))
        )
    return tuple(conditions)


def _validation(name: str, node: Mapping[str, Any], report: Report) -> SlotValidation | None:
    validation = get_typed(node, "validation", dict, report)
    if validation is None:
        return None
    known_keys(validation, ("rejections", "refill_utter"), "a slot's validation", report)
    return SlotValidation(
        rejections=read_rejections(validation, f"slot '{name}'", report),
        refill_utter=get_typed(validation, "refill_utter", str, report, default=f"utter_ask_{name}"),
    )


def read_response(name: str, node: Any, location: Location | None, report: Report) -> Response:
    """One response; if it is beyond reading, one that has at least the name."""
    if not isinstance(node, list) or not node:
        report.error(
            f"response '{name}' must be a list with at least one variation.", location, rule="wrong-type", culprit=name
        )
        return Response(name, (), location)
    if not name.startswith("utter_"):
        report.warning(f"response '{name}' should begin with 'utter_'.", location, rule="response-name", culprit=name)
    variations = (_variation(name, item, location_of(node, index), report) for index, item in enumerate(node))
    return Response(name, tuple(variation for variation in variations if variation is not None), location)


def _variation(name: str, node: Any, location: Location | None, report: Report) -> Variation | None:
    if not isinstance(node, Mapping):
        report.error(
            f"a variation of '{name}' must be a mapping such as 'text: …', not {shown(node)}.",
            location,
            rule="wrong-type",
        )
        return None
    known_keys(node, _VARIATION_KEYS, "a response's variation", report)
    return Variation(
        text=get_typed(node, "text", str, report),
        condition=_condition(name, node, report),
        channel=get_typed(node, "channel", str, report),
        buttons=_buttons(name, node, report),
        quick_replies=tuple(plain(get_typed(node, "quick_replies", list, report, default=()))),
        image=get_typed(node, "image", str, report),
        attachment=plain(node.get("attachment")),
        custom=plain(node.get("custom")),
        elements=plain(node.get("elements")),
        metadata=MappingProxyType(plain(get_typed(node, "metadata", dict, report, default={}))),
        translation=MappingProxyType(plain(get_typed(node, "translation", dict, report, default={}))),
        id=None if node.get("id") is None else str(node["id"]),
        location=location,
    )


def _condition(name: str, node: Mapping[str, Any], report: Report) -> str | tuple[SlotCondition, ...] | None:
    condition = node.get("condition")
    if condition is None or isinstance(condition, str):
        return condition
    if isinstance(condition, bool):
        return str(condition).lower()
    if isinstance(condition, list) and all(isinstance(entry, Mapping) and "name" in entry for entry in condition):
        return tuple(SlotCondition(str(entry["name"]), entry.get("value")) for entry in condition)
    report.error(
        f"the condition of '{name}' must be a predicate, or a list of {{type: slot, name, value}}, "
        f"not a {type_name(condition)}.",
        location_of(node, "condition"),
        rule="wrong-type",
        culprit="condition",
    )
    return None


def _buttons(name: str, node: Mapping[str, Any], report: Report) -> tuple[Mapping[str, Any], ...]:
    nodes = get_typed(node, "buttons", list, report, default=())
    buttons = []
    for index, button in enumerate(nodes):
        if not isinstance(button, Mapping) or not button.get("title") or not button.get("payload"):
            report.error(
                f"a button of '{name}' needs a 'title' and a 'payload'.",
                location_of(nodes, index),
                rule="invalid-button",
            )
            continue
        buttons.append(
            MappingProxyType({**plain(button), "title": str(button["title"]), "payload": str(button["payload"])})
        )
    return tuple(buttons)
