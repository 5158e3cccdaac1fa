"""Stage 4b: the files that data preparation leaves behind (layout: the fine-tuning recipe of rasa-pro)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa_ft.files import write_json, write_jsonl
from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.rows.formats.review import ANNOTATIONS, REPHRASINGS, write_annotations, write_rephrasings
from rasa_ft.recipe.rows.formats.rows import (
    FunctionCalling,
    OutputFormat,
    check_size,
    dataset_info,
    formatted,
    read_row,
)

__all__ = [
    "ANNOTATIONS",
    "DATASET_INFO",
    "DATA_POINTS",
    "DU_TESTS",
    "E2E_TESTS",
    "PARAMS",
    "REPHRASINGS",
    "SPLITS",
    "STUDENT_PROMPT",
    "SUMMARY",
    "FunctionCalling",
    "OutputFormat",
    "formatted",
    "internal_row",
    "read_row",
    "write_annotations",
    "write_rephrasings",
    "write_rows",
]

DATA_POINTS = "3_llm_finetune_data/llm_ft_data.jsonl"
SPLITS = "4_train_test_split/ft_splits"
E2E_TESTS = "4_train_test_split/e2e_tests"
DU_TESTS = "4_train_test_split/du_tests"
STUDENT_PROMPT = "student_prompt.jinja2"
PARAMS = "params.yaml"
SUMMARY = "result_summary.yaml"
DATASET_INFO = "dataset_info.json"


def internal_row(point: DataPoint, *, part: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """A row with everything that is known about it."""
    rephrased = point.message if point.message != point.original else None
    row = {
        "prompt": point.prompt,
        "completion": point.completion,
        "original_test_name": point.conversation,
        "original_user_utterance": point.original,
        "rephrased_user_utterance": rephrased,
        "kind": point.kind,
        "turn": point.turn,
        "history": point.history,
        "prefix": point.prefix,
        "group": groups[point.conversation],
        "split": part,
    }
    return {**row, "taken_from": point.source} if point.source else row


def write_rows(
    out: Path,
    parts: Mapping[str, Sequence[DataPoint]],
    groups: Mapping[str, str],
    output_format: OutputFormat,
    calling: FunctionCalling | None = None,
) -> None:
    """The internal file with all rows, and one file for each part (``train``, ``val``).

    Beside them stands what the format's readers need. ``calling`` is for the format ``tools``.

    Raises:
        DataError: the rows do not suit the format.
    """
    check_size(parts["train"], output_format)
    rows = (internal_row(point, part=part, groups=groups) for part, points in parts.items() for point in points)
    write_jsonl(out / DATA_POINTS, rows)
    for part, points in parts.items():
        write_jsonl(out / SPLITS / f"{part}.jsonl", (formatted(point, output_format, calling) for point in points))
    info = dataset_info(parts, output_format)
    if info is not None:
        write_json(out / SPLITS / DATASET_INFO, info)
