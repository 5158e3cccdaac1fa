"""config.yml: which command generator asks which model with which prompt, and what else the file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from rasa_ft.calm.findings import Report, get_typed, known_keys, shown, texts
from rasa_ft.calm.responses import template_syntax_error
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import load_yaml, location_of, plain

# Class name -> version of the commands' surface syntax (rasa_ft.calm.dsl).
GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        "SingleStepLLMCommandGenerator": "v1",
        "LLMCommandGenerator": "v1",
        "CompactLLMCommandGenerator": "v2",
        "SearchReadyLLMCommandGenerator": "v3",
    }
)
_CONFIG_KEYS = (
    "recipe",
    "version",
    "language",
    "additional_languages",
    "assistant_id",
    "pipeline",
    "policies",
    "importers",
)
_GENERATOR_KEYS = (
    "name",
    "llm",
    "prompt_template",
    "prompt",
    "user_input",
    "flow_retrieval",
    "minimize_num_calls",
    "include_date_time",
    "timezone",
    "trace_prompt_tokens",
)
_RETRIEVAL_KEYS = ("active", "embeddings", "num_flows", "turns_to_embed", "should_embed_slots")
_POLICIES = ("FlowPolicy", "EnterpriseSearchPolicy")


@dataclass(frozen=True)
class FlowRetrieval:
    """Which flows go into the prompt; ``embeddings`` is as written (``{model_group: id}`` or a model)."""

    active: bool = True
    num_flows: int = 20
    turns_to_embed: int = 1
    should_embed_slots: bool = True
    embeddings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Generator:
    """The LLM command generator.

    ``llm`` is as written; ``model_group`` is the id it names, if it names one. ``prompt_template`` None: the
    built-in prompt. ``max_characters`` negative: messages of any length are accepted.
    """

    name: str
    dsl_version: str
    llm: Mapping[str, Any] = field(default_factory=dict)
    prompt_template: Path | None = None
    max_characters: int = 420
    flow_retrieval: FlowRetrieval = FlowRetrieval()
    minimize_num_calls: bool = True
    include_date_time: bool = True
    timezone: str = "UTC"
    location: Location | None = field(default=None, compare=False)

    @property
    def model_group(self) -> str | None:
        return self.llm.get("model_group")


@dataclass(frozen=True)
class Config:
    """``policies``: the supported ones, options by class name. ``generator`` is None only if reading failed."""

    file: Path
    language: str | None = None
    additional_languages: tuple[str, ...] = ()
    assistant_id: str | None = None
    generator: Generator | None = None
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def load_config(file: Path) -> Config:
    """Read config.yml; paths in it are relative to its folder.

    Raises:
        DataError: all problems of the file.
    """
    report = Report()
    config = read_config(file, report)
    report.raise_errors()
    return config


def read_config(file: Path, report: Report) -> Config:
    """As `load_config`, with the problems added to ``report``."""
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return Config(file)
    if not isinstance(content, Mapping):
        report.error("config.yml must be a mapping with a pipeline and policies.", Location(file, 1))
        return Config(file)
    known_keys(content, _CONFIG_KEYS, "config.yml", report)
    if content.get("assistant_id") is None:
        report.warning("there is no 'assistant_id'.", Location(file, 1), "Give the assistant a name of its own.")
    return Config(
        file=file,
        language=get_typed(content, "language", str, report),
        additional_languages=texts(content, "additional_languages", report),
        assistant_id=content.get("assistant_id"),
        generator=_generator(content, file, report),
        policies=_policies(content, file, report),
    )


def _components(content: Mapping[str, Any], key: str, report: Report) -> list[tuple[str, Any, Location | None]]:
    """(class name without its module, options, place) of every component."""
    nodes = get_typed(content, key, list, report, default=())
    found = []
    for index, node in enumerate(nodes):
        place = location_of(nodes, index)
        if isinstance(node, Mapping) and isinstance(node.get("name"), str):
            found.append((node["name"].rsplit(".", 1)[-1], node, place))
        else:
            report.error(f"an entry of '{key}' needs a 'name'.", place)
    return found


def _generator(content: Mapping[str, Any], file: Path, report: Report) -> Generator | None:
    generators = []
    for name, node, place in _components(content, "pipeline", report):
        if name in GENERATORS:
            generators.append((name, node, place))
        elif name == "MultiStepLLMCommandGenerator":
            report.error(f"{name} is not supported.", place, "Use CompactLLMCommandGenerator.")
        else:
            report.warning(f"{name} is not a part of CALM's language understanding and is ignored.", place)
    if not generators:
        report.error(
            "the pipeline has no LLM command generator.",
            location_of(content, "pipeline") if "pipeline" in content else Location(file, 1),
            "Add '- name: CompactLLMCommandGenerator' to the pipeline.",
        )
        return None
    for _, _, place in generators[1:]:
        report.error("the pipeline has more than one LLM command generator.", place)
    return _read_generator(*generators[0], file, report)


def _read_generator(name: str, node: Any, place: Location | None, file: Path, report: Report) -> Generator:
    known_keys(node, _GENERATOR_KEYS, name, report)
    limits = get_typed(node, "user_input", dict, report, default={})
    known_keys(limits, ("max_characters",), "user_input", report)
    return Generator(
        name=name,
        dsl_version=GENERATORS[name],
        llm=MappingProxyType(plain(get_typed(node, "llm", dict, report, default={}))),
        prompt_template=_prompt_template(name, node, file, report),
        max_characters=get_typed(limits, "max_characters", int, report, default=420),
        flow_retrieval=_flow_retrieval(node, report),
        minimize_num_calls=get_typed(node, "minimize_num_calls", bool, report, default=True),
        include_date_time=get_typed(node, "include_date_time", bool, report, default=True),
        timezone=_timezone(node, report),
        location=place,
    )


def _flow_retrieval(node: Any, report: Report) -> FlowRetrieval:
    options = get_typed(node, "flow_retrieval", dict, report, default={})
    known_keys(options, _RETRIEVAL_KEYS, "flow_retrieval", report)
    embeddings = get_typed(options, "embeddings", dict, report)
    return FlowRetrieval(
        active=get_typed(options, "active", bool, report, default=True),
        num_flows=get_typed(options, "num_flows", int, report, default=20),
        turns_to_embed=get_typed(options, "turns_to_embed", int, report, default=1),
        should_embed_slots=get_typed(options, "should_embed_slots", bool, report, default=True),
        embeddings=None if embeddings is None else plain(embeddings),
    )


def _prompt_template(name: str, node: Any, file: Path, report: Report) -> Path | None:
    key = "prompt" if GENERATORS[name] == "v1" and node.get("prompt") else "prompt_template"
    written = get_typed(node, key, str, report)
    if written is None:
        return None
    path = file.parent / written
    problem = _template_problem(path)
    if problem is not None:
        report.error(f"the prompt template {written} {problem}.", location_of(node, key))
    return path


def _template_problem(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
    problem = template_syntax_error(text)
    return problem and f"is not a jinja template: {problem}"


def _timezone(node: Any, report: Report) -> str:
    name = str(get_typed(node, "timezone", str, report, default="UTC"))
    if name == "UTC":
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        report.error(f"{shown(name)} is not a time zone.", location_of(node, "timezone"), "For example Europe/Berlin.")
    return name


def _policies(content: Mapping[str, Any], file: Path, report: Report) -> Mapping[str, Mapping[str, Any]]:
    policies: dict[str, Mapping[str, Any]] = {}
    for name, node, place in _components(content, "policies", report):
        if name in _POLICIES:
            policies[name] = plain(node)
        else:
            report.warning(f"{name} is not a policy of CALM's flows and is ignored.", place)
    if "FlowPolicy" not in policies:
        report.error(
            "the policies lack FlowPolicy, which runs the flows.",
            location_of(content, "policies") if "policies" in content else Location(file, 1),
            "Add '- name: FlowPolicy' to the policies.",
        )
    return MappingProxyType(policies)
