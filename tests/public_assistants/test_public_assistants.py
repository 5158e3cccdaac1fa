"""Public assistants that others wrote load, and their own E2E tests pass with a model that answers correctly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from assistant_scripts import PublicAssistant, Script, checked_out_commit, public_assistants

from rasa_ft.e2e.model import TestCase
from rasa_ft.e2e.runner import CaseResult, run_case
from rasa_ft.engine.base import Setup
from rasa_ft.errors import DataError

if TYPE_CHECKING:
    from conftest import Loaded

ASSISTANTS = public_assistants()


def each_assistant() -> list[object]:
    return [_parameter(assistant, assistant.name, assistant) for assistant in ASSISTANTS]


def each_case() -> list[object]:
    """Assistant and key of every case that has a script; one entry for an assistant that is not there."""
    return [
        _parameter(assistant, f"{assistant.name}-{key}", assistant, key)
        for assistant in ASSISTANTS
        for key in (assistant.scripts if assistant.missing is None else ("all",))
    ]


def _parameter(assistant: PublicAssistant, name: str, *values: object) -> object:
    marks = [pytest.mark.skip(reason=assistant.missing)] if assistant.missing else []
    return pytest.param(*values, id=name, marks=marks)


@pytest.mark.parametrize("assistant", each_assistant())
def test_clone_is_the_version_that_the_scripts_fit(assistant: PublicAssistant) -> None:
    assert assistant.clone is not None
    assert checked_out_commit(assistant.clone) == assistant.commit


@pytest.mark.parametrize("assistant", each_assistant())
def test_assistant_loads(assistant: PublicAssistant, loaded: Callable[[PublicAssistant], Loaded]) -> None:
    if assistant.errors is not None:
        with pytest.raises(DataError) as caught:
            loaded(assistant)
        assert assistant.errors in str(caught.value)
    else:
        assert loaded(assistant).engine.assistant.user_flows


@pytest.mark.parametrize("assistant", each_assistant())
def test_every_case_has_a_script(assistant: PublicAssistant) -> None:
    assert set(assistant.cases()) == set(assistant.scripts)


@pytest.mark.parametrize(("assistant", "key"), each_case())
def test_own_case(
    assistant: PublicAssistant,
    key: str,
    loaded: Callable[[PublicAssistant], Loaded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = assistant.scripts[key]
    if script.answers is None:
        pytest.skip(script.skip or "no answers")
    bot = loaded(assistant)
    for name, value in assistant.environment.items():
        monkeypatch.setenv(name, str(value))
    result = play(bot, script, bot.cases[key])
    if script.skip is not None:
        assert result.status == "skipped"
        pytest.skip(script.skip)
    if script.fails is not None:
        assert result.status == "failed", "the case passes; take `fails` out of its script"
        pytest.xfail(script.fails)
    if result.failure is not None:
        lines = [f"{result.failure.location}: {result.failure.message}", *result.failure.diff]
        pytest.fail("\n".join(lines), pytrace=False)
    assert result.passed
    assert not bot.llm.unused(), "the model was asked less often than the script has answers"


def play(bot: Loaded, script: Script, case: TestCase) -> CaseResult:
    bot.llm.play(script)
    bot.search.found = script.found
    return asyncio.run(run_case(bot.engine, case, Setup(fixtures=case.fixtures, stubs=case.stubs)))
