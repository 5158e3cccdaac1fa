"""The parts of a project that the embedded engine does not have: how each is recognised, and what its absence means.

Every part gives one warning where it stands; the assistant loads all the same. At run time a step that needs such a
part ends its flow with `pattern_internal_error`, whose ``error_type`` is `OUT_OF_SCOPE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.calm.checks.findings import Report
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

RULE = "out-of-scope"
# `error_type` of the frame that is pushed where a conversation reaches such a part.
OUT_OF_SCOPE = "rasa_ft_out_of_scope"
INTENTLESS = "IntentlessPolicy"
ADAPTER = "NLUCommandAdapter"
# Stands among the names of what is not run where documents are kept in a store that cannot be asked.
VECTOR_STORE = "vector_store"
# How the url of an action server begins that cannot be asked.
GRPC = "grpc"
ROUTERS = frozenset({"LLMBasedRouter", "IntentBasedRouter"})


@dataclass(frozen=True)
class Part:
    """``title`` names it to people, ``effect`` says what its absence means for conversations and results."""

    title: str
    effect: str


NLU_PIPELINE = Part(
    "the NLU pipeline",
    "Intents and entities are not predicted: every message goes to the LLM command generator. Tests that depend on a "
    "predicted intent or entity are skipped.",
)
NLU_ADAPTER = Part(
    "the adapter from NLU to commands",
    "No flow is started and no slot filled from a predicted intent or entity: the LLM command generator does all of "
    "it, so such turns cost a model call here.",
)
ROUTER = Part(
    "the coexistence router",
    "Every message is handled by the flows. Tests of conversations that belong to the NLU side are skipped.",
)
RULES = Part(
    "policies of rules and stories",
    "Rules, stories and forms are not run. Tests that expect what only they say or do are skipped.",
)
CHAT = Part(
    INTENTLESS,
    "Free chit-chat is not answered. A test that reaches 'action_trigger_chitchat' is skipped.",
)
FORMS = Part("forms", "They are not run. Tests that expect a form, or what only a form asks, are skipped.")
NLU_DATA = Part(
    "training data of NLU, rules and stories",
    "It is not read. Tests that expect what only rules and stories say are skipped.",
)
AGENTS = Part(
    "agents and MCP tools",
    "A flow that calls one ends with 'pattern_internal_error'; a test that reaches the call is skipped.",
)
STUDIO = Part("Rasa Studio", "Nothing is fetched from there: the files in this project are the assistant.")

_NLU_ENDINGS = (
    "Tokenizer",
    "Featurizer",
    "Classifier",
    "EntityExtractor",
    "Extractor",
    "SynonymMapper",
    "ResponseSelector",
    "NLP",
)
_RULE_POLICIES = frozenset(
    {"RulePolicy", "TEDPolicy", "MemoizationPolicy", "AugmentedMemoizationPolicy", "UnexpecTEDIntentPolicy"}
)

# Keys of endpoints.yml: None where the engine has the part.
ENDPOINTS: Mapping[str, Part | None] = {
    "action_endpoint": None,
    "model_groups": None,
    "nlg": None,
    "vector_store": None,
    "silence_timeout": Part("silence detection", "There is no voice channel, so no user is ever silent."),
    "tracker_store": Part("the tracker store", "Conversations are kept in memory, each on its own."),
    "event_broker": Part("the event broker", "Events are not sent anywhere."),
    "lock_store": Part("the lock store", "Conversations need no locks here; results are the same."),
    "models": Part("the model server", "The files in this project are the assistant."),
    "nlu": Part("the NLU server", NLU_PIPELINE.effect),
    "tracing": Part("tracing", "Nothing is traced; results are the same."),
    "metrics": Part("metrics", "Nothing is measured for them; results are the same."),
    "privacy": Part("anonymisation of events", "Events are kept as they are; results are the same."),
    "anonymization": Part("anonymisation of events", "Events are kept as they are; results are the same."),
    "secrets_manager": Part("the secrets manager", "Secrets come from environment variables."),
    "mcp_servers": AGENTS,
    "tools": AGENTS,
    "studio": STUDIO,
}
_VECTOR_STORE = "faiss"


def component_part(name: str) -> Part | None:
    """The part that a pipeline component (class name without its module) belongs to; None if it is unknown."""
    if name == ADAPTER:
        return NLU_ADAPTER
    if name in ROUTERS:
        return ROUTER
    return NLU_PIPELINE if name.endswith(_NLU_ENDINGS) else None


def policy_part(name: str) -> Part | None:
    """As `component_part`, for policies."""
    if name == INTENTLESS:
        return CHAT
    return RULES if name in _RULE_POLICIES else None


def warn_of_parts(found: Sequence[tuple[str, Part, Location | None]], report: Report) -> None:
    """One warning for each part among ``found`` (name, part, place), at the first place where it stands."""
    for part in dict.fromkeys(part for _, part, _ in found):
        names = list(dict.fromkeys(name for name, other, _ in found if other is part))
        place = next(place for _, other, place in found if other is part)
        warn(part, place, report, names)


def warn(part: Part, place: Location | None, report: Report, names: Iterable[str] = ()) -> None:
    """Say that ``part`` is there and is not run; ``names``: what of it the project has."""
    names = [name for name in names if name != part.title]
    listing = f" ({', '.join(names)})" if names else ""
    culprit = names[0] if names else None
    message = f"out of scope, not run: {part.title}{listing}."
    report.warning(message, place, part.effect, rule=RULE, culprit=culprit)


def check_endpoints(content: Mapping[str, Any], report: Report) -> None:
    """Warn of what endpoints.yml configures and the engine does not have, and of keys that nobody knows."""
    found = []
    for key in content:
        part = ENDPOINTS.get(key)
        if part is not None:
            found.append((str(key), part, location_of(content, key)))
        elif key not in ENDPOINTS:
            message = f"'{key}' is not a key of endpoints.yml and is ignored.{did_you_mean(key, ENDPOINTS)}"
            report.warning(message, location_of(content, key), rule="unknown-key", culprit=str(key))
    warn_of_parts(found, report)
    _check_action_endpoint(content.get("action_endpoint"), report)


def _check_action_endpoint(node: Any, report: Report) -> None:
    url = node.get("url") if isinstance(node, Mapping) and not node.get("actions_module") else None
    if isinstance(url, str) and url.startswith(GRPC):
        part = Part(
            "a gRPC action server", "Custom actions cannot be run: use 'actions_module' or an http url, or stubs."
        )
        warn(part, location_of(node, "url"), report, [url])


def check_vector_store(options: Mapping[str, Any], place: Location | None, report: Report) -> None:
    """Warn of a vector store of `EnterpriseSearchPolicy` that cannot be asked."""
    store = options.get("vector_store")
    kind = store.get("type") if isinstance(store, Mapping) else None
    if isinstance(store, Mapping) and isinstance(kind, str) and not can_be_searched(store):
        effect = "A test that reaches a search is skipped. 'type: faiss' with 'source' searches the files of a folder."
        warn(Part("the vector store", effect), location_of(store, "type") or place, report, [kind])


def can_be_searched(store: Mapping[str, Any]) -> bool:
    """Whether documents of such a ``vector_store`` are files of the project."""
    kind = store.get("type")
    return not isinstance(kind, str) or kind.lower() == _VECTOR_STORE


def agent_names(project: Path) -> frozenset[str]:
    """Names that call steps may use for agents: the folders in ``sub_agents``, and the names in config.yml there."""
    folder = project / "sub_agents"
    folders = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return frozenset(name for path in folders for name in (path.name, _agent_name(path / "config.yml")) if name)


def _agent_name(file: Path) -> str | None:
    try:
        content = load_yaml(file)
    except DataError:
        return None
    agent = content.get("agent") if isinstance(content, Mapping) else None
    name = agent.get("name") if isinstance(agent, Mapping) else None
    return name if isinstance(name, str) else None
