"""A small assistant without findings, from which tests break one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rasa_ft.calm.checks.excerpts import find_spot
from rasa_ft.calm.checks.findings import Finding
from rasa_ft.calm.project.assistant import find_sources, inspect_assistant

CONFIG = """\
recipe: default.v1
language: en
assistant_id: test
pipeline:
  - name: CompactLLMCommandGenerator
    llm: {model_group: main}
policies:
  - name: FlowPolicy
"""
ENDPOINTS = """\
model_groups:
  - id: main
    models: [{provider: openai, model: gpt-5.1}]
"""
DOMAIN = """\
slots:
  city: {type: text}
  size: {type: categorical, values: [small, large]}
  flag: {type: bool}
  things: {type: list}
responses:
  utter_ask_city: [{text: Where?}]
  utter_ask_size: [{text: How big?}]
  utter_ask_flag: [{text: Really?}]
  utter_no: [{text: "Not {value}"}]
actions: [action_do]
"""
FLOWS = """\
flows:
  book:
    description: book a room
    steps:
      - collect: city
"""


@dataclass
class Project:
    """The files of an assistant by path; ``write`` lays them out."""

    files: dict[str, str] = field(
        default_factory=lambda: {
            "config.yml": CONFIG,
            "endpoints.yml": ENDPOINTS,
            "domain.yml": DOMAIN,
            "data/flows.yml": FLOWS,
        }
    )

    def write(self, folder: Path) -> Path:
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return folder


def flow(*steps: str, keys: str = "", flow_id: str = "more") -> str:
    """A second flow beside `FLOWS`; its first step begins in line 9, or later if it has ``keys``."""
    lines = "".join(f"      {line}\n" for line in steps)
    return f"{FLOWS}  {flow_id}:\n    description: another one\n{keys}    steps:\n{lines}"


def inspect(folder: Path, **changes: str) -> list[Finding]:
    """All findings of an assistant whose files are as above but for ``changes`` (config, endpoints, domain, flows)."""
    project = Project()
    names = {"flows": "data/flows.yml"}
    for part, text in changes.items():
        project.files[names.get(part, f"{part}.yml")] = text
    return findings(project.write(folder))


def findings(folder: Path) -> list[Finding]:
    return inspect_assistant(find_sources(folder))[1].findings


def marked(finding: Finding) -> str:
    """The text under the carets."""
    assert finding.location is not None
    lines = finding.location.file.read_text(encoding="utf-8").splitlines()
    spot = find_spot(finding, lines)
    assert spot is not None
    return lines[spot.line - 1][spot.column - 1 : spot.column - 1 + spot.length]
