"""What a table of docs/ says is shown by a test is shown by one that exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCUMENTS = sorted((TESTS.parent / "docs").glob("*.md"))
REFERENCE = re.compile(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`")
COLUMN = "Shown by"
_BORDER = re.compile(r"(?<!\\)\|")


def rows_with_tests(document: Path) -> Iterator[tuple[str, str]]:
    """Each row of the tables that have the column, and what stands in it."""
    place = None
    for line in document.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in _BORDER.split(line)] if line.startswith("|") else []
        if not cells:
            place = None
        elif place is None:
            place = next((index for index, cell in enumerate(cells) if cell.startswith(COLUMN)), None)
        elif not re.fullmatch("[-:]+", cells[place]):
            yield line, cells[place]


def test_the_tables_are_found():
    found = {document.name: len(list(rows_with_tests(document))) for document in DOCUMENTS}
    assert found["compatibility.md"] > 50 and found["du.md"] > 30 and found["e2e.md"] > 80


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_row_names_a_test(document: Path):
    assert [row for row, shown in rows_with_tests(document) if not REFERENCE.search(shown)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_is_named_exists(document: Path):
    named = REFERENCE.findall(document.read_text(encoding="utf-8"))
    assert [f"{file}::{test}" for file, test in named if not _defines(TESTS / file, test)] == []


def _defines(file: Path, test: str) -> bool:
    return file.is_file() and (not test or f"def {test}(" in file.read_text(encoding="utf-8"))
