"""Findings that only follow from a broken file: a name is unknown because the file that defines it cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rasa_ft.calm.checks.findings import Finding

# After these a file's names are not known.
_HIDES_NAMES = frozenset({"unreadable-file", "broken-section", "no-domain", "no-flows"})
_NEEDS_DOMAIN = frozenset(
    {
        "unknown-slot",
        "unknown-action",
        "unknown-response",
        "unknown-placeholder",
        "missing-ask",
        "missing-validation-response",
        "missing-rejection-response",
        "run-action-every-turn",
    }
)
_NEEDS_FLOWS = frozenset({"unknown-flow"})
# What can only be said of a flow whose steps were all read.
_NEEDS_STEPS = frozenset({"unused-persisted-slot"})


def without_consequences(
    findings: Sequence[Finding],
    *,
    config: Sequence[Finding],
    domain: Sequence[Finding],
    flows: Sequence[Finding],
) -> list[Finding]:
    """The ``findings`` of checks between files, less those that follow from problems in one of them.

    Args:
        config, domain, flows: what was found while these were read.
    """
    domain_incomplete, flows_incomplete = _hides_names(domain), _hides_names(flows)
    broken = {finding.location.file for finding in flows if finding.severity == "error" and finding.location}
    csat = any(finding.rule == "csat-values" for finding in findings)
    language_unknown = any(finding.rule == "unreadable-file" for finding in config)
    return [
        finding
        for finding in findings
        if not (domain_incomplete and finding.rule in _NEEDS_DOMAIN)
        and not (flows_incomplete and _needs_flows(finding))
        and not (finding.rule in _NEEDS_STEPS and _file(finding) in broken)
        and not (csat and finding.rule == "impossible-comparison" and "'csat_score'" in finding.message)
        and not (language_unknown and finding.rule == "unknown-slot" and finding.culprit == "language")
    ]


def _hides_names(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" and finding.rule in _HIDES_NAMES for finding in findings)


def _needs_flows(finding: Finding) -> bool:
    starts_flow = finding.rule == "unknown-action" and (finding.culprit or "").startswith("flow_")
    return finding.rule in _NEEDS_FLOWS or starts_flow


def _file(finding: Finding) -> Path | None:
    return finding.location.file if finding.location else None
