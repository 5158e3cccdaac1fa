"""The condition language: predicates over ``{slots: …, context: …}``, evaluated by the open library pypred.

``and`` and ``or`` have the same precedence and are right-associative; unquoted words are references into the document.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ply.yacc
import pypred.ast
import pypred.parser
from pypred.predicate import LiteralResolver

from rasa_ft.calm.templates import TemplateFailure, compiled, fill, is_template

log = logging.getLogger(__name__)
# The library takes quadratic time for long sets, and recurses into what is nested (a chain of `and` is, too).
MAX_CHARACTERS = 10_000
MAX_DEPTH = 150
_SHOWN = 40
# One parser for the process: building its tables takes longer than any predicate, and it is not re-entrant.
_parser_lock = threading.Lock()
_RESOLVER = LiteralResolver()


class ConditionError(ValueError):
    """A predicate that cannot be parsed, rendered or evaluated; ``str`` says why."""


@dataclass(frozen=True)
class Comparison:
    """``reference operator value`` where the value is a literal: text, number, true, false or null."""

    reference: str
    operator: str
    value: Any


def holds(
    predicate: str | bool | None, document: Mapping[str, Any], variables: Mapping[str, Any] | None = None
) -> bool:
    """Whether ``predicate`` is true of ``document``; whatever goes wrong counts as false and is logged.

    Args:
        predicate: a predicate, or a constant; None is always true.
        document: ``{"slots": {...}, "context": {...}}``; slots that are unset are there with None.
        variables: what the text may use as a jinja template (``context`` in steps, ``slots`` in responses and
            rejections). None: the text is no template (guards).
    """
    try:
        return evaluate(predicate, document, variables)
    except ConditionError as error:
        log.warning("condition %r counts as false: %s", predicate, error)
        return False


def evaluate(
    predicate: str | bool | None, document: Mapping[str, Any], variables: Mapping[str, Any] | None = None
) -> bool:
    """As `holds`, but what goes wrong is raised.

    Raises:
        ConditionError: the predicate is malformed or compares what cannot be compared, such as null with a number.
    """
    if predicate is None or isinstance(predicate, bool):
        return predicate is not False
    tree = _parse(render(predicate, variables))
    try:
        return bool(tree.evaluate(_RESOLVER, document))
    except Exception as error:  # whatever comparing these values raises
        raise ConditionError(f"it cannot be evaluated: {error}") from error


def render(predicate: str, variables: Mapping[str, Any] | None) -> str:
    """The predicate's text with its jinja expressions filled.

    Raises:
        ConditionError: not a valid template.
    """
    if variables is None or not is_template(predicate):
        return predicate
    try:
        return fill(predicate, variables)
    except TemplateFailure as error:
        raise ConditionError(f"its template is broken: {error}") from error


def parse_errors(predicate: str | bool | None) -> tuple[str, ...]:
    """Why ``predicate`` cannot be used, in plain words; empty if it can. Templates are checked as templates only."""
    if predicate is None or isinstance(predicate, bool):
        return ()
    try:
        if is_template(predicate):
            compiled(predicate)
        else:
            _parse(predicate)
    except (ConditionError, TemplateFailure) as error:
        return (str(error),)
    return ()


def references(predicate: str | bool | None) -> tuple[str, ...]:
    """The unquoted words of a valid predicate that stand for values (``slots.city``), in order, each once."""
    nodes = _nodes(predicate)
    return tuple(dict.fromkeys(node.value for node in nodes if _is_reference(node)))


def comparisons(predicate: str | bool | None) -> tuple[Comparison, ...]:
    """All comparisons of a reference with a literal in a valid predicate."""
    return tuple(
        comparison
        for node in _nodes(predicate)
        if isinstance(node, pypred.ast.CompareOperator) and (comparison := _comparison(node)) is not None
    )


def constants(predicate: str | bool | None) -> tuple[Any, ...]:
    """The texts, numbers and booleans that a valid predicate speaks of, those of sets too, each once, texts first."""
    found = (_constant(node) for node in _nodes(predicate) if _is_constant(node))
    values = dict.fromkeys(value for value in found if isinstance(value, str | int | float))
    return tuple(sorted(values, key=lambda value: (not isinstance(value, str), str(value))))


def patterns(predicate: str | bool | None) -> tuple[str, ...]:
    """The regular expressions of a valid predicate, in order, each once."""
    return tuple(dict.fromkeys(node.value for node in _nodes(predicate) if isinstance(node, pypred.ast.Regex)))


def _comparison(node: Any) -> Comparison | None:
    if _is_reference(node.left) and _is_constant(node.right):
        return Comparison(node.left.value, node.type, _constant(node.right))
    if _is_reference(node.right) and _is_constant(node.left):
        return Comparison(node.right.value, node.OP_REVERSE[node.type], _constant(node.left))
    return None


def _is_reference(node: Any) -> bool:
    return isinstance(node, pypred.ast.Literal) and node.value[0] not in "\"'"


def _is_constant(node: Any) -> bool:
    if isinstance(node, pypred.ast.Literal):
        return node.value[0] in "\"'"
    return isinstance(node, pypred.ast.Number | pypred.ast.Constant)


def _constant(node: Any) -> Any:
    return node.value[1:-1] if isinstance(node, pypred.ast.Literal) else node.value


def _nodes(predicate: str | bool | None) -> list[Any]:
    if predicate is None or isinstance(predicate, bool) or is_template(predicate):
        return []
    return list(_walk(_parse(predicate)))


def _walk(node: Any) -> Iterator[Any]:
    yield node
    if isinstance(node, pypred.ast.LiteralSet):
        yield from node.value
    for side in ("left", "right"):
        if hasattr(node, side):
            yield from _walk(getattr(node, side))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Any:
    """The predicate's syntax tree, checked."""
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"it is longer than {MAX_CHARACTERS} characters.")
    with _parser_lock:
        tree, problem = _run_parser(text)
    problem = problem or _problem_of(tree)
    if problem is not None:
        raise ConditionError(problem)
    return tree


def _problem_of(tree: Any) -> str | None:
    if _depth(tree) > MAX_DEPTH:
        return f"it is nested more than {MAX_DEPTH} levels deep; every 'and' and 'or' is a level."
    valid, info = tree.validate()
    return None if valid else _first_problem(info)


def _depth(tree: Any) -> int:
    """Levels of a tree; without recursion, for which the tree may be too deep."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [getattr(node, side) for node in level for side in ("left", "right") if hasattr(node, side)]
    return depth


def _run_parser(text: str) -> tuple[Any, str | None]:
    parser = _parser()
    lexer = _lexer().clone()
    lexer.errors = []
    lexer.parser = parser
    parser.lexer = lexer
    parser.errors = []
    try:
        tree = parser.parse(text, lexer=lexer)
    except Exception as error:  # the library raises bare SyntaxError, and others from inside the lexer
        return None, _plain(error)
    if lexer.errors:
        return None, f"'{_short(lexer.errors[0][0])}' is not understood."
    if parser.errors:
        _, _, value, position, _ = parser.errors[0]
        return None, f"'{_short(value)}' is out of place at character {position + 1}."
    return tree, None


def _plain(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return "it ends too early."
    if isinstance(error, AttributeError):
        return "the right side of 'matches' must be a text in quotes."
    if isinstance(error, TypeError):
        return "a set in braces may hold names, texts and numbers only."
    return f"it cannot be read: {error}."


def _first_problem(info: Mapping[str, Any]) -> str:
    if info["regex"]:
        pattern, reason = next(iter(info["regex"].items()))
        return f"'{_short(pattern)}' is not a regular expression: {reason}."
    return _short(str(info["errors"][0]), 200)


def _short(text: Any, length: int = _SHOWN) -> str:
    shown = str(text)
    return shown if len(shown) <= length else f"{shown[:length]}…"


@lru_cache(maxsize=1)
def _lexer() -> Any:
    """Never used itself: building one takes longer than reading a predicate, copying it does not."""
    return pypred.parser.get_lexer()


@lru_cache(maxsize=1)
def _parser() -> Any:
    """Built without the library's table file, which it would rewrite inside its own package and warn about."""
    return ply.yacc.yacc(
        module=pypred.parser, debug=False, write_tables=False, errorlog=ply.yacc.NullLogger(), tabmodule="_no_tables"
    )
