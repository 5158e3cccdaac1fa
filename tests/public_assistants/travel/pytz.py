"""Stand-in for `pytz`, apart from the others since pandas would take it for the real one."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


class _Zone:
    def __init__(self, name: str) -> None:
        self._zone = ZoneInfo(name)

    def localize(self, time: datetime) -> datetime:
        return time.replace(tzinfo=self._zone)


def timezone(name: str) -> _Zone:
    return _Zone(name)
