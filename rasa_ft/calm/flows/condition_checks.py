"""Whether a condition makes sense for an assistant: it parses, names known things and compares what can be equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.flows.conditions import Comparison, comparisons, parse_errors, references
from rasa_ft.calm.slots import Slot
from rasa_ft.calm.templates import is_template
from rasa_ft.errors import Location
from rasa_ft.yaml_source import did_you_mean

_EQUALITY = ("=", "is", "!=")


def check_condition(
    condition: str | bool | None,
    slots: Mapping[str, Slot],
    what: str,
    location: Location | None,
    report: Report,
    namespaces: Collection[str] = ("slots", "context"),
) -> None:
    """Report what is wrong with ``condition``; ``what`` says whose it is, as in ``a branch of flow 'x'``.

    Conditions that are filled by jinja at run time can only be checked as templates.
    """
    for problem in parse_errors(condition):
        report.error(
            f"the condition {condition!r} of {what} is malformed: {problem}",
            location,
            rule="invalid-condition",
            culprit=str(condition),
        )
        return
    for reference in references(condition):
        _check_reference(reference, slots, what, location, report, namespaces)
    found = comparisons(condition)
    for comparison in found:
        _check_comparison(comparison, slots, what, location, report, certain=len(found) == 1)


def check_rejection_scope(condition: str, slot: str, what: str, location: Location | None, report: Report) -> None:
    """Warn of a rejection that names something that rejections never see."""
    if is_template(condition) or parse_errors(condition):
        return
    for reference in references(condition):
        if reference.startswith(("slots.", "context.")) and reference.split(".")[1] != slot:
            report.warning(
                f"a rejection of {what} names '{reference}', but rejections see only '{slot}'.",
                location,
                "Move the check into the flow's 'next', or into a custom action 'validate_" + slot + "'.",
                rule="blind-rejection",
                culprit=reference,
            )


def _check_reference(
    reference: str,
    slots: Mapping[str, Slot],
    what: str,
    location: Location | None,
    report: Report,
    namespaces: Collection[str],
) -> None:
    namespace, _, rest = reference.partition(".")
    if namespace not in namespaces:
        values = " or ".join(f"{name}.…" for name in namespaces)
        report.error(
            f"'{reference}' in the condition of {what} is neither text nor a known value.",
            location,
            f'Write "{reference}" in quotes if it is text; values are named {values}.',
            rule="unknown-reference",
            culprit=reference,
        )
    elif namespace == "slots" and rest.split(".")[0] not in slots:
        name = rest.split(".")[0]
        report.error(
            f"the condition of {what} names the unknown slot '{name}'.{did_you_mean(name, slots)}",
            location,
            rule="unknown-slot",
            culprit=name,
        )


def _check_comparison(
    comparison: Comparison,
    slots: Mapping[str, Slot],
    what: str,
    location: Location | None,
    report: Report,
    certain: bool,
) -> None:
    """Equality with a value that a slot never has. In a longer condition it may be harmless: a warning then."""
    slot = slots.get(comparison.reference.removeprefix("slots."))
    if slot is None or comparison.operator not in _EQUALITY or comparison.value is None:
        return
    value = comparison.value
    tell = report.error if certain else report.warning
    if slot.type == "categorical" and value not in slot.values:
        tell(
            f"the condition of {what} compares slot '{slot.name}' with {value!r}, which is not among its values."
            f"{did_you_mean(str(value), slot.values)}",
            location,
            f"Values: {', '.join(slot.values)}.",
            rule="impossible-comparison",
            culprit=str(value),
        )
    elif slot.type == "bool" and not isinstance(value, bool):
        tell(
            f"the condition of {what} compares the bool slot '{slot.name}' with {value!r}; use true or false.",
            location,
            rule="impossible-comparison",
            culprit=str(value),
        )
