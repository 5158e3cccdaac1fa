from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.recipe.wording import (
    contains_literally,
    distinct,
    exchange_values,
    is_near,
    jaccard,
    normal_value,
    normalised,
    states,
)


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("Yes, please!", "yes please", True),
        ("I would like to book a ticket to Rome", "I would like to book a tickt to Rome", True),
        ("I want 2 tickets for tomorrow please", "I want 3 tickets for tomorrow please", False),
        ("stop it", "please stop", False),
        ("?", "!", False),
    ],
)
def test_near(one: str, other: str, near: bool) -> None:
    assert is_near(one, other) is near
    assert is_near(other, one) is near


def test_distinct_keeps_the_first_of_each_wording() -> None:
    texts = ["Hello  there", "good day", "", "hello there!", "Good day.", "hi"]
    assert distinct(texts, "Hi!") == ["Hello there", "good day"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(True, "true"), (4, "4.0"), (" New York ", "new york"), ("St. Gallen", "st gallen"), (None, "None"), ("07", 7)],
)
def test_spellings_of_one_value(one: object, other: object) -> None:
    assert normal_value(one) == normal_value(other)


def test_different_values_differ() -> None:
    assert len({normal_value(value) for value in (True, False, 1, 2, "one", "two", None)}) == 7


def test_states_means_whole_words() -> None:
    assert states("to New York, please", "new york")
    assert not states("to New Yorkshire", "new york")
    assert not states("anything", "")


def test_exchange_is_simultaneous_and_of_whole_words() -> None:
    mapping = {"Rome": "Paris", "Paris": "Rome", "New York": "Oslo"}
    assert exchange_values("rome to Paris, not Romeo; new york", mapping) == "Paris to Rome, not Romeo; Oslo"
    assert exchange_values("as it is", {}) == "as it is"


@given(st.text(), st.text(min_size=1, alphabet="abcXYZ12"))
def test_exchange_puts_the_new_value_where_the_old_one_was(text: str, value: str) -> None:
    changed = exchange_values(text, {value: "q-q"})
    assert contains_literally(text, value) == (changed != text)
    assert not contains_literally(changed, value)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_jaccard() -> None:
    assert jaccard(["a", "b"], ["b", "c"]) == pytest.approx(1 / 3)
    assert jaccard([], []) == 0
