"""Collecting everything that is wrong with the test files, so that one run shows it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, location_of


def place(file: Path, node: Any, key: Any = None) -> Location:
    """Where ``node`` (or ``key`` in it) stands; the top of the file where the reader does not know."""
    return location_of(node, key) or location_of(node) or Location(file, 1)


@dataclass
class Problems:
    """The problems of one file; the checking methods add to them and give None where the value is unusable."""

    file: Path
    errors: list[DataError] = field(default_factory=list)

    def add(self, message: str, node: Any, key: Any = None, hint: str | None = None) -> None:
        self.errors.append(DataError(message, location=place(self.file, node, key), hint=hint))

    def keys(self, node: Mapping[str, Any], allowed: Iterable[str], what: str) -> None:
        """Add a problem for every key that is not ``allowed``."""
        known = sorted(allowed)
        for key in node:
            if key not in known:
                self.add(f"unknown key '{key}' in {what}.{did_you_mean(str(key), known)}", node, key)

    def mapping(self, parent: Any, key: Any, what: str) -> Mapping[str, Any] | None:
        value = parent[key]
        if isinstance(value, Mapping):
            return value
        self.add(f"{what} must be a mapping, not {kind(value)}.", parent, key)
        return None

    def items(self, parent: Any, key: Any, what: str, *, empty: bool = False) -> list[Any]:
        """The list at ``key``, empty if it is none."""
        value = parent[key]
        if not isinstance(value, list):
            self.add(f"{what} must be a list, not {kind(value)}.", parent, key)
            return []
        if not value and not empty:
            self.add(f"{what} is empty.", parent, key)
        return value

    def text(self, parent: Any, key: Any, what: str) -> str | None:
        """The text at ``key`` without blanks around it."""
        value = parent[key]
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value is None or value == "":
            self.add(f"{what} is empty.", parent, key)
        else:
            hint = None if isinstance(value, Mapping | list) else f'Write it in quotes: "{value}".'
            self.add(f"{what} must be text, not {kind(value)}.", parent, key, hint)
        return None

    def texts(self, parent: Any, key: Any, what: str) -> tuple[str, ...]:
        """The list of texts at ``key``."""
        items = self.items(parent, key, what)
        found = [self.text(items, index, f"an entry of {what}") for index in range(len(items))]
        return tuple(text for text in found if text is not None)

    def only_pair(self, parent: Any, key: Any, what: str) -> tuple[str, Mapping[str, Any]] | None:
        """The key and the mapping of an entry of the form ``- name: value``."""
        value = parent[key]
        if isinstance(value, Mapping) and len(value) == 1 and isinstance(name := next(iter(value)), str):
            return name, value
        self.add(f"{what} must be one `name: value` pair, not {kind(value)}.", parent, key)
        return None


def kind(value: Any) -> str:
    """What a YAML value is, in words."""
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} keys"
    names = {list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", type(None): "empty"}
    return next((name for type_, name in names.items() if isinstance(value, type_)), type(value).__name__)
