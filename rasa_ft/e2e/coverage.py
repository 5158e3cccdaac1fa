"""How much of the flows, and which commands, the tests have exercised.

A flow's steps are its collect, action, call and link steps that can be reached from its first one. Every event of a
conversation names the flow and the step that made it, and that step counts as covered; so does the collect step of a
slot that was filled before it was asked, and the call or link step that started another flow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.calm.events import Event, FlowStarted, SlotSet
from rasa_ft.calm.flows.graph import reachable_steps
from rasa_ft.calm.flows.model import ActionStep, CallStep, CollectStep, Flow, LinkStep, Step
from rasa_ft.e2e.runner import CaseResult, SuiteResult

COLUMNS = ("Flow Name", "Coverage", "Num Steps", "Missing Steps", "Line Numbers for Missing Steps")
# What a suite should reach before it is used for fine-tuning, in per cent.
TOTAL_TARGET = 90.0
FLOW_TARGET = 80.0
# Always listed, so that a missing kind is seen.
COMMAND_KINDS = ("cancel flow", "chitchat", "clarify", "knowledge", "set slot", "skip question", "start flow")

Node = tuple[str, str]


@dataclass(frozen=True)
class FlowCoverage:
    """``steps`` that count and those of them that no test has visited, in the order of the file."""

    flow: Flow
    steps: tuple[Step, ...]
    missing: tuple[Step, ...]

    @property
    def percent(self) -> float:
        return 100.0 * (len(self.steps) - len(self.missing)) / len(self.steps)


@dataclass(frozen=True)
class CoverageReport:
    """One entry per flow that has steps; empty if no conversation was played."""

    flows: tuple[FlowCoverage, ...]

    @property
    def steps(self) -> int:
        return sum(len(flow.steps) for flow in self.flows)

    @property
    def missing(self) -> int:
        return sum(len(flow.missing) for flow in self.flows)

    @property
    def percent(self) -> float:
        """Of all steps of all flows; 0 for an empty report."""
        return 100.0 * (self.steps - self.missing) / self.steps if self.steps else 0.0

    @property
    def reaches_targets(self) -> bool:
        """Whether `TOTAL_TARGET` is met, and `FLOW_TARGET` by each flow."""
        return self.percent >= TOTAL_TARGET and all(flow.percent >= FLOW_TARGET for flow in self.flows)


@dataclass(frozen=True)
class Visits:
    """Which cases, passed or failed, have been where; in the order of the suite.

    ``steps``: by ``(flow id, step id)``, visited ones only. ``slots``: by ``(flow id, slot)``, for every slot that a
    user's flow collects; the cases in which the user has filled it there.
    """

    steps: Mapping[Node, tuple[CaseResult, ...]] = field(default_factory=dict)
    slots: Mapping[Node, tuple[CaseResult, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteCoverage:
    """Coverage and command counts of the passed and of the failed cases, and of both together."""

    passed: CoverageReport
    failed: CoverageReport
    both: CoverageReport
    passed_commands: Mapping[str, int]
    failed_commands: Mapping[str, int]
    visits: Visits = field(default_factory=Visits)

    @property
    def unused_commands(self) -> tuple[str, ...]:
        """Kinds of commands that no test has led to."""
        return tuple(kind for kind in COMMAND_KINDS if not self.passed_commands[kind] + self.failed_commands[kind])


def measure(result: SuiteResult, flows: Mapping[str, Flow]) -> SuiteCoverage:
    """Coverage of a run; cases that could not be judged do not count."""
    passed, failed = result.with_status("passed"), result.with_status("failed")
    return SuiteCoverage(
        passed=coverage(flows, [case.events for case in passed]),
        failed=coverage(flows, [case.events for case in failed]),
        both=coverage(flows, [case.events for case in (*passed, *failed)]),
        passed_commands=count_commands(passed),
        failed_commands=count_commands(failed),
        visits=find_visits([case for case in result.results if case.status in ("passed", "failed")], flows),
    )


def find_visits(results: Iterable[CaseResult], flows: Mapping[str, Flow]) -> Visits:
    """Who was where; patterns are left out of the slots."""
    steps: dict[Node, list[CaseResult]] = {}
    slots: dict[Node, list[CaseResult]] = {
        (flow.id, step.slot): [] for flow in flows.values() if not flow.is_pattern for step in flow.own_collect_steps
    }
    for result in results:
        for node in covered_nodes(flows, result.events):
            steps.setdefault(node, []).append(result)
        for pair in filled_slots(result.events) & slots.keys():
            slots[pair].append(result)
    return Visits(
        {node: tuple(cases) for node, cases in steps.items()}, {pair: tuple(cases) for pair, cases in slots.items()}
    )


def unmet_targets(report: CoverageReport, *, targets: bool = False, minimum: float | None = None) -> tuple[str, ...]:
    """What the report lacks, one sentence each.

    Args:
        targets: hold it to `TOTAL_TARGET` and each flow to `FLOW_TARGET`.
        minimum: hold it to this instead of `TOTAL_TARGET`, in per cent of all steps.
    """
    lacking = []
    needed = minimum if minimum is not None else TOTAL_TARGET if targets else 0.0
    if report.percent < needed:
        lacking.append(f"Coverage of {_floor(report.percent)} % is below {needed:g} %.")
    if targets and (low := [flow for flow in report.flows if flow.percent < FLOW_TARGET]):
        named = ", ".join(f"{flow.flow.id} ({_floor(flow.percent)} %)" for flow in low)
        lacking.append(f"Below {FLOW_TARGET:g} %: {named}.")
    return tuple(lacking)


def _floor(percent: float) -> str:
    """Never rounded up to the target that it misses."""
    return f"{math.floor(percent * 100) / 100:g}"


def coverage(flows: Mapping[str, Flow], conversations: Sequence[Sequence[Event]]) -> CoverageReport:
    """Which steps of the user's flows the conversations have visited; patterns are not counted."""
    if not conversations:
        return CoverageReport(())
    covered = {node for events in conversations for node in covered_nodes(flows, events)}
    found = []
    for flow in flows.values():
        steps = countable_steps(flow)
        if steps:
            missing = tuple(step for step in steps if (flow.id, step.id) not in covered)
            found.append(FlowCoverage(flow, steps, missing))
    return CoverageReport(tuple(found))


def countable_steps(flow: Flow) -> tuple[Step, ...]:
    """The steps that a conversation can visibly reach; none for patterns."""
    if flow.is_pattern:
        return ()
    reachable = reachable_steps(flow)
    visible = (step for step in flow.steps if isinstance(step, CollectStep | ActionStep | CallStep | LinkStep))
    return tuple(step for step in visible if step.id in reachable)


def covered_nodes(flows: Mapping[str, Flow], events: Iterable[Event]) -> set[Node]:
    """``(flow id, step id)`` of everything that one conversation has visited."""
    events = tuple(events)
    covered: set[Node] = set()
    for event in events:
        if event.flow_id is not None and event.step_id is not None:
            covered.add((event.flow_id, event.step_id))
        elif isinstance(event, FlowStarted) and event.flow_id is not None and event.parent_flow_id is not None:
            covered.add((event.parent_flow_id, event.parent_step_id or ""))
    for flow_id, slot in filled_slots(events):
        covered |= _collecting(flows, flow_id, slot)
    return covered


def filled_slots(events: Iterable[Event]) -> set[Node]:
    """``(flow id, slot)``: what messages have filled, in the flow that was on top and in those that it called then."""
    pairs: set[Node] = set()
    filled: set[str] = set()  # by a message, and not reset by a flow since
    for event in events:
        if event.flow_id is not None and event.step_id is not None:
            continue
        if isinstance(event, SlotSet) and event.reset:
            filled.discard(event.slot)
        elif isinstance(event, SlotSet) and event.flow_id is not None:
            filled.add(event.slot)
            pairs.add((event.flow_id, event.slot))
        elif isinstance(event, FlowStarted) and event.flow_id is not None and event.parent_flow_id is not None:
            # What the caller's message has filled already is not asked again in the called flow.
            pairs |= {(event.flow_id, slot) for slot in filled}
    return pairs


def _collecting(flows: Mapping[str, Flow], flow_id: str, slot: str) -> set[Node]:
    steps = flows[flow_id].own_collect_steps if flow_id in flows else ()
    return {(flow_id, step.id) for step in steps if step.slot == slot}


def count_commands(results: Iterable[CaseResult]) -> dict[str, int]:
    """How often each kind of command came out of the turns, after clean-up; by name, `COMMAND_KINDS` always there."""
    counts = Counter(command.name for result in results for turn in result.turns for command in turn.commands)
    return {kind: counts[kind] for kind in sorted({*COMMAND_KINDS, *counts})}


def table(report: CoverageReport, root: Path | None = None) -> list[tuple[str, float, int, int, str]]:
    """One row per flow in the order of `COLUMNS`; files are named relative to ``root``. The total is not among them."""
    return [
        (
            f"{relative(flow.flow.location.file, root)}::{flow.flow.name}",
            flow.percent,
            len(flow.steps),
            len(flow.missing),
            _lines(flow.missing),
        )
        for flow in report.flows
    ]


def as_json(measured: SuiteCoverage, root: Path | None = None) -> dict[str, Any]:
    """Everything as plain data, missing steps by id."""
    reports = {"passed": measured.passed, "failed": measured.failed, "all": measured.both}
    return {
        **{name: _report_json(report, root) for name, report in reports.items()},
        "commands": {"passed": dict(measured.passed_commands), "failed": dict(measured.failed_commands)},
        "slots": _slots_json(measured.visits),
        "targets": {"total": TOTAL_TARGET, "flow": FLOW_TARGET},
    }


def _slots_json(visits: Visits) -> dict[str, dict[str, dict[str, int]]]:
    """By flow and slot, in how many cases of each status the slot was filled."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for (flow_id, slot), cases in visits.slots.items():
        counts = {status: sum(case.status == status for case in cases) for status in ("passed", "failed")}
        found.setdefault(flow_id, {})[slot] = counts
    return found


def _report_json(report: CoverageReport, root: Path | None) -> dict[str, Any]:
    return {
        "coverage": report.percent,
        "steps": report.steps,
        "missing": report.missing,
        "flows": {
            flow.flow.id: {
                "coverage": flow.percent,
                "steps": len(flow.steps),
                "missing": {
                    step.id: f"{relative(step.location.file, root)}:{step.location.line}" for step in flow.missing
                },
            }
            for flow in report.flows
        },
    }


def _lines(steps: Iterable[Step]) -> str:
    places = sorted((step.location.line, max(step.location.line, step.location.end_line)) for step in steps)
    return f"[{', '.join(f'{first}-{last}' for first, last in places)}]"


def relative(file: Path, root: Path | None) -> Path:
    return file.relative_to(root) if root is not None and file.is_relative_to(root) else file
