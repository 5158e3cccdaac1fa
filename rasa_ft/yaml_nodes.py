"""From YAML text to Python objects that know their place: libyaml's parser if PyYAML has it, ruamel.yaml's otherwise.

libyaml is many times faster. Both give the same events; text in which the two might disagree (tabs, directives, odd
line breaks), and text that libyaml refuses, is read by ruamel.yaml, whose errors name their place.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location

# Hostile files: what is nested deeper, or grows larger by its aliases, is refused.
MAX_DEPTH = 200
MAX_EXPANDED = 1_000_000

_VARIABLE = re.compile(r"\$\{(\w+)\}")
# Half a character, which no file and no server takes; only an escape can make one.
_SURROGATE = re.compile("[\ud800-\udfff]")
# Kept as written, and expanded only when the client is called, so that no rewritten file holds a secret.
_SECRET_KEYS = frozenset(
    {"api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "client_id", "client_secret"}
)
# Where libyaml may differ: what is not printable, tabs, byte order marks and line breaks of YAML 1.1; directives and
# ends of documents; tags; a block scalar's header with a comment glued to it. Searching for each by itself is fastest.
_UNSURE = tuple(
    re.compile(pattern)
    for pattern in (
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]",
        r"\n(?:%|\.\.\.)",
        r"[\n ,\[{]!",
        r"[|>][-+0-9]*#",
    )
)
_CONSTANTS: Mapping[str, Any] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(?:0b_*[01][01_]*|0o_*[0-7][0-7_]*|[0-9][0-9_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\._*[0-9][0-9_]*(?:[eE][-+][0-9]+)?)"
)
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# More digits than a float takes; so long a number stays text.
_LONGEST_INT = 300
_NUMERIC = frozenset("-+.0123456789")
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_NO_KEY = object()


class SourceMap(dict[Any, Any]):
    """A mapping that remembers where it stands; lines and columns count from 0, ``last`` is its last line.

    ``places``: line and column of its own keys, not of merged ones.
    """

    __slots__ = ("column", "file", "last", "line", "places")

    def __init__(self, file: Path, line: int, column: int) -> None:
        super().__init__()
        self.file, self.line, self.column, self.last = file, line, column, line
        self.places: dict[Any, tuple[int, int]] = {}


class SourceList(list[Any]):
    """As `SourceMap`; ``places`` by index."""

    __slots__ = ("column", "file", "last", "line", "places")

    def __init__(self, file: Path, line: int, column: int) -> None:
        super().__init__()
        self.file, self.line, self.column, self.last = file, line, column, line
        self.places: dict[int, tuple[int, int]] = {}


def read_nodes(text: str, file: Path, max_values: int | None = None) -> Any:
    """The one document in ``text``; None if it is empty.

    Args:
        max_values: how many keys and values it may have.

    Raises:
        DataError: not YAML, several documents, a duplicate key, an undefined variable, an unknown tag …
    """
    parser = _fast_parser()
    if parser is not None and _is_sure(text):
        try:
            return _Builder(file, max_values).build(_fast_events(parser(text)))
        except _Refused:  # ruamel.yaml says what is wrong, or that nothing is
            pass
    return _Builder(file, max_values).build(_careful_events(text, file))


# -- events ---------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """libyaml does not take it."""


def _is_sure(text: str) -> bool:
    return text[:1] not in ("%", "!") and not any(pattern.search(text) for pattern in _UNSURE)


@lru_cache(maxsize=1)
def _fast_parser() -> Callable[[str], Any] | None:
    """libyaml's parser, where PyYAML was built with it."""
    try:
        from yaml.cyaml import CParser
    except ImportError:
        return None
    return CParser  # type: ignore[no-any-return]


def _fast_events(parser: Any) -> Iterator[Any]:
    from yaml import YAMLError

    try:
        while parser.check_event():
            yield parser.get_event()
    except YAMLError:
        raise _Refused from None


def _careful_events(text: str, file: Path) -> Iterator[Any]:
    """One by one, so that what is refused is not read to its end."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or str(error)).strip().splitlines()[0]
        place = Location(file, mark.line + 1, column=mark.column + 1) if mark else Location(file, 1)
        raise DataError(f"not valid YAML: {problem}", location=place) from None
    except YAMLError as error:
        raise DataError(f"not valid YAML: {str(error).splitlines()[0]}", location=Location(file, 1)) from None
    except AssertionError:
        raise DataError("not valid YAML: its version is not 1.2", location=Location(file, 1)) from None
    except (ValueError, OverflowError):  # what Python says of an escape such as \U00110000
        raise DataError("not valid YAML: an escape names no character", location=Location(file, 1)) from None


# -- objects --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A mapping or list under construction; ``size`` counts the values in it, with those of aliases."""

    node: SourceMap | SourceList
    anchor: str | None
    size: int = 1
    key: Any = _NO_KEY
    key_place: Any = None
    is_merge: bool = False
    merged: list[Any] = field(default_factory=list)


class _Builder:
    """Builds objects from events, without recursion."""

    def __init__(self, file: Path, max_values: int | None = None) -> None:
        self._file = file
        self._left = math.inf if max_values is None else max_values
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._documents = 0
        self._root: Any = None
        self._handlers: Mapping[str, Callable[[Any], None]] = {
            "ScalarEvent": self._scalar,
            "AliasEvent": self._alias,
            "MappingStartEvent": self._start_mapping,
            "SequenceStartEvent": self._start_sequence,
            "MappingEndEvent": self._end,
            "SequenceEndEvent": self._end,
            "DocumentStartEvent": self._start_document,
        }

    def build(self, events: Iterable[Any]) -> Any:
        handlers = self._handlers
        for event in events:
            handler = handlers.get(type(event).__name__)
            if handler is not None:
                handler(event)
        return self._root

    def _error(self, problem: str, mark: Any) -> DataError:
        return DataError(
            f"not valid YAML: {problem}", location=Location(self._file, mark.line + 1, column=mark.column + 1)
        )

    def _count(self, event: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise DataError(
                "the file holds too much to be read.",
                location=Location(self._file, event.start_mark.line + 1),
                hint="Split it into several files of one folder.",
            )

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._error("but found another document", event.start_mark)

    def _scalar(self, event: Any) -> None:
        self._count(event)
        value = event.value
        if not event.style:
            is_key = self._open and type(self._open[-1].node) is SourceMap and self._open[-1].key is _NO_KEY
            if value == _MERGE and is_key and event.tag is None:
                self._begin_merge(event)
                return
            value = self._plain(event) if event.tag is None else value
        elif event.style == '"' and _SURROGATE.search(value):
            raise self._error("an escape names no character", event.start_mark)
        if event.tag is not None:
            value = self._tagged(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, self._scalar_place(event), 1)

    def _scalar_place(self, event: Any) -> Any:
        """Where a scalar stands; no value at all is with its key, since parsers place it differently."""
        parent = self._open[-1] if self._open else None
        if parent is None or event.value or event.style or parent.key is _NO_KEY or parent.is_merge:
            return event.start_mark
        return parent.key_place

    def _plain(self, event: Any) -> Any:
        text = event.value
        if "${" in text and not self._is_secret():
            return _VARIABLE.sub(lambda match: self._variable(match[1], event.start_mark), text)
        return resolved(text)

    def _is_secret(self) -> bool:
        return bool(self._open) and self._open[-1].key in _SECRET_KEYS

    def _variable(self, name: str, mark: Any) -> str:
        if name not in os.environ:
            raise DataError(
                f"environment variable {name} is not set.",
                location=Location(self._file, mark.line + 1, column=mark.column + 1),
                hint=f"Set {name} in the environment or in .env.",
            )
        return os.environ[name]

    def _tagged(self, event: Any) -> Any:
        """The value of a scalar with a tag of the core schema; other tags are refused, as CALM's reader does."""
        kind = str(event.tag).removeprefix(_TAG)
        value = event.value
        if kind in ("!", "str"):
            return value
        if kind == "null":
            return None
        found = resolved(value)
        if kind == "float" and type(found) is int:
            return float(found)
        if type(found).__name__ == kind:
            return found
        raise self._error(f"the tag {event.tag} is not known, or does not fit {value!r}", event.start_mark)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._error(f"found undefined alias {event.anchor!r}", event.start_mark)
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise self._error(f"the alias {event.anchor!r} stands inside the value that it names", event.start_mark)
        value, size = anchored
        if sum(item.size for item in self._open) + size > MAX_EXPANDED and size > 1:
            raise self._error("its aliases make it too large", event.start_mark)
        self._add(value, event.start_mark, size)

    def _start_mapping(self, event: Any) -> None:
        self._start(event, SourceMap(self._file, event.start_mark.line, event.start_mark.column), "map")

    def _start_sequence(self, event: Any) -> None:
        self._start(event, SourceList(self._file, event.start_mark.line, event.start_mark.column), "seq")

    def _start(self, event: Any, node: SourceMap | SourceList, kind: str) -> None:
        if event.tag is not None and event.tag not in ("!", _TAG + kind):
            raise self._error(f"the tag {event.tag} is not known", event.start_mark)
        if len(self._open) >= MAX_DEPTH:
            raise self._error(f"it is nested more than {MAX_DEPTH} levels deep", event.start_mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(node, event.anchor))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        node = done.node
        self._count(event)
        for source in done.merged:
            for key, value in source.items():
                node.setdefault(key, value)  # type: ignore[union-attr]
        if done.anchor is not None:
            self._anchors[done.anchor] = (node, done.size)
        self._add(node, node, done.size)

    def _add(self, value: Any, place: Any, size: int) -> None:
        """Put a finished value where it belongs; ``place`` has its line and column."""
        if not self._open:
            self._root = value
            return
        parent = self._open[-1]
        parent.size += size
        node = parent.node
        if type(node) is SourceList:
            node.places[len(node)] = (place.line, place.column)
            node.append(value)
        elif parent.is_merge:
            parent.merged += self._merge_sources(value, place)
            parent.is_merge, parent.key = False, _NO_KEY
        elif parent.key is _NO_KEY:
            self._take_key(parent, value, place)
            return
        else:
            self._put(parent, value)
        node.last = max(node.last, getattr(value, "last", place.line) if place is value else place.line)

    def _take_key(self, parent: _Open, key: Any, place: Any) -> None:
        if isinstance(key, dict | list):
            raise self._error("a key must be a text, a number or a constant", place)
        parent.key, parent.key_place = key, place

    def _put(self, parent: _Open, value: Any) -> None:
        node, key, place = parent.node, parent.key, parent.key_place
        if key in node:
            problem = f'found duplicate key "{key}" with value "{value}" (original value: "{node[key]}")'
            raise self._error(problem, place)
        node[key] = value
        node.places[key] = (place.line, place.column)
        parent.key = _NO_KEY

    def _begin_merge(self, event: Any) -> None:
        parent = self._open[-1]
        if parent.merged:
            raise self._error('found duplicate key "<<"', event.start_mark)
        parent.key, parent.is_merge = _MERGE, True

    def _merge_sources(self, value: Any, place: Any) -> list[Any]:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error("expected a mapping or list of mappings for merging", place)
        return list(sources)


def resolved(text: str) -> Any:
    """What a plain scalar means in YAML 1.2; octal needs ``0o``, and dates stay text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return _number(text) if text[0] in _NUMERIC else text


def _number(text: str) -> Any:
    digits = text.replace("_", "")
    if _INT.fullmatch(text):
        if len(digits) > _LONGEST_INT:
            return text
        return int(digits, 0) if digits.lstrip("+-")[:2] in ("0b", "0o", "0x") else int(digits)
    if _FLOAT.fullmatch(text):
        return float(digits)
    return float(digits.replace(".", "")) if _SPECIAL_FLOAT.fullmatch(text) else text
