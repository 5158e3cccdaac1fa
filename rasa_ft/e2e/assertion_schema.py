"""Reading the assertions of a user step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rasa_ft.calm.events import Button
from rasa_ft.e2e import assertions as a
from rasa_ft.e2e.judging import GroundedAssertion, RelevantAssertion
from rasa_ft.e2e.problems import Problems, place
from rasa_ft.yaml_source import did_you_mean, plain

_OTHER_ENGINE = frozenset(
    [f"skill_{what}" for what in ("activated", "completed", "cancelled", "interrupted", "resumed")]
    + [f"ordered_block_{what}" for what in ("entered", "completed", "cancelled", "interrupted", "resumed")]
    + ["memory_was_set", "memory_was_not_set", "memory_was_cleared", "tool_executed", "tools_within_one_turn"]
)
_BOT_KEYS = ("utter_name", "text_matches", "buttons")
_JUDGED_KEYS = ("threshold", "utter_name", "utter_source")


def read_assertions(problems: Problems, step: Mapping[str, Any]) -> tuple[a.Assertion, ...]:
    """The assertions of a user step; whatever is wrong is added to ``problems``."""
    entries = problems.items(step, "assertions", "`assertions`", empty=True)  # as generated tests have it
    found = (_read(problems, entries, index) for index in range(len(entries)))
    return tuple(assertion for assertion in found if assertion is not None)


def _read(problems: Problems, entries: list[Any], index: int) -> a.Assertion | None:
    pair = problems.only_pair(entries, index, "an assertion")
    if pair is None:
        return None
    key, entry = pair
    if key in _OTHER_ENGINE:
        return _unsupported(problems, key, entry)
    if key not in _READERS:
        known = [*_READERS, *_OTHER_ENGINE]
        problems.add(f"unknown assertion '{key}'.{did_you_mean(key, known)}", entry, key)
        return None
    return _READERS[key](problems, entry, key)


def _common(problems: Problems, entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {"location": place(problems.file, entry, key), "written": plain(entry[key])}


def _unsupported(problems: Problems, key: str, entry: Mapping[str, Any]) -> a.Assertion:
    reason = f"assertion '{key}' is not for CALM assistants."
    return a.UnsupportedAssertion(**_common(problems, entry, key), name=key, reason=reason)


def _operator_and_ids(problems: Problems, entry: Mapping[str, Any], key: str) -> tuple[str, tuple[str, ...]]:
    value = problems.mapping(entry, key, f"`{key}`") or {}
    problems.keys(value, ("operator", "flow_ids"), f"`{key}`")
    for needed in {"operator", "flow_ids"} - set(value):
        problems.add(f"`{key}` needs `{needed}`.", entry, key)
    operator = str(value.get("operator", "any")).lower()
    if operator not in ("any", "all"):
        problems.add(f"`operator` must be any or all, not '{value['operator']}'.", value, "operator")
    return operator, problems.texts(value, "flow_ids", "`flow_ids`") if "flow_ids" in value else ()


def _flow_started(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    if isinstance(entry[key], Mapping):
        operator, flow_ids = _operator_and_ids(problems, entry, key)
        if operator == "all" and len(flow_ids) > 1:
            problems.add("`operator: all` takes exactly one flow id; use one assertion per flow.", entry, key)
    else:
        flow_ids = tuple(filter(None, [problems.text(entry, key, f"`{key}`")]))
    return a.FlowStartedAssertion(**_common(problems, entry, key), flow_ids=flow_ids)


def _flow_ended(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    value = problems.mapping(entry, key, f"`{key}`") or {}
    problems.keys(value, ("flow_id", "flow_step_id"), f"`{key}`")
    if value and "flow_id" not in value:
        problems.add(f"`{key}` needs `flow_id`.", entry, key)
    made = a.FlowCompletedAssertion if key == "flow_completed" else a.FlowCancelledAssertion
    return made(
        **_common(problems, entry, key),
        flow_id=_optional(problems, value, "flow_id") or "",
        step_id=_optional(problems, value, "flow_step_id"),
    )


def _clarification(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    if isinstance(entry[key], Mapping):
        operator, expected = _operator_and_ids(problems, entry, key)
        return a.ClarificationAssertion(**_common(problems, entry, key), expected=expected, operator=operator)
    expected = problems.texts(entry, key, f"`{key}`")
    return a.ClarificationAssertion(**_common(problems, entry, key), expected=expected)


def _action_executed(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    action = problems.text(entry, key, f"`{key}`") or ""
    return a.ActionExecutedAssertion(**_common(problems, entry, key), action=action)


def _slots(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    entries = problems.items(entry, key, f"`{key}`")
    found = []
    for index in range(len(entries)):
        slot = problems.mapping(entries, index, f"an entry of `{key}`")
        if slot is None:
            continue
        problems.keys(slot, ("name", "value"), f"an entry of `{key}`")
        if "name" not in slot:
            problems.add(f"an entry of `{key}` needs `name`.", entries, index)
            continue
        where = place(problems.file, entries, index)
        name = problems.text(slot, "name", "`name`") or ""
        found.append(a.ExpectedSlot(name, where, plain(slot.get("value")), "value" in slot))
    made = a.SlotWasSetAssertion if key == "slot_was_set" else a.SlotWasNotSetAssertion
    return made(**_common(problems, entry, key), slots=tuple(found))


def _bot(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    value = problems.mapping(entry, key, f"`{key}`") or {}
    problems.keys(value, _BOT_KEYS, f"`{key}`")
    if not set(value) & set(_BOT_KEYS):
        problems.add(f"`{key}` needs at least one of {', '.join(_BOT_KEYS)}.", entry, key)
    made = a.BotUtteredAssertion if key == "bot_uttered" else a.BotDidNotUtterAssertion
    return made(
        **_common(problems, entry, key),
        utter_name=_optional(problems, value, "utter_name"),
        text_matches=_pattern(problems, value),
        buttons=_buttons(problems, value) if "buttons" in value else (),
    )


def _pattern(problems: Problems, value: Mapping[str, Any]) -> str | None:
    pattern = _optional(problems, value, "text_matches")
    if pattern is None:
        return None
    pattern = str(value["text_matches"])  # blanks around a pattern mean something
    try:
        re.compile(pattern)
    except re.error as error:
        problems.add(f"`text_matches` is not a regular expression: {error}.", value, "text_matches")
    return pattern


def _buttons(problems: Problems, value: Mapping[str, Any]) -> tuple[Button, ...]:
    entries = problems.items(value, "buttons", "`buttons`")
    found = []
    for index in range(len(entries)):
        button = problems.mapping(entries, index, "a button")
        if button is None:
            continue
        problems.keys(button, ("title", "payload"), "a button")
        missing = {"title", "payload"} - set(button)
        if missing:
            problems.add(f"a button needs {' and '.join(sorted(missing))}.", entries, index)
            continue
        title, payload = (problems.text(button, name, f"`{name}`") or "" for name in ("title", "payload"))
        found.append(Button(title, payload))
    return tuple(found)


def _relevant(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    return RelevantAssertion(**_common(problems, entry, key), **_judged(problems, entry, key))


def _grounded(problems: Problems, entry: Mapping[str, Any], key: str) -> a.Assertion:
    fields = _judged(problems, entry, key, "ground_truth")
    return GroundedAssertion(**_common(problems, entry, key), **fields)


def _judged(problems: Problems, entry: Mapping[str, Any], key: str, *more: str) -> dict[str, Any]:
    value = problems.mapping(entry, key, f"`{key}`")
    if value is None:
        return {}
    problems.keys(value, (*_JUDGED_KEYS, *more), f"`{key}`")
    texts = {name: _optional(problems, value, name) for name in ("utter_name", "utter_source", *more)}
    return {"threshold": _threshold(problems, entry, key), **texts}


def _threshold(problems: Problems, entry: Mapping[str, Any], key: str) -> float:
    value = entry[key]
    if "threshold" not in value:
        problems.add(f"`{key}` needs `threshold`.", entry, key)
        return 1.0
    found = value["threshold"]
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        problems.add(f"`threshold` must be a number from 0 to 1, not '{found}'.", value, "threshold")
        return 1.0
    return float(found)


def _optional(problems: Problems, value: Mapping[str, Any], key: str) -> str | None:
    return problems.text(value, key, f"`{key}`") if key in value else None


_READERS: dict[str, Callable[[Problems, Mapping[str, Any], str], a.Assertion]] = {
    "flow_started": _flow_started,
    "flow_completed": _flow_ended,
    "flow_cancelled": _flow_ended,
    "pattern_clarification_contains": _clarification,
    "action_executed": _action_executed,
    "slot_was_set": _slots,
    "slot_was_not_set": _slots,
    "bot_uttered": _bot,
    "bot_did_not_utter": _bot,
    RelevantAssertion.kind: _relevant,
    GroundedAssertion.kind: _grounded,
}
