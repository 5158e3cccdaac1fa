from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.understanding.chunks import OVERLAP, SIZE, split_text

TEXTS = st.text(st.sampled_from("ab .\n\r!。é\t"), max_size=300) | st.text(max_size=300)


def words(text: str) -> str:
    """What is left of ``text`` without white space."""
    return "".join(text.split())


@given(TEXTS, st.integers(1, 60), st.integers(0, 30))
def test_nothing_is_lost_and_nothing_too_long(text: str, size: int, overlap: int) -> None:
    pieces = split_text(text, size, overlap)
    assert all(piece.strip() == piece and 0 < len(piece) <= size for piece in pieces)
    left = words(text.replace("\r\n", "\n").replace("\r", "\n"))
    # Each piece continues the text, repeating no more than the overlap.
    position = 0
    for piece in map(words, pieces):
        repeated = next(count for count in range(position + 1) if left.startswith(piece, position - count))
        assert repeated <= min(overlap, size // 4)
        position += len(piece) - repeated
    assert position == len(left)


def test_a_short_text_is_one_piece() -> None:
    assert split_text("  One line.\n") == ["One line."]
    assert split_text("") == split_text(" \n\n\t ") == []
    assert (SIZE, OVERLAP) == (1000, 20)


def test_paragraphs_go_before_sentences() -> None:
    text = "First paragraph, of some length.\n\nSecond one. With a sentence more."
    assert split_text(text, 50) == ["First paragraph, of some length.", "Second one. With a sentence more."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one line here\nand the other one", "one line here"),
        ("This is said. That is not said yet", "This is said."),
        ('He asked "why?" and nobody could say', 'He asked "why?"'),
        ("one two three four five six seven", "one two three four"),
        ("这是第一句话。这是第二句话它很长很长很长很长", "这是第一句话。"),
    ],
)
def test_boundaries(text: str, first: str) -> None:
    size = 20 if " " in text else 12
    assert split_text(text, size, 0)[0] == first


def test_the_overlap_is_whole_words() -> None:
    pieces = split_text("alpha beta gamma delta epsilon zeta eta theta", 24, 20)
    assert pieces[0] == "alpha beta gamma delta"
    assert pieces[1].startswith("delta epsilon")


def test_a_word_that_fits_nowhere_is_broken() -> None:
    assert split_text("x" * 25, 10, 5) == ["x" * 10, "x" * 10, "x" * 5]
