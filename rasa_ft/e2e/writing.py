"""Writing tests again, as one file or as a folder that mirrors where they came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import as_yaml
from rasa_ft.e2e.origins import case_comment, name_comment, with_comments
from rasa_ft.engine.base import Stub
from rasa_ft.files import write_text
from rasa_ft.yaml_source import dump_yaml

_STUB_SCOPE = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*")


def write_suite(tests: m.Suite | Iterable[m.TestCase], path: Path) -> list[Path]:
    """Write cases so that reading them gives the same conversations and verdicts.

    A path that ends in .yml or .yaml becomes one file; anything else a folder with one file per source file. Fixtures
    are written out (those of conftest files too), only those in use. In one file a fixture, metadata or case name that
    means different things in different sources gets a number; in a folder metadata too, which some readers take from
    any file. Stubs that do not hold for all cases are written per case, and the name of such a case loses characters
    that the key of a stub cannot hold. Comments tell the reader what the names and files were
    (`rasa_ft.e2e.origins`). Metadata is written from ``case_metadata`` and ``own_metadata``.

    Returns:
        The files, in order.
    """
    cases = list(tests.cases if isinstance(tests, m.Suite) else tests)
    if path.suffix in (".yml", ".yaml"):
        write_text(path, suite_as_text(cases, path.name))
        return [path]
    groups: dict[str, list[m.TestCase]] = {}
    for case in cases:
        groups.setdefault(case.source or case.file.name, []).append(case)
    metadata: dict[str, Any] = {}
    for source, group in groups.items():
        write_text(path / source, suite_as_text(group, source, metadata))
    return [path / source for source in groups]


def suite_as_text(cases: Sequence[m.TestCase], source: str, metadata: dict[str, Any] | None = None) -> str:
    """The text of one test file with these cases, which will be read as ``source``.

    ``metadata``: what its names mean in the other files of the folder; it learns those of this file.
    """
    content, names = _suite_as_yaml(cases, metadata)
    written = [case["test_case"] for case in content["test_cases"]]
    comments = {
        section: [name_comment(old) if old != name else None for name, old in used.renamed()]
        for section, used in names.items()
    }
    own = [case_comment(case, source, name) for case, name in zip(cases, written, strict=True)]
    return with_comments(dump_yaml(content), {**comments, "test_cases": own})


def suite_as_yaml(cases: Sequence[m.TestCase]) -> dict[str, Any]:
    """The content of one test file with these cases."""
    return _suite_as_yaml(cases)[0]


def _suite_as_yaml(
    cases: Sequence[m.TestCase], other_metadata: dict[str, Any] | None = None
) -> tuple[dict[str, Any], Mapping[str, _Names]]:
    """The content, and the names in its sections of fixtures and metadata."""
    cases = _renamed(cases)
    fixtures, metadata = _Names(), _Names(other_metadata)
    written = [case_as_yaml(case, fixtures, metadata) for case in cases]
    sections = {
        "fixtures": [{name: [{slot: value} for slot, value in slots]} for name, slots in fixtures.items()],
        "metadata": [{name: dict(values)} for name, values in metadata.items()],
        "stub_custom_actions": _stubs(cases),
    }
    content = {**{key: value for key, value in sections.items() if value}, "test_cases": written}
    return content, {"fixtures": fixtures, "metadata": metadata}


class _Names:
    """Names for values: the wanted one, with a number if it already means something else, here or ``elsewhere``."""

    def __init__(self, elsewhere: dict[str, Any] | None = None) -> None:
        self._taken = {} if elsewhere is None else elsewhere
        self._values: dict[str, Any] = {}
        self._wanted: dict[str, str] = {}

    def name(self, wanted: str, value: Any) -> str:
        name, number = wanted, 1
        while name in self._taken and repr(self._taken[name]) != repr(value):
            number += 1
            name = f"{wanted}_{number}"
        self._taken[name] = self._values[name] = value
        self._wanted[name] = wanted
        return name

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._values.items()

    def renamed(self) -> Iterable[tuple[str, str]]:
        """Each name, in order, with the one that was wanted."""
        return self._wanted.items()


def _renamed(cases: Sequence[m.TestCase]) -> list[m.TestCase]:
    """Distinct names, also once blanks are underscores: that is how stubs refer to a case."""
    referred_to = _with_own_stubs(cases)
    cases = [replace(case, name=_referable(case.name)) if i in referred_to else case for i, case in enumerate(cases)]
    taken: set[str] = set()
    reserved = {_stub_scope(case) for case in cases}
    numbers: dict[str, int] = {}  # the last one that a name got
    found = []
    for case in cases:
        name, number = case.name, numbers.get(case.name, 1)
        while name.replace(" ", "_") in taken or (name != case.name and name.replace(" ", "_") in reserved):
            number += 1
            name = f"{case.name} {number}"
        numbers[case.name] = number
        taken.add(name.replace(" ", "_"))
        found.append(replace(case, name=name))
    return found


def _stub_scope(case: m.TestCase) -> str:
    return case.name.replace(" ", "_")


def _referable(name: str) -> str:
    """The name, without characters that the key of a stub cannot hold in all readers of the format."""
    if _STUB_SCOPE.fullmatch(name):
        return name
    plain_name = " ".join(re.findall(r"[A-Za-z0-9_]+", name))
    return plain_name if _STUB_SCOPE.fullmatch(plain_name) else f"case {plain_name}".strip()


# --- one case --------------------------------------------------------------------------------------------------------


def case_as_yaml(case: m.TestCase, fixtures: _Names | None = None, metadata: _Names | None = None) -> dict[str, Any]:
    """One entry of ``test_cases``; ``fixtures`` and ``metadata`` learn the names that it uses."""
    fixtures, metadata = fixtures or _Names(), metadata or _Names()
    head: dict[str, Any] = {"test_case": case.name}
    if case.fixture_sets:
        head["fixtures"] = [fixtures.name(fixture.name, fixture.slots) for fixture in case.fixture_sets]
    if case.case_metadata is not None:
        head["metadata"] = metadata.name(case.case_metadata.name, case.case_metadata.values)
    return {**head, "steps": [step_as_yaml(step, metadata) for step in case.steps]}


def step_as_yaml(step: m.Step, metadata: _Names | None = None) -> dict[str, Any]:
    """One entry of ``steps``."""
    match step:
        case m.UserStep():
            return _user_step(step, metadata or _Names())
        case m.BotStep():
            return {"bot": step.text}
        case m.UtterStep():
            return {"utter": step.utter}
        case m.SlotWasSetStep():
            return {"slot_was_set": [_slot(step)]}
        case m.SlotWasNotSetStep():
            return {"slot_was_not_set": [_slot(step)]}
    raise TypeError(f"not a step: {step!r}")


def _user_step(step: m.UserStep, metadata: _Names) -> dict[str, Any]:
    written: dict[str, Any] = {"user": step.text}
    if step.own_metadata is not None:
        written["metadata"] = metadata.name(step.own_metadata.name, step.own_metadata.values)
    if step.assertions:
        if step.assertion_order_enabled:
            written["assertion_order_enabled"] = True
        written["assertions"] = [as_yaml(assertion) for assertion in step.assertions]
    return written


def _slot(step: m.SlotWasSetStep | m.SlotWasNotSetStep) -> Any:
    return {step.slot: step.value} if step.has_value else step.slot


# --- stubs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """How the cases see one action: ``stubs[i]`` is case i's stub, None where it has none."""

    stubs: tuple[Stub | None, ...]

    @property
    def common(self) -> Stub | None:
        """The stub if all cases have the same."""
        first = self.stubs[0]
        return first if first is not None and all(stub == first for stub in self.stubs) else None


def _seen(cases: Sequence[m.TestCase]) -> dict[str, _Seen]:
    """By action."""
    actions = dict.fromkeys(action for case in cases for action in case.stubs or {})
    return {action: _Seen(tuple((case.stubs or {}).get(action) for case in cases)) for action in actions}


def _with_own_stubs(cases: Sequence[m.TestCase]) -> set[int]:
    """The indices of the cases for which a stub is written that does not hold for all."""
    apart = [seen.stubs for seen in _seen(cases).values() if seen.common is None]
    return {index for stubs in apart for index, stub in enumerate(stubs) if stub is not None}


def _stubs(cases: Sequence[m.TestCase]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for action, seen in _seen(cases).items():
        if seen.common is not None:
            written[action] = _stub(seen.common)
            continue
        for case, stub in zip(cases, seen.stubs, strict=True):
            if stub is not None:
                written[f"{_stub_scope(case)}::{action}"] = _stub(stub)
    return written


def _stub(stub: Stub) -> Mapping[str, Any]:
    return {
        "events": [dict(event) for event in stub.events],
        "responses": [dict(response) for response in stub.responses],
    }
