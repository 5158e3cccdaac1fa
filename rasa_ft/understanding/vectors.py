"""Finding what is nearest in meaning among vectors that are made once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class VectorIndex:
    """Rows to search by inner product; ``rows`` is a float32 matrix, one row for each thing."""

    rows: Any

    @classmethod
    def of(cls, vectors: Sequence[Sequence[float]]) -> VectorIndex:
        import numpy as np

        return cls(np.asarray(vectors, dtype=np.float32))

    def nearest(self, query: Sequence[float], k: int) -> list[tuple[int, float]]:
        """Row numbers and inner products of the ``k`` best rows, best first; equal ones in their order."""
        import numpy as np

        if not len(self.rows):
            return []
        scores = self.rows @ np.asarray(query, dtype=np.float32)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(int(row), float(scores[row])) for row in best]


class Once(Generic[T]):
    """A value that ``make`` makes when it is first wanted; who else wants it waits. A failure is not kept."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def get(self) -> T:
        if not self._made:
            async with self._lock_of_loop():
                if not self._made:
                    self._made.append(await self._make())
        return self._made[0]

    def _lock_of_loop(self) -> asyncio.Lock:
        """One for each event loop, as the value may outlive `asyncio.run`."""
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = (loop, asyncio.Lock())
        return self._lock[1]
