"""``EnterpriseSearchPolicy`` of config.yml: which documents answer questions, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, known_keys
from rasa_ft.calm.project.config import Config
from rasa_ft.calm.project.options import read_model, read_prompt_template, read_timezone
from rasa_ft.calm.project.out_of_scope import can_be_searched
from rasa_ft.errors import Location
from rasa_ft.yaml_source import location_of

POLICY = "EnterpriseSearchPolicy"
DEFAULT_SOURCE = "./docs"
_POLICY_KEYS = (
    "name",
    "priority",
    "vector_store",
    "llm",
    "embeddings",
    "prompt_template",
    "prompt",
    "use_generative_llm",
    "citation_enabled",
    "check_relevancy",
    "max_messages_in_query",
    "max_history",
    "include_date_time",
    "timezone",
    "trace_prompt_tokens",
)
_STORE_KEYS = ("type", "source", "threshold", "embeddings")


@dataclass(frozen=True)
class DocumentSearch:
    """How questions are answered from the text files below ``source``.

    ``llm`` and ``embeddings`` are as written: ``{model_group: id}``, a model in place, or None for the default.
    ``prompt_template`` None: our own prompt. ``threshold``: the least similarity of a hit, 0 for any. Not
    ``generative``: the answer is the one written in the nearest question-and-answer pair. ``max_history``: lines of the
    conversation in the prompt, None for the usual number. ``readable``: there is such a store here.
    """

    source: Path
    readable: bool = True
    threshold: float = 0.0
    llm: Mapping[str, Any] | None = None
    embeddings: Mapping[str, Any] | None = None
    prompt_template: Path | None = None
    generative: bool = True
    citations: bool = False
    check_relevancy: bool = False
    max_messages_in_query: int = 2
    max_history: int | None = None
    include_date_time: bool = True
    timezone: str = "UTC"
    location: Location | None = field(default=None, compare=False)


def read_document_search(config: Config, project: Path, report: Report) -> DocumentSearch | None:
    """What the policy says; None without it. Paths are relative to ``project``."""
    node = config.policies.get(POLICY)
    if node is None:
        return None
    known_keys(node, _POLICY_KEYS, POLICY, report, severity="warning")
    place = location_of(node) or Location(config.file, 1)
    store = get_typed(node, "vector_store", dict, report, default={})
    readable = can_be_searched(store)
    if readable:
        known_keys(store, _STORE_KEYS, "vector_store", report, severity="warning")
    source = project / get_typed(store, "source", str, report, default=DEFAULT_SOURCE)
    if readable and not (source.is_dir() and any(source.rglob("*.txt"))):
        hint = "Every question finds nothing. Put text files there, or name their folder in vector_store.source."
        report.warning(f"there are no documents (*.txt) in {source}.", place, hint, rule="no-documents")
    threshold = get_typed(store, "threshold", float, report, default=0.0)
    messages = get_typed(node, "max_messages_in_query", int, report, default=2)
    return DocumentSearch(
        source=source,
        readable=readable,
        threshold=float(threshold),
        llm=read_model(node, "llm", report),
        embeddings=read_model(node, "embeddings", report) or read_model(store, "embeddings", report),
        prompt_template=read_prompt_template(node, (project, config.file.parent), report, "the search prompt template"),
        generative=get_typed(node, "use_generative_llm", bool, report, default=True),
        citations=get_typed(node, "citation_enabled", bool, report, default=False),
        check_relevancy=get_typed(node, "check_relevancy", bool, report, default=False),
        max_messages_in_query=max(1, messages),
        max_history=get_typed(node, "max_history", int, report),
        include_date_time=get_typed(node, "include_date_time", bool, report, default=True),
        timezone=read_timezone(node, report),
        location=place,
    )
