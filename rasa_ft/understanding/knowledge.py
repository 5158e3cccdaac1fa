"""What an assistant looks up by meaning: its flows for the prompt, its documents for answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rasa_ft.calm.checks.findings import Finding
from rasa_ft.calm.project.assistant import Assistant
from rasa_ft.calm.project.document_search import DocumentSearch
from rasa_ft.errors import Location
from rasa_ft.llm.client import LLM, aclose
from rasa_ft.llm.config import SEARCH_DEFAULTS, ModelGroup, load_model_groups, resolve_group
from rasa_ft.llm.embeddings import Choice, Embedder, choose_embedder
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.store import Store
from rasa_ft.llm.vectors import VectorStore, default_store
from rasa_ft.understanding.documents import DocumentIndex
from rasa_ft.understanding.retrieval import FlowRetriever, flow_documents
from rasa_ft.understanding.search import DocumentAnswers

# A prompt with more flows than this is long enough to be worth a warning.
_MANY_FLOWS = 20


@dataclass(frozen=True)
class Knowledge:
    """``retriever`` None: all flows are offered. ``search`` None: there are no documents.

    ``warnings`` tell where this is not what the configuration asks for.
    """

    retriever: FlowRetriever | None = None
    search: DocumentAnswers | None = None
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """How many flows and pieces of documents are embedded; 0 where nothing is to be."""

    flows: int = 0
    documents: int = 0


def load_knowledge(
    assistant: Assistant,
    *,
    answers: Store | None = None,
    vectors: VectorStore | None = None,
    llm: LLM | None = None,
    embedder: Embedder | None = None,
) -> Knowledge:
    """What ``assistant`` looks up; nothing is embedded, connected or loaded yet.

    Args:
        answers: where answers from documents are kept and looked up.
        vectors: where vectors are kept; default: the user's own store.
        llm: answers from documents instead of the configured model.
        embedder: embeds instead of the configured models.

    Raises:
        DataError: an entry ``llm:`` or ``embeddings:`` is broken.
    """
    makers = _Makers(assistant, answers, vectors or default_store(), llm, embedder)
    retriever, retrieval_warnings = _retriever(assistant, makers)
    search, search_warnings = _search(assistant, makers)
    return Knowledge(retriever, search, (*retrieval_warnings, *search_warnings))


async def prepare_index(knowledge: Knowledge) -> Prepared:
    """Embed now what conversations would have to wait for; vectors that are in the store cost nothing.

    Raises:
        DataError: a document cannot be read.
        LLMError, MissingRequirement: the embedding model failed or is not installed.
    """
    flows = await knowledge.retriever.prepare() if knowledge.retriever else 0
    documents = await knowledge.search.index.prepare() if knowledge.search else 0
    return Prepared(flows, documents)


async def close_knowledge(knowledge: Knowledge) -> None:
    """Close connections, in the event loop in which they were used."""
    await aclose(knowledge.retriever)
    await aclose(knowledge.search)


@dataclass(frozen=True)
class _Makers:
    """Makes what parts need, from the configuration or as given."""

    assistant: Assistant
    answers: Store | None
    vectors: VectorStore
    given_llm: LLM | None
    given_embedder: Embedder | None

    @property
    def project(self) -> Path:
        return self.assistant.project

    def groups(self) -> dict[str, ModelGroup]:
        sources = self.assistant.sources
        return load_model_groups(sources.endpoints) if sources and sources.endpoints else {}

    def embedder(self, written: Mapping[str, object] | None) -> Choice:
        if self.given_embedder is not None:
            return Choice(self.given_embedder)
        return choose_embedder(written, self.groups(), project=self.project, store=self.vectors)

    def llm(self, written: Mapping[str, object] | None) -> LLM:
        if self.given_llm is not None:
            return self.given_llm
        group = resolve_group(written, self.groups(), defaults=SEARCH_DEFAULTS)
        return build_llm(group, project=self.project, store=self.answers)


def _retriever(assistant: Assistant, makers: _Makers) -> tuple[FlowRetriever | None, list[Finding]]:
    settings, place = assistant.generator.flow_retrieval, assistant.generator.location
    count = len(flow_documents(assistant.flows, assistant.domain))
    if not settings.active:
        if count <= _MANY_FLOWS:
            return None, []
        message = f"flow retrieval is off, so every prompt lists {count} flows."
        return None, [_warning(message, "Set flow_retrieval.active: true to list the likely ones only.", place)]
    if count <= settings.num_flows:
        return None, []
    choice = makers.embedder(settings.embeddings)
    if choice.embedder is None:
        message = f"flow retrieval: {choice.warning}, so every prompt lists all {count} flows."
        return None, [_warning(message, choice.hint, place)]
    warnings = [_warning(f"flow retrieval: {choice.warning}.", choice.hint, place)] if choice.warning else []
    return FlowRetriever(settings, choice.embedder, assistant.flows, assistant.domain), warnings


def _search(assistant: Assistant, makers: _Makers) -> tuple[DocumentAnswers | None, list[Finding]]:
    settings = assistant.document_search
    if settings is None or not settings.readable:
        return None, []
    choice = makers.embedder(settings.embeddings)
    if choice.embedder is None:
        message = f"document search: {choice.warning}, so every question finds nothing."
        return None, [_warning(message, choice.hint, settings.location)]
    warnings = []
    if choice.warning:
        warnings.append(_warning(f"document search: {choice.warning}.", choice.hint, settings.location))
    if _lacks_a_key(settings) and makers.given_llm is None:
        message = "document search has no `llm`, and there is no OPENAI_API_KEY for the default one."
        hint = "A question from documents ends with pattern_internal_error. Name a model in the policy's `llm`."
        warnings.append(_warning(message, hint, settings.location))
    index = DocumentIndex(settings.source, assistant.project, choice.embedder, pairs=not settings.generative)
    return DocumentAnswers(settings, index, makers.llm(settings.llm) if settings.generative else None), warnings


def _lacks_a_key(settings: DocumentSearch) -> bool:
    return settings.generative and settings.llm is None and "OPENAI_API_KEY" not in os.environ


def _warning(message: str, hint: str | None, place: Location | None) -> Finding:
    return Finding("warning", message, place, hint, rule="knowledge")
