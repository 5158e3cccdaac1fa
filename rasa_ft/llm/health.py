"""Asking each model one tiny question before a run depends on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rasa_ft.errors import LLMError
from rasa_ft.llm.client import Request, aclose
from rasa_ft.llm.config import RECORDED, ModelConfig, ModelGroup
from rasa_ft.llm.groups import build_llm

VARIABLE = "LLM_API_HEALTH_CHECK"


def health_check_wanted() -> bool:
    """Whether the environment asks for it, as in CALM."""
    return os.environ.get(VARIABLE, "").strip().lower() == "true"


def check_health(groups: Iterable[ModelGroup], project: Path) -> None:
    """Ask every model of ``groups`` once; the answer does not matter.

    Raises:
        LLMError: the first model that gives none.
        MissingRequirement: a key or a package is missing.
    """
    models = [model for group in groups for model in group.models if model.provider != RECORDED]
    distinct = {repr(model.identity): model for model in models}
    asyncio.run(_ask_all(list(distinct.values()), project))


async def _ask_all(models: list[ModelConfig], project: Path) -> None:
    await asyncio.gather(*(_ask(model, project) for model in models))


async def _ask(model: ModelConfig, project: Path) -> None:
    llm = build_llm(ModelGroup("health", (replace(model, retries=0),)), project=project)
    try:
        await llm.complete(Request.of_prompt("Answer with OK.", purpose="health"))
    except LLMError as error:
        error.message = f"health check: {error.message}"
        raise
    finally:
        await aclose(llm)
