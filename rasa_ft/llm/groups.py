"""From a model group to something that answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rasa_ft.errors import DataError, UsageError
from rasa_ft.llm.budget import Account, Budget, BudgetedLLM, longest_answer
from rasa_ft.llm.client import LLM
from rasa_ft.llm.config import AZURE, HUGGINGFACE_LOCAL, OPENAI, RASA, RECORDED, SELF_HOSTED, ModelConfig, ModelGroup
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.llm.litellm_client import LiteLLMClient
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.openai_client import OpenAIClient
from rasa_ft.llm.pace import Pace, Paces
from rasa_ft.llm.pricing import configured_price
from rasa_ft.llm.recordings import load_recordings
from rasa_ft.llm.retry import Gate
from rasa_ft.llm.routing import Member, RoutedLLM
from rasa_ft.llm.store import Store, StoredLLM


def build_llm(
    group: ModelGroup,
    *,
    project: Path,
    store: Store | None = None,
    concurrency: int = 8,
    budget: Budget | None = None,
    usage: Usage | None = None,
    paces: Paces | None = None,
) -> LLM:
    """The model (or the routed models) of a group; nothing is connected before the first question.

    Args:
        project: relative paths in the configuration start here.
        store: answers are looked up and kept here. Pass one where an answer may be used again: at temperature 0, or
            when any good answer will do, as with a teacher. Recordings are never stored.
        concurrency: the most calls in flight, for each model.
        budget: shared by everything that one run may spend.
        usage: where calls are counted, such as ``Meter()["teacher"]``.
        paces: shared by everything that asks the same models in one run, instead of ``concurrency`` for this alone.

    Raises:
        DataError: recordings are missing or broken, or a model only makes embeddings.
        UsageError: the budget limits the cost, but the price of a model is not known.
    """
    shared = _Shared(project, paces or Paces(concurrency), budget or Budget(), usage or Usage(), store is not None)
    if len(group.models) == 1:
        config = group.models[0]
        llm = shared.model(config, _first(group.retries, config.retries))
    else:
        llm = RoutedLLM([_member(config, group, shared) for config in group.models], group.router)
    recorded = all(config.provider == RECORDED for config in group.models)
    return llm if store is None or recorded else StoredLLM(llm, store, group.identity, shared.usage)


def pace_of(config: ModelConfig, paces: Paces) -> Pace:
    """The pace of everything that asks this model at this place."""
    return paces.of((config.provider, config.model, config.deployment, config.api_base, config.api_version))


def account_of(config: ModelConfig, budget: Budget, usage: Usage) -> Account:
    """Where the calls of this model are counted and paid from.

    Raises:
        UsageError: the budget limits the cost, but the price of the model is not known.
    """
    price = configured_price(config)
    # Whoever runs a server knows what it costs; it is not paid by the token.
    if price is None and budget.max_cost is not None and config.provider not in (SELF_HOSTED, RASA):
        raise UsageError(
            f"a limit on the cost needs the price of model '{config.model}'.",
            location=config.location,
            hint="Add input_cost_per_token and output_cost_per_token to it, or limit the calls with --max-calls.",
        )
    return Account(usage, budget, price)


@dataclass(frozen=True)
class _Shared:
    """What the models of a group have in common; ``keeps``: answers go into a store."""

    project: Path
    paces: Paces
    budget: Budget
    usage: Usage = field(default_factory=Usage)
    keeps: bool = False

    def model(self, config: ModelConfig, retries: int | None, *, waits_for_rests: bool = True) -> LLM:
        if config.provider == RECORDED:
            return load_recordings(self.project / str(config.recordings), model=config.model)
        if config.provider == HUGGINGFACE_LOCAL:
            raise DataError(
                f"provider {HUGGINGFACE_LOCAL} makes embeddings, not answers.",
                location=config.location,
                hint="Serve the model, for example with vLLM, and use provider self-hosted.",
            )
        pace = pace_of(config, self.paces)
        gate = Gate(pace, retries, usage=self.usage, waits_for_rests=waits_for_rests, finishes=self.keeps)
        speaks_openai = config.provider in (OPENAI, AZURE, SELF_HOSTED, RASA)
        llm: LLM = OpenAIClient(config, gate) if speaks_openai else LiteLLMClient(config, gate)
        return BudgetedLLM(llm, account_of(config, self.budget, self.usage), longest_answer(config.parameters))


def _member(config: ModelConfig, group: ModelGroup, shared: _Shared) -> Member:
    # The router repeats what failed, and what would have to wait, with another model if there is one.
    llm = shared.model(config, 0, waits_for_rests=False)
    cooldown = Cooldown(group.router.cooldown, allowed_fails=group.router.allowed_fails)
    return Member(llm, cooldown, price=config.input_cost_per_token + config.output_cost_per_token)


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)
