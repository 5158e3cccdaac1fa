"""How long the rows are in tokens of the base model, and what to do with those that training would have to cut.

A row that is too long is refused or dropped, never shortened: training must see the prompts that serving renders, and
what serving shows of a conversation is decided by the template alone (`student.jinja2`: the last three lines). Whoever
wants shorter prompts shortens the template, which then holds for both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rasa_ft.errors import DataError, Location, MissingRequirement
from rasa_ft.recipe.conversations import DataPoint

TooLong = Literal["error", "drop"]
# How many rows an error names.
_SHOWN = 5
_NOWHERE = Location(Path(), 0)


@dataclass(frozen=True)
class Distribution:
    """Token counts at nearest-rank percentiles."""

    p50: int
    p90: int
    p99: int
    max: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Distribution | None:
        """None: there are no counts."""
        ordered = sorted(counts)
        if not ordered:
            return None
        ranks = (-(-len(ordered) * percent // 100) for percent in (50, 90, 99, 100))
        return cls(*(ordered[rank - 1] for rank in ranks))


@dataclass(frozen=True)
class RowLength:
    """Tokens of a row: the prompt with what the chat template puts around it, and the answer with its end token."""

    point: DataPoint
    prompt: int
    completion: int

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __str__(self) -> str:
        return f"test '{self.point.conversation}', turn {self.point.turn + 1}: {self.total} tokens"


@dataclass(frozen=True)
class Lengths:
    """Lengths of all rows in tokens of one base model; ``too_long`` rows have more than ``max_length`` in all."""

    max_length: int
    prompt: Distribution | None
    completion: Distribution | None
    row: Distribution | None
    too_long: tuple[RowLength, ...]
    teacher_prompt: Distribution | None = None


def load_tokenizer(base_model: str) -> Any:
    """The tokenizer of a base model, a folder or a hub name.

    Raises:
        DataError: nothing can be loaded under this name, or it has no chat template.
        MissingRequirement: the training libraries are not installed.
    """
    from rasa_ft.training import base_models

    try:
        return base_models.load_tokenizer(base_model)
    except ImportError as error:
        raise MissingRequirement(
            f"counting tokens needs {error.name}.", hint="pip install 'rasa_ft[train]' -c constraints/cpu.txt"
        ) from None


def row_lengths(tokenizer: Any, points: Sequence[DataPoint]) -> list[RowLength]:
    """The lengths of ``points`` as training will see them, in their order."""
    counted = _counted(tokenizer, [(point.prompt, point.completion) for point in points])
    return [RowLength(point, *counts) for point, counts in zip(points, counted, strict=True)]


def prompt_lengths(tokenizer: Any, prompts: Sequence[str]) -> list[int]:
    """The lengths of other prompts, such as the teacher's, counted like those of rows."""
    return [prompt for prompt, _ in _counted(tokenizer, [(text, "") for text in prompts])]


def measured(rows: Sequence[RowLength], *, max_length: int, teacher: Sequence[int] = ()) -> Lengths:
    """How long ``rows`` are, and the teacher's prompts beside them if their lengths are given."""
    return Lengths(
        max_length=max_length,
        prompt=Distribution.of([row.prompt for row in rows]),
        completion=Distribution.of([row.completion for row in rows]),
        row=Distribution.of([row.total for row in rows]),
        too_long=tuple(row for row in rows if row.total > max_length),
        teacher_prompt=Distribution.of(teacher),
    )


def fitting(rows: Sequence[RowLength], *, max_length: int, too_long: TooLong = "error") -> list[DataPoint]:
    """The rows of at most ``max_length`` tokens, prompt and answer together.

    Raises:
        DataError: some are longer and ``too_long`` is ``error``.
    """
    longer = [row for row in rows if row.total > max_length]
    if longer and too_long == "error":
        raise _refused(longer, len(rows), max_length)
    return [row.point for row in rows if row.total <= max_length]


def _refused(longer: Sequence[RowLength], number: int, max_length: int) -> DataError:
    listing = "\n".join(f"- {row}" for row in longer[:_SHOWN])
    more = f"\n- and {len(longer) - _SHOWN} more" if len(longer) > _SHOWN else ""
    longest = max(row.total for row in longer)
    return DataError(
        f"{len(longer)} of {number} rows are longer than {max_length} tokens and could not be trained "
        f"without cutting them:\n{listing}{more}",
        hint=f"Raise max_length to {longest} (here and in the training recipe), shorten the student prompt, "
        "or drop these rows.",
    )


def _counted(tokenizer: Any, rows: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Tokens of prompt and answer; rows often repeat, and are then encoded once."""
    from rasa_ft.training.rows import Example
    from rasa_ft.training.tokens import encode

    different = list(dict.fromkeys(rows))
    examples = [Example(({"role": "user", "content": prompt},), answer, _NOWHERE) for prompt, answer in different]
    encoded = encode(tokenizer, examples, max_length=sys.maxsize)
    counts = {row: (len(ids.prompt), len(ids.completion)) for row, ids in zip(different, encoded, strict=True)}
    return [counts[row] for row in rows]
