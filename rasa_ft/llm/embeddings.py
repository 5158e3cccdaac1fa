"""Texts to vectors: the embedding model that an ``embeddings:`` entry names, as something to ask.

``embeddings:`` is a model in place or ``{model_group: id}``, like ``llm:``. Providers: ``huggingface_local`` runs a
sentence model here, ``openai``, ``azure`` and ``self-hosted`` are asked at ``{api_base}/embeddings``, others through
litellm.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rasa_ft.errors import DataError, LLMError
from rasa_ft.files import fingerprint
from rasa_ft.llm.budget import Budget, BudgetedEmbedder
from rasa_ft.llm.client import aclose
from rasa_ft.llm.config import (
    AZURE,
    EMBEDDING_DEFAULTS,
    HUGGINGFACE_LOCAL,
    OPENAI,
    RASA,
    RECORDED,
    SELF_HOSTED,
    ModelConfig,
    ModelGroup,
    resolve_group,
)
from rasa_ft.llm.groups import account_of
from rasa_ft.llm.litellm_client import LiteLLMClient
from rasa_ft.llm.local_embeddings import DEFAULT_MODEL, LocalEmbedder, is_installed, weights_identity
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.openai_client import OpenAIClient
from rasa_ft.llm.pace import Pace
from rasa_ft.llm.retry import Gate
from rasa_ft.llm.vectors import VectorStore

# Texts in one call.
BATCH = 64


class Embedder(Protocol):
    """Anything that turns texts into vectors of one length."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in their order.

        Raises:
            LLMError: no usable answer, after the retries that make sense for that kind of failure.
        """


@dataclass(frozen=True)
class Choice:
    """What will embed: None if nothing can. ``warning`` says what that means, if it is not what was asked for."""

    embedder: Embedder | None
    warning: str | None = None
    hint: str | None = None


def choose_embedder(
    written: Mapping[str, Any] | None, groups: Mapping[str, ModelGroup], *, project: Path, store: VectorStore | None
) -> Choice:
    """The embedder of a component's ``embeddings:`` entry.

    Without an entry it is OpenAI's, as in CALM; where there is no key for that, the local model, if it is installed.

    Raises:
        DataError: the entry is broken, or names an unknown model group.
    """
    if written is not None or "OPENAI_API_KEY" in os.environ:
        return Choice(build_embedder(embedding_group(written, groups), project=project, store=store))
    missing = "no `embeddings` are configured, and there is no OPENAI_API_KEY for the default ones"
    hint = f"Name embeddings of your own, such as {{provider: {HUGGINGFACE_LOCAL}, model: {DEFAULT_MODEL}}}."
    if not is_installed():
        return Choice(None, missing, f"{hint} Local ones need: pip install 'rasa_ft[retrieval]'")
    local = embedding_group({"provider": HUGGINGFACE_LOCAL, "model": DEFAULT_MODEL}, groups)
    return Choice(
        build_embedder(local, project=project, store=store),
        f"{missing}; the local model {DEFAULT_MODEL} stands in, so results may differ from production",
        hint,
    )


def embedding_group(written: Mapping[str, Any] | None, groups: Mapping[str, ModelGroup]) -> ModelGroup:
    """The models that an ``embeddings:`` entry means.

    Raises:
        DataError: an unknown group, a provider without embeddings, or models in one group whose vectors do not mix.
    """
    if written is not None and written.get("provider") == HUGGINGFACE_LOCAL:
        written = {"model": DEFAULT_MODEL, **written}
    group = resolve_group(written, groups, defaults=EMBEDDING_DEFAULTS)
    first = group.models[0]
    for model in group.models:
        if model.provider == RECORDED:
            raise DataError(f"provider '{RECORDED}' makes no embeddings.", location=model.location)
        if model.model != first.model:
            raise DataError(
                f"model group '{group.id}' mixes embeddings of '{first.model}' and '{model.model}'.",
                location=model.location,
                hint="Vectors of different models cannot be compared; use one model.",
            )
    return group


def build_embedder(
    group: ModelGroup,
    *,
    project: Path,
    store: VectorStore | None = None,
    concurrency: int = 4,
    batch: int = BATCH,
    budget: Budget | None = None,
    usage: Usage | None = None,
) -> Embedder:
    """Something that embeds with a group's models; nothing is loaded or connected before the first text.

    Args:
        project: a model given as a relative folder is looked for here.
        store: vectors are looked up and kept here.
        concurrency: the most calls in flight, for each model.
        batch: the most texts in a call.
        budget: shared by everything that one run may spend.
        usage: where calls are counted.

    Raises:
        UsageError: the budget limits the cost, but the price of a model is not known.
    """
    budget, usage = budget or Budget(), usage or Usage()
    models = tuple(_model(config, group, project, concurrency, budget, usage) for config in group.models)
    first = group.models[0]
    identity = first.identity
    if first.provider == HUGGINGFACE_LOCAL:
        identity = {**identity, "weights": weights_identity(first.model, project)}
    return BatchedEmbedder(models[0] if len(models) == 1 else _FailoverEmbedder(models), identity, store, batch)


class BatchedEmbedder:
    """Asks ``inner`` for what the store does not have, in batches; a batch is kept as soon as it is there."""

    def __init__(
        self, inner: Embedder, identity: Mapping[str, Any], store: VectorStore | None, batch: int = BATCH
    ) -> None:
        self._inner = inner
        self._identity = fingerprint(dict(identity))
        self._store = store
        self._batch = batch

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        keys = {text: fingerprint(self._identity, text) for text in texts}
        known = self._store.get(list(keys.values())) if self._store else {}
        vectors = {text: known[key] for text, key in keys.items() if key in known}
        missing = [text for text in keys if text not in vectors]
        batches = [missing[start : start + self._batch] for start in range(0, len(missing), self._batch)]
        for made in await asyncio.gather(*(self._made(batch, keys) for batch in batches)):
            vectors |= made
        return [vectors[text] for text in texts]

    async def aclose(self) -> None:
        await aclose(self._inner)

    async def _made(self, batch: Sequence[str], keys: Mapping[str, str]) -> dict[str, list[float]]:
        vectors = dict(zip(batch, await self._inner.embed(batch), strict=True))
        if self._store is not None:
            self._store.put({keys[text]: vector for text, vector in vectors.items()})
        return vectors


class _FailoverEmbedder:
    """Asks the first model, and the next one when it fails."""

    def __init__(self, models: Sequence[Embedder]) -> None:
        self._models = tuple(models)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        for model in self._models[:-1]:
            try:
                return await model.embed(texts)
            except LLMError:
                continue
        return await self._models[-1].embed(texts)

    async def aclose(self) -> None:
        for model in self._models:
            await aclose(model)


def _model(
    config: ModelConfig, group: ModelGroup, project: Path, concurrency: int, budget: Budget, usage: Usage
) -> Embedder:
    if config.provider == HUGGINGFACE_LOCAL:
        return LocalEmbedder(config.model, project=project, cache_folder=config.parameters.get("cache_folder"))
    retries = config.retries if group.retries is None else group.retries
    gate = Gate(Pace(concurrency), retries, usage=usage)
    speaks_openai = config.provider in (OPENAI, AZURE, SELF_HOSTED, RASA)
    client = OpenAIClient(config, gate) if speaks_openai else LiteLLMClient(config, gate)
    return BudgetedEmbedder(client, account_of(config, budget, usage))
