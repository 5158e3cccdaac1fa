"""A conversation that was had becomes an end-to-end test, in a file of its own or at the end of another one's cases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.e2e import model as m
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.schema import read_file
from rasa_ft.e2e.writing import suite_as_yaml
from rasa_ft.engine.base import Turn
from rasa_ft.errors import DataError, Location
from rasa_ft.files import write_text
from rasa_ft.yaml_source import dump_yaml, location_of, parse_yaml, plain

METADATA = "recorded"
_UNTITLED = "recorded conversation"
_LONGEST_NAME = 60
# Slots that no message filled: what actions set may differ from run to run.
_NOT_BY_MESSAGES = (None, "CUSTOM", "fixture")
# Texts that a model made up anew.
_GENERATED = ("rephraser", "search", "server")
_ITEM = re.compile(r"( *)- ")


def recorded_case(turns: Sequence[Turn], file: Path, metadata: Mapping[str, Any] | None = None) -> m.TestCase:
    """The conversation as a test case in steps.

    After every message come the slots that it filled and what the bot said: the name of the response, or the text
    where it has none and was written by somebody. The case is named after the first message that is no payload.

    Args:
        metadata: went along with every message.
    """
    place = Location(file, 1)
    shared = m.Metadata(METADATA, metadata) if metadata else None
    steps = [step for turn in turns for step in _steps(turn, place)]
    return m.TestCase(_name(turns), file, place, tuple(steps), case_metadata=shared, source=file.name)


def _name(turns: Sequence[Turn]) -> str:
    texts = (" ".join(turn.text.split()).replace("::", ":") for turn in turns)
    text = next((text for text in texts if text and not text.startswith("/")), _UNTITLED)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1].rstrip()}…"


def _steps(turn: Turn, place: Location) -> list[m.Step]:
    slots = {
        event.slot: event.value
        for event in turn.events
        if isinstance(event, SlotSet) and event.filled_by not in _NOT_BY_MESSAGES and not event.reset
    }
    said = [step for event in turn.events if (step := _bot_step(event, place)) is not None]
    return [
        m.UserStep(place, turn.text, turn.metadata),
        *(m.SlotWasSetStep(place, slot, value, has_value=True) for slot, value in slots.items()),
        *said,
    ]


def _bot_step(event: Event, place: Location) -> m.Step | None:
    if not isinstance(event, BotUttered):
        return None
    if event.utter_action:
        return m.UtterStep(place, event.utter_action)
    # A step cannot hold blanks around its text.
    comparable = event.text and event.text == event.text.strip() and event.source not in _GENERATED
    return m.BotStep(place, str(event.text)) if comparable else None


def check_recordable(file: Path) -> None:
    """Make sure, before the conversation, that `append_case` will be able to add to ``file``.

    Raises:
        DataError: it is no test file, or stubs custom actions, which would hold for the recorded case too.
    """
    if file.suffix not in (".yml", ".yaml"):
        raise DataError(f"{file} is no name for a file of tests.", hint="It ends in .yml.")
    if not file.exists():
        return
    content = read_file(file, file.name)
    if content.problems.errors:
        raise DataError.collected(content.problems.errors)
    if content.data.get("test_cases"):
        load_suite(file)
    of_file = [rule for rule in content.stubs if rule.scope in (None, file.name, file.stem)]
    if of_file:
        raise DataError(
            f"{file} stubs custom actions, which run for real in a conversation.",
            hint="Record into another file.",
        )
    probe = m.TestCase(_UNTITLED, file, Location(file, 1), (m.UserStep(Location(file, 1), "hello"),))
    with_case(file.read_text(encoding="utf-8"), probe)


def append_case(case: m.TestCase) -> m.TestCase:
    """Write ``case`` to the end of its file, which may be new; the rest of the file stays as it is.

    Returns:
        The case under the name that it got: one that no other of the file has.

    Raises:
        DataError: the file is not one that a case can be added to.
        RasaFtError: it cannot be written; then it is as it was.
    """
    if not case.file.exists():
        write_text(case.file, dump_yaml(suite_as_yaml([case])))
        return case
    text, case = with_case(case.file.read_text(encoding="utf-8"), case)
    write_text(case.file, text)
    return case


def with_case(text: str, case: m.TestCase) -> tuple[str, m.TestCase]:
    """The text of a test file with one more case, and the case under its new name.

    Raises:
        DataError: the file's lists are written in a way that nothing can be added to.
    """
    data = parse_yaml(text, case.file) or {}
    case = _renamed(case, data)
    added = suite_as_yaml([case])
    for section in ("metadata", "test_cases"):
        if section in added:
            text = _with_item(text, section, added[section][0], case.file)
    return text, case


def _renamed(case: m.TestCase, data: Mapping[str, Any]) -> m.TestCase:
    cases = {str(item.get("test_case")) for item in data.get("test_cases") or () if isinstance(item, Mapping)}
    scopes = {str(key).rpartition("::")[0] for key in data.get("stub_custom_actions") or ()}
    taken = {name.replace(" ", "_") for name in cases | scopes}
    metadata = {str(name) for item in data.get("metadata") or () for name in item}
    shared = case.case_metadata
    if shared is not None:
        shared = replace(shared, name=_free(shared.name, metadata, "{}_{}"))
    return replace(case, name=_free(case.name, taken, "{} {}"), case_metadata=shared)


def _free(name: str, taken: set[str], form: str) -> str:
    found, number = name, 1
    while found in taken or found.replace(" ", "_") in taken:
        number += 1
        found = form.format(name, number)
    return found


def _with_item(text: str, section: str, item: Any, file: Path) -> str:
    """``text`` with ``item`` at the end of the list ``section``, and nothing else changed."""
    old = parse_yaml(text, file) or {}
    lines = text.split("\n")
    items = old.get(section)
    indent, end = "  ", len(lines)
    if items:
        first = location_of(items, 0)
        match = _ITEM.match(lines[first.line - 1]) if first else None
        indent = match[1] if match else indent
        end = min((line for line in _section_lines(old) if line > _line(old, section)), default=end)
    while end and not lines[end - 1].strip():
        end -= 1
    block = dump_yaml([item]).rstrip("\n").split("\n")
    added = [f"{indent}{line.removeprefix('  ')}" if line.strip() else line for line in block]
    head = [] if items else [f"{section}:"]
    new = "\n".join([*lines[:end], *head, *added, *(lines[end:] or [""])])
    _check_only_added(old, new, section, item, file)
    return new


def _section_lines(data: Any) -> list[int]:
    """Lines, counted from 0, on which the sections of a file begin."""
    return [_line(data, key) for key in data]


def _line(data: Any, key: str) -> int:
    place = location_of(data, key)
    return place.line - 1 if place else 0


def _check_only_added(old: Any, new: str, section: str, item: Any, file: Path) -> None:
    expected = {**plain(old), section: [*plain(old.get(section) or []), item]}
    try:
        found = plain(parse_yaml(new, file))
    except DataError:
        found = None
    if repr(found) != repr(expected) and found != expected:
        raise DataError(
            f"a case cannot be added to {file}, since its lists are not written one item a line.",
            hint="Record into a new file.",
        )
