"""What our own readers find, in the shape of the answers of `reader.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.flows import model as f
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.domain import Domain
from rasa_ft.calm.responses import Variation
from rasa_ft.calm.slots import Slot
from rasa_ft.e2e import assertions as a
from rasa_ft.e2e import model as m
from rasa_ft.e2e.du_cases import DuUserStep
from rasa_ft.e2e.judging import JudgedAssertion
from rasa_ft.yaml_source import plain

_VARIATION = (
    "id",
    "text",
    "condition",
    "channel",
    "image",
    "attachment",
    "custom",
    "elements",
    "metadata",
    "translation",
)


def assert_same(theirs: Any, ours: Any) -> None:
    """Equal, types of values included: 1 is neither 1.0 nor true."""
    assert theirs == ours
    assert json.dumps(theirs, sort_keys=True) == json.dumps(ours, sort_keys=True)


def case_view(case: m.TestCase) -> dict[str, Any]:
    """One E2E test."""
    stubs = {
        action: {"events": [dict(event) for event in stub.events], "responses": [dict(one) for one in stub.responses]}
        for action, stub in (case.stubs or {}).items()
    }
    return {
        "name": case.name,
        "file": str(case.file.absolute()),
        "line": case.location.line,
        "slots": dict(case.fixtures),
        "steps": [_step(step) for step in case.steps],
        "stubs": stubs,
    }


def _step(step: m.Step) -> dict[str, Any]:
    line = step.location.line
    match step:
        case DuUserStep():
            return {"line": line, "user": step.text, "sent": dict(step.metadata), "commands": list(step.commands)}
        case m.UserStep():
            ordered = {"ordered": True} if step.assertion_order_enabled else {}
            found = [_assertion(assertion) for assertion in step.assertions]
            return {"line": line, "user": step.text, "sent": dict(step.metadata), "assertions": found, **ordered}
        case m.BotStep():
            return {"line": line, "bot": step.text}
        case m.UtterStep():
            return {"line": line, "utter": step.utter}
        case m.SlotWasSetStep():
            return {"slot_was_set": [step.slot, step.value] if step.has_value else [step.slot]}
        case m.SlotWasNotSetStep():
            return {"slot_was_not_set": [step.slot, step.value] if step.has_value else [step.slot]}
    raise TypeError(f"not a step: {step!r}")


def _assertion(assertion: a.Assertion) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": assertion.key, "line": assertion.location.line}
    match assertion:
        case JudgedAssertion():
            names = ("threshold", "utter_name", "utter_source", "ground_truth")
            fields |= {name: getattr(assertion, name, None) for name in names}
        case a.FlowStartedAssertion():
            fields |= {"flows": list(assertion.flow_ids)}
        case a.FlowCompletedAssertion() | a.FlowCancelledAssertion():
            fields |= {"flow_id": assertion.flow_id, "flow_step_id": assertion.step_id}
        case a.ClarificationAssertion():
            fields |= {"flows": sorted(assertion.expected), "operator": assertion.operator}
        case a.ActionExecutedAssertion():
            fields |= {"action_name": assertion.action}
        case a.SlotWasSetAssertion() | a.SlotWasNotSetAssertion():
            del fields["line"]  # the entries have it
            fields |= {"slots": [_slot(slot) for slot in assertion.slots]}
        case a.BotUtteredAssertion() | a.BotDidNotUtterAssertion():
            buttons = [[button.title, button.payload] for button in assertion.buttons]
            texts = {"utter_name": assertion.utter_name, "text_matches": assertion.text_matches}
            fields |= {**texts, "buttons": buttons or None}
    return {name: value for name, value in fields.items() if value is not None}


def _slot(slot: a.ExpectedSlot) -> dict[str, Any]:
    return {"name": slot.name, "line": slot.location.line, **({"value": slot.value} if slot.has_value else {})}


def du_case_view(case: m.TestCase, codec: Codec) -> dict[str, Any]:
    """One dialogue understanding test, its commands as the lines that the codec writes."""
    view = case_view(case)
    for step in view["steps"]:
        if "commands" in step:
            step["commands"] = codec.dump(step["commands"]).splitlines()
    return view


# --- what rasa-pro found, in the same words --------------------------------------------------------------------------


def their_case_view(found: Mapping[str, Any]) -> dict[str, Any]:
    """One case of the reader's answer as `case_view` has it: what is sent with a message, and slots at the start."""
    slots = {slot: value for _, values in found["fixtures"] for slot, value in values.items()}
    steps = [_their_step(step, found["metadata"]) for step in found["steps"]]
    head = {key: found[key] for key in ("name", "file", "line")}
    return {**head, "slots": slots, "steps": steps, "stubs": found.get("stubs", {})}


def _their_step(step: Mapping[str, Any], case_metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    found = dict(step)
    if "user" in found:
        found["sent"] = {**(case_metadata or {}), **(found.pop("metadata") or {})}
    if "assertions" in found:
        found["assertions"] = [_their_assertion(assertion) for assertion in found["assertions"]]
    if "slot_was_set" in found or "slot_was_not_set" in found:
        del found["line"]  # that of the step, not of the slot
    return found


def _their_assertion(assertion: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in assertion.items() if value is not None}
    kind = found["type"]
    flows = found.pop("flow_ids", None) or found.pop("flow_names", None)
    if kind == "flow_started":
        found.pop("operator", None)  # one flow, or any of them
        found["flows"] = flows or [found.pop("flow_id")]
    elif kind == "pattern_clarification_contains":
        found["flows"] = sorted(flows)
    return found


# --- assistants ------------------------------------------------------------------------------------------------------


def domain_view(domain: Domain) -> dict[str, Any]:
    """A domain's own slots, responses and actions; see ``read_project`` of `reader.py`."""
    return {
        "slots": {slot.name: _domain_slot(slot) for slot in domain.slots.values()},
        "responses": {
            name: [_variation(variation) for variation in response.variations]
            for name, response in domain.responses.items()
        },
        "actions": sorted({*domain.actions, *domain.responses}),
        "session": [domain.session.expiration_minutes, domain.session.carry_over_slots],
    }


def _variation(variation: Variation) -> dict[str, Any]:
    fields = {name: getattr(variation, name) for name in _VARIATION}
    buttons = {"buttons": [dict(button) for button in variation.buttons]} if variation.buttons else {}
    return {name: plain(value) for name, value in fields.items() if value not in (None, {}, ())} | buttons


def _domain_slot(slot: Slot) -> dict[str, Any]:
    return {
        "type": slot.type,
        "initial_value": slot.initial_value,
        "values": list(slot.values),
        "mappings": [mapping.type for mapping in slot.mappings],
    }


def flow_view(flow: Flow) -> dict[str, Any]:
    return {
        "name": flow.name,
        "description": flow.description,
        "guard": None if flow.guard is None else str(flow.guard),
        "always_include_in_prompt": flow.always_include_in_prompt,
        "persisted_slots": sorted(flow.persisted_slots),
        "steps": [_flow_step(step) for step in flow.steps],
    }


def _flow_step(step: f.Step) -> dict[str, Any]:
    branches = [[branch.condition, branch.target] for branch in step.next]
    return {"id": step.id, "line": step.location.line, "branches": branches, **_does(step)}


def _does(step: f.Step) -> dict[str, Any]:
    match step:
        case f.CollectStep():
            return {
                "collect": step.slot,
                "utter": step.utter,
                "ask_before_filling": step.ask_before_filling,
                "reset_after_flow_ends": step.reset_after_flow_ends,
                "force_slot_filling": step.force_slot_filling,
                "rejections": [{"if": one.condition, "utter": one.utter} for one in step.rejections],
                **({"description": step.description} if step.description else {}),
            }
        case f.ActionStep():
            return {"action": step.action}
        case f.CallStep():
            return {"call": step.flow}
        case f.LinkStep():
            return {"link": step.flow}
        case f.SetSlotsStep():
            return {"set_slots": [{slot: value} for slot, value in step.assignments]}
        case f.NoopStep():
            return {"noop": True}
    raise TypeError(f"not a step: {step!r}")
