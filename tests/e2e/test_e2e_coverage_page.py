from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.calm.flows.model import END, ActionStep, Branch, CollectStep, Flow, LinkStep, NoopStep, SetSlotsStep, Step
from rasa_ft.e2e.coverage import SuiteCoverage, measure
from rasa_ft.e2e.model import TestCase
from rasa_ft.e2e.report.drawing import MOST_STEPS, draw
from rasa_ft.e2e.report.layout import GAP_X, Box, Edge, lay_out, spread
from rasa_ft.e2e.report.page import MOST_MENTIONS, flow_views, percent, render_coverage, shown_tests
from rasa_ft.e2e.results import write_coverage
from rasa_ft.e2e.runner import CaseResult, Status, SuiteResult
from rasa_ft.engine.base import Turn
from rasa_ft.engine.embedded import load_assistant
from rasa_ft.errors import Location

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>alert(1)</script>\"'&"


def at(line: int) -> Location:
    return Location(Path("bot/data/flows.yml"), line, line + 1)


def flow(flow_id: str, *steps: Step) -> Flow:
    return Flow(flow_id, f"doing {flow_id}", "", steps, at(1))


BOOK = flow(
    "book",
    CollectStep("ask", (Branch('slots.city == "<Bern>"', "yes"), Branch(None, "no")), at(3), slot="city", utter="u"),
    ActionStep("yes", (Branch(None, "set"),), at(5), action="utter_yes"),
    SetSlotsStep("set", (Branch(None, END),), at(6), assignments=(("city", None),)),
    ActionStep("no", (Branch("slots.again", "ask"), Branch(None, "hub")), at(7), action="utter_no"),
    NoopStep("hub", (Branch("slots.x", "hub"), Branch(None, "more")), at(9)),
    LinkStep("more", (), at(11), flow="sell"),
    ActionStep("orphan", (Branch(None, END),), at(13), action="utter_never"),
)
SELL = flow("sell", ActionStep("pitch", (Branch(None, END),), at(40), action="utter_pitch"))
FLOWS = {found.id: found for found in (BOOK, SELL)}


def case(name: str, status: Status, *events: Event, line: int = 2) -> CaseResult:
    turn = Turn("hi", "", "", (), (StartFlow("book"), SetSlot("city", "Bern")), events)
    where = Location(Path("tests/t.yml"), line)
    return CaseResult(TestCase(name, Path("tests/t.yml"), where, ()), status, None, (turn,))


def visit(flow_id: str, step_id: str) -> BotUttered:
    return BotUttered("x", flow_id=flow_id, step_id=step_id)


def measured(*results: CaseResult) -> SuiteCoverage:
    return measure(SuiteResult(results), FLOWS)


RESULTS = (
    case("a failed one", "failed", visit("book", "no"), visit("book", "ask"), line=20),
    case("a passed one", "passed", SlotSet("city", "Bern", flow_id="book"), visit("book", "yes")),
    case("never judged", "error", visit("sell", "pitch")),
)


class Page(HTMLParser):
    """Checks that elements nest; collects what could be fetched, ids, links and classes."""

    EMPTY = frozenset({"meta", "path", "rect", "input", "br", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.classes: Counter[str] = Counter()
        self.scripts = 0
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data") and not str(value).startswith("#"):
                self.fetched.append(f"{tag} {name}={value}")
            if name == "href":
                self.links.append(str(value).removeprefix("#"))
            if name == "id":
                self.ids.append(str(value))
            if name == "class":
                self.classes.update(str(value).split())
            assert not name.startswith("on")
        self.scripts += tag == "script"
        assert tag not in ("link", "iframe", "img", "object", "embed")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def self_contained(html: str) -> Page:
    page = Page(html)
    assert page.open == [] and page.fetched == [] and page.scripts == 1
    assert not re.search(r"https?://|@import|url\((?!#)|fetch\(|XMLHttp", html)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    return page


def test_page_says_what_is_covered_and_by_which_test() -> None:
    page = self_contained(render_coverage(measured(*RESULTS), title="my bot", root=Path("bot")))
    text = " ".join(page.text.split())
    assert "data/flows.yml:1" in text and "bot/data" not in text
    assert "✓ a passed one tests/t.yml:2" in text and "✗ failed: a failed one tests/t.yml:20" in text
    assert "never judged" not in text
    assert "below 90 %" in text.replace("\xa0", " ") and "below 80 %" in text.replace("\xa0", " ")
    assert "start flow 1 1" in text and "✗ clarify 0 0" in text  # command counts
    assert "book city 1 0" in text  # (flow, slot)


def test_states_of_steps() -> None:
    book, sell = flow_views(measured(*RESULTS))
    states = {step.id: step.state for step in book.steps}
    assert states == {
        "ask": "covered",
        "yes": "covered",
        "set": "plain",
        "no": "failed",
        "hub": "plain",
        "more": "missing",
        "orphan": "cut",
    }
    assert [test.name for test in book.steps[0].tests] == ["a passed one", "a failed one"]
    assert (book.passed, book.failed, book.both, book.missing, book.total) == (50.0, 50.0, 75.0, 1, 4)
    assert sell.steps[0].state == "missing" and sell.below_target
    (only,) = flow_views(measured(RESULTS[0]))[1:]
    assert only.passed is None and only.below_target


def test_every_flow_has_a_drawing_with_its_conditions() -> None:
    drawing = draw(BOOK)
    assert drawing is not None
    assert [shape.text for shape in drawing.conditions] == [
        'slots.city == "<Bern>"',
        "else",
        "slots.again",
        "else",
        "else",
    ]
    assert len(drawing.steps) == len(BOOK.steps) and len(drawing.ends) == 2
    assert sum(arrow.back for arrow in drawing.arrows) == 2  # to the question, and to the step itself
    numbers = [float(number) for arrow in drawing.arrows for number in re.findall(r"-?[\d.]+", arrow.path)]
    assert min(numbers) >= 0


def test_names_are_escaped() -> None:
    hostile = Flow(
        HOSTILE,
        HOSTILE,
        "",
        (
            CollectStep(HOSTILE, (Branch(HOSTILE, END), Branch(None, END)), at(3), slot=HOSTILE, utter="u"),
            ActionStep("x" * 3000, (Branch("<b>" * 900, END), Branch(None, END)), at(3), action="y" * 3000),
        ),
        Location(Path(HOSTILE), 1),
    )
    results = (case(HOSTILE, "passed", SlotSet(HOSTILE, 1, flow_id=HOSTILE)), case("<i>" * 5000, "failed"))
    html = render_coverage(measure(SuiteResult(results), {hostile.id: hostile}), title=HOSTILE)
    page = self_contained(html)
    assert "<script>alert" not in html and "<b>" not in html.replace("<b>–", "").replace("<b>1", "").replace("<b>0", "")
    assert HOSTILE in page.text
    assert len(html) < 60_000


def test_nothing_played() -> None:
    page = self_contained(render_coverage(measured(), title="bot"))
    assert "Nothing was played" in page.text


def test_every_step_of_the_example_is_drawn_once() -> None:
    flows = load_assistant(ROOT / "examples/bot").flows
    result = SuiteResult((case("one", "passed"),))
    page = self_contained(render_coverage(measure(result, flows), title="bot"))
    own = [found for found in flows.values() if not found.is_pattern]
    assert page.classes["flow"] == len(own)
    assert page.classes["n"] == sum(len(found.steps) for found in own)
    assert len(page.links) == len(set(page.links)) == page.classes["n"]


def synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_assistant", ROOT / "benchmarks/synthetic_assistant.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def large(folder: Path, cases: int) -> tuple[SuiteResult, dict[str, Flow]]:
    """120 flows; every case visits the first steps of ten of them."""
    synthetic().write_assistant(folder, 119)
    flows = {found.id: found for found in load_assistant(folder).flows.values() if not found.is_pattern}
    ids = list(flows)
    results = [
        case(
            f"a customer orders number {number} and then changes their mind about it",
            "failed" if number % 9 == 0 else "passed",
            *(
                visit(flow_id, step.id)
                for offset in range(10)
                for flow_id in [ids[(number * 7 + offset) % len(ids)]]
                for step in flows[flow_id].steps[: number % 8 + 1]
            ),
            line=number,
        )
        for number in range(1, cases + 1)
    ]
    return SuiteResult(tuple(results)), flows


def test_large_report_stays_small(tmp_path: Path) -> None:
    result, flows = large(tmp_path, 1000)
    html = render_coverage(measure(result, flows), title="large")
    page = self_contained(html)
    assert page.classes["flow"] == 120
    assert len(html.encode()) < 2_000_000
    assert re.search(r"and \d+ more", page.text)


def test_written_beside_the_tables(tmp_path: Path) -> None:
    write_coverage(tmp_path, SuiteResult(RESULTS), FLOWS, Path("bot"))
    html = (tmp_path / "coverage.html").read_text(encoding="utf-8")
    assert "<title>Coverage: bot</title>" in html
    write_coverage(tmp_path, SuiteResult(RESULTS), FLOWS, Path("bot"))
    assert (tmp_path / "coverage.html").read_text(encoding="utf-8") == html


def test_too_large_a_flow_is_listed_but_not_drawn() -> None:
    steps = [ActionStep(f"s{n}", (Branch(None, f"s{n + 1}"),), at(n + 1), action="utter_x") for n in range(MOST_STEPS)]
    last = ActionStep(f"s{MOST_STEPS}", (Branch(None, END),), at(9), action="utter_x")
    assert draw(flow("long", *steps[1:], last)) is not None
    assert draw(flow("long", *steps, last)) is None and draw(flow("none")) is None
    long = flow("long", *steps, last)
    page = self_contained(render_coverage(measure(SuiteResult(RESULTS), {"long": long}), title="bot"))
    assert "Too many steps" in page.text and page.classes["plainly"] == MOST_STEPS + 1


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (100.0, "100\xa0%"), (79.99, "79\xa0%"), (0.0, "0\xa0%")])
def test_a_missed_target_is_not_rounded_up(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_tests_shown_per_step() -> None:
    assert shown_tests([]) == 0
    assert shown_tests([7, 2]) == 7
    assert 3 < shown_tests([1000] * 100) <= MOST_MENTIONS // 100
    assert shown_tests([1000] * 10_000) == 3


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=25))
def test_no_two_things_overlap(size: int, pairs: list[tuple[int, int, bool]]) -> None:
    edges = [Edge(a, b, Box(60, 18) if label else None) for a, b, label in pairs if a != b and max(a, b) < size]
    boxes = [Box(40 + 13 * number % 50, 30) for number in range(size)]
    layout = lay_out(boxes, edges)
    labels = [(place, edge.label) for place, edge in zip(layout.labels, edges, strict=True) if place and edge.label]
    assert len(labels) == sum(edge.label is not None for edge in edges)
    placed = [*zip(layout.boxes, boxes, strict=True), *labels]
    for number, ((x, y), box) in enumerate(placed):
        assert x - box.width / 2 >= -0.01 and x + box.width / 2 <= layout.width + 0.01
        for (other_x, other_y), other in placed[:number]:
            apart = abs(x - other_x) >= (box.width + other.width) / 2 - 0.01
            assert apart or abs(y - other_y) >= (box.height + other.height) / 2
    for edge, route in zip(edges, layout.routes, strict=True):
        assert route[0][0] == layout.boxes[edge.source][0] and route[-1][0] == layout.boxes[edge.target][0]


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(1, 300)), max_size=12))
def test_spread_keeps_order_and_distance(wanted: list[tuple[float, float]]) -> None:
    places = spread([place for place, _ in wanted], [width for _, width in wanted])
    for number in range(1, len(places)):
        needed = (wanted[number - 1][1] + wanted[number][1]) / 2 + GAP_X
        assert places[number] - places[number - 1] >= needed - 1e-6
