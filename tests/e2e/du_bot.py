"""A small assistant for dialogue understanding tests, and a model that says what is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desk_assistant import SilentLLM
from small_bot import Scripted, small_engine

from rasa_ft.calm.dsl import codec_for
from rasa_ft.e2e.du_cases import Vocabulary, load_du_suite
from rasa_ft.e2e.du_runner import DuSuiteResult, run_du_suite
from rasa_ft.engine.embedded import EmbeddedEngine
from rasa_ft.llm.client import Completion, Request

WORDS = Vocabulary(codec_for("v2"), frozenset({"utter_ask_town", "utter_done"}))
FLOWS = """
  travel:
    description: go somewhere
    run_pattern_completed: false
    steps:
      - collect: town
      - action: utter_done
      - action: utter_can_do_something_else
  pay:
    description: pay
    run_pattern_completed: false
    steps:
      - action: action_pay
      - action: utter_done
"""
DOMAIN = """
slots:
  town: {type: text, mappings: [{type: from_llm}]}
  coins: {type: any, mappings: [{type: controlled}]}
actions: [action_pay, action_log]
responses:
  utter_ask_town: [{text: Where?}]
  utter_done: [{text: Done.}]
  utter_can_do_something_else: [{text: More?}]
"""
TEST = """
test_cases:
  - test_case: a trip
    steps:
      - user: go
        commands: [start flow travel]
      - utter: utter_ask_town
      - user: Perth
        commands: [set slot town perth]
      - bot: Done.
      - utter: utter_can_do_something_else
"""


class Answers(SilentLLM):
    """Answers by message; ``asked`` are the prompts."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def complete(self, request: Request) -> Completion:
        text = self.answers[str(request.hints["user_message"])]
        self.asked.append(str(request.messages[0]["content"]))
        return Completion(text=text, model="m", latency=0.25, prompt_tokens=10, completion_tokens=2)


def engine_saying(folder: Path, answers: dict[str, str], **options: Any) -> EmbeddedEngine:
    """The assistant in ``folder``, with a model that answers by message."""
    engine = small_engine(folder, FLOWS, DOMAIN, **options)
    engine.generator = replace(engine.generator, llm=Answers(answers))
    return engine


def play(folder: Path, test: str, *, engine: EmbeddedEngine | None = None, **answers: str) -> DuSuiteResult:
    """The outcome of a test file."""
    (folder / "t.yml").write_text(test)
    return run(engine or engine_saying(folder / "bot", answers), folder / "t.yml")


def run(engine: EmbeddedEngine, path: Path | str, **options: Any) -> DuSuiteResult:
    suite = load_du_suite(path, Vocabulary(engine.codec, frozenset(engine.assistant.domain.responses)))
    return asyncio.run(run_du_suite(engine, suite, **options))


def asked(engine: EmbeddedEngine) -> Sequence[str]:
    assert isinstance(engine.generator.llm, Answers)
    return engine.generator.llm.asked


def actions_run(engine: EmbeddedEngine) -> Sequence[str]:
    assert isinstance(engine.runtime.custom, Scripted)
    return engine.runtime.custom.ran
