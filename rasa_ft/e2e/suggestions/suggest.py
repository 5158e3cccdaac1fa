"""Tests that are still missing, as skeletons in which only the words of the user have to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.domain import Domain
from rasa_ft.e2e.coverage import Node, SuiteCoverage, countable_steps
from rasa_ft.e2e.suggestions.kinds import of_kinds
from rasa_ft.e2e.suggestions.skeletons import Suggestion, of_walk
from rasa_ft.e2e.suggestions.values import Values
from rasa_ft.e2e.suggestions.walks import Explorer, walks_to


@dataclass(frozen=True)
class Suggestions:
    """``unreached``: steps that no test visits and that no walk comes to."""

    cases: tuple[Suggestion, ...]
    unreached: tuple[Node, ...] = ()

    @property
    def groups(self) -> dict[str, tuple[Suggestion, ...]]:
        """The cases of each file, in order."""
        found: dict[str, tuple[Suggestion, ...]] = {}
        for case in self.cases:
            found[case.group] = (*found.get(case.group, ()), case)
        return found


def suggest(
    measured: SuiteCoverage,
    flows: Mapping[str, Flow],
    domain: Domain,
    *,
    seen: Mapping[str, Sequence[Any]] | None = None,
    root: Path | None = None,
) -> Suggestions:
    """Conversations that lead to the steps and the kinds of commands that no test has led to, passed or failed.

    About one for each branch that is not visited. The values in them pass the conditions on the way, as far as these
    speak of slots that the user fills; what is up to the assistant's actions is told in a remark.

    Args:
        seen: values that the user gives in tests, by slot (`rasa_ft.e2e.suggestions.values.seen_values`).
        root: the folder that files are named relative to.
    """
    missing = [
        (flow.id, step.id)
        for flow in flows.values()
        for step in countable_steps(flow)
        if (flow.id, step.id) not in measured.visits.steps
    ]
    explorer = Explorer(flows, domain, Values(domain, flows, seen))
    cases = [of_walk(flow, walk, new, domain, root) for flow, walk, new in walks_to(missing, explorer)]
    led_to = {command.name for case in cases for message in case.commands for command in message}
    kinds = [kind for kind in measured.unused_commands if kind not in led_to]
    reached = {node for case in cases for node in case.visits}
    return Suggestions(
        (*cases, *of_kinds(kinds, explorer, domain, root)),
        tuple(node for node in missing if node not in reached),
    )
