"""The marked excerpt of a finding."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.checks.excerpts import Spot, excerpt, find_spot
from rasa_ft.calm.checks.findings import Finding
from rasa_ft.errors import Location

FILE = Path("f.yml")


def finding(line: int, end: int = 0, column: int = 0, culprit: str | None = None) -> Finding:
    return Finding("error", "x", Location(FILE, line, end, column), culprit=culprit)


LINES = ["slots:", "  city: {type: text}", "  - collect: cty", "    utter: utter_cty", "", "  # cty"]


@pytest.mark.parametrize(
    ("found", "spot"),
    [
        (finding(3, culprit="cty"), Spot(3, 14, 3)),
        (finding(2, 3, culprit="cty"), Spot(3, 14, 3)),  # on a later line of the node
        (finding(3, 4, culprit="utter_cty"), Spot(4, 12, 9)),
        (finding(4, culprit="cty"), Spot(4, 5, 5)),  # no word of its own there: the line
        (finding(2, culprit="type"), Spot(2, 10, 4)),
        (finding(2, column=9), Spot(2, 10, 4)),  # the first word from the column on
        (finding(2, column=99), Spot(2, 3, 4)),
        (finding(2, column=9, culprit="city"), Spot(2, 10, 4)),  # what stands before the column is not it
        (finding(5), Spot(5, 1, 1)),
        (finding(3, culprit="a\nb"), Spot(3, 5, 7)),
        (finding(9), None),
        (Finding("error", "x"), None),
    ],
)
def test_spots(found: Finding, spot: Spot | None) -> None:
    assert find_spot(found, LINES) == spot


def test_the_line_before_is_shown_too() -> None:
    assert excerpt(LINES, Spot(3, 14, 3)) == (
        "2 |   city: {type: text}",
        "3 |   - collect: cty",
        "  |              ^^^",
    )


def test_blank_lines_and_the_top_have_none_before() -> None:
    assert excerpt(LINES, Spot(1, 1, 5)) == ("1 | slots:", "  | ^^^^^")
    assert excerpt(LINES, Spot(6, 5, 3))[0] == "6 |   # cty"


def test_numbers_of_two_widths_line_up() -> None:
    lines = ["x"] * 10
    assert excerpt(lines, Spot(10, 1, 1)) == (" 9 | x", "10 | x", "   | ^")


def test_wide_letters_and_tabs_keep_the_mark_under_its_word() -> None:
    assert excerpt(["\t城市: cty"], Spot(1, 6, 3))[-1] == "  | \t      ^^^"
    assert excerpt(["a: 城市"], Spot(1, 4, 2))[-1] == "  |    ^^^^"


def test_long_lines_are_cut_around_the_mark() -> None:
    line = "a" * 300 + " bad " + "b" * 300
    shown, marks = excerpt([line], Spot(1, 302, 3))
    assert len(shown) < 120 and shown.endswith("bad…")
    assert shown[marks.index("^") : marks.index("^") + 3] == "bad"


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.data())
def test_any_place_in_any_file_can_be_shown(lines: list[str], data: st.DataObject) -> None:
    line = data.draw(st.integers(-1, 6))
    culprit = data.draw(st.none() | st.text(max_size=5))
    spot = find_spot(finding(line, data.draw(st.integers(0, 6)), data.draw(st.integers(-1, 50)), culprit), lines)
    assert (spot is None) == (not 0 < line <= len(lines))
    if spot is not None:
        shown = excerpt(lines, spot)
        assert 2 <= len(shown) <= 3 and set(shown[-1].split("|", 1)[1].strip()) == {"^"}
