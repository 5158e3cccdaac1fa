"""What is shown of a failed case."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from e2e_doubles import bot
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.events import Event, SlotSet
from rasa_ft.e2e import model as m
from rasa_ft.e2e.matching import Exchange
from rasa_ft.e2e.transcript import classic_diff
from rasa_ft.errors import Location

HERE = Location(Path("t.yml"), 3)
USER = m.UserStep(HERE, "hi")


def compared(events: list[Event], *expectations: m.Step) -> list[str]:
    """The lines below the user's message."""
    return classic_diff([], Exchange(USER, expectations), None, events)[1:]


def test_hints_point_at_what_differs() -> None:
    assert compared([bot("See you on Monday.", "utter_bye")], m.BotStep(HERE, "See you on Monday!")) == [
        '- bot: utter_bye "See you on Monday."',
        "?      ----------                  ^",
        '+ bot: "See you on Monday!"',
        "?                        ^",
    ]
    assert compared([SlotSet("n", "1")], m.SlotWasSetStep(HERE, "n", 1, True)) == [
        "- slot: n = '1' (str)",
        "?           - -  ^ -",
        "+ slot: n = 1 (int)",
        "?              ^^",
    ]


def test_each_goes_with_what_is_most_like_it() -> None:
    events: list[Event] = [bot("Goodbye, Ann.", "utter_bye"), bot("Hello, Ann.", "utter_hello"), bot("Other")]
    found = compared(events, m.BotStep(HERE, "Hello, Anna."), m.UtterStep(HERE, "utter_byes"), m.UtterStep(HERE, "x"))
    assert [line for line in found if line[0] != "?"] == [
        *('- bot: utter_bye "Goodbye, Ann."', "+ utter: utter_byes"),
        *('- bot: utter_hello "Hello, Ann."', '+ bot: "Hello, Anna."'),
        *('- bot: "Other"', "+ utter: x"),
    ]


@pytest.mark.parametrize(
    ("event", "step"),
    [
        (bot("Hello"), m.BotStep(HERE, "Which city?")),
        (bot(None, "utter_hello"), m.BotStep(HERE, "utter_hello")),
        (bot("a" * 3000), m.BotStep(HERE, "a" * 2999)),
        (SlotSet("a", 1), m.SlotWasSetStep(HERE, "b", 1, True)),
        (SlotSet("a", 1), m.SlotWasNotSetStep(HERE, "a", 1, True)),
    ],
)
def test_nothing_points_at_what_is_not_alike(event: Event, step: m.Step) -> None:
    assert not any(line.startswith("?") for line in compared([event], step))


def test_messages_of_several_lines_are_compared_line_by_line() -> None:
    found = compared([bot("Your stay:\n- room 12\n- 2 nights")], m.BotStep(HERE, "Your stay:\n- room 13\n- 2 nights"))
    assert found == [
        '  bot: "Your stay:',
        *("- - room 12", "?         ^", "+ - room 13", "?         ^"),
        '  - 2 nights"',
    ]
    assert compared([bot("a\nb")], m.UtterStep(HERE, "c")) == ['- bot: "a', '- b"', "+ utter: c"]


@given(st.text("ab1 .\t", max_size=12), st.text("ab1 .\t", max_size=12))
def test_hints_are_those_of_ndiff(actual: str, expected: str) -> None:
    found = compared([SlotSet("s", actual)], m.SlotWasSetStep(HERE, "s", expected, True))
    marked = [line[2:] for line in found if line[0] in "+-"]
    if actual != expected and len(found) > 2:
        assert found == [line.rstrip("\n") for line in difflib.ndiff(*([line] for line in marked))]
