from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_engine import DOWN, REPHRASINGS, FakeEngine, FakeRephraser
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, Command, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.flows.model import Flow
from rasa_ft.e2e.cases import Suite, TestCase
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.errors import Location, UsageError
from rasa_ft.recipe.card.advice import advice
from rasa_ft.recipe.card.drawing import WIDTH, histogram, shares, yields
from rasa_ft.recipe.card.figures import Bin, Counts, Lengths, Material, TestYield, card_of, turn_diversity
from rasa_ft.recipe.card.page import MOST_ITEMS, cell, render_html, render_markdown
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    DataPoint,
    Doubt,
    Judged,
    RephrasedConversation,
    RephrasedTurn,
    Wording,
)
from rasa_ft.recipe.labelling.annotate import Skipped
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.provenance import Origin, named_tests
from rasa_ft.recipe.rows.lengths import RowLength
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.splitting.overlap import measured_overlap
from rasa_ft.recipe.splitting.split import ONE_TEST, Split
from rasa_ft.recipe.summary import Summary

CODEC = codec_for("v2")
HOSTILE = "</script><script>alert(1)</script>|\"'&<b>`*"
SUMMARY = {
    "num_input_e2e_tests": 3,
    "num_annotated_conversations": 2,
    "num_skipped_e2e_tests": 1,
    "num_user_messages_across_conversations": 2,
    "num_user_messages_to_rephrase_across_conversations": 2,
    "num_passing_rephrased_user_messages": 3,
    "num_failing_rephrased_user_messages": 1,
    "num_train_data_points": 2,
    "num_val_data_points": 1,
    "num_train_conversations": 1,
    "num_validation_conversations": 1,
    "num_duplicate_data_points_removed": 0,
    "incomplete": False,
    "leakage": {"training_rows_dropped": 0, "validation_rows_dropped": 0},
}
PARAMS = {
    "tests": "e2e_tests",
    "models": {"teacher": ["openai/gpt"]},
    "parameters": {"num_rephrases": 2, "train_frac": 0.6, "student_prompt": "s.jinja2", "holdout_flows": []},
    "rephrase_config": {"typos": 0.1, "styles": ["short"], "llm": None},
    "versions": {"rasa_ft": "1", "engine": "embedded", "command_syntax": "v2"},
    "hashes": {"student_prompt": "abcdef" * 8},
}


def rephrased(name: str, text: str, command: Command, **turn: Any) -> RephrasedConversation:
    case = TestCase(name, Path("t.yml"), Location(Path("t.yml"), 1), ())
    said = Turn(text, "prompt", None, (command,), (command,), ())
    annotated = AnnotatedTurn(said, annotated=True, rephrase=True, before="")
    return RephrasedConversation(
        AnnotatedConversation(case, Setup(), (annotated,)), (RephrasedTurn(annotated, **turn),)
    )


def point(done: RephrasedConversation, message: str | None = None, kind: str = "original") -> DataPoint:
    turn = done.turns[0].turn
    return DataPoint("a prompt", CODEC.dump(turn.commands), done.key, 0, 0, kind, turn.text, message or turn.text)


def wordings(command: Command, *texts: str) -> tuple[Wording, ...]:
    return tuple(Wording(text, (command,)) for text in texts)


BOOK, STOP = StartFlow("book"), CancelFlow()
TRAIN = rephrased("first", "I need a ticket", BOOK, passing=wordings(BOOK, "one ticket please", "a ticket"))
JUDGED = rephrased(
    "second",
    "no thanks",
    STOP,
    passing=wordings(STOP, "rather not"),
    rejected=(Judged("weather", "another meaning"), Judged("x", "down", is_error=True)),
    doubts=(Doubt("hm", (STOP,), "who knows"),),
)


def material(**changes: Any) -> Material:
    parts = Split(
        train=(TRAIN,),
        validation=(JUDGED,),
        groups={TRAIN.key: TRAIN.key, JUDGED.key: JUDGED.key},
        only_in_validation=(("cancel flow", "", ""),),
        not_in_validation={("start flow", "book", ""): ONE_TEST},
    )
    train = [point(TRAIN), point(TRAIN, "one ticket please", "rephrased")]
    validation = [point(JUDGED)]
    given: dict[str, Any] = {
        "title": "my bot",
        "params": PARAMS,
        "summary": SUMMARY,
        "parts": parts,
        "skipped": (Skipped("third", "the test fails"),),
        "train": train,
        "validation": validation,
        "overlap": measured_overlap(train, validation),
        "diversity": tuple(turn_diversity((TRAIN, JUDGED))),
        "codec": CODEC,
    }
    return Material(**{**given, **changes})


# --- figures ---------------------------------------------------------------------------------------------------------


def test_tables_count_rows_of_both_parts() -> None:
    card = card_of(material())
    assert card.commands == {"start flow": Counts(2, 0), "cancel flow": Counts(0, 1)}
    assert card.kinds == {"original": Counts(1, 1), "rephrased": Counts(1, 0)}
    assert [(row.skill, row.tests, row.rows, row.remark) for row in card.skills] == [
        (("start flow", "book", ""), 1, Counts(2, 0), ONE_TEST),
        (("cancel flow", "", ""), 1, Counts(0, 1), "never trained"),
    ]
    assert card.doubts == 1


def test_what_is_held_out_is_not_lacking() -> None:
    parts = Split((TRAIN,), (JUDGED,), {}, (), {}, held_out=(JUDGED.key,))
    rows = {row.skill: (row.remark, row.lacking) for row in card_of(material(parts=parts)).skills}
    assert rows == {("start flow", "book", ""): ("", False), ("cancel flow", "", ""): ("held out", False)}


def test_yield_of_each_test_the_lowest_first() -> None:
    low, high = card_of(material()).yields
    assert (low.test, low.part, low.share, low.rejected, low.doubtful, low.unchecked) == (
        JUDGED.key, "validation", 0.5, 1, 1, 1,
    )  # fmt: skip
    assert (high.test, high.part, high.share, high.rows) == (TRAIN.key, "training", 1.0, 2)


def test_messages_whose_wordings_are_alike_come_first() -> None:
    same = rephrased("same", "m", STOP, passing=wordings(STOP, "go away now", "go away now", "go away now"))
    other = rephrased("other", "m", STOP, passing=wordings(STOP, "go away now", "please leave me", "I have enough"))
    few = rephrased("few", "m", STOP, passing=wordings(STOP, "go away", "go away"))
    card = card_of(material(diversity=tuple(turn_diversity((few, other, same)))))
    assert [turn.test.partition("::")[2] for turn in card.diversity] == ["same", "other", "few"]


def test_lengths_in_tokens_where_they_were_counted() -> None:
    plain = material()
    assert [one.unit for one in card_of(plain).lengths] == ["characters", "characters"]
    left_out = point(TRAIN, "too long")
    counted = [RowLength(row, 100 + place, 3) for place, row in enumerate((*plain.points, left_out))]
    prompts, answers = card_of(material(train=plain.train, validation=plain.validation, counted=counted)).lengths
    assert prompts.unit == "tokens"
    assert prompts.bins == (Bin(100, Counts(1, 0)), Bin(101, Counts(1, 0)), Bin(102, Counts(0, 1)))
    assert answers.distribution is not None and answers.distribution.max == 3


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=50))
def test_bins_hold_every_row_once(lengths: list[int]) -> None:
    rows = [DataPoint("p" * 3, "c", TRAIN.key, 0, 0, "original", "m", str(place)) for place in range(len(lengths))]
    counted = [RowLength(row, length, 1) for row, length in zip(rows, lengths, strict=True)]
    prompts = card_of(material(train=rows, validation=[], counted=counted)).lengths[0]
    assert sum(one.counts.train for one in prompts.bins) == len(lengths)
    assert len(prompts.bins) <= 26
    assert prompts.bins[0].start <= min(lengths) and max(lengths) < prompts.bins[-1].start + prompts.width


# --- advice ----------------------------------------------------------------------------------------------------------


def told(given: Material) -> list[str]:
    return [one.what for one in advice(given, card_of(given))]


def test_what_a_person_should_look_at_the_gravest_first() -> None:
    found = advice(material(), card_of(material()))
    assert [one.what for one in found] == [
        "1 answer judged but never trained.",
        "1 test gave no data.",
        "1 command trained but never judged.",
        "1 skill trained but never judged: only one test shows it.",
        "1 label in doubt.",
        "1 command in fewer than 5 training rows.",
    ]
    assert [one.grave for one in found] == [True, False, False, False, False, False]
    assert found[1].about == ("third: the test fails",)
    assert found[3].about == ("start flow book",)


def test_advice_of_what_went_wrong() -> None:
    base = material()
    leaked = [*base.validation, point(JUDGED, "one ticket please")]
    assert "1 of 2 validation messages stand in training." in told(
        material(validation=leaked, overlap=measured_overlap(base.train, leaked))
    )
    assert "Some model calls failed, so data are missing." in told(material(summary={**SUMMARY, "incomplete": True}))
    assert "Nothing is judged: all rows are for training." in told(material(validation=[]))
    wanted = {**PARAMS, "parameters": {**PARAMS["parameters"], "train_frac": 0.9}}
    assert any("examples are for training; 90 % were asked for" in line for line in told(material(params=wanted)))
    more = {**PARAMS, "parameters": {**PARAMS["parameters"], "num_rephrases": 10}}
    short = {**PARAMS, "parameters": {**PARAMS["parameters"], "max_length": 20}}
    counted = [RowLength(row, 18, 2 + place) for place, row in enumerate(base.points)]
    assert "2 rows left out: longer than 20 tokens." in told(material(params=short, counted=counted))
    assert "2 tests kept less than 50 % of the rephrasings that were wanted." in told(material(params=more))


def test_no_advice_where_all_is_well() -> None:
    sides = [rephrased(name, f"{name} ticket", BOOK, passing=wordings(BOOK, "a", "b")) for name in ("one", "two")]
    parts = Split((sides[0],), (sides[1],), {done.key: done.key for done in sides}, (), {})
    train, validation = [point(sides[0], f"m {place}") for place in range(5)], [point(sides[1])]
    half = {**PARAMS, "parameters": {**PARAMS["parameters"], "train_frac": 0.5}}
    good = material(params=half, parts=parts, train=train, validation=validation, skipped=())
    assert told(good) == []
    assert "Nothing has to be done before training." in render_html(good)
    assert "Nothing has to be done before training." in render_markdown(good)


# --- drawing ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=25))
def test_bars_stay_inside_and_do_not_overlap(counts: list[tuple[int, int]]) -> None:
    bins = tuple(Bin(10 * place, Counts(*pair)) for place, pair in enumerate(counts))
    plot = histogram(Lengths("Prompts", "tokens", bins, 10, None))
    assert len(plot.bars) == sum(count > 0 for pair in counts for count in pair)
    for bar in plot.bars:
        # A bar is one unit high at least, which may lift a stack by as much.
        assert bar.x >= 0 and bar.x + bar.width <= WIDTH and bar.y >= -1.001 and bar.y + bar.height <= plot.height
    columns = sorted({(bar.x, bar.width) for bar in plot.bars})
    assert all(x + width <= other for (x, width), (other, _) in pairwise(columns))


def test_tests_go_into_the_tenth_of_their_share() -> None:
    tests = [TestYield("t", "training", 10, accepted, 0, 0, 0, 0) for accepted in range(11)]
    tests.append(TestYield("none wanted", "training", 0, 0, 0, 0, 0, 0))
    titles = [bar.title for bar in yields(tests).bars]
    assert titles == [
        *(f"{10 * place} to {10 * place + 10} %: 1 in training" for place in range(9)),
        "90 to 100 %: 2 in training",
    ]


def test_shares_fill_the_width_in_their_order() -> None:
    bars = shares({"accepted": 30, "rejected": 0, "in doubt": 10}, "label").bars
    assert [(bar.kind, bar.x, bar.title) for bar in bars] == [
        ("part0", 0.0, "accepted: 30"),
        ("part2", 0.75 * WIDTH, "in doubt: 10"),
    ]
    assert shares({"accepted": 0}, "label").bars == ()


# --- page ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that elements nest and that nothing would be fetched or run; collects the text."""

    EMPTY = frozenset({"meta", "path", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split())
        assert not self.open
        assert not re.search(r"https?://|@import|url\(", html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed")
        assert not [name for name, _ in attrs if name in ("src", "href", "srcset") or name.startswith("on")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_page_says_what_the_data_are() -> None:
    text = Page(render_html(material())).text
    assert "0 of 1 validation messages stand in training." in text
    assert "3 of 4 wanted" in text and "1 rejected" in text and "1 in doubt" in text and "1 not checked" in text
    assert "Teacher openai/gpt" in text
    assert "s.jinja2, SHA-256 abcdefabcdef…" in text
    assert "num_rephrases: 2, train_frac: 0.6" in text and "typos: 0.1, styles: short" in text


def test_markdown_says_the_same() -> None:
    text = render_markdown(material())
    assert "- **1 answer judged but never trained.**" in text
    assert "| start flow | 2 | 100 % | 0 | 0 % |" in text.replace("\xa0", " ")
    assert "| start flow book | 1 | 2 | 0 | only one test shows it |" in text
    assert "0 of 1 validation messages stand in training." in text
    assert "<" not in text


def test_texts_of_people_are_no_markup() -> None:
    bad = rephrased(HOSTILE, HOSTILE, SetSlot("s", HOSTILE), passing=wordings(STOP, HOSTILE, "a b c", "d e f"))
    parts = Split((bad,), (JUDGED,), {bad.key: bad.key, JUDGED.key: JUDGED.key}, (), {})
    hostile = material(
        title=HOSTILE,
        parts=parts,
        train=[point(bad)],
        skipped=(Skipped(HOSTILE, HOSTILE),),
        diversity=tuple(turn_diversity((bad,))),
    )
    assert HOSTILE in Page(render_html(hostile)).text
    assert "<script" not in render_markdown(hostile)


@given(st.text())
def test_a_cell_stays_one_cell(text: str) -> None:
    shown = cell(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\||\n|<", shown)


def test_nothing_to_judge_and_nothing_rephrased() -> None:
    plain = rephrased("plain", "hello", BOOK)
    parameters = {**PARAMS["parameters"], "num_rephrases": 0, "train_frac": 1.0}
    alone = material(
        params={**PARAMS, "parameters": parameters},
        parts=Split((plain,), (), {plain.key: plain.key}, (), {}),
        train=[point(plain)],
        validation=[],
        overlap=measured_overlap([point(plain)], []),
        diversity=(),
    )
    text = Page(render_html(alone)).text
    assert "There is no validation part." in text
    assert "wanted" not in text
    assert "There is no validation part." in render_markdown(alone)


def test_thousands_of_tests_make_no_heavy_page() -> None:
    many = tuple(
        rephrased(f"test {place} " + "x" * 60, "m" * 60, StartFlow(f"flow_{place}"), passing=wordings(BOOK, "a", "b"))
        for place in range(3000)
    )
    parts = Split(
        many,
        (JUDGED,),
        {done.key: done.key for done in (*many, JUDGED)},
        (),
        {("start flow", f"flow_{place}", ""): ONE_TEST for place in range(3000)},
    )
    heavy = material(parts=parts, train=[point(done) for done in many], skipped=[Skipped("a", "b" * 90)] * 3000)
    html = render_html(heavy)
    assert len(html.encode()) < 1_000_000
    assert f"And {3000 - MOST_ITEMS:,} more.".replace(",", " ") in Page(html).text


# --- in data preparation ---------------------------------------------------------------------------------------------


def prepared(engine: FakeEngine, suite: Suite, out: Path, settings: PrepareSettings, **options: Any) -> Summary:
    rephraser = options.pop("rephraser", FakeRephraser(REPHRASINGS))
    return asyncio.run(prepare_data(settings, engine, suite, rephraser, out, **options))


def test_prepare_writes_the_card(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    origin = Origin("e2e_tests", {"teacher": ["openai/big"], "rephraser": ["openai/small"]})
    summary = prepared(engine, suite, tmp_path / "out", PrepareSettings(train_frac=0.7), origin=origin)
    html = (tmp_path / "out/data_card.html").read_text(encoding="utf-8")
    text = Page(html).text
    overlap = summary["overlap"]
    assert overlap["of_these_found_in_training"] == 0 < overlap["validation_messages"]
    assert f"0 of {overlap['validation_messages']} validation messages stand in training." in text
    assert "Teacher openai/big" in text and "Rephraser openai/small" in text
    assert str(tmp_path) not in html
    markdown = (tmp_path / "out/data_card.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Training data: bot\n")
    assert 0 < summary["diversity"]["distinct_1"] <= 1


def test_equal_runs_give_equal_cards(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    """However often and in what order the models were asked: an interrupted run that goes on has asked for less."""
    cards = []
    for name, concurrency in (("one", 1), ("two", 4)):
        out = tmp_path / name
        if name == "two":
            rephraser = FakeRephraser({**REPHRASINGS, "to Rome": DOWN})
            prepared(engine, suite, out, PrepareSettings(train_frac=0.7), rephraser=rephraser)
        prepared(engine, suite, out, PrepareSettings(train_frac=0.7, concurrency=concurrency))
        cards.append([(out / file).read_bytes() for file in ("data_card.html", "data_card.md", "params.yaml")])
    assert cards[0] == cards[1]


def test_held_out_flows_must_be_known(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    engine.flows = {"book": Flow("book", "book", "", (), Location(Path("flows.yml"), 1))}
    with pytest.raises(UsageError, match=r"holdout_flows names an unknown flow 'boook'\. Did you mean 'book'\?"):
        prepared(engine, suite, tmp_path / "out", PrepareSettings(holdout_flows=("boook",)))
    assert engine.asked == []


def test_tests_are_named_without_telling_where_somebody_works(tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    assert named_tests(bot / "e2e_tests", bot) == "e2e_tests"
    assert named_tests(f"{bot}/e2e_tests/a.yml::a case", bot) == "e2e_tests/a.yml::a case"
    assert named_tests(tmp_path / "out" / "passed.yml", bot) == "passed.yml"
