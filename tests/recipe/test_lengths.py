from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="training libraries are not installed")

import tiny_tokenizers

from rasa_ft.errors import DataError, Location, MissingRequirement
from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.rows.lengths import Distribution, fitting, load_tokenizer, measured, prompt_lengths, row_lengths
from rasa_ft.training.rows import Example
from rasa_ft.training.tokens import encode

POINT = DataPoint("Flows: a\nUSER: hi", "start flow a", "tests.yml::a", 0, 0, "original", "hi", "hi")
TOKENIZER = tiny_tokenizers.chatml()


def longer(number: int) -> DataPoint:
    """A row of ``number`` more letters, each of which is a token; turn ``number``."""
    return replace(POINT, prompt=POINT.prompt + "!" * number, turn=number)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_percentiles_are_counts_that_occur(counts: list[int]) -> None:
    found = Distribution.of(counts)
    assert found is not None
    assert {found.p50, found.p90, found.p99} <= set(counts)
    assert found.p50 <= found.p90 <= found.p99 <= found.max == max(counts)
    assert 2 * sum(count <= found.p50 for count in counts) >= len(counts)
    assert 2 * sum(count < found.p50 for count in counts) < len(counts)


def test_percentiles_of_a_hundred_and_of_none() -> None:
    assert Distribution.of(range(100, 0, -1)) == Distribution(50, 90, 99, 100)
    assert Distribution.of([]) is None


@pytest.mark.parametrize("name", ["chatml", "llama", "mistral"])
def test_lengths_are_those_that_training_sees(name: str) -> None:
    tokenizer = getattr(tiny_tokenizers, name)()
    [row] = row_lengths(tokenizer, [POINT])
    example = Example(({"role": "user", "content": POINT.prompt},), POINT.completion, Location(Path("x"), 1))
    [trained] = encode(tokenizer, [example], 10_000)
    assert (row.prompt, row.completion, row.total) == (
        len(trained.prompt),
        len(trained.completion),
        len(trained.tokens),
    )


def test_rows_are_measured_with_the_teachers_prompts_beside_them() -> None:
    rows = row_lengths(TOKENIZER, [longer(number) for number in (3, 0, 1, 3)])
    assert [row.point.turn for row in rows] == [3, 0, 1, 3]
    shortest = min(row.total for row in rows)
    teacher = prompt_lengths(TOKENIZER, [POINT.prompt + "?" * 50])
    found = measured(rows, max_length=shortest + 1, teacher=teacher)
    assert found.row == Distribution(shortest + 1, shortest + 3, shortest + 3, shortest + 3)
    assert found.completion == Distribution(13, 13, 13, 13)
    assert found.prompt is not None
    assert found.prompt.max == shortest - 13 + 3
    assert found.teacher_prompt is not None
    assert found.teacher_prompt.max == found.prompt.max + 47
    assert [row.point.turn for row in found.too_long] == [3, 3]
    assert measured([], max_length=1).row is None
    assert measured(rows, max_length=1).teacher_prompt is None


def test_rows_that_would_be_cut_are_refused() -> None:
    rows = row_lengths(TOKENIZER, [longer(number) for number in range(9)])
    limit = rows[1].total
    with pytest.raises(DataError) as caught:
        fitting(rows, max_length=limit)
    text = str(caught.value)
    assert f"7 of 9 rows are longer than {limit} tokens" in text
    assert f"- test 'tests.yml::a', turn 3: {limit + 1} tokens" in text
    assert "turn 2:" not in text
    assert "and 2 more" in text
    assert f"max_length to {rows[-1].total}" in text


def test_or_dropped_and_never_shortened() -> None:
    points = [longer(number) for number in range(9)]
    rows = row_lengths(TOKENIZER, points)
    assert fitting(rows, max_length=rows[1].total, too_long="drop") == points[:2]
    assert fitting(rows, max_length=rows[-1].total) == points


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_transformers(name: str, *given: Any, **more: Any) -> Any:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without_transformers)
    with pytest.raises(MissingRequirement, match=r"needs transformers"):
        load_tokenizer("some/model")


def test_a_base_model_from_a_folder(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    loaded = load_tokenizer(str(tmp_path))
    assert row_lengths(loaded, [POINT]) == row_lengths(TOKENIZER, [POINT])
