"""Flow files: YAML in, flows with numbered steps and resolved successors out (format: CALM flows).

Nested step lists are steps of the same flow. A step without an ``id`` gets ``<flow>_<n>_<kind>``, n being its place,
from 0, depth first in source order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, known_keys, place_of, shown, texts
from rasa_ft.calm.flows.model import NEXT_PREFIX, Flow, NluTrigger, Step
from rasa_ft.calm.flows.steps import read_steps
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of, parse_yaml

_FLOW_KEYS = frozenset(
    {
        "description",
        "steps",
        "name",
        "if",
        "always_include_in_prompt",
        "nlu_trigger",
        "persisted_slots",
        "run_pattern_completed",
        "translation",
        "file_path",
        "metadata",
        "on_activate",
    }
)
_FLOW_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
# Files that a project of the older kind may have in the same folder.
_OTHER_DATA = ("nlu", "rules", "stories", "lookup", "regex", "synonym", "responses")

Flows = Mapping[str, Flow]


def load_flows(path: Path) -> Flows:
    """The flows of a file, or of all flow files below a folder, by id in order of files and source.

    Raises:
        DataError: all problems of all files. Whether flows fit each other and the domain is not checked here.
    """
    report = Report()
    flows = read_flows(path, report)
    report.raise_errors()
    return flows


def parse_flows(text: str, path: Path) -> Flows:
    """As `load_flows`, for the text of one file."""
    report = Report()
    flows = _collected([_read_content(parse_yaml(text, path), path, report)], report)
    report.raise_errors()
    return flows


def read_flows(path: Path, report: Report) -> Flows:
    """As `load_flows`, with the problems added to ``report``."""
    return _collected([_read_file(file, report) for file in flow_files(path)], report)


def flow_files(path: Path) -> list[Path]:
    """The file itself, or every YAML file below the folder, sorted: the order of flows in prompts."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in (".yml", ".yaml") and file.is_file())
    return [path]


def _read_file(file: Path, report: Report) -> tuple[Flow, ...]:
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return ()
    return _read_content(content, file, report)


def _read_content(content: Any, file: Path, report: Report) -> tuple[Flow, ...]:
    flows: tuple[Flow, ...] = ()
    if isinstance(content, Mapping) and "flows" in content:
        known_keys(content, ("flows", "version", *_OTHER_DATA), "a flow file", report, severity="warning")
        nodes = get_typed(content, "flows", dict, report, default={}, rule="broken-section")
        flows = tuple(_flow(str(name), node, place_of(nodes, name), report) for name, node in nodes.items())
    elif content is not None and not _is_set_aside(content):
        meant = any(did_you_mean(str(key), ("flows",)) for key in content) if isinstance(content, Mapping) else False
        hint = f"It is not read.{' Did you mean the key `flows`?' if meant else ''}"
        report.warning("this is not a flow file: it has no 'flows'.", Location(file, 1), hint, rule="not-a-flow-file")
        return ()
    if _is_set_aside(content):
        report.set_aside.append((file, content))
    return flows


def _is_set_aside(content: Any) -> bool:
    return isinstance(content, Mapping) and any(key in content for key in _OTHER_DATA)


def _collected(files: list[tuple[Flow, ...]], report: Report) -> Flows:
    flows: dict[str, Flow] = {}
    for flow in (flow for file in files for flow in file):
        if flow.id in flows:
            report.error(
                f"flow '{flow.id}' is already defined in {flows[flow.id].location}.",
                flow.location,
                rule="duplicate-flow",
                culprit=flow.id,
            )
        else:
            flows[flow.id] = flow
    return MappingProxyType(flows)


def _flow(flow_id: str, node: Any, place: Location, report: Report) -> Flow:
    if not _FLOW_ID.fullmatch(flow_id) or flow_id in ("START", "END") or flow_id.startswith(NEXT_PREFIX):
        report.error(
            f"'{flow_id}' cannot be the id of a flow.",
            place,
            "Use letters, digits, '_' and '-', not '-' at first.",
            rule="invalid-flow-id",
            culprit=flow_id,
        )
    if not isinstance(node, Mapping):
        report.error(
            f"flow '{flow_id}' must be a mapping with a description and steps.",
            place,
            rule="wrong-type",
            culprit=flow_id,
        )
        return Flow(flow_id, re.sub("[_-]", " ", flow_id), "", (), place)
    known_keys(node, _FLOW_KEYS, "a flow", report)
    return Flow(
        id=flow_id,
        name=get_typed(node, "name", str, report, default=re.sub("[_-]", " ", flow_id)),
        description=_description(flow_id, node, place, report),
        steps=_steps(flow_id, node, place, report),
        location=place,
        guard=_guard(flow_id, node, report),
        always_include_in_prompt=get_typed(node, "always_include_in_prompt", bool, report, default=False),
        nlu_triggers=_nlu_triggers(flow_id, node, report),
        persisted_slots=texts(node, "persisted_slots", report),
        run_pattern_completed=get_typed(node, "run_pattern_completed", bool, report, default=True),
        translated_names=_translated_names(node, report),
    )


def _translated_names(node: Mapping[str, Any], report: Report) -> Mapping[str, str]:
    """``{fr: {name: …}}`` as names by language; other things that may be translated are not shown to users."""
    languages = get_typed(node, "translation", dict, report, default={})
    parts = {str(language): get_typed(languages, language, dict, report, default={}) for language in languages}
    names = {language: get_typed(part, "name", str, report) for language, part in parts.items()}
    return MappingProxyType({language: str(name) for language, name in names.items() if name})


def _description(flow_id: str, node: Mapping[str, Any], place: Location, report: Report) -> str:
    description = get_typed(node, "description", str, report, default="")
    if not description.strip() and not isinstance(node.get("description"), Mapping | list):
        report.error(
            f"flow '{flow_id}' has no description.",
            place,
            "The model chooses flows by what their description says.",
            rule="missing-description",
            culprit=flow_id,
        )
    return str(description).strip()


def _steps(flow_id: str, node: Mapping[str, Any], place: Location, report: Report) -> tuple[Step, ...]:
    nodes = get_typed(node, "steps", list, report, default=[])
    if not nodes:
        if not isinstance(node.get("steps"), Mapping | str):
            report.error(f"flow '{flow_id}' has no steps.", place, rule="empty-steps", culprit=flow_id)
        return ()
    return read_steps(flow_id, nodes, report)


def _guard(flow_id: str, node: Mapping[str, Any], report: Report) -> str | bool | None:
    guard = node.get("if")
    if guard is None or isinstance(guard, str | bool):
        return guard
    report.error(
        f"'if' of flow '{flow_id}' must be a condition, true or false, not {shown(guard)}.",
        location_of(node, "if"),
        rule="wrong-type",
        culprit="if",
    )
    return None


def _nlu_triggers(flow_id: str, node: Mapping[str, Any], report: Report) -> tuple[NluTrigger, ...]:
    nodes = get_typed(node, "nlu_trigger", list, report, default=())
    triggers = []
    for index, entry in enumerate(nodes):
        intent = entry.get("intent") if isinstance(entry, Mapping) else None
        if isinstance(intent, Mapping) and isinstance(intent.get("name"), str):
            threshold = get_typed(intent, "confidence_threshold", float, report, default=0.0)
            triggers.append(NluTrigger(intent["name"], float(threshold)))
        elif isinstance(intent, str):
            triggers.append(NluTrigger(intent))
        else:
            report.error(
                f"an 'nlu_trigger' of flow '{flow_id}' needs an 'intent'.",
                location_of(nodes, index),
                rule="invalid-trigger",
            )
    return tuple(triggers)
