"""The review queue: written, filled in by a person, read again, obeyed, and never lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import REPHRASINGS, FakeEngine, FakeRephraser
from test_check_opinion import Reader

from rasa_ft.calm.commands import ChitChat, SetSlot
from rasa_ft.calm.flows.model import Flow
from rasa_ft.e2e.cases import Suite
from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.labelling.review import Entry, Review, load_review, write_review
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.settings import PrepareSettings, load_settings
from rasa_ft.recipe.summary import Summary
from rasa_ft.yaml_source import dump_yaml, load_yaml, plain

READER = Reader({"one ticket please": "offtopic reply", "I need a ticket": "provide info"})
BOOK = Flow("book", "book", "Books a ticket.", (), Location(Path("flows.yml"), 1))


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    engine.flows = {"book": BOOK}
    return engine


@pytest.fixture
def prepared(engine: FakeEngine, suite: Suite, tmp_path: Path) -> Callable[..., Summary]:
    def run(**options: Any) -> Summary:
        settings = PrepareSettings(train_frac=1.0, wordings_per_turn=9, **options)
        rephraser = FakeRephraser(REPHRASINGS)
        opinion = SecondOpinion(READER)
        return asyncio.run(prepare_data(settings, engine, suite, rephraser, tmp_path / "out", opinion=opinion))

    return run


def entries(file: Path) -> list[dict[str, Any]]:
    return list(plain(load_yaml(file))["review"])


def decide(file: Path, to: Path, **decisions: Any) -> Path:
    """``file`` with the decisions about the messages that begin with the names (``_`` for a blank)."""
    found = entries(file)
    for name, decision in decisions.items():
        entry = next(entry for entry in found if entry["message"].startswith(name.replace("_", " ")))
        entry["decision"] = decision
    to.write_text(dump_yaml({"review": found}), encoding="utf-8")
    return to


def rows(out: Path) -> list[dict[str, Any]]:
    text = (out / "3_llm_finetune_data/llm_ft_data.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def labels(out: Path, message: str) -> set[str]:
    return {row["completion"] for row in rows(out) if message in (row["rephrased_user_utterance"] or _original(row))}


def _original(row: dict[str, Any]) -> str:
    return str(row["original_user_utterance"])


def said_before(out: Path, message: str) -> bool:
    """Whether a row has ``message`` in its history."""
    return any(f"USER: {message}\n" in row["prompt"] for row in rows(out))


def test_an_entry_shows_everything_that_is_needed_to_decide(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    original, rephrasing = entries(tmp_path / "out/review.yml")
    assert rephrasing == {
        "test": original["test"],
        "turn": 1,
        "rephrases": "I need a ticket",
        "message": "one ticket please",
        "commands": ["start flow book"],
        "other": ["offtopic reply"],
        "reason": "the second opinion differs: missing: start flow book; not in the original: offtopic reply",
        "decision": None,
    }
    assert "decision:\n" in (tmp_path / "out/review.yml").read_text(encoding="utf-8")


def test_an_accepted_rephrasing_is_one_like_the_others(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    out = tmp_path / "out"
    assert not labels(out, "one ticket please")
    review = decide(out / "review.yml", tmp_path / "mine.yml", one_ticket="accept", I_need="accept")
    summary = prepared(review=review)
    assert labels(out, "one ticket please") == {"start flow book"}
    assert said_before(out, "one ticket please")
    assert (summary["num_rephrasings_in_doubt"], summary["num_user_messages_in_doubt"]) == (0, 0)
    assert summary["num_review_decisions"] == 2


def test_a_rejected_rephrasing_is_out_and_not_asked_again(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    out = tmp_path / "out"
    decide(out / "review.yml", out / "review.yml", one_ticket="reject")
    READER.requests.clear()
    prepared()
    assert not labels(out, "one ticket please")
    assert "one ticket please" not in [request.hints["user_message"] for request in READER.requests]
    failing = (out / "2_rephrasings/tests.yml").read_text(encoding="utf-8")
    assert "rejected in the review" in failing


def test_written_commands_make_a_row_that_no_history_has(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    out = tmp_path / "out"
    decide(out / "review.yml", out / "review.yml", one_ticket=["start flow book", "offtopic reply"])
    prepared()
    assert labels(out, "one ticket please") == {"start flow book\nofftopic reply"}
    assert not said_before(out, "one ticket please")
    decide(out / "review.yml", out / "review.yml", one_ticket=["start flow book"])
    prepared()
    assert labels(out, "one ticket please") == {"start flow book"}
    assert said_before(out, "one ticket please"), "the commands are those of the original"


def test_an_original_can_be_corrected_or_left_out(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    out = tmp_path / "out"
    decide(out / "review.yml", out / "review.yml", I_need=["offtopic reply"])
    prepared()
    assert labels(out, "I need a ticket") == {"offtopic reply"}
    assert not labels(out, "ticket, please!"), "the teacher does not understand it as the person does"
    assert said_before(out, "I need a ticket"), "the conversation goes on as it was played"
    assert not said_before(out, "ticket, please!")
    decide(out / "review.yml", out / "review.yml", I_need="reject")
    prepared()
    assert not labels(out, "I need a ticket")
    assert said_before(out, "I need a ticket")


def test_decisions_survive_further_runs(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    out = tmp_path / "out"
    decide(out / "review.yml", out / "review.yml", one_ticket="accept")
    for seed in (1, 2):
        prepared(seed=seed)
        kept = {entry["message"]: entry["decision"] for entry in entries(out / "review.yml")}
        assert kept == {"I need a ticket": None, "one ticket please": "accept"}
    before = (out / "review.yml").read_bytes()
    assert prepared(seed=2).unchanged
    assert (out / "review.yml").read_bytes() == before
    other = decide(out / "review.yml", tmp_path / "other.yml", one_ticket="reject")
    assert not prepared(seed=2, review=other).unchanged
    assert entries(out / "review.yml")[-1]["decision"] == "reject", "the file that is named goes first"


def test_a_decided_wording_need_not_come_again(
    prepared: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared()
    decide(tmp_path / "out/review.yml", tmp_path / "out/review.yml", one_ticket="accept")
    monkeypatch.setitem(REPHRASINGS, "I need a ticket", ["ticket, please!"])
    prepared()
    assert labels(tmp_path / "out", "one ticket please") == {"start flow book"}


def test_decisions_about_what_is_gone_are_told(prepared: Callable[..., Summary], tmp_path: Path) -> None:
    prepared()
    file = decide(tmp_path / "out/review.yml", tmp_path / "mine.yml", one_ticket="accept", I_need="accept")
    file.write_text(file.read_text(encoding="utf-8").replace("rephrases: I need a ticket", "rephrases: I had a ticket"))
    summary = prepared(review=file)
    (gone,) = summary["outdated_review_decisions"]
    assert (gone["turn"], gone["message"]) == (1, "one ticket please")
    assert not labels(tmp_path / "out", "one ticket please")
    assert "one ticket please" in (tmp_path / "out/review.yml").read_text(encoding="utf-8")


BROKEN = """review:
  - test: a
    turn: 1
    message: hello
    commands: [start flow book]
    decision: acept
  - test: a
    turn: none
    message: hello
    commands: [start flow of another time]
    decision: [set slot citty Rome, "disambiguate flows book x", do something]
    note: mine
  - {test: a, turn: 2, message: y, commands: [start flow boook], decision: accept}
  - {test: a, turn: 2, message: x, commands: [], decision: []}
  - {turn: 2}
  - 5
"""


def test_every_problem_of_a_file_with_its_line(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "review.yml"
    file.write_text(BROKEN, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_review([file], engine)
    told = str(caught.value)
    for line, problem in [
        (6, "`decision` must be accept, reject or a list of commands. Did you mean 'accept'?"),
        (8, "`turn` must be a number from 1 on."),
        (11, "'do something' is not a command."),
        (11, "there is no slot 'citty'. Did you mean 'city'?"),
        (11, "there is no flow 'x'."),
        (12, "unknown key 'note' in an entry."),
        (13, "there is no flow 'boook'. Did you mean 'book'?"),
        (14, "`decision` is empty."),
        (15, "an entry needs `test`."),
        (16, "an entry must be a mapping, not a number."),
    ]:
        assert f"review.yml:{line}: {problem}" in told


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "a mapping with the key `review` is needed."),
        ("review: 3\n", "`review` must be a list, not a number."),
        ("review: [\n", "review.yml:"),
        (
            "review:\n- &a {test: t, turn: 1, message: m, commands: [cancel flow], decision: accept}\n"
            "- {test: t, turn: 1, message: m, commands: [cancel flow], decision: reject}\n",
            "review.yml:3: another entry decides otherwise about the same message.",
        ),
    ],
)
def test_files_that_are_no_review(engine: FakeEngine, tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "review.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_review([file], engine)
    assert problem in str(caught.value)


def test_what_is_written_is_read_again(engine: FakeEngine, tmp_path: Path) -> None:
    decided = [
        Entry("t.yml::a", 1, "5", "5", (), (SetSlot("seats", "5"),), "odd: yes", None, "accept"),
        Entry("t.yml::a", 2, "b: [c]", "b", ("USER: x",), (ChitChat(),), "r", (), (SetSlot("city", "${HOME} x"),)),
    ]
    review = Review(tuple(decided))
    write_review(tmp_path / "review.yml", [], review, engine.codec)
    assert load_review([tmp_path / "review.yml"], engine) == review
    assert review.as_data(engine.codec) == Review(tuple(reversed(decided))).as_data(engine.codec)


def test_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "finetune_data.yml"
    (tmp_path / "mine.yml").write_text("review: []\n")
    file.write_text("review: mine.yml\nsecond_opinion: again\naudit: false\n")
    settings = load_settings(file)
    assert (settings.review, settings.second_opinion, settings.audit) == (tmp_path / "mine.yml", "again", False)
    file.write_text("review: none.yml\n")
    with pytest.raises(UsageError, match="review does not exist"):
        load_settings(file)
