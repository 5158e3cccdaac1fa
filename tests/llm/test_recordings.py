from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rasa_ft.errors import DataError, NotRecorded
from rasa_ft.llm.client import Request
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.recordings import RecordedLLM, load_recordings

TURNS = """
turns:
  - user: I need a ticket
    commands: [start flow book_ticket]
    rephrasings:
      - get me a ticket
      - {user: two tickets please, commands: [start flow book_ticket, set slot passengers 2]}
  - user: "two"
    context: {flow: book_ticket, slot: passengers}
    commands: [set slot passengers 2]
    rephrasings: [both of us]
  - user: "two"
    context: {flow: book_ticket, slot: bags}
    commands: [set slot bags 2]
  - user: "two"
    context: {flow: upgrade}
    commands: [set slot class 2]
  - user: stop it
    context: {flow: null}
    commands: [cannot handle]
  - user: stop it
    commands: [cancel flow]
"""


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedLLM:
    (tmp_path / "turns.yml").write_text(TURNS, encoding="utf-8")
    return load_recordings(tmp_path, model="people")


def answer(llm: RecordedLLM, message: str, flow: str | None = None, slot: str | None = None, **hints: object) -> str:
    request = Request.of_prompt("…", user_message=message, active_flow=flow, requested_slot=slot, **hints)
    return asyncio.run(llm.complete(request)).text


@pytest.mark.parametrize(
    ("message", "flow", "slot", "expected"),
    [
        ("I need a ticket", None, None, "start flow book_ticket"),
        ("  I need  a ticket ", "upgrade", "class", "start flow book_ticket"),
        ("get me a ticket", None, None, "start flow book_ticket"),
        ("two tickets please", None, None, "start flow book_ticket\nset slot passengers 2"),
        ("two", "book_ticket", "passengers", "set slot passengers 2"),
        ("two", "book_ticket", "bags", "set slot bags 2"),
        ("two", "upgrade", "anything", "set slot class 2"),
        ("both of us", None, None, "set slot passengers 2"),
        ("stop it", None, None, "cannot handle"),
        ("stop it", "book_ticket", "bags", "cancel flow"),
    ],
)
def test_most_specific_context_wins(
    recorded: RecordedLLM, message: str, flow: str | None, slot: str | None, expected: str
) -> None:
    assert answer(recorded, message, flow, slot) == expected


def test_unknown_and_ambiguous_messages_are_not_guessed(recorded: RecordedLLM) -> None:
    with pytest.raises(NotRecorded, match="'nonsense' is not recorded"):
        answer(recorded, "nonsense")
    with pytest.raises(NotRecorded, match=r"not for flow other and asked slot none.*") as caught:
        answer(recorded, "two", "other")
    assert "turns.yml:" in str(caught.value)


def test_rephrasings_as_json(recorded: RecordedLLM) -> None:
    answered = answer(recorded, "I need a ticket", purpose="rephrase", number=10)
    assert json.loads(answered) == ["get me a ticket", "two tickets please"]
    assert json.loads(answer(recorded, "I need a ticket", purpose="rephrase", number=1)) == ["get me a ticket"]
    assert json.loads(answer(recorded, "stop it", purpose="rephrase", number=5)) == []
    with pytest.raises(NotRecorded):
        answer(recorded, "both of us", purpose="rephrase", number=5)


@pytest.mark.parametrize(
    ("turns", "complaint"),
    [
        ("nothing: []", "a list under `turns:`"),
        ("turns:\n  - {commands: []}", "a turn needs `user:`"),
        ("turns:\n  - {user: 2, commands: []}", "quote yes, no and numbers"),
        ("turns:\n  - {user: a, comands: []}", "Did you mean 'commands'"),
        ("turns:\n  - {user: a, commands: x}", "`commands:` must be a list"),
        ("turns:\n  - {user: a, commands: [x], rephrasings: [3]}", "a rephrasing must be a text"),
        ("turns:\n  - {user: a, commands: [x], rephrasings: [{commands: [x]}]}", "a rephrasing needs `user:`"),
        ("turns:\n  - {user: a, commands: [x]}\n  - {user: a, commands: [y]}", "recorded with other commands at"),
    ],
)
def test_bad_recordings_name_the_line(tmp_path: Path, turns: str, complaint: str) -> None:
    (tmp_path / "bad.yml").write_text(turns, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_recordings(tmp_path, model="m")
    assert complaint in str(caught.value)
    assert "bad.yml:" in str(caught.value)


def test_missing_recordings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no recordings"):
        load_recordings(tmp_path, model="m")
    group = ModelGroup("g", (model_config({"provider": "recorded", "recordings": "nowhere"}),))
    with pytest.raises(DataError, match="does not exist"):
        build_llm(group, project=tmp_path)
