"""From a model group to something that answers."""

from __future__ import annotations

from pathlib import Path

from rasa_ft.errors import DataError
from rasa_ft.llm.budget import Budget, BudgetedLLM
from rasa_ft.llm.client import LLM
from rasa_ft.llm.config import AZURE, HUGGINGFACE_LOCAL, OPENAI, RASA, RECORDED, SELF_HOSTED, ModelConfig, ModelGroup
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.llm.litellm_client import LiteLLMClient
from rasa_ft.llm.openai_client import OpenAIClient
from rasa_ft.llm.recordings import load_recordings
from rasa_ft.llm.routing import Member, RoutedLLM
from rasa_ft.llm.store import Store, StoredLLM


def build_llm(
    group: ModelGroup,
    *,
    project: Path,
    store: Store | None = None,
    concurrency: int = 8,
    budget: Budget | None = None,
) -> LLM:
    """The model (or the routed models) of a group; nothing is connected before the first question.

    Args:
        project: relative paths in the configuration start here.
        store: answers are looked up and kept here. Pass one where an answer may be used again: at temperature 0, or
            when any good answer will do, as with a teacher. Recordings are never stored.
        concurrency: the most calls in flight, for each model.
        budget: shared by everything that one run may spend.

    Raises:
        DataError: recordings are missing or broken, or a model only makes embeddings.
    """
    if len(group.models) == 1:
        config = group.models[0]
        llm = _model(config, _first(group.retries, config.retries), project, concurrency, budget)
    else:
        llm = RoutedLLM([_member(config, group, project, concurrency, budget) for config in group.models], group.router)
    recorded = all(config.provider == RECORDED for config in group.models)
    return llm if store is None or recorded else StoredLLM(llm, store, group.identity)


def _member(config: ModelConfig, group: ModelGroup, project: Path, concurrency: int, budget: Budget | None) -> Member:
    # The router repeats what failed, with another model if there is one.
    llm = _model(config, 0, project, concurrency, budget)
    cooldown = Cooldown(group.router.cooldown, allowed_fails=group.router.allowed_fails)
    return Member(llm, cooldown, price=config.input_cost_per_token + config.output_cost_per_token)


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)


def _model(config: ModelConfig, retries: int | None, project: Path, concurrency: int, budget: Budget | None) -> LLM:
    if config.provider == RECORDED:
        return load_recordings(project / str(config.recordings), model=config.model)
    if config.provider == HUGGINGFACE_LOCAL:
        raise DataError(
            f"provider {HUGGINGFACE_LOCAL} makes embeddings, not answers.",
            location=config.location,
            hint="Serve the model, for example with vLLM, and use provider self-hosted.",
        )
    llm: LLM
    if config.provider in (OPENAI, AZURE, SELF_HOSTED, RASA):
        llm = OpenAIClient(config, concurrency=concurrency, retries=retries)
    else:
        llm = LiteLLMClient(config, concurrency=concurrency, retries=retries)
    if budget is None:
        return llm
    return BudgetedLLM(llm, budget, input_price=config.input_cost_per_token, output_price=config.output_cost_per_token)
