"""Assistants of a few lines, loaded from files as any other, with scripted custom actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from desk_assistant import SilentLLM, Talk

from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionResult
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.engine.base import Setup
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine

CONFIG = """
recipe: default.v1
assistant_id: small
pipeline:
  - name: {generator}
    llm: {{model_group: none_needed}}
    include_date_time: false
    flow_retrieval: {{active: false}}
policies: [{{name: FlowPolicy}}]
"""
ENDPOINTS = """
model_groups:
  - id: none_needed
    models: [{provider: self-hosted, model: tiny, api_base: "http://localhost:9/v1"}]
"""

# What an action answers: events, or a function of the conversation that gives them, or an `ActionResult`.
Answer = list[Mapping[str, Any]] | ActionResult | Callable[[Tracker], list[Mapping[str, Any]]] | Exception


class Scripted:
    """Custom actions whose answers are written down."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.ran: list[str] = []

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        self.ran.append(action)
        answer = self.answers.get(action, ActionFailed("there is no such action"))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, ActionResult):
            return answer
        return ActionResult(tuple(answer(tracker) if callable(answer) else answer))


def small_engine(
    folder: Path,
    flows: str,
    domain: str,
    *,
    config: str = "",
    generator: str = "CompactLLMCommandGenerator",
    actions: Mapping[str, Answer] | None = None,
    **runtime: Any,
) -> EmbeddedEngine:
    """The engine of an assistant in ``folder``: flows (below ``flows:``), a domain, more lines of config.yml."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(CONFIG.format(generator=generator) + config)
    (folder / "endpoints.yml").write_text(ENDPOINTS)
    (folder / "domain.yml").write_text(domain)
    (folder / "data" / "flows.yml").write_text(f"flows:\n{flows}")
    engine = load_engine(folder, llm=SilentLLM())
    engine.runtime = replace(engine.runtime, custom=Scripted(actions or {}), **runtime)
    return engine


def small_talk(folder: Path, flows: str, domain: str, *, setup: Setup | None = None, **options: Any) -> Talk:
    """A conversation with `small_engine`; see `desk_assistant.Talk`."""
    return Talk(small_engine(folder, flows, domain, **options), setup)
