"""Reading the stubs of custom actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rasa_ft.e2e.problems import Problems, place
from rasa_ft.engine.base import Stub
from rasa_ft.yaml_source import did_you_mean, plain

_EVENTS = (
    *("user", "bot", "slot", "session_started", "action", "reset_slots", "restart", "reminder", "cancel_reminder"),
    *("pause", "resume", "followup", "export", "undo", "rewind", "entities", "active_loop", "agent"),
    *("loop_interrupted", "action_execution_rejected"),
)
_RESPONSE_KEYS = ("text", "buttons", "response", "image", "attachment", "elements", "custom")


@dataclass(frozen=True)
class StubRule:
    """What ``action`` returns; ``scope`` is a case or file name, None for all cases of the file."""

    scope: str | None
    action: str
    stub: Stub


def read_stubs(problems: Problems, data: Mapping[str, Any]) -> tuple[StubRule, ...]:
    """The section ``stub_custom_actions``: ``action: {events, responses}``, or ``case::action`` for one case only."""
    if data.get("stub_custom_actions") is None:
        return ()
    section = problems.mapping(data, "stub_custom_actions", "`stub_custom_actions`") or {}
    rules = []
    for key in section:
        value = problems.mapping(section, key, f"stub '{key}'")
        if value is None:
            continue
        problems.keys(value, ("events", "responses"), f"stub '{key}'")
        scope, _, action = str(key).rpartition("::")
        stub = Stub(_events(problems, value), _responses(problems, value), place(problems.file, section, key))
        rules.append(StubRule(scope or None, action, stub))
    return tuple(rules)


def _events(problems: Problems, stub: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    found = []
    for entries, index, event in _entries(problems, stub, "events"):
        name = event.get("event")
        if name not in _EVENTS:
            problems.add(f"unknown `event: {name}` in a stub.{did_you_mean(str(name), _EVENTS)}", entries, index)
        elif name == "slot" and "name" not in event:
            problems.add("a slot event of a stub needs `name`.", entries, index)
        found.append(plain(event))
    return tuple(found)


def _responses(problems: Problems, stub: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    found = []
    for _, _, response in _entries(problems, stub, "responses"):
        problems.keys(response, _RESPONSE_KEYS, "a response of a stub")
        found.append(plain(response))
    return tuple(found)


def _entries(problems: Problems, stub: Mapping[str, Any], key: str) -> Iterator[tuple[Any, int, Mapping[str, Any]]]:
    entries = problems.items(stub, key, f"`{key}` of a stub", empty=True) if stub.get(key) is not None else []
    for index in range(len(entries)):
        entry = problems.mapping(entries, index, f"an entry of `{key}`")
        if entry is not None:
            yield entries, index, entry
