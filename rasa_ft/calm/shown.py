"""What many prompts show: mappings and lists that a template can read like any other, but not change."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("what a prompt is given cannot be changed")


class Shown(dict[str, Any]):
    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


class ShownList(list[Any]):
    """``texts``: what templates have made of it, by their own keys."""

    __slots__ = ("texts",)

    def __init__(self, items: Any) -> None:
        super().__init__(items)
        self.texts: dict[int, str] = {}

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse
