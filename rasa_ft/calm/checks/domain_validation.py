"""Whether slots and responses of a domain make sense (the checks of CALM's validator)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.dialogue.payloads import MAX_PAIRS, PREFIX, parse_set_slots
from rasa_ft.calm.flows.condition_checks import check_condition, check_rejection_scope
from rasa_ft.calm.project.domain import BUILTIN_ACTIONS, Domain
from rasa_ft.calm.project.domain_reading import NLU_MAPPINGS
from rasa_ft.calm.project.out_of_scope import ADAPTER
from rasa_ft.calm.responses import Response, Variation, placeholders
from rasa_ft.calm.slots import Slot, is_valid
from rasa_ft.calm.templates import template_syntax_error
from rasa_ft.yaml_source import did_you_mean

_CSAT_VALUES = {"satisfied", "unsatisfied"}


def check_domain(domain: Domain, endpoints: Mapping[str, Any], report: Report) -> None:
    """Report what is wrong inside ``domain``; ``endpoints`` tells whether there is a rephraser."""
    for slot in domain.slots.values():
        _check_slot(slot, domain, report)
    for response in domain.responses.values():
        for variation in response.variations:
            _check_variation(response, variation, domain, report)
    _check_rephraser(domain, endpoints, report)


def check_nlu_mappings(domain: Domain, report: Report) -> None:
    """Warn of slots that only an NLU pipeline would fill, in a project that has none."""
    for slot in domain.slots.values():
        kinds = [mapping.type for mapping in slot.mappings if mapping.type in NLU_MAPPINGS]
        if kinds:
            report.warning(
                f"slot '{slot.name}' has a mapping {kinds[0]}, but there is no {ADAPTER} in the pipeline.",
                slot.location,
                "The mapping has no effect.",
                rule="nlu-mapping",
                culprit=kinds[0],
            )


def _check_slot(slot: Slot, domain: Domain, report: Report) -> None:
    if not is_valid(slot, slot.initial_value):
        report.error(
            f"the initial value {slot.initial_value!r} of slot '{slot.name}' is not a valid {slot.type}.",
            slot.location,
            rule="invalid-initial-value",
            culprit=str(slot.initial_value),
        )
    if slot.name == "csat_score" and set(slot.values) != _CSAT_VALUES:
        report.error(
            "slot 'csat_score' must have the values satisfied and unsatisfied.",
            slot.location,
            rule="csat-values",
            culprit="csat_score",
        )
    for mapping in slot.mappings:
        action = mapping.run_action_every_turn
        if action is not None and action not in domain.actions and action not in BUILTIN_ACTIONS:
            message = f"slot '{slot.name}' runs action '{action}' every turn, but it is not in the domain."
            report.error(
                f"{message}{did_you_mean(action, domain.actions)}",
                slot.location,
                rule="run-action-every-turn",
                culprit=action,
            )
    _check_correction(slot, report)
    _check_validation(slot, domain, report)


def _check_correction(slot: Slot, report: Report) -> None:
    """NLU may correct only what the model has filled, and only where there is NLU to do so."""
    has_nlu = any(mapping.type in (*NLU_MAPPINGS, "from_text") for mapping in slot.mappings)
    for mapping in slot.mappings:
        if mapping.allow_nlu_correction and (mapping.type != "from_llm" or not has_nlu):
            report.error(
                f"'allow_nlu_correction' of slot '{slot.name}' needs a mapping from_llm with an NLU mapping beside it.",
                slot.location,
                rule="allow-nlu-correction",
                culprit="allow_nlu_correction",
            )


def _check_validation(slot: Slot, domain: Domain, report: Report) -> None:
    if slot.validation is None:
        return
    what = f"slot '{slot.name}'"
    for rejection in slot.validation.rejections:
        place = rejection.location or slot.location
        check_condition(rejection.condition, domain.slots, f"a rejection of {what}", place, report)
        check_rejection_scope(rejection.condition, slot.name, what, place, report)
    for utter in (*(rejection.utter for rejection in slot.validation.rejections), slot.validation.refill_utter):
        if utter not in domain.responses and not domain.has_action(f"action_ask_{slot.name}"):
            meant = did_you_mean(utter, domain.responses)
            report.error(
                f"the validation of {what} names response '{utter}', which does not exist.{meant}",
                slot.location,
                rule="missing-validation-response",
                culprit=utter,
            )


def _check_variation(response: Response, variation: Variation, domain: Domain, report: Report) -> None:
    what = f"response '{response.name}'"
    if isinstance(variation.condition, str):
        check_condition(variation.condition, domain.slots, what, variation.location, report, namespaces=("slots",))
    if isinstance(variation.condition, tuple):
        for condition in variation.condition:
            if condition.slot not in domain.slots:
                meant = did_you_mean(condition.slot, domain.slots)
                report.error(
                    f"the condition of {what} names the unknown slot '{condition.slot}'.{meant}",
                    variation.location,
                    rule="unknown-slot",
                    culprit=condition.slot,
                )
    _check_text(what, variation, report)
    payloads = [button["payload"] for button in variation.buttons]
    _warn_of_free_text(what, [payload for payload in payloads if not payload.startswith("/")], variation, report)
    for payload in payloads:
        _check_payload(what, payload, variation, domain, report)


def _check_text(what: str, variation: Variation, report: Report) -> None:
    for text in (variation.text or "", *variation.translation.values()):
        if variation.is_jinja:
            problem = template_syntax_error(text)
            if problem is not None:
                report.error(
                    f"the text of {what} is not a jinja template: {problem}.",
                    variation.location,
                    rule="invalid-template",
                )
        elif "" in placeholders(text):
            message = f"the text of {what} has an empty placeholder {{}}."
            report.error(message, variation.location, rule="empty-placeholder", culprit="{}")
        elif "()" in text:
            message = f"the text of {what} has an empty placeholder ()."
            report.error(message, variation.location, "Values stand in braces.", rule="empty-placeholder", culprit="()")


def _warn_of_free_text(what: str, payloads: list[str], variation: Variation, report: Report) -> None:
    if payloads:
        report.warning(
            f"buttons of {what} send {', '.join(map(repr, payloads))} as if the user had written it.",
            variation.location,
            f"To fill a slot without asking the model, use {PREFIX}(slot=value).",
            rule="free-text-payload",
            culprit=payloads[0],
        )


def _check_payload(what: str, payload: str, variation: Variation, domain: Domain, report: Report) -> None:
    if not payload.startswith(PREFIX) or "{" in payload:
        return
    pairs = parse_set_slots(payload)
    if pairs is None:
        report.error(
            f"the payload {payload} of {what} is malformed.",
            variation.location,
            f"Write {PREFIX}(slot=value, other=value) with at most {MAX_PAIRS} slots.",
            rule="invalid-payload",
            culprit=payload,
        )
        return
    names = [name for name, _ in pairs]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            report.error(
                f"the payload {payload} of {what} sets '{name}' twice.",
                variation.location,
                rule="invalid-payload",
                culprit=payload,
            )
        if name not in domain.slots:
            meant = did_you_mean(name, domain.slots)
            report.error(
                f"the payload {payload} of {what} sets the unknown slot '{name}'.{meant}",
                variation.location,
                rule="unknown-slot",
                culprit=name,
            )


def _check_rephraser(domain: Domain, endpoints: Mapping[str, Any], report: Report) -> None:
    if endpoints.get("nlg"):
        return
    for response in domain.responses.values():
        own = response.location is not None and response.location.file in domain.files
        for variation in response.variations:
            if variation.rephrase and own:
                report.warning(
                    f"response '{response.name}' is to be rephrased, but endpoints.yml has no rephraser.",
                    variation.location,
                    "Add 'nlg: {type: rephrase}' to endpoints.yml or remove 'rephrase: true'.",
                    rule="rephrase-without-rephraser",
                    culprit="rephrase",
                )
