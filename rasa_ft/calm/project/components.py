"""Which component a class name of config.yml means, own subclasses included; their code is read, never run."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

# A class of classes … of one file: deeper than any real one.
_DEEPEST = 10


def known_component(written: str, known: Collection[str], project: Path) -> str | None:
    """The one of ``known`` class names that ``written`` (a class name, perhaps with its module) is or derives from.

    A class of the project is recognised by the base classes in its source, or else by the ending of its name
    (``mine.CustomCompactLLMCommandGenerator``). None: it is none of them, as far as can be seen.
    """
    module, _, name = written.rpartition(".")
    if name in known:
        return name
    if not module:
        return None
    source = project.joinpath(*module.split(".")).with_suffix(".py")
    return _by_bases(name, known, source) or _by_ending(name, known)


def _by_bases(name: str, known: Collection[str], source: Path) -> str | None:
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    bases = {
        node.name: [_last_name(base) for base in node.bases] for node in tree.body if isinstance(node, ast.ClassDef)
    }
    waiting = [name]
    for _ in range(_DEEPEST):
        found = next((item for item in waiting if item in known), None)
        if found is not None:
            return found
        waiting = [base for item in waiting for base in bases.get(item, ())]
    return None


def _last_name(base: ast.expr) -> str:
    return ast.unparse(base).rpartition(".")[2]


def _by_ending(name: str, known: Collection[str]) -> str | None:
    """The longest known name that ``name`` ends with."""
    return max((candidate for candidate in known if name.endswith(candidate)), key=len, default=None)
