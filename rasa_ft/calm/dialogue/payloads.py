"""Button payloads: ``/SetSlots(seat=window, meal=none)``, which fills slots without asking a model."""

from __future__ import annotations

import re

MAX_PAIRS = 10
PREFIX = "/SetSlots"
_CALL = re.compile(r"/SetSlots\s*\((?P<pairs>.*)\)\s*", re.DOTALL)
# A value ends at a comma or a parenthesis, or is a list in brackets; quotes belong to it.
_PAIR = re.compile(r"\s*(?P<name>[^=,()\s]+)\s*=\s*(?P<value>\[[^\]]*\]\s*|[^,()]*)(?:,|$)")
_NOTHING = ("none", "null", "undefined")


def parse_set_slots(text: str) -> tuple[tuple[str, str | None], ...] | None:
    """Slots and values in order of writing, or None if ``text`` is not of the form; more pairs than allowed are none.

    "none", "null" and "undefined" (in any case) become None.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None:
        return None
    pairs: list[tuple[str, str | None]] = []
    position = 0
    while position < len(call["pairs"]):
        pair = _PAIR.match(call["pairs"], position)
        if pair is None:
            return None
        value = pair["value"].strip()
        pairs.append((pair["name"], None if value.lower() in _NOTHING else value))
        position = pair.end()
    return tuple(pairs) if 0 < len(pairs) <= MAX_PAIRS else None
