"""A whole assistant from its folder: configuration, domain, flows with the default patterns, endpoints; all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.consequences import without_consequences
from rasa_ft.calm.checks.domain_validation import check_domain, check_nlu_mappings
from rasa_ft.calm.checks.findings import Finding, Report
from rasa_ft.calm.flows.loading import Flows, load_flows, read_flows
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.flows.validation import check_flows
from rasa_ft.calm.project.config import Config, Generator, read_config
from rasa_ft.calm.project.document_search import DocumentSearch, read_document_search
from rasa_ft.calm.project.domain import Domain, load_domain, read_domain, with_builtin_slots
from rasa_ft.calm.project.model_references import check_model_references
from rasa_ft.calm.project.nlg import NLG, read_nlg
from rasa_ft.calm.project.nlu_side import NO_NLU_SIDE, NluSide, nlu_side
from rasa_ft.calm.project.out_of_scope import ADAPTER, NLU_DATA, ROUTERS, agent_names, check_endpoints, warn
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import load_yaml, plain

PATTERNS = Path(__file__).parents[1] / "patterns"


@dataclass(frozen=True)
class Sources:
    """The files that an assistant is read from; ``domain`` and ``data`` are files or folders.

    Paths inside config.yml and endpoints.yml are relative to ``project``.
    """

    project: Path
    config: Path
    domain: Path
    data: Path
    endpoints: Path | None


@dataclass(frozen=True)
class Assistant:
    """``flows`` and ``domain`` hold the built-in patterns, slots and responses too, where the assistant has no own.

    ``endpoints`` is endpoints.yml as plain data, empty without such a file. ``nlu_side``: what only rules, stories and
    forms would do, which are not run.
    """

    project: Path
    config: Config
    generator: Generator
    domain: Domain
    flows: Flows
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    sources: Sources | None = None
    nlg: NLG | None = None
    nlu_side: NluSide = NO_NLU_SIDE
    document_search: DocumentSearch | None = None

    @property
    def user_flows(self) -> dict[str, Flow]:
        """The flows that are no patterns, in the order of their files."""
        return {flow.id: flow for flow in self.flows.values() if not flow.is_pattern}


@lru_cache(maxsize=1)
def builtin_flows() -> Flows:
    """The default pattern flows."""
    return load_flows(PATTERNS / "flows.yml")


@lru_cache(maxsize=1)
def builtin_domain() -> Domain:
    """Slots and responses of the default patterns."""
    return load_domain(PATTERNS / "domain.yml")


def find_sources(
    project: Path,
    *,
    config: Path | None = None,
    domain: Path | None = None,
    data: Path | None = None,
    endpoints: Path | None = None,
) -> Sources:
    """Where the assistant's files are: the given paths as they are, the others where a project has them.

    Raises:
        DataError: ``project`` is not a folder, or a given path does not exist.
    """
    if not project.is_dir():
        raise DataError(f"{project} is not a folder.", hint="Name the folder that holds config.yml.")
    for path in (config, domain, data, endpoints):
        if path is not None and not path.exists():
            raise DataError(f"{path} does not exist.", hint="Paths are relative to the working folder.")
    own_endpoints = project / "endpoints.yml"
    return Sources(
        project,
        config or project / "config.yml",
        domain or _domain_path(project),
        data or project / "data",
        endpoints or (own_endpoints if own_endpoints.exists() else None),
    )


def load_assistant(
    project: Path,
    *,
    config: Path | None = None,
    domain: Path | None = None,
    data: Path | None = None,
    endpoints: Path | None = None,
    validate: bool = True,
) -> Assistant:
    """Read and check the assistant in folder ``project``.

    Args:
        config: another file than the project's config.yml; paths in it are still relative to the project.
        domain: another file or folder than the project's domain.yml or domain.
        data: another file or folder than the project's data.
        endpoints: another file than the project's endpoints.yml, if there is one.
        validate: False: what only the validator objects to becomes a warning.

    Raises:
        DataError: every error in every file, each with its place.
    """
    sources = find_sources(project, config=config, domain=domain, data=data, endpoints=endpoints)
    assistant, report = inspect_assistant(sources, validate=validate)
    report.raise_errors()
    assert assistant is not None  # noqa: S101 - without one there was an error above
    return assistant


def inspect_assistant(sources: Sources, *, validate: bool = True) -> tuple[Assistant | None, Report]:
    """Read and check everything, errors or not; None in the assistant's place if there are any.

    What only follows from a broken file is left out: a name that is unknown because the file that defines it cannot
    be read.
    """
    report = Report()
    config = read_config(sources.config, report, sources.project)
    of_config = tuple(report.findings)
    contents = _read_endpoints(sources.endpoints, report)
    endpoints_are_readable = len(report.errors) == len(Report(list(of_config)).errors)
    check_endpoints(contents, report)
    nlg = read_nlg(contents, sources.project, report)
    document_search = read_document_search(config, sources.project, report)
    if endpoints_are_readable:
        check_model_references(config, nlg, contents, report)
    start = len(report.findings)
    domain = _full_domain(read_domain(sources.domain, report), config, report)
    of_domain = tuple(report.findings[start:])
    start = len(report.findings)
    flows = _full_flows(sources.data, report)
    of_flows = tuple(report.findings[start:])
    _warn_of_set_aside(report)
    crossed = _between_files(sources.project, config, domain, flows, contents, validate)
    report.findings += without_consequences(crossed.findings, config=of_config, domain=of_domain, flows=of_flows)
    if report.errors or config.generator is None:
        return None, report
    side = nlu_side([content for _, content in report.set_aside], flows, domain, config.ignored)
    assistant = Assistant(
        project=sources.project,
        config=config,
        generator=config.generator,
        domain=domain,
        flows=flows,
        endpoints=plain(contents),
        warnings=report.warnings,
        sources=sources,
        nlg=nlg,
        document_search=document_search,
        nlu_side=side,
    )
    return assistant, report


def _between_files(
    project: Path, config: Config, domain: Domain, flows: Flows, endpoints: Mapping[str, Any], validate: bool
) -> Report:
    report = Report()
    check_flows(flows, domain, report, agent_names(project))
    check_domain(domain, endpoints, report)
    # Without a readable configuration nobody knows whether there is an adapter.
    if config.generator is not None and ADAPTER not in config.ignored:
        check_nlu_mappings(domain, report)
    if not validate:
        report.relax(0)
    return report


def _warn_of_set_aside(report: Report) -> None:
    if report.set_aside:
        file = report.set_aside[0][0]
        warn(NLU_DATA, Location(file, 1), report, [path.name for path, _ in report.set_aside])


def _domain_path(project: Path) -> Path:
    """``domain.yml`` goes before the folder ``domain``."""
    names = ("domain.yml", "domain.yaml", "domain")
    return next((project / name for name in names if (project / name).exists()), project / "domain.yml")


def _full_domain(domain: Domain, config: Config, report: Report) -> Domain:
    if config.language is not None and "language" in domain.slots:
        report.error(
            "slot 'language' is made by the runtime from config.yml and cannot be defined.",
            domain.slots["language"].location,
            rule="reserved-slot",
            culprit="language",
        )
    routed = bool(ROUTERS & config.ignored)
    full = domain.over(builtin_domain())
    return with_builtin_slots(full, config.language, config.additional_languages, routed=routed)


def _full_flows(data: Path, report: Report) -> Flows:
    """The assistant's flows in their order, then the default patterns that it does not replace."""
    errors_before = len(report.errors)
    own = read_flows(data, report) if data.exists() else {}
    if all(flow.is_pattern for flow in own.values()) and len(report.errors) == errors_before:
        report.error(
            f"there are no flows in {data}.", hint="A flow file is YAML with the key 'flows'.", rule="no-flows"
        )
    patterns = {flow_id: flow for flow_id, flow in builtin_flows().items() if flow_id not in own}
    return MappingProxyType({**own, **patterns})


def _read_endpoints(file: Path | None, report: Report) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return {}
    if content is not None and not isinstance(content, Mapping):
        report.error("endpoints must be a mapping such as 'model_groups: […]'.", Location(file, 1), rule="wrong-type")
        return {}
    return content or {}
