"""Stand-in; see the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class _Event:
    type_name: str

    def as_dict(self) -> dict[str, Any]:
        return {"event": self.type_name, "timestamp": None}


class SessionStarted(_Event):
    def __init__(self) -> None:
        super().__init__("session_started")


class SessionEnded(_Event):
    def __init__(self) -> None:
        super().__init__("session_ended")
