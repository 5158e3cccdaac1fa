"""Writing a suite and reading it again gives the same conversations, under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rasa_ft.e2e.assertions import ActionExecutedAssertion, SlotWasSetAssertion
from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.e2e.model import (
    BotStep,
    Fixture,
    Metadata,
    SlotWasNotSetStep,
    SlotWasSetStep,
    Step,
    Suite,
    TestCase,
    UserStep,
    UtterStep,
)
from rasa_ft.e2e.writing import step_as_yaml
from rasa_ft.engine.base import Stub
from rasa_ft.errors import Location
from rasa_ft.yaml_source import load_yaml

HERE = Location(Path("somewhere.yml"), 1)
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(lambda t: t.strip())
lines = st.lists(text.map(str.strip), min_size=1, max_size=3).map("\n".join)
tricky = st.sampled_from(
    ["yes", "null", "1", "0777", "2025-01-31", "${HOME}", "a: b", "- x", "#x", "'", '"', "~", "é…😀"]
)
message = st.one_of(lines.map(str.strip), tricky)
ident = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-9, 9).map(lambda x: round(x, 3)), message),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(ident, inner, max_size=2)),
    max_leaves=3,
)
values = st.dictionaries(ident, value, max_size=2)
metadata = st.none() | st.builds(Metadata, st.sampled_from(["m", "n"]), values)
fixture = st.builds(
    Fixture, st.sampled_from(["f", "g"]), st.lists(st.tuples(ident, value), max_size=2).map(lambda pairs: tuple(pairs))
)
stub = st.builds(Stub, responses=st.lists(st.fixed_dictionaries({"text": message}), max_size=1).map(tuple))
stubs = st.none() | st.dictionaries(st.sampled_from(["action_a", "action_b"]), stub, min_size=1)


@st.composite
def slot_steps(draw: Any, kind: Any) -> Step:
    has_value = draw(st.booleans())
    return kind(HERE, draw(ident), draw(value) if has_value else None, has_value)


@st.composite
def assertions(draw: Any) -> Any:
    action = draw(ident)
    if draw(st.booleans()):
        return ActionExecutedAssertion(HERE, action, action)
    return SlotWasSetAssertion(HERE, [{"name": action, "value": draw(value)}])


@st.composite
def cases(draw: Any) -> TestCase:
    source = draw(st.sampled_from(["a.yml", "sub/a.yml", "b c.yaml", "out.yml"]))
    case_metadata = draw(metadata)

    def user(own: Metadata | None, said: str, asserted: list[Any], ordered: bool) -> UserStep:
        merged = {**(case_metadata.values if case_metadata else {}), **(own.values if own else {})}
        return UserStep(HERE, said, merged, tuple(asserted), ordered and bool(asserted), own)

    users = st.builds(user, metadata, message, st.lists(assertions(), max_size=2), st.booleans())
    others = st.one_of(
        st.builds(BotStep, st.just(HERE), message),
        st.builds(UtterStep, st.just(HERE), ident),
        slot_steps(SlotWasSetStep),
        slot_steps(SlotWasNotSetStep),
    )
    return TestCase(
        name=draw(st.sampled_from(["one", "two words", "two_words", "a", "out", "one 2", "a::b", "x\ny", '"#', "é…"])),
        file=Path("tests") / source,
        location=HERE,
        steps=(draw(users), *draw(st.lists(st.one_of(users, others), max_size=3))),
        fixture_sets=tuple(draw(st.lists(fixture, max_size=2))),
        stubs=draw(stubs),
        case_metadata=case_metadata,
        source=source,
    )


def consistent(found: list[TestCase]) -> list[TestCase]:
    """As files can say it: distinct case names; one meaning per fixture and metadata name in a file is not needed."""
    return list({case.key: case for case in found}.values())


def names(case: TestCase) -> Any:
    """What a case and what it refers to are called."""
    fixtures = [fixture.name for fixture in case.fixture_sets]
    used = [case.case_metadata, *(step.own_metadata for step in case.user_steps)]
    return case.key, fixtures, [found and found.name for found in used]


def behaviour(case: TestCase) -> Any:
    """Everything that a run depends on; names of fixtures and metadata do not matter, nor do places."""
    steps = [step_as_yaml(step) for step in case.steps]
    sent = [dict(step.metadata) for step in case.user_steps]
    for step in steps:
        step.pop("metadata", None)
    return case.fixtures, sent, steps, dict(case.stubs) if case.stubs else None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(cases(), min_size=1, max_size=5).map(consistent))
def test_one_file_plays_the_same(tmp_path: Path, found: list[TestCase]) -> None:
    (file,) = write_suite(found, tmp_path / "out.yml")
    again = load_suite(file).cases
    assert [behaviour(case) for case in again] == [behaviour(case) for case in found]
    assert [names(case) for case in again] == [names(case) for case in found]
    assert len({case.id for case in again}) == len(found)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(found=st.lists(cases(), min_size=1, max_size=5).map(consistent), number=st.integers(0, 10**9))
def test_folder_plays_the_same(tmp_path: Path, found: list[TestCase], number: int) -> None:
    folder = tmp_path / f"out{number}"
    for old in folder.rglob("*.y*ml"):
        old.unlink()
    write_suite(Suite(tuple(found)), folder)
    again = {case.key: case for case in load_suite(folder).cases}
    assert {key: behaviour(case) for key, case in again.items()} == {case.key: behaviour(case) for case in found}
    assert {key: names(case) for key, case in again.items()} == {case.key: names(case) for case in found}


def test_clashing_fixtures_keep_their_meaning_in_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(
            f"fixtures: [{{f: [{{x: {name}}}]}}]\nstub_custom_actions: {{act: {{responses: [{{text: {name}}}]}}}}\n"
            f"test_cases: [{{test_case: same name, fixtures: [f], steps: [{{user: hi}}]}}]\n"
        )
    suite = load_suite(tmp_path)
    (file,) = write_suite(suite, tmp_path / "one" / "all.yml")
    first, second = load_suite(file).cases
    assert [entry["test_case"] for entry in load_yaml(file)["test_cases"]] == ["same name", "same name 2"]
    assert [case.fixture_sets[0].name for case in (first, second)] == ["f", "f"]
    assert (first.fixtures, second.fixtures) == ((("x", "a"),), (("x", "b"),))
    assert [case.stubs and case.stubs["act"].responses[0]["text"] for case in (first, second)] == ["a", "b"]


@pytest.mark.parametrize("path", ["one.yml", "folder"])
def test_example_suite_survives_a_round_trip(tmp_path: Path, path: str) -> None:
    suite = load_suite(Path(__file__).parents[2] / "examples/bot/e2e_tests")
    write_suite(suite, tmp_path / path)
    again = load_suite(tmp_path / path)
    assert [behaviour(case) for case in again.cases] == [behaviour(case) for case in suite.cases]
    assert [names(case) for case in again.cases] == [names(case) for case in suite.cases]
    assert not again.warnings
