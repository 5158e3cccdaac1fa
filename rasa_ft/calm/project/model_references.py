"""Which parts of an assistant name language models, and whether what they name exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rasa_ft.calm.checks.findings import Report, is_kind
from rasa_ft.calm.project.config import Config
from rasa_ft.calm.project.nlg import NLG, Rephrasing
from rasa_ft.errors import Location
from rasa_ft.yaml_source import did_you_mean


@dataclass(frozen=True)
class _Reference:
    """``model`` as written: ``{model_group: id}`` or the keys of a model."""

    what: str
    model: Mapping[str, Any]
    place: Location | None

    @property
    def group(self) -> str | None:
        name = self.model.get("model_group")
        return None if name is None else str(name)


def check_model_references(config: Config, nlg: NLG | None, endpoints: Mapping[str, Any], report: Report) -> None:
    """Report unknown model groups, and models written out beside groups: a project uses one or the other."""
    references = [item for item in _references(config, nlg) if item.model]
    known = _group_ids(endpoints)
    for reference in references:
        if reference.group is not None and reference.group not in known:
            meant = did_you_mean(reference.group, known)
            report.error(
                f"model group '{reference.group}' is not in endpoints.yml.{meant}",
                reference.place,
                rule="unknown-model-group",
                culprit=reference.group,
            )
    if any(reference.group is not None for reference in references):
        for reference in references:
            if reference.group is None:
                report.error(
                    f"{reference.what} writes a model out, while other parts refer to model groups.",
                    reference.place,
                    "Move it to model_groups in endpoints.yml and write {model_group: id}.",
                    rule="mixed-model-references",
                )


def _references(config: Config, nlg: NLG | None) -> Iterable[_Reference]:
    generator = config.generator
    if generator is not None:
        yield _Reference(f"llm of {generator.name}", generator.llm, generator.location)
        embeddings = generator.flow_retrieval.embeddings or {}
        yield _Reference(f"embeddings of {generator.name}", embeddings, generator.location)
    for name, options in config.policies.items():
        for key in ("llm", "embeddings"):
            if is_kind(options.get(key), dict):
                yield _Reference(f"{key} of {name}", options[key], Location(config.file, 1))
    if isinstance(nlg, Rephrasing):
        yield _Reference("llm of nlg", nlg.llm or {}, nlg.location)


def _group_ids(endpoints: Mapping[str, Any]) -> list[str]:
    groups = endpoints.get("model_groups")
    return [str(group.get("id")) for group in groups if is_kind(group, dict)] if isinstance(groups, list) else []
