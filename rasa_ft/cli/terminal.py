"""Text that people, models and files wrote, made fit for a terminal."""

from __future__ import annotations

import re

# Control characters but for line breaks and tabs, marks that turn the direction of writing, halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""``text`` without anything that a terminal would obey: such characters are shown as ``\x1b``."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))
