"""From a model group to something that answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rasa_ft.errors import LLMError
from rasa_ft.llm.budget import Budget, BudgetedLLM
from rasa_ft.llm.client import LLM, Completion, Request, aclose
from rasa_ft.llm.config import AZURE, OPENAI, RASA, RECORDED, SELF_HOSTED, ModelConfig, ModelGroup
from rasa_ft.llm.litellm_client import LiteLLMClient
from rasa_ft.llm.openai_client import OpenAIClient
from rasa_ft.llm.recordings import load_recordings
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
        DataError: recordings are missing or broken.
    """
    models = [_model(config, group.retries, project, store, concurrency, budget) for config in group.models]
    return models[0] if len(models) == 1 else RoutedLLM(models)


class RoutedLLM:
    """Uses its models in turn and, when one fails, asks the next."""

    def __init__(self, models: Sequence[LLM]) -> None:
        self._models = tuple(models)
        self._turn = 0

    async def complete(self, request: Request) -> Completion:
        first = self._turn
        self._turn = (self._turn + 1) % len(self._models)
        failure: LLMError | None = None
        for offset in range(len(self._models)):
            try:
                return await self._models[(first + offset) % len(self._models)].complete(request)
            except LLMError as error:
                failure = error
        raise failure or LLMError("the model group is empty.")

    async def aclose(self) -> None:
        for model in self._models:
            await aclose(model)


def _model(
    config: ModelConfig,
    retries: int | None,
    project: Path,
    store: Store | None,
    concurrency: int,
    budget: Budget | None,
) -> LLM:
    if config.provider == RECORDED:
        return load_recordings(project / str(config.recordings), model=config.model)
    llm: LLM
    if config.provider in (OPENAI, AZURE, SELF_HOSTED, RASA):
        llm = OpenAIClient(config, concurrency=concurrency, retries=retries)
    else:
        llm = LiteLLMClient(config, concurrency=concurrency, retries=retries)
    if budget is not None:
        llm = BudgetedLLM(
            llm, budget, input_price=config.input_cost_per_token, output_price=config.output_cost_per_token
        )
    return StoredLLM(llm, store, config.identity) if store is not None else llm
