"""The entry ``nlg`` of endpoints.yml: who has the last word on what the bot says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, is_kind, known_keys, shown
from rasa_ft.calm.project.options import read_model, read_prompt_template
from rasa_ft.errors import Location
from rasa_ft.yaml_source import did_you_mean, location_of, plain

REPHRASE = "rephrase"
CALLBACK = "callback"
TEMPLATES = "response"
_TYPES = (REPHRASE, CALLBACK, TEMPLATES)
# The rephraser's class, which older endpoints.yml name with one path or another.
_REPHRASER_CLASS = "ContextualResponseRephraser"
_REPHRASER_KEYS = (
    "type",
    "llm",
    "prompt_template",
    "prompt",
    "rephrase_all",
    "summarize_history",
    "max_historical_turns",
    "count_multiple_utterances_as_single_turn",
    "trace_prompt_tokens",
)


@dataclass(frozen=True)
class Rephrasing:
    """A language model words written responses anew.

    ``llm`` is as written: ``{model_group: id}``, an inline model, or None for the default. ``prompt_template`` None:
    our own prompt. ``rephrase_all``: also responses that do not ask for it. With ``summarize_history`` the prompt shows
    a summary, else the last ``max_historical_turns`` turns; a turn is what one side says in a row with
    ``join_utterances``, else a single message.
    """

    llm: Mapping[str, Any] | None = None
    prompt_template: Path | None = None
    rephrase_all: bool = False
    summarize_history: bool = True
    max_historical_turns: int = 5
    join_utterances: bool = True
    location: Location | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ResponseServer:
    """A server that writes the responses; ``options`` as for an action server (``token``, ``headers`` …)."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)


NLG = Rephrasing | ResponseServer


def read_nlg(endpoints: Mapping[str, Any], project: Path, report: Report) -> NLG | None:
    """What ``nlg`` says; None: responses are said as they are written.

    Args:
        endpoints: the content of endpoints.yml; paths in it are relative to ``project``.
    """
    node = endpoints.get("nlg")
    if node is None:
        return None
    if not is_kind(node, dict):
        report.error("'nlg' must be a mapping such as {type: rephrase}.", location_of(endpoints, "nlg"), rule="nlg")
        return None
    kind = _kind(node)
    if kind == REPHRASE:
        return _rephrasing(node, project, report)
    if kind == CALLBACK:
        return _server(node, report)
    if kind == TEMPLATES:
        return None
    _report_other(kind, node, report)
    return None


def _kind(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    if kind is None:
        return CALLBACK if node.get("url") else TEMPLATES
    return REPHRASE if str(kind).rpartition(".")[2] == _REPHRASER_CLASS else str(kind)


def _report_other(kind: str, node: Mapping[str, Any], report: Report) -> None:
    place = location_of(node, "type")
    if "." in kind:
        report.warning(
            f"nlg is the class {kind}, which needs the runtime it was written for; responses are said as written.",
            place,
            "Texts, and what a prompt shows of the bot's words, differ from what users see in production.",
            rule="out-of-scope",
            culprit=kind,
        )
        return
    message = f"unknown nlg type {shown(kind)}.{did_you_mean(kind, _TYPES)}"
    report.error(message, place, "Use rephrase or callback.", rule="nlg", culprit=kind)


def _rephrasing(node: Mapping[str, Any], project: Path, report: Report) -> Rephrasing:
    known_keys(node, _REPHRASER_KEYS, "nlg", report)
    turns = get_typed(node, "max_historical_turns", int, report, default=5)
    joined = get_typed(node, "count_multiple_utterances_as_single_turn", bool, report, default=True)
    return Rephrasing(
        llm=read_model(node, "llm", report),
        prompt_template=read_prompt_template(node, (project,), report, "the rephraser's prompt template"),
        rephrase_all=get_typed(node, "rephrase_all", bool, report, default=False),
        summarize_history=get_typed(node, "summarize_history", bool, report, default=True),
        max_historical_turns=max(1, turns),
        join_utterances=joined,
        location=location_of(node),
    )


def _server(node: Mapping[str, Any], report: Report) -> ResponseServer | None:
    url = get_typed(node, "url", str, report)
    if url is None or not url.startswith(("http://", "https://")):
        report.error(
            "nlg of type callback needs 'url', an http address.",
            location_of(node, "url" if "url" in node else None),
            rule="nlg",
        )
        return None
    return ResponseServer(url, MappingProxyType(plain(node)))
