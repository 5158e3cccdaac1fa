"""Where rows come from: JSON lines, JSON, CSV and parquet files, and data sets of the Hugging Face hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location
from rasa_ft.training.data_formats import read_row
from rasa_ft.training.rows import Row
from rasa_ft.training.sections import SourceSection

# A row and its place; a `DataError` where there is no row at all.
Found = tuple[Location, Any]


def read_source(source: SourceSection, system: str | None = None) -> tuple[list[Row], list[DataError]]:
    """The rows of one set, at most ``source.max_samples`` from its start, and what is wrong with the others.

    Places are file and line, in parquet files and on the hub file and row.

    Raises:
        DataError: the file or the data set cannot be read at all, or has no rows.
    """
    rows: list[Row] = []
    problems: list[DataError] = []
    found = _on_hub(source) if source.path is None else _in_file(source.path)
    for place, row in islice(found, source.max_samples):
        try:
            if isinstance(row, DataError):
                raise row
            rows.append(read_row(row, source.format or "commands", place, columns=source.columns, system=system))
        except DataError as problem:
            problems.append(problem)
    if not rows and not problems:
        raise DataError(f"{source.path or source.label} has no rows.")
    return rows, problems


def missing_file(path: Path) -> DataError:
    """What is said about a file of rows that is not there."""
    return DataError(
        f"{path} does not exist.", hint="Check dataset in the recipe; docs/recipes.md says where data come from."
    )


def _in_file(path: Path) -> Iterator[Found]:
    reader: Callable[[Path], Iterator[Found]] = _READERS.get(path.suffix.lower(), _json_lines)
    try:
        yield from reader(path)
    except FileNotFoundError:
        raise missing_file(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}.") from None


def _json_lines(path: Path) -> Iterator[Found]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                place = Location(path, number)
                yield place, _parsed(line, place)


def _parsed(line: str, place: Location) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return DataError(f"not JSON: {error.msg}.", location=place)
    except (ValueError, RecursionError):
        return DataError("not JSON that can be read.", location=place)


def _json_file(path: Path) -> Iterator[Found]:
    """A list of rows, or JSON lines under the name .json."""
    text = path.read_text(encoding="utf-8")
    if not text.lstrip().startswith("["):
        yield from _json_lines(path)
        return
    decoder = json.JSONDecoder()
    position, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    while True:
        start = _after_blanks(text, position)
        line += text.count("\n", position, start)
        if text[start : start + 1] == "]":
            return
        place = Location(path, line)
        try:
            row, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            yield place, DataError(f"not JSON: {error.msg}.", location=Location(path, error.lineno))
            return
        except (ValueError, RecursionError):
            yield place, DataError("not JSON that can be read.", location=place)
            return
        yield place, row
        position = _after_blanks(text, end)
        line += text.count("\n", start, position)
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "]":
            yield place, DataError("not JSON: the list does not end.", location=Location(path, line))
            return


def _after_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _csv(path: Path) -> Iterator[Found]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        try:
            header = reader.fieldnames
            while header:
                line = reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    return
                yield Location(path, line), row
        except csv.Error as error:
            place = Location(path, reader.line_num)
            yield place, DataError(f"not CSV: {error}.", location=place)


def _parquet(path: Path) -> Iterator[Found]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield Location(path, number), row
    except ArrowException as error:
        raise DataError(f"{path} is not a parquet file that can be read: {_first_line(error)}.") from None


_READERS: dict[str, Callable[[Path], Iterator[Found]]] = {".json": _json_file, ".csv": _csv, ".parquet": _parquet}


def _on_hub(source: SourceSection) -> Iterator[Found]:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    assert source.hub is not None  # noqa: S101 - the section has a path or a hub name
    try:
        loaded = load_dataset(source.hub, source.name, split=source.split)
    except Exception as error:  # the library maps failures of many kinds onto many classes
        raise DataError(
            f"the data set {source.hub} cannot be loaded from the hub: {_first_line(error)}",
            hint="Check its name and split, the network, and HF_TOKEN for gated sets.",
        ) from error
    for number, row in enumerate(loaded, start=1):
        yield Location(Path(source.hub), number), row


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
