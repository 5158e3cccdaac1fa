"""Stand-in; see the package."""

from __future__ import annotations

from typing import Any


class Message:
    """A text and what was found in it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @classmethod
    def build(cls, text: str) -> Message:
        return cls({"text": text})
