from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rasa_ft.calm.commands import ChitChat, Command, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.evaluation.commands import same_commands, score_commands
from rasa_ft.evaluation.comparisons import compare, compare_turns
from rasa_ft.evaluation.gates import Gates
from rasa_ft.evaluation.must_pass import MustPass
from rasa_ft.evaluation.report.plots import latency_svg, save_plots
from rasa_ft.evaluation.report.render import percent, render_report, seconds, side_by_side
from rasa_ft.evaluation.results import CaseOutcome, EvaluationResult, ModelResult, SaidTurn, SplitResult, TurnResult
from rasa_ft.evaluation.summary import SCHEMA, turn_rows, verdict_json
from rasa_ft.evaluation.verdict import decide

CODEC = codec_for("v2")
GOLD: list[tuple[Command, ...]] = [(StartFlow("book"), SetSlot("city", "York")), (SetSlot("day", "<b>today</b>"),)]


def lines(commands: tuple[Command, ...]) -> tuple[str, ...]:
    return tuple(CODEC.dump([command]) for command in commands)


def split_result(split: str, wrong: int, total: int, latency: float | None) -> SplitResult:
    """``total`` conversations of two messages; in the first ``wrong`` ones the model chats at the second message."""
    cases, turns, pairs = [], [], []
    for number in range(total):
        answers = [GOLD[0], (ChitChat(),) if number < wrong else GOLD[1]]
        for position, (expected, predicted) in enumerate(zip(GOLD, answers, strict=True), start=1):
            exact = same_commands(expected, predicted)
            case = f"{split}.yml::case {number} & co"
            turns.append(
                TurnResult(
                    split, case, position, "hi <there>", lines(expected), lines(predicted), exact, latency=latency
                )
            )
            pairs.append((expected, predicted))
        said = tuple(SaidTurn("hi <there>", lines(gold), lines(said)) for gold, said in zip(GOLD, answers, strict=True))
        failed = {"failure": "expected utter: utter_a", "diff": ("  user: hi", "- bot: b", "+ utter: utter_a")}
        passed = number >= wrong
        cases.append(CaseOutcome(split, case, passed, f"{split}.yml:3", turns=said, **({} if passed else failed)))  # type: ignore[arg-type]
    return SplitResult(tuple(cases), tuple(turns), score_commands(pairs))


def model(role: str, wrong: int, latency: float | None = 0.5) -> ModelResult:
    splits = {
        "train": split_result("train", wrong, 20, latency),
        "validation": split_result("validation", wrong, 5, latency),
    }
    return ModelResult(role, f"the {role} model", "a test", splits, 12.0, 60.0)


def evaluation(*, base: bool = True, wrong: int = 1) -> EvaluationResult:
    models = {"base": model("base", 5)} if base else {}
    models |= {"tuned": model("tuned", wrong), "teacher": model("teacher", 0, None)}
    passed = {role: {case.case: case.passed for case in m.splits["validation"].cases} for role, m in models.items()}
    comparisons = [
        compare(role, "validation", passed["tuned"], passed[role], gates=Gates()) for role in passed if role != "tuned"
    ]
    verdict = decide((20 - wrong, 20), (5 - wrong, 5), Gates(), comparisons=comparisons)
    return EvaluationResult("bot <1>", "embedded", "2026-01-02T03:04:05+00:00", models, verdict, {"concurrency": 4})


class Page(HTMLParser):
    """Checks that elements nest and collects what would be fetched from elsewhere."""

    EMPTY = frozenset({"meta", "path", "use", "br", "link", "img", "rect", "line", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            f"{tag} {name}" for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        if tag == "script":
            self.fetched.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(("base", "wrong"), [(True, 1), (False, 0), (True, 5)])
def test_page_is_whole_and_self_contained(base: bool, wrong: int) -> None:
    result = evaluation(base=base, wrong=wrong)
    page = Page(render_report(result))
    assert page.open == []
    assert page.fetched == []
    assert result.verdict.headline in page.text
    assert ("Base F1" in page.text) is base
    assert ("expected utter: utter_a" in page.text) is (wrong > 0)


def test_content_is_escaped() -> None:
    html = render_report(evaluation())
    assert "<there>" not in html
    assert "<b>today</b>" not in html
    assert "bot &lt;1&gt;" in html
    assert "case 0 &amp; co" in html


def test_same_result_same_page() -> None:
    assert render_report(evaluation()) == render_report(evaluation())


def test_json_has_every_number(tmp_path: Path) -> None:
    content = json.loads(json.dumps(verdict_json(evaluation())))
    assert content["schema"] == SCHEMA
    assert content["outcome"] == "not enough evidence"
    tuned = content["models"]["tuned"]["splits"]["validation"]
    assert tuned["conversations"]["passed"] == 4
    assert tuned["conversations"]["failed"] == ["validation.yml::case 0 & co"]
    assert tuned["turns"] == {"exact": 9, "total": 10, "rate": 0.9}
    assert tuned["commands"]["per_command"]["set_slot"]["fn"] == 1
    assert tuned["commands"]["confusion"] == [{"expected": "set_slot", "predicted": "chitchat", "count": 1}]
    assert content["models"]["tuned"]["latency_seconds"] == {"p50": 0.5, "p90": 0.5, "p99": 0.5}
    assert content["models"]["teacher"]["latency_seconds"]["p50"] is None
    assert [row["model"] for row in turn_rows(evaluation())].count("tuned") == 50


def test_table_lines_up_with_the_roles() -> None:
    roles, rows = side_by_side(evaluation())
    assert roles == ["base", "tuned", "teacher"]
    assert all(len(row.cells) == 3 for row in rows)
    assert rows[0].cells[1] == (percent(0.8), f"4 of 5 (38–{percent(0.96)})")


def test_plots_are_pictures(tmp_path: Path) -> None:
    written = save_plots(evaluation(), tmp_path)
    assert [path.name for path in written] == ["pass_rates.png", "commands.png", "latency.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_no_latency_plot_without_times() -> None:
    result = evaluation(base=False)
    models = {"tuned": model("tuned", 1, None), "teacher": result.models["teacher"]}
    silent = EvaluationResult("bot", "embedded", "now", models, result.verdict, {"concurrency": 1})
    assert latency_svg(silent) is None
    assert "<svg" not in render_report(silent)


def test_svg_takes_the_colours_of_the_page() -> None:
    svg = latency_svg(evaluation())
    assert svg is not None
    assert svg.startswith("<svg role=")
    assert "var(--tuned)" in svg
    assert "var(--ink)" in svg
    assert " width=" not in svg.partition(">")[0]


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (None, "–"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.975, "98 %"),
        (0.9968, "99.7 %"),
        (0.001, "0.1 %"),
        (0.99999, "< 100 %"),
        (0.00001, "> 0 %"),
    ],
)
def test_percent_never_claims_all_or_nothing(rate: float | None, shown: str) -> None:
    assert percent(rate).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.0432, "43 ms"), (0.44, "0.4 s"), (34.2, "34 s")])
def test_seconds(value: float | None, shown: str) -> None:
    assert seconds(value).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_every_field_of_the_verdict_is_described() -> None:
    described = (Path(__file__).parents[2] / "docs" / "verdict.md").read_text(encoding="utf-8")
    result = evaluation()
    turns = compare_turns("teacher", "validation", {("a", 1): True}, {("a", 1): True}, gates=Gates())
    must_pass = (MustPass("book", (), ()),)
    content = verdict_json(replace(result, verdict=replace(result.verdict, turns=turns, must_pass=must_pass)))
    parts = (content["gates"][0], content["turns"], content["must_pass"][0], content["comparisons"][0])
    names = {*content, *(name for part in parts for name in part), *content["models"]["tuned"], content["schema"]}
    assert {name for name in names if f"`{name}`" not in described} == set()
