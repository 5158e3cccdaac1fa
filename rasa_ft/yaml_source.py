"""YAML 1.2 with line numbers: the one reader of assistants, tests, recipes and recordings.

Values come as plain Python objects except that mappings and lists remember their place (`location_of`). Booleans are
``true``/``false`` only, dates stay text, duplicate keys are an error, and ``${NAME}`` in an unquoted scalar is replaced
from the environment (all as in CALM projects).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from rasa_ft.errors import DataError, Location

# Attribute of loaded mappings and lists that holds the file they came from.
_FILE = "_source_file"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
# Kept as written, and expanded only when the client is called, so that no rewritten file holds a secret.
_SECRET_KEYS = frozenset(
    {"api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "client_id", "client_secret"}
)


class _UndefinedVariable(Exception):
    def __init__(self, name: str, line: int) -> None:
        super().__init__(name)
        self.name = name
        self.line = line


class _Constructor(RoundTripConstructor):
    """Plain numbers, no dates, environment variables in unquoted text."""

    def construct_scalar(self, node: Any) -> Any:
        if isinstance(node, ScalarNode) and node.style is None and "${" in str(node.value):
            return _VARIABLE.sub(lambda match: _variable(match[1], node.start_mark.line + 1), node.value)
        if isinstance(node, ScalarNode) and node.style is not None:
            # ruamel marks the line breaks of folded text with a bell character.
            return str(node.value).replace("\a", "") if node.style == ">" else str(node.value)
        return super().construct_scalar(node)

    def construct_mapping(self, node: Any, maptyp: Any, deep: bool = False) -> Any:  # type: ignore[override]
        for key, value in node.value:
            if key.value in _SECRET_KEYS and isinstance(value, ScalarNode):
                value.style = "'"
        return super().construct_mapping(node, maptyp, deep=deep)


for _kind in ("int", "float", "bool", "null"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(SafeConstructor, f"construct_yaml_{_kind}"))
_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_scalar)


class _Representer(RoundTripRepresenter):
    """Quotes text that would be taken for an environment variable when it is read."""


def _represent_text(representer: _Representer, text: str) -> Any:
    style = "'" if _VARIABLE.search(text) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _represent_text)


def _variable(name: str, line: int) -> str:
    if name not in os.environ:
        raise _UndefinedVariable(name, line)
    return os.environ[name]


def load_yaml(path: Path) -> Any:
    """The content of a YAML file; an empty file gives None.

    Raises:
        DataError: no such file, not YAML, not UTF-8, a duplicate key or an undefined variable; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist.", hint="Check the path, or run the command in the project's folder."
        ) from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; a YAML file is needed.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Any:
    """As `load_yaml`, for text that came from ``path``."""
    reader = YAML(typ="rt", pure=True)
    reader.Constructor = _Constructor
    reader.allow_duplicate_keys = False
    try:
        content = reader.load(text)
    except _UndefinedVariable as error:
        raise DataError(
            f"environment variable {error.name} is not set.",
            location=Location(path, error.line),
            hint=f"Set {error.name} in the environment or in .env.",
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or str(error)).strip().splitlines()[0]
        raise DataError(f"not valid YAML: {problem}", location=Location(path, mark.line + 1 if mark else 1)) from None
    except YAMLError as error:
        raise DataError(f"not valid YAML: {str(error).splitlines()[0]}", location=Location(path, 1)) from None
    _remember_file(content, path)
    return content


def _remember_file(node: Any, path: Path) -> None:
    if isinstance(node, CommentedMap | CommentedSeq):
        setattr(node, _FILE, path)
        for child in node.values() if isinstance(node, CommentedMap) else node:
            _remember_file(child, path)


def location_of(node: Any, key: Any = None) -> Location | None:
    """Where a loaded mapping or list stands, or where ``key`` (an index for lists) stands in it.

    None for scalars and for objects that were not read from a file. ``end_line`` is the last line of the node.
    """
    file = getattr(node, _FILE, None)
    if file is None:
        return None
    line = node.lc.line
    if key is not None and node.lc.data and key in node.lc.data:
        line = node.lc.data[key][0]
    child = node if key is None else node[key]
    return Location(file, line + 1, max(line + 1, _last_line(child, line) + 1))


def _last_line(node: Any, default: int) -> int:
    """0-based line on which the last key or item below ``node`` starts."""
    if isinstance(node, CommentedMap | CommentedSeq) and node.lc.data:
        children = node.items() if isinstance(node, CommentedMap) else enumerate(node)
        return max(default, *(_last_line(child, _child_line(node, key, default)) for key, child in children))
    return default


def _child_line(node: Any, key: Any, default: int) -> int:
    place = node.lc.data.get(key)
    return int(place[2] if len(place) > 2 else place[0]) if place else default


def plain(node: Any) -> Any:
    """A deep copy of loaded content as ordinary dicts and lists."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node


def dump_yaml(value: Any) -> str:
    """Readable YAML 1.2 text of plain dicts, lists and scalars; block style, keys in the given order.

    `parse_yaml` gives the same value again: text that holds ``${NAME}`` is quoted.
    """
    writer = YAML(typ="rt", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def expand_secret(value: str) -> str:
    """Replace ``${NAME}`` or ``$NAME`` in a secret just before it is used.

    Raises:
        DataError: the variable is not set; the message names the variable, never a value.
    """
    match = re.fullmatch(r"\$\{?(\w+)\}?", value)
    if match is None:
        return value
    if match[1] not in os.environ:
        raise DataError(
            f"environment variable {match[1]} is not set.", hint=f"Set {match[1]} in the environment or in .env."
        )
    return os.environ[match[1]]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest known name, or an empty string."""
    nearest = get_close_matches(str(name), [str(candidate) for candidate in known], n=1, cutoff=0.6)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
