"""Every conversation of the example assistant, with its recorded teacher, on our runtime."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.runner import run_suite
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine

BOT = Path(__file__).parents[2] / "examples" / "bot"


@pytest.fixture(scope="module")
def engine() -> EmbeddedEngine:
    return load_engine(BOT)


@pytest.mark.parametrize("folder", ["e2e_tests", "e2e_stubbed"])
def test_all_conversations_pass(engine, folder):
    result = asyncio.run(run_suite(engine, load_suite(BOT / folder), concurrency=4))
    assert result.results
    assert [(case.case.id, str(case.failure)) for case in result.results if not case.passed] == []


def test_a_second_run_is_the_same(engine):
    suite = load_suite(BOT / "e2e_tests" / "corrections.yml")
    first, second = (asyncio.run(run_suite(engine, suite, concurrency=4)) for _ in range(2))
    assert [case.turns for case in first.results] == [case.turns for case in second.results]
