"""Whether flows fit each other and the domain (the checks of CALM's loader and validator)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.flows.condition_checks import check_condition, check_rejection_scope
from rasa_ft.calm.flows.graph import linked_flows, recursive_calls
from rasa_ft.calm.flows.model import ActionStep, CallStep, CollectStep, Flow, LinkStep, SetSlotsStep, Step
from rasa_ft.calm.project.domain import Domain
from rasa_ft.calm.project.out_of_scope import AGENTS, warn
from rasa_ft.calm.responses import placeholders
from rasa_ft.calm.templates import is_template
from rasa_ft.yaml_source import did_you_mean

# Patterns that any flow may link to, and those that only patterns may.
_LINKABLE = ("pattern_human_handoff", "pattern_search", "pattern_customer_satisfaction")
_LINKABLE_FROM_PATTERNS = (*_LINKABLE, "pattern_chitchat")


def check_flows(flows: Mapping[str, Flow], domain: Domain, report: Report, agents: Collection[str] = ()) -> None:
    """Report everything that is wrong between ``flows`` (patterns included) and with ``domain``.

    Args:
        agents: names that a call step may mean besides flows; they are not run (`rasa_ft.calm.project.out_of_scope`).
    """
    _check_unique(flows, report)
    for circle in recursive_calls(flows):
        report.fatal(
            f"flows call each other in a circle: {' -> '.join(circle)}.",
            flows[circle[0]].location,
            rule="circular-call",
        )
    for flow in flows.values():
        check_condition(flow.guard, domain.slots, f"flow '{flow.id}'", flow.location, report)
        _check_persisted_slots(flow, report)
        for step in flow.steps:
            _check_step(step, flow, flows, domain, agents, report)


def _check_unique(flows: Mapping[str, Flow], report: Report) -> None:
    names: dict[str, Flow] = {}
    descriptions: dict[str, Flow] = {}
    intents: dict[str, Flow] = {}
    for flow in flows.values():
        _check_one_of_a_kind("name", flow.name, flow, names, report)
        if description := _without_punctuation(flow.description):
            _check_one_of_a_kind("description", description, flow, descriptions, report)
        for trigger in flow.nlu_triggers:
            if trigger.intent in intents:
                first = intents[trigger.intent].id
                report.fatal(
                    f"flow '{flow.id}' is started by intent '{trigger.intent}' like flow '{first}'.",
                    flow.location,
                    rule="duplicate-trigger",
                    culprit=trigger.intent,
                )
            intents.setdefault(trigger.intent, flow)


def _check_one_of_a_kind(what: str, value: str, flow: Flow, seen: dict[str, Flow], report: Report) -> None:
    if value in seen:
        message = f"flow '{flow.id}' has the same {what} as flow '{seen[value].id}'."
        report.error(message, flow.location, rule=f"duplicate-flow-{what}", culprit=what)
    seen.setdefault(value, flow)


def _without_punctuation(text: str) -> str:
    return re.sub(r"[^\w\s]", "", text).strip().lower()


def _check_persisted_slots(flow: Flow, report: Report) -> None:
    used = set(_slots_of(flow))
    unreset = {step.slot for step in flow.steps if isinstance(step, CollectStep) and not step.reset_after_flow_ends}
    for slot in flow.persisted_slots:
        if slot not in used:
            message = f"flow '{flow.id}' persists slot '{slot}', but no step of it collects or sets it."
            report.error(
                f"{message}{did_you_mean(slot, used)}", flow.location, rule="unused-persisted-slot", culprit=slot
            )
        if slot in unreset:
            report.error(
                f"slot '{slot}' is in 'persisted_slots' of flow '{flow.id}' and has 'reset_after_flow_ends: false'.",
                flow.location,
                "Keep 'persisted_slots'; the other way is deprecated.",
                rule="persisted-twice",
                culprit=slot,
            )


def _slots_of(flow: Flow) -> Iterator[str]:
    for step in flow.steps:
        if isinstance(step, CollectStep):
            yield step.slot
        elif isinstance(step, SetSlotsStep):
            yield from (slot for slot, _ in step.assignments)


def _check_step(
    step: Step, flow: Flow, flows: Mapping[str, Flow], domain: Domain, agents: Collection[str], report: Report
) -> None:
    for branch in step.next:
        place = branch.location or step.location
        check_condition(branch.condition, domain.slots, f"a branch of flow '{flow.id}'", place, report)
    match step:
        case LinkStep():
            _check_link(step, flow, flows, report)
        case CallStep():
            _check_call(step, flow, flows, agents, report)
        case ActionStep():
            _check_action(step, flow, flows, domain, report)
        case CollectStep():
            _check_collect(step, flow, domain, report)
        case SetSlotsStep():
            for slot, _ in step.assignments:
                _check_slot(slot, step, flow, domain, report)


def _check_link(step: LinkStep, flow: Flow, flows: Mapping[str, Flow], report: Report) -> None:
    target = flows.get(step.flow)
    allowed = _LINKABLE_FROM_PATTERNS if flow.is_pattern else _LINKABLE
    if target is None:
        report.fatal(
            f"flow '{flow.id}' links to flow '{step.flow}', which does not exist.{did_you_mean(step.flow, flows)}",
            step.location,
            rule="unknown-flow",
            culprit=step.flow,
        )
    elif flow.id == "pattern_internal_error":
        report.fatal(
            "'pattern_internal_error' cannot link to another flow.",
            step.location,
            rule="invalid-link",
            culprit=step.flow,
        )
    elif target.is_pattern and target.id not in allowed:
        report.fatal(
            f"flow '{flow.id}' cannot link to '{step.flow}'.",
            step.location,
            f"Patterns that can be: {', '.join(allowed)}.",
            rule="invalid-link",
            culprit=step.flow,
        )


def _check_call(step: CallStep, flow: Flow, flows: Mapping[str, Flow], agents: Collection[str], report: Report) -> None:
    target = flows.get(step.flow)
    if step.mcp_server is not None or (target is None and step.flow in agents):
        warn(AGENTS, step.location, report, [step.flow])
    elif target is None:
        report.fatal(
            f"flow '{flow.id}' calls flow '{step.flow}', which does not exist.{did_you_mean(step.flow, flows)}",
            step.location,
            "An agent needs a folder of its name in 'sub_agents'.",
            rule="unknown-flow",
            culprit=step.flow,
        )
    elif target.is_pattern:
        report.fatal(
            f"flow '{flow.id}' calls '{step.flow}'; patterns cannot be called.",
            step.location,
            rule="invalid-call",
            culprit=step.flow,
        )
    elif flow.is_pattern:
        report.fatal(
            f"'{flow.id}' is a pattern and cannot call a flow.", step.location, rule="invalid-call", culprit=step.flow
        )
    elif linked_flows(target):
        report.fatal(
            f"flow '{flow.id}' calls flow '{step.flow}', which has a 'link' step and so never returns.",
            step.location,
            rule="invalid-call",
            culprit=step.flow,
        )


def _check_action(step: ActionStep, flow: Flow, flows: Mapping[str, Flow], domain: Domain, report: Report) -> None:
    name = step.action
    if is_template(name) or not name:
        return
    starts_flow = name.startswith("flow_") and name.removeprefix("flow_") in flows
    if not domain.has_action(name) and not starts_flow:
        kind = "response" if name.startswith("utter_") else "action"
        known = domain.responses if kind == "response" else domain.actions
        report.error(
            f"flow '{flow.id}' uses {kind} '{name}', which is not in the domain.{did_you_mean(name, known)}",
            step.location,
            rule=f"unknown-{kind}",
            culprit=name,
        )
    _check_placeholders(name, flow, domain, report)


def _check_collect(step: CollectStep, flow: Flow, domain: Domain, report: Report) -> None:
    what = f"flow '{flow.id}'"
    _check_slot(step.slot, step, flow, domain, report)
    _check_can_ask(step, flow, domain, report)
    _check_placeholders(step.utter, flow, domain, report)
    for rejection in step.rejections:
        place = rejection.location or step.location
        check_condition(rejection.condition, domain.slots, f"a rejection in {what}", place, report)
        check_rejection_scope(rejection.condition, step.slot, what, place, report)
        if rejection.utter not in domain.responses:
            report.warning(
                f"{what} rejects '{step.slot}' with response '{rejection.utter}', which is not in the domain."
                f"{did_you_mean(rejection.utter, domain.responses)}",
                place,
                "The value is refused all the same, without a word.",
                rule="missing-rejection-response",
                culprit=rejection.utter,
            )


def _check_slot(name: str, step: Step, flow: Flow, domain: Domain, report: Report) -> None:
    slot = domain.slots.get(name)
    if slot is None:
        meant = did_you_mean(name, domain.slots)
        report.error(
            f"flow '{flow.id}' uses slot '{name}', which is not in the domain.{meant}",
            step.location,
            rule="unknown-slot",
            culprit=name,
        )
    elif slot.type == "list":
        report.error(
            f"flow '{flow.id}' uses slot '{name}' of type list; only custom actions can fill lists.",
            step.location,
            rule="list-slot",
            culprit=name,
        )


def _check_can_ask(step: CollectStep, flow: Flow, domain: Domain, report: Report) -> None:
    slot = domain.slots.get(step.slot)
    has_response = step.utter in domain.responses
    has_action = domain.has_action(step.ask_action)
    if slot is None:
        return
    if has_response and has_action:
        report.error(
            f"slot '{step.slot}' of flow '{flow.id}' is asked by both '{step.utter}' and '{step.ask_action}'.",
            step.location,
            "Keep one of them.",
            rule="ambiguous-ask",
            culprit=step.slot,
        )
    elif not has_response and not has_action and (slot.initial_value is None or step.ask_before_filling):
        report.error(
            f"flow '{flow.id}' collects '{step.slot}', but there is neither response '{step.utter}' nor action "
            f"'{step.ask_action}' to ask for it.{did_you_mean(step.utter, domain.responses)}",
            step.location,
            rule="missing-ask",
            culprit=step.slot,
        )


def _check_placeholders(name: str, flow: Flow, domain: Domain, report: Report) -> None:
    """A response that a step says itself gets no arguments: an unknown name would leave its whole text unfilled."""
    response = domain.responses.get(name)
    for variation in response.variations if response and not flow.is_pattern else ():
        if variation.text is None or variation.is_jinja:
            continue
        for placeholder in placeholders(variation.text):
            if placeholder and placeholder not in domain.slots:
                report.warning(
                    f"response '{name}' shows {{{placeholder}}}, which is not a slot: its text will be said unfilled."
                    f"{did_you_mean(placeholder, domain.slots)}",
                    variation.location,
                    rule="unknown-placeholder",
                    culprit=placeholder,
                )
