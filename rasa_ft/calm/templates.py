"""Jinja templates that came with an assistant: filled in a sandbox, where whatever goes wrong is one kind of error.

A template can neither run code nor open files of its own accord. It can still waste time (a loop in a loop); so can
the assistant's Python actions, which are trusted as much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, Template, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from rasa_ft.calm.shown import Shown
from rasa_ft.yaml_source import plain

# No prompt and no message is as long; a loop that writes for ever ends here.
MAX_CHARACTERS = 10_000_000
_MAX_REPEATED = 1_000_000
_MAX_BITS = 100_000
_PLAIN_MAPPINGS = (dict, Shown)
_METHODS = frozenset(dir(dict))
_WIDTH = re.compile(r"%[^a-zA-Z%]*(?:\d{6}|\*)")


class TemplateFailure(ValueError):
    """A template that is malformed, or cannot be filled with these values; ``line`` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


class Sandbox(SandboxedEnvironment):
    """Jinja's own sandbox (no underscored attributes, no large ranges), which also refuses gigantic results."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, loader: BaseLoader | None = None) -> None:
        super().__init__(autoescape=False, loader=loader)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As jinja's own, but what cannot be an attribute of a plain mapping is looked up at once."""
        if type(obj) in _PLAIN_MAPPINGS and attribute not in _METHODS:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if _is_gigantic(operator, left, right):
            raise SecurityError(f"the result of '{operator}' would be too large")
        return super().call_binop(context, operator, left, right)


def _is_gigantic(operator: str, left: Any, right: Any) -> bool:
    if operator == "%":
        return isinstance(left, str) and _WIDTH.search(left) is not None
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > _MAX_BITS
    repeated, times = (right, left) if isinstance(left, int) else (left, right)
    return hasattr(repeated, "__len__") and isinstance(times, int) and len(repeated) * times > _MAX_REPEATED


_environment = Sandbox()


def is_template(text: str) -> bool:
    """Whether there is anything in ``text`` for jinja to do."""
    return "{{" in text or "{%" in text


def fill(text: str, variables: Mapping[str, Any]) -> str:
    """``text`` with its jinja expressions filled; what is undefined prints nothing.

    It works on copies of lists and mappings: nothing that it does to them stays.

    Raises:
        TemplateFailure: malformed, or not to be filled with these variables.
    """
    template = compiled(text)
    return render(template, {name: plain(variables[name]) for name in _names(text) if name in variables})


def compiled(text: str) -> Template:
    """A template without access to other files.

    Raises:
        TemplateFailure: malformed.
    """
    try:
        return _compiled(text)
    except Exception as error:
        raise failure(error) from error


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Template:
    return _environment.from_string(text)


@lru_cache(maxsize=1024)
def _names(text: str) -> frozenset[str]:
    """The variables that a valid template uses: copying all slots takes longer than filling a short text."""
    return frozenset(find_undeclared_variables(_environment.parse(text)))


def render(template: Template, variables: Mapping[str, Any]) -> str:
    """Fill ``template``.

    Raises:
        TemplateFailure: an expression fails, or writes more than `MAX_CHARACTERS`.
    """
    pieces: list[str] = []
    length = 0
    try:
        for piece in template.generate(variables):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_CHARACTERS:
                raise TemplateFailure(f"it writes more than {MAX_CHARACTERS} characters")
    except Exception as error:  # jinja's own errors, and whatever an expression raises
        raise failure(error) from error
    return "".join(pieces)


def failure(error: Exception) -> TemplateFailure:
    """``error`` of compiling or filling a template, in words."""
    if isinstance(error, TemplateFailure):
        return error
    line = getattr(error, "lineno", None) or 1
    if isinstance(error, RecursionError):
        return TemplateFailure("it is nested too deeply", line)
    return TemplateFailure(str(error) or type(error).__name__, line)


def template_syntax_error(text: str) -> str | None:
    """Why ``text`` cannot be parsed as a template, if it cannot; filters need not be known."""
    try:
        _environment.parse(text)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except RecursionError:
        return "it is nested too deeply"
    return None
