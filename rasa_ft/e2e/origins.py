"""Comments by which a test file remembers which files its cases were collected from.

    fixtures:
      # was: guest
      - guest_2: [{tier: gold}]
    test_cases:
      # from: bookings/rooms.yml::extends a stay
      - test_case: extends a stay 2

Cases of many files in one file may need new names; with these comments they are read under their old ones. To every
other reader of the format they are comments. A comment that cannot be right is not believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rasa_ft.e2e.model import TestCase
from rasa_ft.yaml_source import location_of, parse_yaml

_COMMENT = re.compile(r"^( *)# (?:from|was): (.+)\n(?=\1- )", re.MULTILINE)
_DRIVE = re.compile(r"[A-Za-z]:")

# What the comments above the items of a file's lists say, by the line of the item.
Comments = Mapping[int, str]


@dataclass(frozen=True)
class Origin:
    """The file, below the folder that the tests were loaded from, and the name that a case had there."""

    source: str
    name: str

    @classmethod
    def of(cls, case: TestCase) -> Origin:
        return cls(case.source or case.file.name, case.name)

    @property
    def key(self) -> str:
        """As `TestCase.key`."""
        return f"{self.source}::{self.name}"


# --- writing ---------------------------------------------------------------------------------------------------------


def case_comment(case: TestCase, source: str, name: str) -> str | None:
    """What stands above ``case`` where it is written under ``name``; None: ``source``, the file, says the same."""
    origin = Origin.of(case)
    if origin == Origin(source, name):
        return None
    text = _quoted(origin.key)
    return f"# from: {text}" if _origin(text) == origin else None


def name_comment(name: str) -> str:
    """What stands above a fixture or metadata that was called ``name``."""
    return f"# was: {_quoted(name)}"


def with_comments(text: str, comments: Mapping[str, Sequence[str | None]]) -> str:
    """A test file's ``text`` with a comment above each item of its lists that has one."""
    if not any(comment for section in comments.values() for comment in section):
        return text
    data = parse_yaml(text, Path())
    above = {
        place.line: comment
        for section, items in comments.items()
        for index, comment in enumerate(items)
        if comment and (place := location_of(data[section], index)) is not None
    }
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if number in above:
            lines.append(f"{line[: len(line) - len(line.lstrip(' '))]}{above[number]}")
        lines.append(line)
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """On one line, in quotes where that needs them."""
    simple = text.isprintable() and text == text.strip() and not text.startswith('"')
    return text if simple else json.dumps(text)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_comments(text: str) -> Comments:
    """The comments in the text of a test file."""
    found: dict[int, str] = {}
    line = position = 0
    for match in _COMMENT.finditer(text) if "# from: " in text or "# was: " in text else ():
        line += text.count("\n", position, match.end())
        position = match.end()
        found[line + 1] = match[2]
    return found


def old_names(section: Any, comments: Comments) -> dict[str, str]:
    """The names that the entries of a list of fixtures or metadata had, by those that they have; only where both are
    known.
    """
    found = {}
    for index, entry in enumerate(section if comments and isinstance(section, list) else ()):
        place = location_of(section, index)
        name = _unquoted(comments.get(place.line, "")) if place is not None else ""
        if name and isinstance(entry, Mapping) and len(entry) == 1:
            found[str(next(iter(entry)))] = name
    return found


def restored(cases: Sequence[TestCase], comments: Mapping[Path, Comments]) -> list[TestCase]:
    """The cases, in the same order, under the sources and names that the comments of their files tell.

    Where two cases tell the same, the first one has it. If then a case would still be mistaken for another one, such as
    an original for its copy, all stay as they stand in their files.
    """
    told: dict[Origin, int] = {}
    for index, case in enumerate(cases):
        origin = _origin(comments.get(case.file, {}).get(case.location.line, ""))
        if origin is not None:
            told.setdefault(origin, index)
    if not told:
        return list(cases)
    origins = {index: origin for origin, index in told.items()}
    others = {name for index, case in enumerate(cases) if index not in origins for name in (case.id, case.key)}
    if any(origin.key in others for origin in told):
        return list(cases)
    return [_at(case, origins.get(index)) for index, case in enumerate(cases)]


def _at(case: TestCase, origin: Origin | None) -> TestCase:
    if origin is None:
        return case
    return replace(case, name=origin.name, source=origin.source, is_copy=origin.source != case.source)


def _origin(text: str) -> Origin | None:
    """What the comment says; None if that can be no case of a file below a folder."""
    source, separator, name = _unquoted(text).partition("::")
    path = PurePosixPath(source)
    is_below = str(path) == source and not path.is_absolute() and ".." not in path.parts
    is_file = path.suffix in (".yml", ".yaml") and source.isprintable()
    is_portable = "\\" not in source and not _DRIVE.match(source)
    is_name = bool(name) and name == name.strip()
    return Origin(source, name) if separator and is_below and is_file and is_portable and is_name else None


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text.strip()
    try:
        return str(json.loads(text))
    except ValueError:
        return ""
