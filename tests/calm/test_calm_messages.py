from __future__ import annotations

import pytest
from desk_assistant import Talk
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CannotHandle, Error, Restart, SessionStart, SetSlot, StartFlow
from rasa_ft.calm.dialogue.messages import EMPTY, TOO_LONG, Reading, intent_name, read_message
from rasa_ft.engine.embedded import EmbeddedEngine

LIMIT = 60


def read(talk: Talk, text: str, limit: int = LIMIT) -> Reading:
    return read_message(text, talk.conversation.tracker, talk.engine.runtime, limit)


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("/SetSlots(day=friday)", (SetSlot("day", "friday"),)),
        ("/SetSlots(day=friday, floor = 2)", (SetSlot("day", "friday"), SetSlot("floor", "2"))),
        ("/SetSlots(day='friday')", (SetSlot("day", "'friday'"),)),
        ("/SetSlots(day=NULL)", (SetSlot("day", None),)),
        ("/SetSlots(topic=[a, b])", (SetSlot("topic", "[a, b]"),)),
        ("/book", (StartFlow("book_desk"),)),
        ('/book{"day": "friday"}', (StartFlow("book_desk"),)),
        ("/book@0.9", (StartFlow("book_desk"),)),
        ("/thanks", ()),
        ("/back", (CannotHandle("cannot_handle_invalid_intent"),)),
        ("/restart", (Restart(),)),
        ("/session_start", (SessionStart(),)),
        ("", (Error(EMPTY),)),
        (" \n", (Error(EMPTY),)),
        ("x" * (LIMIT + 1), (Error(TOO_LONG, (("max_characters", LIMIT),)),)),
        ("x" * LIMIT, None),
        ("hello", None),
    ],
)
def test_what_is_understood_without_a_model(talk, text, commands):
    assert read(talk, text) == Reading(text, commands)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("/SetSlots(nowhere=1)", "SetSlots(nowhere=1)"),
        ("/SetSlots(day)", "SetSlots(day)"),
        ("/unheard_of", "unheard_of"),
        ("// what is this", "what is this"),
    ],
)
def test_other_slash_messages_go_to_the_model_without_their_slash(talk, text, asked):
    assert read(talk, text) == Reading(asked)


@pytest.mark.parametrize(
    ("text", "name"),
    [("/book", "book"), ('/book@0.9{"day": 1}', "book"), ("/unheard_of", "unheard_of"), ("/SetSlots(day=1)", None)],
)
def test_the_intent_that_custom_actions_are_told(text, name):
    assert intent_name(text) == name
    assert intent_name(f"x {text}") is None


def test_values_of_buttons_are_marked(talk):
    (command,) = read(talk, "/SetSlots(day=friday)").commands
    assert command.extractor == "CommandPayloadReader"


def test_no_limit(talk):
    assert read(talk, "x" * 5000, limit=-1) == Reading("x" * 5000)


def test_a_question_that_takes_any_text_takes_payloads_too(talk):
    talk.say("start flow leave_note")
    assert read(talk, "/restart").commands == (SetSlot("note", "/restart"),)


@given(st.text(max_size=40))
def test_every_text_can_be_read(desk_engine: EmbeddedEngine, text: str) -> None:
    reading = read(Talk(desk_engine), text)
    assert reading.commands is not None or reading.text.strip()
