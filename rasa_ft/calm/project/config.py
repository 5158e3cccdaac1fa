"""config.yml: which command generator asks which model with which prompt, and what else the file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, known_keys, texts
from rasa_ft.calm.project.components import known_component
from rasa_ft.calm.project.options import read_model, read_prompt_template, read_timezone
from rasa_ft.calm.project.out_of_scope import (
    VECTOR_STORE,
    Part,
    can_be_searched,
    check_vector_store,
    component_part,
    policy_part,
    warn_of_parts,
)
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

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
DEFAULT_GENERATOR = "CompactLLMCommandGenerator"


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
    """``policies``: the supported ones, options by class name. ``generator`` is None only if reading failed.

    ``ignored``: class names of the components and policies that are there and are not run
    (`rasa_ft.calm.project.out_of_scope`).
    """

    file: Path
    language: str | None = None
    additional_languages: tuple[str, ...] = ()
    assistant_id: str | None = None
    generator: Generator | None = None
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


def load_config(file: Path, project: Path | None = None) -> Config:
    """Read config.yml; paths in it are relative to ``project`` (default: its folder).

    Raises:
        DataError: all problems of the file.
    """
    report = Report()
    config = read_config(file, report, project)
    report.raise_errors()
    return config


def read_config(file: Path, report: Report, project: Path | None = None) -> Config:
    """As `load_config`, with the problems added to ``report``."""
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return Config(file)
    if not isinstance(content, Mapping):
        report.error("config.yml must be a mapping with a pipeline and policies.", Location(file, 1), rule="wrong-type")
        return Config(file)
    known_keys(content, _CONFIG_KEYS, "config.yml", report)
    if content.get("assistant_id") is None:
        hint = "Give the assistant a name of its own."
        report.warning("there is no 'assistant_id'.", Location(file, 1), hint, rule="no-assistant-id")
    return Config(
        file=file,
        language=get_typed(content, "language", str, report),
        additional_languages=texts(content, "additional_languages", report),
        assistant_id=content.get("assistant_id"),
        generator=_generator(content, file, project or file.parent, report),
        policies=_policies(content, file, project or file.parent, report),
        ignored=_ignored(content),
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
            report.error(f"an entry of '{key}' needs a 'name'.", place, rule="wrong-type")
    return found


def _generator(content: Mapping[str, Any], file: Path, project: Path, report: Report) -> Generator | None:
    generators, others = [], []
    for name, node, place in _components(content, "pipeline", report):
        known = known_component(node["name"], GENERATORS, project)
        if known is not None:
            generators.append((known, node, place))
            _warn_of_subclass(node, known, report)
        elif name == "MultiStepLLMCommandGenerator":
            hint = "Use CompactLLMCommandGenerator."
            report.error(f"{name} is not supported.", place, hint, rule="unsupported-generator", culprit=name)
        else:
            others.append((name, node, place))
    _warn_of_others(others, component_part, report)
    if not generators:
        return _standing_in(content, file, report)
    for name, _, place in generators[1:]:
        message = "the pipeline has more than one LLM command generator."
        report.error(message, place, rule="several-generators", culprit=name)
    return _read_generator(*generators[0], (project, file.parent), report)


def _standing_in(content: Mapping[str, Any], file: Path, report: Report) -> Generator | None:
    """The default generator where the pipeline names none; None if there is an error about it already."""
    if any(finding.rule == "unsupported-generator" for finding in report.errors):
        return None
    report.warning(
        f"the pipeline has no LLM command generator; {DEFAULT_GENERATOR} with its default model stands in.",
        location_of(content, "pipeline") if "pipeline" in content else Location(file, 1),
        f"Add '- name: {DEFAULT_GENERATOR}' to the pipeline.",
        rule="no-generator",
    )
    return Generator(DEFAULT_GENERATOR, GENERATORS[DEFAULT_GENERATOR])


def _warn_of_subclass(node: Mapping[str, Any], known: str, report: Report) -> None:
    written = node["name"]
    if "." in written and written.rpartition(".")[2] != known:
        report.warning(
            f"the class {written} is not run; {known} stands in with the same options.",
            location_of(node, "name"),
            "What the class changes about prompts or commands is missing from the results.",
            rule="custom-component",
            culprit=written,
        )


def _warn_of_others(
    components: list[tuple[str, Any, Location | None]], part_of: Callable[[str], Part | None], report: Report
) -> None:
    """Components that are not run: one warning for each part that they belong to, and for each unknown one."""
    known = [(name, part, place) for name, _, place in components if (part := part_of(name)) is not None]
    warn_of_parts(known, report)
    for name, node, place in components:
        if part_of(name) is None:
            message = f"the component {node['name']} is unknown and not run."
            hint = "What it does to messages or answers is missing from the results."
            report.warning(message, place, hint, rule="custom-component", culprit=node["name"])


def _ignored(content: Mapping[str, Any]) -> frozenset[str]:
    """Class names of the pipeline and the policies that have a part which is not run, and such a store of documents."""
    components = [item for key in ("pipeline", "policies") for item in _components(content, key, Report())]
    stores = [node["vector_store"] for _, node, _ in components if isinstance(node.get("vector_store"), Mapping)]
    names = {name for name, _, _ in components if component_part(name) or policy_part(name)}
    return frozenset(names if all(map(can_be_searched, stores)) else names | {VECTOR_STORE})


def _read_generator(name: str, node: Any, place: Location | None, folders: Sequence[Path], report: Report) -> Generator:
    # Old keys, and those of a class of the project's own, have no effect; a misspelt one would be missed.
    typos = any(did_you_mean(key, _GENERATOR_KEYS) for key in node if key not in _GENERATOR_KEYS)
    known_keys(node, _GENERATOR_KEYS, name, report, severity="error" if typos else "warning")
    limits = get_typed(node, "user_input", dict, report, default={})
    known_keys(limits, ("max_characters",), "user_input", report)
    template_keys = ("prompt", "prompt_template") if GENERATORS[name] == "v1" else ("prompt_template",)
    return Generator(
        name=name,
        dsl_version=GENERATORS[name],
        llm=read_model(node, "llm", report) or MappingProxyType({}),
        prompt_template=read_prompt_template(node, folders, report, "the prompt template", template_keys),
        max_characters=get_typed(limits, "max_characters", int, report, default=420),
        flow_retrieval=_flow_retrieval(node, report),
        minimize_num_calls=get_typed(node, "minimize_num_calls", bool, report, default=True),
        include_date_time=get_typed(node, "include_date_time", bool, report, default=True),
        timezone=read_timezone(node, report),
        location=place,
    )


def _flow_retrieval(node: Any, report: Report) -> FlowRetrieval:
    options = get_typed(node, "flow_retrieval", dict, report, default={})
    known_keys(options, _RETRIEVAL_KEYS, "flow_retrieval", report)
    return FlowRetrieval(
        active=get_typed(options, "active", bool, report, default=True),
        num_flows=get_typed(options, "num_flows", int, report, default=20),
        turns_to_embed=get_typed(options, "turns_to_embed", int, report, default=1),
        should_embed_slots=get_typed(options, "should_embed_slots", bool, report, default=True),
        embeddings=read_model(options, "embeddings", report),
    )


def _policies(content: Mapping[str, Any], file: Path, project: Path, report: Report) -> Mapping[str, Mapping[str, Any]]:
    policies: dict[str, Mapping[str, Any]] = {}
    others = []
    for name, node, place in _components(content, "policies", report):
        known = known_component(node["name"], _POLICIES, project)
        if known is None:
            others.append((name, node, place))
            continue
        policies[known] = node
        _warn_of_subclass(node, known, report)
        check_vector_store(node, place, report)
    _warn_of_others(others, policy_part, report)
    if "FlowPolicy" not in policies:
        report.error(
            "the policies lack FlowPolicy, which runs the flows.",
            location_of(content, "policies") if "policies" in content else Location(file, 1),
            "Add '- name: FlowPolicy' to the policies.",
            rule="no-flow-policy",
        )
    return MappingProxyType(policies)
