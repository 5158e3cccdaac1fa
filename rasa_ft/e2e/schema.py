"""Reading one test file: its fixtures, metadata and stubs (`read_file`), then its cases (`build_cases`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertion_schema import read_assertions
from rasa_ft.e2e.judge_schema import read_judge
from rasa_ft.e2e.origins import Comments, old_names, read_comments
from rasa_ft.e2e.problems import Problems, place
from rasa_ft.e2e.stub_schema import StubRule, read_stubs
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, parse_yaml, plain, yaml_text

FILE_KEYS = ("fixtures", "metadata", "stub_custom_actions", "test_cases")
CONFTEST_KEYS = ("fixtures", "llm_judge", "llm_e2e_test_conversion")
STEP_KINDS = ("user", "bot", "utter", "slot_was_set", "slot_was_not_set")
USER_KEYS = ("user", "metadata", "assertions", "assertion_order_enabled")
CLOCK_SLOT = "mocked_datetime"
# A larger test file, or one with more keys and values, is refused: reading it would take many seconds and much memory.
MAX_FILE_MB = 8
MAX_VALUES = 400_000

Named = TypeVar("Named", m.Fixture, m.Metadata)

_FIXTURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLOCK_FORMATS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


@dataclass
class FileContent:
    """One test file with everything but its cases read; those wait for the fixtures and metadata of other files.

    ``comments``: see `rasa_ft.e2e.origins`.
    """

    file: Path
    source: str
    problems: Problems
    data: Mapping[str, Any] = field(default_factory=dict)
    fixtures: dict[str, m.Fixture] = field(default_factory=dict)
    metadata: dict[str, m.Metadata] = field(default_factory=dict)
    stubs: tuple[StubRule, ...] = ()
    comments: Comments = field(default_factory=dict)


def read_file(file: Path, source: str) -> FileContent:
    """Read a test file; problems are collected in the result, unreadable YAML too."""
    content = FileContent(file, source, Problems(file))
    text = _text(content.problems)
    data = _parsed(content.problems, text, FILE_KEYS, "a test file")
    if data is None:
        return content
    content.data = data
    content.comments = read_comments(text)
    old = old_names(data.get("fixtures"), content.comments)
    content.fixtures = _under_old_names(read_fixtures(content.problems, data), old, _FIXTURE_NAME)
    old = old_names(data.get("metadata"), content.comments)
    content.metadata = _under_old_names(_read_metadata(content.problems, data), old, _METADATA_NAME)
    content.stubs = read_stubs(content.problems, data)
    return content


def _under_old_names(found: dict[str, Named], old: Mapping[str, str], pattern: re.Pattern[str]) -> dict[str, Named]:
    """The definitions, which cases still refer to by the names in their file, under those that they had before."""
    wanted = {name: old[name] if pattern.fullmatch(old.get(name, "")) else name for name in found}
    return {name: replace(value, name=wanted[name]) for name, value in found.items()}


@dataclass(frozen=True)
class Conftest:
    """What a conftest file says for the tests below its folder."""

    fixtures: Mapping[str, m.Fixture] = field(default_factory=dict)
    judge: m.JudgeSettings | None = None


def read_conftest(file: Path) -> tuple[Conftest, Problems]:
    """Read a conftest file; the settings for converting conversations are left alone."""
    problems = Problems(file)
    data = _parsed(problems, _text(problems), CONFTEST_KEYS, "a conftest file")
    found = Conftest(read_fixtures(problems, data), read_judge(problems, data)) if data else Conftest()
    return found, problems


def _text(problems: Problems) -> str:
    """The file's text; empty if it cannot be read."""
    try:
        _check_size(problems.file)
        return yaml_text(problems.file)
    except DataError as error:
        problems.errors.append(error)
        return ""


def _parsed(problems: Problems, text: str, keys: tuple[str, ...], what: str) -> Mapping[str, Any] | None:
    try:
        data = parse_yaml(text, problems.file, MAX_VALUES)
    except DataError as error:
        problems.errors.append(error)
        return None
    if data is None:
        return None
    if not isinstance(data, Mapping):
        problems.add(f"{what} must be a mapping with keys such as {', '.join(keys)}.", None)
        return None
    problems.keys(data, keys, what)
    return data


def _check_size(file: Path) -> None:
    size = file.stat().st_size / 1e6 if file.is_file() else 0
    if size > MAX_FILE_MB:
        raise DataError(
            f"the file has {size:.0f} MB; at most {MAX_FILE_MB} MB are read.",
            location=Location(file, 1),
            hint="Split it into several files of one folder.",
        )


def is_dialogue_understanding_file(data: Mapping[str, Any]) -> bool:
    """Whether user steps say which commands are expected: the format of ``rasa test du``."""
    return any(isinstance(step, Mapping) and "commands" in step for step in _all_steps(data))


def _all_steps(data: Mapping[str, Any]) -> Iterator[Any]:
    cases = data.get("test_cases")
    for case in cases if isinstance(cases, list) else ():
        steps = case.get("steps") if isinstance(case, Mapping) else None
        yield from steps if isinstance(steps, list) else ()


# --- fixtures and metadata -------------------------------------------------------------------------------------------


def read_fixtures(problems: Problems, data: Mapping[str, Any]) -> dict[str, m.Fixture]:
    """The section ``fixtures``: ``- name: [{slot: value}, …]``."""
    found: dict[str, m.Fixture] = {}
    for name, entry in _named_entries(problems, data, "fixtures", _FIXTURE_NAME, found):
        slots: list[tuple[str, Any]] = []
        items = problems.items(entry, name, f"fixture '{name}'", empty=True)
        for index in range(len(items)):
            values = problems.mapping(items, index, f"an entry of fixture '{name}'") or {}
            slots.extend((slot, _fixture_value(problems, slot, values)) for slot in values)
        found[name] = m.Fixture(name, tuple(slots))
    return found


def _fixture_value(problems: Problems, slot: str, values: Mapping[str, Any]) -> Any:
    if not _FIXTURE_NAME.fullmatch(str(slot)):
        problems.add(f"'{slot}' cannot be the name of a slot.", values, slot)
    value = plain(values[slot])
    return _clock(problems, values, value) if slot == CLOCK_SLOT else value


def _clock(problems: Problems, values: Mapping[str, Any], value: Any) -> Any:
    for form in _CLOCK_FORMATS if isinstance(value, str) else ():
        try:
            moment = datetime.strptime(value, form)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    problems.add(f"`{CLOCK_SLOT}` must be a time such as 2025-01-31T09:30:00+01:00, not '{value}'.", values, CLOCK_SLOT)
    return value


def _read_metadata(problems: Problems, data: Mapping[str, Any]) -> dict[str, m.Metadata]:
    found: dict[str, m.Metadata] = {}
    for name, entry in _named_entries(problems, data, "metadata", _METADATA_NAME, found):
        values = problems.mapping(entry, name, f"metadata '{name}'") or {}
        for key in values:
            if not _METADATA_NAME.fullmatch(str(key)):
                problems.add(f"'{key}' cannot be a key of metadata: letters, digits and _ only.", values, key)
        found[name] = m.Metadata(name, plain(values))
    return found


def _named_entries(
    problems: Problems, data: Mapping[str, Any], section: str, pattern: re.Pattern[str], found: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """``(name, entry)`` of each well-formed entry of a list of one-key maps; names already ``found`` are refused."""
    entries = problems.items(data, section, f"`{section}`", empty=True) if data.get(section) is not None else []
    for index in range(len(entries)):
        pair = problems.only_pair(entries, index, f"an entry of `{section}`")
        if pair is None:
            continue
        name, entry = pair
        if not pattern.fullmatch(name):
            problems.add(f"'{name}' cannot be a name in `{section}`.", entry, name)
        elif name in found:
            problems.add(f"'{name}' is defined twice in `{section}`.", entry, name)
        else:
            yield name, entry


# --- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """What the cases of one file may refer to."""

    fixtures: Mapping[str, m.Fixture]
    metadata: Mapping[str, m.Metadata]


# Gives the steps of the entry at an index of a list of steps; the metadata is the case's own.
StepReader = Callable[[Problems, Names, Any, int, m.Metadata | None], Iterator[m.Step]]


def build_cases(content: FileContent, names: Names, read_steps: StepReader | None = None) -> list[m.TestCase]:
    """The cases of a file without their stubs; problems are added to those of ``content``.

    ``read_steps``: what may stand below ``steps``; default: the steps of E2E tests.
    """
    problems, data = content.problems, content.data
    entries = (
        problems.items(data, "test_cases", "`test_cases`", empty=True) if data.get("test_cases") is not None else []
    )
    cases = []
    for index in range(len(entries)):
        entry = problems.mapping(entries, index, "a test case")
        if entry is not None:
            cases.append(_case(content, names, entries, index, read_steps or e2e_steps))
    return cases


def _case(content: FileContent, names: Names, entries: Any, index: int, read_steps: StepReader) -> m.TestCase:
    problems, entry = content.problems, entries[index]
    problems.keys(entry, ("test_case", "steps", "fixtures", "metadata"), "a test case")
    for needed in ("test_case", "steps"):
        if needed not in entry:
            problems.add(f"a test case needs `{needed}`.", entries, index)
    name = problems.text(entry, "test_case", "`test_case`") if "test_case" in entry else None
    case_metadata = _lookup(problems, names.metadata, entry, "metadata", "metadata")
    steps = problems.items(entry, "steps", "`steps`") if "steps" in entry else []
    return m.TestCase(
        name=name or "default",
        file=content.file,
        source=content.source,
        location=place(content.file, entries, index),
        fixture_sets=_case_fixtures(problems, names.fixtures, entry),
        case_metadata=case_metadata,
        steps=tuple(step for i in range(len(steps)) for step in read_steps(problems, names, steps, i, case_metadata)),
    )


def _case_fixtures(
    problems: Problems, known: Mapping[str, m.Fixture], entry: Mapping[str, Any]
) -> tuple[m.Fixture, ...]:
    if entry.get("fixtures") is None:
        return ()
    listed = problems.items(entry, "fixtures", "`fixtures`", empty=True)
    found = (_lookup(problems, known, listed, index, "fixture") for index in range(len(listed)))
    return tuple(fixture for fixture in found if fixture is not None)


def _lookup(problems: Problems, known: Mapping[str, Any], parent: Any, key: Any, what: str) -> Any:
    if isinstance(key, str) and parent.get(key) is None:
        return None
    name = problems.text(parent, key, f"the name of a {what}" if what == "fixture" else f"`{what}`")
    if name is not None and name not in known:
        problems.add(f"{what} '{name}' is not defined.{did_you_mean(name, known)}", parent, key)
    return known.get(name or "")


def e2e_steps(
    problems: Problems, names: Names, steps: Any, index: int, case_metadata: m.Metadata | None
) -> Iterator[m.Step]:
    """A `StepReader` for the steps of E2E tests."""
    entry = problems.mapping(steps, index, "a step")
    if entry is None:
        return
    if "commands" in entry:
        problems.add("this is a dialogue understanding test (`commands`), not an E2E test.", entry, "commands")
        return
    kinds = [kind for kind in STEP_KINDS if kind in entry]
    if len(kinds) != 1:
        what = f"not {' and '.join(kinds)}" if kinds else f"not {', '.join(map(str, entry)) or 'nothing'}"
        problems.add(f"a step has exactly one of {', '.join(STEP_KINDS)}, {what}.", steps, index)
        return
    problems.keys(entry, USER_KEYS if kinds == ["user"] else kinds, f"a {kinds[0]} step")
    if kinds == ["user"]:
        yield from _user_step(problems, names, steps, index, case_metadata)
    else:
        yield from _STEP_READERS[kinds[0]](problems, steps, index)


def _user_step(
    problems: Problems, names: Names, steps: Any, index: int, case_metadata: m.Metadata | None
) -> Iterator[m.UserStep]:
    entry = steps[index]
    said = read_message(problems, names, steps, index, case_metadata)
    ordered = entry.get("assertion_order_enabled", False)
    if not isinstance(ordered, bool):
        problems.add("`assertion_order_enabled` must be true or false.", entry, "assertion_order_enabled")
    if "assertion_order_enabled" in entry and "assertions" not in entry:
        problems.add("`assertion_order_enabled` needs `assertions`.", entry, "assertion_order_enabled")
    yield replace(
        said,
        assertions=read_assertions(problems, entry) if "assertions" in entry else (),
        assertion_order_enabled=ordered is True,
    )


def read_message(
    problems: Problems, names: Names, steps: Any, index: int, case_metadata: m.Metadata | None
) -> m.UserStep:
    """The message of a user step and what is sent along; the entry's other keys are not looked at."""
    entry = steps[index]
    text = problems.text(entry, "user", "`user`")
    own = _lookup(problems, names.metadata, entry, "metadata", "metadata")
    return m.UserStep(
        location=place(problems.file, steps, index),
        text=text or "",
        own_metadata=own,
        metadata={**(case_metadata.values if case_metadata else {}), **(own.values if own else {})},
    )


def bot_step(problems: Problems, steps: Any, index: int) -> Iterator[m.Step]:
    text = problems.text(steps[index], "bot", "`bot`")
    yield m.BotStep(place(problems.file, steps, index), text or "")


def utter_step(problems: Problems, steps: Any, index: int) -> Iterator[m.Step]:
    name = problems.text(steps[index], "utter", "`utter`")
    yield m.UtterStep(place(problems.file, steps, index), name or "")


def _slot_steps(kind: str, made: type[m.SlotWasSetStep] | type[m.SlotWasNotSetStep]) -> Any:
    def read(problems: Problems, steps: Any, index: int) -> Iterator[m.Step]:
        entries = problems.items(steps[index], kind, f"`{kind}`")
        for position, entry in enumerate(entries):
            where = place(problems.file, entries, position)
            if isinstance(entry, Mapping) and entry:
                yield from (made(where, str(slot), plain(entry[slot]), True) for slot in entry)
            elif (slot := problems.text(entries, position, f"an entry of `{kind}`")) is not None:
                yield made(where, slot)

    return read


_STEP_READERS: dict[str, Callable[[Problems, Any, int], Iterator[m.Step]]] = {
    "bot": bot_step,
    "utter": utter_step,
    "slot_was_set": _slot_steps("slot_was_set", m.SlotWasSetStep),
    "slot_was_not_set": _slot_steps("slot_was_not_set", m.SlotWasNotSetStep),
}
