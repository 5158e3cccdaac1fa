"""A whole assistant from its folder: configuration, domain, flows with the default patterns, endpoints; all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.config import Config, Generator, read_config
from rasa_ft.calm.domain import Domain, load_domain, read_domain, with_builtin_slots
from rasa_ft.calm.domain_validation import check_domain
from rasa_ft.calm.findings import Finding, Report, is_kind
from rasa_ft.calm.flows.loading import Flows, load_flows, read_flows
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.flows.validation import check_flows
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, load_yaml, plain

_PATTERNS = Path(__file__).parent / "patterns"


@dataclass(frozen=True)
class Assistant:
    """``flows`` and ``domain`` hold the built-in patterns, slots and responses too, where the assistant has no own.

    ``endpoints`` is endpoints.yml as plain data, empty without such a file.
    """

    project: Path
    config: Config
    generator: Generator
    domain: Domain
    flows: Flows
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()

    @property
    def user_flows(self) -> dict[str, Flow]:
        """The flows that are no patterns, in the order of their files."""
        return {flow.id: flow for flow in self.flows.values() if not flow.is_pattern}


@lru_cache(maxsize=1)
def builtin_flows() -> Flows:
    """The default pattern flows."""
    return load_flows(_PATTERNS / "flows.yml")


@lru_cache(maxsize=1)
def builtin_domain() -> Domain:
    """Slots and responses of the default patterns."""
    return load_domain(_PATTERNS / "domain.yml")


def load_assistant(project: Path, *, endpoints: Path | None = None) -> Assistant:
    """Read and check the assistant in folder ``project``.

    Args:
        endpoints: the endpoints file; default ``endpoints.yml`` in the project, if there is one.

    Raises:
        DataError: every error in every file, each with its place.
    """
    if not project.is_dir():
        raise DataError(f"{project} is not a folder.", hint="Name the folder that holds config.yml.")
    report = Report()
    config = read_config(project / "config.yml", report)
    contents = _read_endpoints(project, endpoints, report)
    _check_model_groups(config, contents, report)
    errors_before = len(report.errors)
    domain = _full_domain(read_domain(_domain_path(project), report), config, report)
    flows = _full_flows(project, report)
    # What is missing because its file is broken would be reported once more wherever it is named.
    if len(report.errors) == errors_before:
        check_flows(flows, domain, report)
        check_domain(domain, contents, report)
    report.raise_errors()
    assert config.generator is not None  # noqa: S101 - without one there was an error above
    return Assistant(project, config, config.generator, domain, flows, contents, report.warnings)


def _domain_path(project: Path) -> Path:
    """``domain.yml`` goes before the folder ``domain``."""
    names = ("domain.yml", "domain.yaml", "domain")
    return next((project / name for name in names if (project / name).exists()), project / "domain.yml")


def _full_domain(domain: Domain, config: Config, report: Report) -> Domain:
    if config.language is not None and "language" in domain.slots:
        report.error(
            "slot 'language' is made by the runtime from config.yml and cannot be defined.",
            domain.slots["language"].location,
        )
    return with_builtin_slots(domain.over(builtin_domain()), config.language, config.additional_languages)


def _full_flows(project: Path, report: Report) -> Flows:
    """The assistant's flows in their order, then the default patterns that it does not replace."""
    data = project / "data"
    errors_before = len(report.errors)
    own = read_flows(data, report) if data.is_dir() else {}
    if all(flow.is_pattern for flow in own.values()) and len(report.errors) == errors_before:
        report.error(f"there are no flows in {data}.", hint="A flow file is YAML with the key 'flows'.")
    patterns = {flow_id: flow for flow_id, flow in builtin_flows().items() if flow_id not in own}
    return MappingProxyType({**own, **patterns})


def _read_endpoints(project: Path, endpoints: Path | None, report: Report) -> Mapping[str, Any]:
    file = endpoints or project / "endpoints.yml"
    if endpoints is None and not file.exists():
        return {}
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return {}
    if content is not None and not isinstance(content, Mapping):
        report.error("endpoints must be a mapping such as 'model_groups: […]'.", Location(file, 1))
        return {}
    return MappingProxyType(plain(content or {}))


def _check_model_groups(config: Config, endpoints: Mapping[str, Any], report: Report) -> None:
    generator = config.generator
    if generator is None or generator.model_group is None:
        return
    groups = endpoints.get("model_groups") or []
    known = [str(group.get("id")) for group in groups if is_kind(group, dict)] if isinstance(groups, list) else []
    if generator.model_group not in known:
        report.error(
            f"model group '{generator.model_group}' is not in endpoints.yml."
            f"{did_you_mean(generator.model_group, known)}",
            generator.location,
        )
