from __future__ import annotations

import random
import re
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.recipe import wording
from rasa_ft.recipe.wording import (
    contains_literally,
    distinct,
    exchange_values,
    is_near,
    jaccard,
    near_duplicate_share,
    normal_value,
    normalised,
    states,
)

# Few words and a few slips, so that many pairs are near and many more almost.
PHRASES = ["book a ticket to rome", "could I please book a ticket to rome for friday", "stop it, please", "table for 2"]
SLIPS = [("o", "0"), ("e", ""), ("t", "tt"), ("please", "plese"), ("a ", "the "), ("friday", "monday"), ("2", "3")]
MESSAGES = st.text(alphabet="aab 12.", max_size=25) | st.builds(
    lambda phrase, slips: re.sub("|".join(slips) or "$^", lambda match: dict(SLIPS)[match[0]], phrase, count=2),
    st.sampled_from(PHRASES),
    st.lists(st.sampled_from([slip for slip, _ in SLIPS]), max_size=3),
)


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("Yes, please!", "yes please", True),
        ("I would like to book a ticket to Rome", "I would like to book a tickt to Rome", True),
        ("could I please book a ticket to rome for friday", "could I plexse book a tixket to roxe for friday", True),
        ("could I please book a ticket to rome for friday", "coxld I plexse book a tixket to roxe for friday", False),
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


def test_distinct_from_several_others() -> None:
    assert distinct(["a b", "c d", "e f"], "A b!", "E, f") == ["c d"]


@given(MESSAGES, MESSAGES)
def test_near_is_what_the_sequence_matcher_says(one: str, other: str) -> None:
    first, second = normalised(one), normalised(other)
    numbers = re.findall(r"\d+", first) == re.findall(r"\d+", second)
    ratio = SequenceMatcher(None, first, second, autojunk=False).ratio()
    assert is_near(one, other) == (first == second or (numbers and ratio >= 0.92))


@given(st.lists(MESSAGES, max_size=8), st.lists(MESSAGES, max_size=8))
def test_the_share_of_near_duplicates_is_that_of_all_pairs(texts: list[str], others: list[str]) -> None:
    near = sum(any(is_near(text, other) for other in others) for text in texts)
    assert near_duplicate_share(texts, others) == (near / len(texts) if texts else 0)


def test_few_pairs_need_a_close_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 x 2 000 messages of one topic are 400 000 pairs."""
    looks: list[str] = []

    class Counting(SequenceMatcher[str]):
        def __init__(self, *arguments: object, **options: object) -> None:
            looks.append("")
            super().__init__(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(wording, "SequenceMatcher", Counting)
    rng = random.Random(1)
    vocabulary = " ".join([*PHRASES, "leaving return seat tomorrow cheap bicycle train york"]).split()
    messages = [" ".join(rng.choices(vocabulary, k=rng.randint(4, 9))) for _ in range(2200)]
    near_duplicate_share(messages[:200], messages[200:])
    assert len(looks) < 100
    looks.clear()
    distinct(messages[:50], "x", *messages[50:100])
    assert len(looks) < 10


@pytest.mark.parametrize(
    ("one", "other"),
    [(True, "true"), (4, "4.0"), (" New York ", "new york"), ("St. Gallen", "st gallen"), (None, "None"), ("07", 7)],
)
def test_spellings_of_one_value(one: object, other: object) -> None:
    assert normal_value(one) == normal_value(other)


def test_different_values_differ() -> None:
    assert len({normal_value(value) for value in (True, False, 1, 2, "one", "two", None)}) == 7


def test_long_numbers_differ_in_their_last_digit() -> None:
    assert normal_value("2075550141") != normal_value("2075550142")
    assert normal_value(10) == "10"
    assert normal_value("1e999999999") == "1e999999999"


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
