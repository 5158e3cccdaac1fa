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

from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_nodes import SourceList, SourceMap, read_nodes

_VARIABLE = re.compile(r"\$\{(\w+)\}")
# What some readers of YAML take for the end of a line.
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")


def load_yaml(path: Path) -> Any:
    """The content of a YAML file; an empty file gives None.

    Raises:
        DataError: no such file, not YAML, not UTF-8, a duplicate key or an undefined variable; with file and line.
    """
    return parse_yaml(yaml_text(path), path)


def yaml_text(path: Path) -> str:
    """The text of a YAML file.

    Raises:
        DataError: no such file, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist.", hint="Check the path, or run the command in the project's folder."
        ) from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; a YAML file is needed.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError("the file is not UTF-8 text.", location=Location(path, line)) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from None


def parse_yaml(text: str, path: Path, max_values: int | None = None) -> Any:
    """As `load_yaml`, for text that came from ``path`` and has at most so many keys and values."""
    return read_nodes(text, path, max_values)


def location_of(node: Any, key: Any = None) -> Location | None:
    """Where a loaded mapping or list stands, or where ``key`` (an index for lists) stands in it.

    None for scalars and for objects that were not read from a file. ``end_line`` is the last line of the node.
    """
    if not isinstance(node, SourceMap | SourceList):
        return None
    line, column = node.places.get(key, (node.line, node.column))
    child = node if key is None else node[key]
    last = child.last if isinstance(child, SourceMap | SourceList) else line
    return Location(node.file, line + 1, max(line, last) + 1, column + 1)


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
    writer = _writer()
    stream = io.StringIO()
    writer.dump(plain(value), stream)
    return stream.getvalue()


def _writer() -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Quotes text that would be taken for an environment variable, or for several lines, when it is read."""

    def represent_text(representer: Representer, text: str) -> Any:
        style = '"' if _ODD_BREAK.search(text) else "'" if _VARIABLE.search(text) else None
        return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Representer.add_representer(str, represent_text)
    writer = YAML(typ="rt", pure=True)
    writer.Representer = Representer
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    return writer


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
