"""What docs/compatibility.md says is shown by a test is shown by one that exists."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "compatibility.md"
REFERENCE = re.compile(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`")


def test_every_test_that_is_named_exists():
    named = REFERENCE.findall(DOCUMENT.read_text(encoding="utf-8"))
    missing = [f"{file}::{test}" for file, test in named if not _defines(TESTS / file, test)]
    assert len(named) > 100
    assert missing == []


def _defines(file: Path, test: str) -> bool:
    return file.is_file() and (not test or f"def {test}(" in file.read_text(encoding="utf-8"))


def test_every_row_names_a_test():
    text = DOCUMENT.read_text(encoding="utf-8")
    for title in ("## What works", "## Traps"):
        table = text.split(title)[1].split("\n## ")[0]
        rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
        assert rows
        assert [row for row in rows if not REFERENCE.search(row)] == []
