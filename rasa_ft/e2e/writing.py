"""Writing tests again, as one file or as a folder that mirrors where they came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import as_yaml
from rasa_ft.engine.base import Stub
from rasa_ft.files import write_text
from rasa_ft.yaml_source import dump_yaml


def write_suite(tests: m.Suite | Iterable[m.TestCase], path: Path) -> list[Path]:
    """Write cases so that reading them gives the same conversations and verdicts.

    A path that ends in .yml or .yaml becomes one file; anything else a folder with one file per source file. Fixtures
    are written out (those of conftest files too), only those in use. In one file a fixture, metadata or case name that
    means different things in different sources gets a number; stubs that do not hold for all cases are written per
    case. Metadata is written from ``case_metadata`` and ``own_metadata``.

    Returns:
        The files, in order.
    """
    cases = list(tests.cases if isinstance(tests, m.Suite) else tests)
    if path.suffix in (".yml", ".yaml"):
        groups = {path: cases}
    else:
        groups = {}
        for case in cases:
            groups.setdefault(path / (case.source or case.file.name), []).append(case)
    for file, group in groups.items():
        write_text(file, dump_yaml(suite_as_yaml(group)))
    return list(groups)


def suite_as_yaml(cases: Sequence[m.TestCase]) -> dict[str, Any]:
    """The content of one test file with these cases."""
    cases = _renamed(cases)
    fixtures, metadata = _Names(), _Names()
    written = [case_as_yaml(case, fixtures, metadata) for case in cases]
    sections = {
        "fixtures": [{name: [{slot: value} for slot, value in slots]} for name, slots in fixtures.items()],
        "metadata": [{name: dict(values)} for name, values in metadata.items()],
        "stub_custom_actions": _stubs(cases),
    }
    return {**{key: value for key, value in sections.items() if value}, "test_cases": written}


class _Names:
    """Names for values: the wanted one, with a number if it already means something else."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def name(self, wanted: str, value: Any) -> str:
        name, number = wanted, 1
        while name in self._values and repr(self._values[name]) != repr(value):
            number += 1
            name = f"{wanted}_{number}"
        self._values[name] = value
        return name

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._values.items()


def _renamed(cases: Sequence[m.TestCase]) -> list[m.TestCase]:
    """Distinct names, also once blanks are underscores: that is how stubs refer to a case."""
    taken: set[str] = set()
    reserved = {_stub_scope(case) for case in cases}
    found = []
    for case in cases:
        name, number = case.name, 1
        while name.replace(" ", "_") in taken or (number > 1 and name.replace(" ", "_") in reserved):
            number += 1
            name = f"{case.name} {number}"
        taken.add(name.replace(" ", "_"))
        found.append(replace(case, name=name))
    return found


def _stub_scope(case: m.TestCase) -> str:
    return case.name.replace(" ", "_")


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


def _stubs(cases: Sequence[m.TestCase]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for action in dict.fromkeys(action for case in cases for action in case.stubs or {}):
        seen = _Seen(tuple((case.stubs or {}).get(action) for case in cases))
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
