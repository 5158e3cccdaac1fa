"""Cases that did not pass, written to be run again; and one case's trouble that is no other's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from e2e_doubles import ScriptedConversation, ScriptedEngine, bot

from rasa_ft.calm.events import SlotSet
from rasa_ft.e2e.cases import Suite, load_suite
from rasa_ft.e2e.results import write_cases_by_status, write_failed_tests
from rasa_ft.e2e.runner import CaseResult, SuiteResult, run_suite
from rasa_ft.engine.base import Setup

FILE = """\
fixtures: [{{guest: [{{tier: {tier}}}]}}]
metadata: [{{m: {{channel: {tier}}}}}]
stub_custom_actions:
  action_a: {{responses: [{{text: {tier}}}]}}
  one_case::action_b: {{events: [{{event: slot, name: s, value: {tier}}}]}}
test_cases:
- {{test_case: fine, steps: [{{user: hi}}, {{bot: Hello}}]}}
- {{test_case: one case, fixtures: [guest, outer], metadata: m, steps: [{{user: hi}}, {{bot: {tier}}}]}}
- {{test_case: breaks, steps: [{{user: boom, metadata: m}}]}}
"""


class Remembering(ScriptedEngine):
    """Keeps how each conversation began."""

    setups: list[Setup]

    async def start(self, setup: Setup | None = None) -> ScriptedConversation:
        self.setups.append(setup or Setup())
        return await super().start(setup)


def play(suite: Suite) -> tuple[SuiteResult, Remembering]:
    engine = Remembering({"hi": (SlotSet("a", 1), bot("Hello")), "boom": ValueError("broken")})
    engine.setups = []
    return asyncio.run(run_suite(engine, suite, concurrency=1)), engine


def outcome(result: CaseResult) -> Any:
    failure = result.failure
    return result.status, result.events, failure and (failure.message, failure.diff)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "tests/sub").mkdir(parents=True)
    (tmp_path / "tests/conftest.yml").write_text("fixtures: [{outer: [{zone: north}]}]\n")
    (tmp_path / "tests/a.yml").write_text(FILE.format(tier="gold"))
    (tmp_path / "tests/sub/a.yml").write_text(FILE.format(tier="silver"))
    return load_suite(tmp_path / "tests")


@pytest.mark.parametrize("how", ["folder", "one file"])
def test_what_failed_fails_again_in_the_same_way(tmp_path: Path, suite: Suite, how: str) -> None:
    first, engine = play(suite)
    if how == "folder":
        written = write_failed_tests(tmp_path / "out/failed.yml", first, "20250102_030405")
        assert written == tmp_path / "out/failed_20250102_030405"
        assert sorted(file.relative_to(written).as_posix() for file in written.rglob("*.yml")) == ["a.yml", "sub/a.yml"]
        again = load_suite(written)
        assert [case.key for case in again.cases] == [
            result.case.key for result in first.results if result.status != "passed"
        ]
    else:
        write_cases_by_status(tmp_path / "out", first)
        again = load_suite(tmp_path / "out/failed.yml")
        again = Suite((*again.cases, *load_suite(tmp_path / "out/errored.yml").cases))
    second, repeated = play(again)
    failed = [result for result in first.results if result.status != "passed"]
    if how == "one file":
        failed.sort(key=lambda result: result.status == "error")
    assert len(failed) == 4
    assert [outcome(result) for result in second.results] == [outcome(result) for result in failed]
    began = {id(case): setup for case, setup in zip(suite.cases, engine.setups, strict=True)}
    assert repeated.setups == [began[id(result.case)] for result in failed]
    sent = dict.fromkeys(repr(said) for said in engine.said)
    assert {repr(said) for said in repeated.said} <= set(sent)


def test_nothing_failed_nothing_written(tmp_path: Path, suite: Suite) -> None:
    first, _ = play(suite.subset([case for case in suite.cases if case.name == "fine"]))
    assert write_failed_tests(tmp_path / "out", first, "1") is None
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_the_failed_tests(tmp_path: Path, suite: Suite) -> None:
    first, _ = play(suite)
    assert write_failed_tests(tmp_path / "out", first, "1") == tmp_path / "out/e2e_failed_tests_1"


@pytest.mark.parametrize("trouble", [ValueError("x"), RecursionError(), MemoryError(), SystemExit(3)])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_trouble_of_one_case_is_no_other_case_s(
    tmp_path: Path, suite: Suite, trouble: BaseException, concurrency: int
) -> None:
    class Breaking(ScriptedEngine):
        async def start(self, setup: Setup | None = None) -> ScriptedConversation:
            if setup and setup.fixtures:
                raise trouble
            return await super().start(setup)

    engine = Breaking({"hi": (bot("Hello"),), "boom": (bot("x"),)})
    result = asyncio.run(run_suite(engine, suite, concurrency=concurrency))
    assert [found.status for found in result.results] == ["passed", "error", "passed"] * 2


def test_a_case_that_cancels_itself_is_an_error_and_cancelling_the_run_ends_it(suite: Suite) -> None:
    class Cancelling(ScriptedEngine):
        async def start(self, setup: Setup | None = None) -> ScriptedConversation:
            if setup and setup.fixtures:
                raise asyncio.CancelledError
            return await super().start(setup)

    result = asyncio.run(run_suite(Cancelling({"hi": (bot("Hello"),)}), suite, concurrency=2))
    assert [found.status for found in result.results] == ["passed", "error", "passed"] * 2

    async def stopped() -> None:
        slow = ScriptedEngine({}, delays={"hi": 60, "boom": 60})
        await asyncio.wait_for(run_suite(slow, suite), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(stopped())


@pytest.mark.parametrize("concurrency", [1, 2, 6])
def test_results_are_the_same_at_any_concurrency(suite: Suite, concurrency: int) -> None:
    engine = ScriptedEngine({"hi": (bot("Hello"),), "boom": ValueError("broken")}, delays={"boom": 0.002})
    expected = asyncio.run(run_suite(engine, suite, concurrency=1)).results
    found = asyncio.run(run_suite(engine, suite, concurrency=concurrency)).results
    assert found == expected
