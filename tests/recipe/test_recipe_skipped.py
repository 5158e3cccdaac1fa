"""Tests that need a part of the assistant which is not run: no data is made of them, and no verdict rests on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_engine import FakeConversation, FakeEngine, annotated

from rasa_ft.calm.commands import Command
from rasa_ft.calm.events import FlowStarted, SlotSet
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.project.out_of_scope import OUT_OF_SCOPE
from rasa_ft.e2e.cases import Suite, load_suite
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.llm.client import Completion, Request
from rasa_ft.recipe.evaluating.examine import examine_student, examine_teacher

TESTS = """\
test_cases:
  - test_case: flows
    steps: [{user: a ticket to Rome}, {slot_was_set: [{city: Rome}]}]
  - test_case: rules
    steps: [{user: /greet}]
"""
SIDE = NluSide(intents=frozenset({"greet"}))


class Astray(FakeEngine):
    """Ends with an agent whatever the user says."""

    async def start(self, setup: Setup | None = None) -> AstrayConversation:
        return AstrayConversation(self, (SlotSet("home", "London"),))


class AstrayConversation(FakeConversation):
    async def say(
        self, text: str, *, metadata: Mapping[str, Any] | None = None, commands: Sequence[Command] | None = None
    ) -> Turn:
        turn = await super().say(text, metadata=metadata, commands=commands)
        context = {"error_type": OUT_OF_SCOPE, "info": {"part": "the agent clerk"}}
        return replace(turn, events=(*turn.events, FlowStarted(flow_id="pattern_internal_error", context=context)))


class Silent:
    async def complete(self, request: Request) -> Completion:
        return Completion("", "silent", 0.0)


def suite_of(folder: Path) -> Suite:
    (folder / "t.yml").write_text(TESTS)
    return load_suite(folder / "t.yml")


def quiet(*_: object) -> None:
    pass


def test_they_give_no_data_and_say_why(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, nlu_side=SIDE)
    annotation = annotated(engine, suite_of(tmp_path))
    assert [conversation.case.name for conversation in annotation.conversations] == ["flows"]
    (skipped,) = annotation.skipped
    assert skipped.case == "t.yml::rules" and "intent 'greet' starts no flow" in skipped.reason
    assert not skipped.is_error


def test_what_the_teacher_skips_is_left_out_for_all(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = FakeEngine(tmp_path, nlu_side=SIDE)
    teacher = asyncio.run(examine_teacher(engine, suite, "train", concurrency=1, progress=quiet))
    student = asyncio.run(
        examine_student(engine, Silent(), suite, "train", teacher.gold, concurrency=1, progress=quiet)
    )
    for result in (teacher.result, student):
        assert (result.passed, result.total, result.skipped) == (1, 1, 1)


def test_a_student_that_gets_to_such_a_part_has_failed(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    engine = FakeEngine(tmp_path, nlu_side=SIDE)
    gold = asyncio.run(examine_teacher(engine, suite, "train", concurrency=1, progress=quiet)).gold
    astray = Astray(tmp_path, nlu_side=SIDE)
    student = asyncio.run(examine_student(astray, Silent(), suite, "train", gold, concurrency=1, progress=quiet))
    (case,) = student.cases
    assert not case.passed and not case.unanswered
    assert "needs the agent clerk" in (case.failure or "")
