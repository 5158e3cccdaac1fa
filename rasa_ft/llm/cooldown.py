"""Leaving alone for a while what has just failed, so that not everybody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60.0


class Cooldown:
    """Counts failures in a row; after more than ``allowed_fails`` of them there is a rest of ``seconds``."""

    def __init__(
        self, seconds: float = SECONDS, *, allowed_fails: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._allowed = allowed_fails
        self._clock = clock
        self._fails = 0
        self._until: float | None = None

    @property
    def rest(self) -> float:
        """Seconds until it may be tried again; 0: now."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def failed(self, seconds: float | None = None) -> bool:
        """Note a failure; ``seconds``: a rest that the other side asked for. Whether this one begins a rest."""
        self._fails += 1
        if self._fails <= self._allowed:
            return False
        begins = self.rest == 0
        self._until = self._clock() + (self.seconds if seconds is None else seconds)
        return begins

    def succeeded(self) -> None:
        self._fails, self._until = 0, None
