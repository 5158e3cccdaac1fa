"""Rendering the list of flows once: most of a prompt is the same at every turn, and longest with many flows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from rasa_ft.calm.shown import ShownList
from rasa_ft.calm.templates import Sandbox

FLOWS = "available_flows"
# What gives something else each time, or reads files.
_FICKLE_FILTERS = frozenset({"random"})
_FICKLE_NAMES = frozenset({"lipsum"})
_FICKLE_NODES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.ContextReference, nodes.DerivedContextReference)
_numbers = count()


class SharedLoops(Sandbox):
    """A sandbox in which ``{% for … in available_flows %}`` is rendered once for each `ShownList`.

    Only where nothing else goes into it: its text may depend on no other variable.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.globals["_shared_loop"] = _shared_loop

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        tree.body = [
            _shared(node, self) if isinstance(node, nodes.For) and self._is_constant(node) else node
            for node in tree.body
        ]
        return tree

    def _is_constant(self, loop: nodes.For) -> bool:
        if not (isinstance(loop.iter, nodes.Name) and loop.iter.name == FLOWS):
            return False
        fickle = any(
            isinstance(part, _FICKLE_NODES)
            or (isinstance(part, nodes.Filter) and part.name in _FICKLE_FILTERS)
            or (isinstance(part, nodes.Name) and part.name in _FICKLE_NAMES)
            for part in loop.find_all(nodes.Node)
        )
        alone = nodes.Template([loop])
        alone.set_environment(self)
        return not fickle and find_undeclared_variables(alone) == {FLOWS}


def _shared(loop: nodes.For, environment: Sandbox) -> nodes.Node:
    """``loop`` as the body of a call that knows what it gave before."""
    name = nodes.Name("_shared_loop", "load")
    call = nodes.Call(name, [nodes.Const(next(_numbers)), nodes.Name(FLOWS, "load")], [], None, None)
    block = nodes.CallBlock(call, [], [], [loop])
    for part in (name, *call.args, call, block):
        part.set_lineno(loop.lineno)
    return block.set_environment(environment)


def _shared_loop(number: int, items: Any, caller: Callable[[], str]) -> str:
    if not isinstance(items, ShownList):
        return caller()
    if number not in items.texts:
        items.texts[number] = caller()
    return items.texts[number]
