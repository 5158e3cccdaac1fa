from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import exp, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.llm.embeddings import build_embedder, embedding_group
from rasa_ft.llm.local_embeddings import DEFAULT_MODEL, is_installed
from rasa_ft.recipe.wordings.diversity import (
    Diversity,
    averaged,
    bleu,
    diversity,
    mean_distance,
    self_bleu,
    spread,
    words,
)

WORDINGS = st.lists(st.lists(st.sampled_from("abcd"), max_size=7), min_size=2, max_size=6)


def test_counted_by_hand() -> None:
    found = diversity("to Rome please", ["a b a", "b c", "A, d!"])
    assert found.distinct_1 == pytest.approx(4 / 7)  # a b c d of a b a b c a d
    assert found.distinct_2 == pytest.approx(4 / 4)  # ab ba bc ad
    assert found.length_ratio == pytest.approx(7 / 3 / 3)
    assert found.spread is None


def test_bleu_by_hand() -> None:
    # Matches: 3 of 4 words, 1 of 3 pairs (ab), none of 2 triples, none of 1 quadruple.
    expected = (3 / 4 * 1 / 3 * 0.5 / 2 * 0.25 / 1) ** (1 / 4)
    assert bleu("abxc", ["ab", "cyyyy"]) == pytest.approx(expected * exp(1 - 5 / 4))
    # The nearest length counts; of 3 and 5 it is the shorter one.
    assert bleu("abxc", ["abq", "cyyyy"]) == pytest.approx(expected)
    # A word counts no more often than the reference with most of it has it: 2 of 3.
    assert bleu("aaa", ["aab", "acd"]) == pytest.approx((2 / 3 * 1 / 2 * 0.5 / 1) ** (1 / 3))
    assert bleu(["a"], [["a"]]) == 1
    assert bleu([], [["a"]]) == bleu(["a"], []) == 0


def test_self_bleu_by_hand() -> None:
    # "a b" and "a c" have one of two words in common and none of one pair.
    assert self_bleu(["ab", "ac", "xy"]) == pytest.approx(2 * sqrt(1 / 2 * 0.5) / 3)


@given(st.lists(st.sampled_from(["to", "rome", "please", "now"]), min_size=1, max_size=8), st.integers(2, 8))
def test_equal_wordings(text: list[str], number: int) -> None:
    found = diversity("x", [" ".join(text)] * number)
    assert found.self_bleu == pytest.approx(1)
    assert found.distinct_1 == pytest.approx(len(set(text)) / (number * len(text)))


@given(st.lists(st.integers(1, 7), min_size=2, max_size=6))
def test_wordings_with_nothing_in_common(lengths: list[int]) -> None:
    found = diversity("x", [" ".join(f"w{index}x{n}" for n in range(length)) for index, length in enumerate(lengths)])
    assert found.self_bleu == 0
    assert found.distinct_1 == 1
    assert found.distinct_2 in (1, None)


@given(WORDINGS, st.randoms())
def test_ranges_and_order(texts: list[list[str]], rng: object) -> None:
    found = diversity("a", [" ".join(text) for text in texts])
    assert all(value is None or 0 <= value <= 1 + 1e-9 for value in (found.distinct_1, found.distinct_2))
    assert found.self_bleu is not None
    assert 0 <= found.self_bleu <= 1 + 1e-9
    shuffled = list(texts)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert self_bleu(shuffled) == pytest.approx(found.self_bleu)


def test_too_little_to_tell() -> None:
    assert diversity("a", []) == Diversity()
    assert diversity("a", ["b"]) == Diversity(distinct_1=1.0, length_ratio=1.0)
    assert diversity("", ["b", "c"]).length_ratio is None


def test_words() -> None:
    assert words("To Rome, please!") == ["to", "rome", "please"]
    assert words("我想去罗马 now") == ["我", "想", "去", "罗", "马", "now"]


def test_averages_leave_out_what_is_missing() -> None:
    mean = averaged([Diversity(0.5, None, 0.2, 1.0), Diversity(1.0, None, None, 2.0, 0.3)])
    assert mean == Diversity(0.75, None, 0.2, 1.5, 0.3)
    assert averaged([]) == Diversity()


# --- embeddings ------------------------------------------------------------------------------------------------------


def cosine_distance(one: Sequence[float], other: Sequence[float]) -> float:
    norms = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    return 1 - sum(x * y for x, y in zip(one, other, strict=True)) / norms if norms else 1.0


def test_distances_by_hand() -> None:
    assert mean_distance([[1, 0], [0, 2]]) == pytest.approx(1)
    assert mean_distance([[1, 0], [-3, 0]]) == pytest.approx(2)
    assert mean_distance([[1, 1], [1, 0], [2, 0]]) == pytest.approx(2 * (1 - 1 / sqrt(2)) / 3)
    assert mean_distance([[0, 0], [1, 0]]) == 1
    assert mean_distance([[1, 0]]) is None


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=8))
def test_the_mean_over_all_pairs(vectors: list[list[float]]) -> None:
    pairs = [(one, other) for index, one in enumerate(vectors) for other in vectors[:index]]
    expected = sum(cosine_distance(one, other) for one, other in pairs) / len(pairs)
    assert mean_distance(vectors) == pytest.approx(expected, abs=1e-9)


@pytest.mark.skipif(not is_installed(), reason="needs the retrieval extra")
def test_paraphrases_are_nearer_than_other_messages() -> None:
    model = {"provider": "huggingface_local", "model": DEFAULT_MODEL}
    embedder = build_embedder(embedding_group(model, {}), project=Path())

    async def both() -> tuple[float | None, float | None, float | None]:
        near = ["I want to go to Rome", "take me to Rome", "Rome please"]
        far = ["I want to go to Rome", "what a lovely weather", "cancel my credit card"]
        return await spread(near, embedder), await spread(far, embedder), await spread(far[:1], embedder)

    near, far, single = asyncio.run(both())
    assert near is not None
    assert far is not None
    assert 0 < near < far
    assert single is None
