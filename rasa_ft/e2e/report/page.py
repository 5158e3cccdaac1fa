"""The coverage of a test run as one HTML page that needs nothing else: what is on it comes with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from rasa_ft.calm.flows.graph import reachable_steps
from rasa_ft.calm.flows.model import Flow, Step
from rasa_ft.e2e.coverage import FLOW_TARGET, TOTAL_TARGET, CoverageReport, FlowCoverage, SuiteCoverage, relative
from rasa_ft.e2e.report.drawing import Drawing, draw, kind_of, shortened, subject_of
from rasa_ft.e2e.runner import CaseResult

# So many mentions of a test keep the page small; beyond them, each step lists fewer tests and says how many more.
MOST_MENTIONS = 5000
_FEWEST_TESTS = 3
_CASE_CHARS = 120
# In words, as the colours are no help to everyone.
STATES = {
    "covered": ("✓", "visited by a passed test"),
    "failed": ("!", "visited by failed tests only"),
    "missing": ("✗", "visited by no test"),
    "plain": ("·", "not counted: it says and asks nothing"),
    "cut": ("–", "not counted: no path leads to it"),
}


@dataclass(frozen=True)
class TestMention:
    """A test that visits a step or fills a slot; ``place`` is file and line."""

    __test__ = False  # not for pytest to collect

    name: str
    place: str
    passed: bool


@dataclass(frozen=True)
class StepView:
    """``tests`` are the first ones; so many ``more`` are left out."""

    anchor: str
    id: str
    kind: str
    subject: str
    place: str
    state: str
    tests: tuple[TestMention, ...] = ()
    more: int = 0

    @property
    def counts(self) -> bool:
        return self.state not in ("plain", "cut")


@dataclass(frozen=True)
class SlotView:
    slot: str
    passed: int
    failed: int


@dataclass(frozen=True)
class FlowView:
    """A line of the table and what is behind it; a percentage is None where no such test was played."""

    flow: Flow
    place: str
    passed: float | None
    failed: float | None
    both: float
    missing: int
    total: int
    steps: tuple[StepView, ...]
    slots: tuple[SlotView, ...]
    drawing: Drawing | None

    @property
    def search_text(self) -> str:
        """What the filter looks through, besides the steps, which stand in the page anyway."""
        return f"{self.flow.id} {self.flow.name}".lower()

    @property
    def below_target(self) -> bool:
        return (self.passed or 0.0) < FLOW_TARGET


def render_coverage(measured: SuiteCoverage, *, title: str, root: Path | None = None) -> str:
    """The page as text.

    Args:
        title: of the page, such as the assistant's name.
        root: flow files are named relative to it.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("rasa_ft.e2e.report"), PackageLoader("rasa_ft.evaluation.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, px="{:.4g}".format)
    flows = flow_views(measured, root)
    return environment.get_template("coverage.html.jinja2").render(
        title=title,
        measured=measured,
        flows=flows,
        reports={"passed": measured.passed, "failed": measured.failed, "both": measured.both},
        below=sum(view.below_target for view in flows),
        commands=command_rows(measured),
        pairs=[(view.flow.id, slot) for view in flows for slot in view.slots],
        states=STATES,
        total_target=TOTAL_TARGET,
        flow_target=FLOW_TARGET,
    )


def percent(value: float | None) -> str:
    """``97.5`` as ``97 %``: cut and not rounded, so that a target that is missed does not look met."""
    return "–" if value is None else f"{int(value)}\N{NO-BREAK SPACE}%"


def command_rows(measured: SuiteCoverage) -> list[tuple[str, int, int]]:
    """Kind of command, how often in passed, how often in failed tests."""
    passed, failed = measured.passed_commands, measured.failed_commands
    return [(kind, passed.get(kind, 0), failed.get(kind, 0)) for kind in sorted({*passed, *failed})]


def flow_views(measured: SuiteCoverage, root: Path | None = None) -> list[FlowView]:
    """One per flow that has steps, in the order of the flows."""
    passed, failed = _percentages(measured.passed), _percentages(measured.failed)
    shown = shown_tests([len(cases) for cases in measured.visits.steps.values()])
    views = []
    for number, found in enumerate(measured.both.flows):
        flow = found.flow
        views.append(
            FlowView(
                flow=flow,
                place=f"{relative(flow.location.file, root)}:{flow.location.line}",
                passed=passed.get(flow.id),
                failed=failed.get(flow.id),
                both=found.percent,
                missing=len(found.missing),
                total=len(found.steps),
                steps=tuple(_step_views(number, found, measured.visits.steps, shown)),
                slots=tuple(_slot_views(flow, measured.visits.slots)),
                drawing=draw(flow),
            )
        )
    return views


def _percentages(report: CoverageReport) -> dict[str, float]:
    return {found.flow.id: found.percent for found in report.flows}


def shown_tests(counts: Sequence[int]) -> int:
    """How many tests a step may list so that all steps together keep to `MOST_MENTIONS`."""
    most = max(counts, default=0)
    while most > _FEWEST_TESTS and sum(min(count, most) for count in counts) > MOST_MENTIONS:
        most = max(_FEWEST_TESTS, int(most * 0.8))
    return most


def _step_views(
    number: int, found: FlowCoverage, visits: Mapping[tuple[str, str], tuple[CaseResult, ...]], shown: int
) -> Iterable[StepView]:
    counted = {step.id for step in found.steps}
    reachable = reachable_steps(found.flow)
    for place, step in enumerate(found.flow.steps):
        # Passed ones first: they are the ones that the data are made from.
        cases = sorted(visits.get((found.flow.id, step.id), ()), key=lambda case: not case.passed)
        yield StepView(
            anchor=f"s{number}-{place}",
            id=step.id,
            kind=kind_of(step),
            subject=subject_of(step),
            place=str(step.location.line),
            state=_state(step, cases, counted, reachable),
            tests=tuple(map(_mention, cases[:shown])),
            more=max(0, len(cases) - shown),
        )


def _state(step: Step, cases: Sequence[CaseResult], counted: set[str], reachable: frozenset[str]) -> str:
    if step.id not in reachable:
        return "cut"
    if step.id not in counted:
        return "plain"
    if not cases:
        return "missing"
    return "covered" if any(case.passed for case in cases) else "failed"


def _mention(result: CaseResult) -> TestMention:
    return TestMention(shortened(result.case.name, _CASE_CHARS), str(result.case.location), result.passed)


def _slot_views(flow: Flow, visits: Mapping[tuple[str, str], tuple[CaseResult, ...]]) -> Iterable[SlotView]:
    for slot in dict.fromkeys(step.slot for step in flow.own_collect_steps):
        cases = visits.get((flow.id, slot), ())
        passed = sum(case.passed for case in cases)
        yield SlotView(slot, passed, len(cases) - passed)
