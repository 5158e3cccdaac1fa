"""Vectors once computed or paid for, kept in SQLite and never asked for again."""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from rasa_ft.errors import DataError
from rasa_ft.files import cache_folder

_SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)"
# SQLite's limit on variables in one statement is at least this.
_MOST_KEYS = 500


class VectorStore:
    """A file of vectors, keyed by a fingerprint of model and text; the texts themselves are not kept.

    The file is opened at the first use. Several processes may use it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def get(self, keys: Sequence[str]) -> dict[str, list[float]]:
        """The vectors that are known."""
        found: dict[str, list[float]] = {}
        for start in range(0, len(keys), _MOST_KEYS):
            some = list(keys[start : start + _MOST_KEYS])
            places = ", ".join("?" * len(some))
            query = f"SELECT key, vector FROM vectors WHERE key IN ({places})"  # noqa: S608 - only question marks
            with self._lock:
                rows = self._connection().execute(query, some).fetchall()
            found |= {key: array("f", blob).tolist() for key, blob in rows}
        return found

    def put(self, vectors: Mapping[str, Sequence[float]]) -> None:
        rows = [(key, array("f", vector).tobytes()) for key, vector in vectors.items()]
        try:
            with self._lock, self._connection() as transaction:
                transaction.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise DataError(f"cannot keep vectors in {self.path}: {error}.", hint="Free some space.") from error

    def __len__(self) -> int:
        with self._lock:
            count: int = self._connection().execute("SELECT COUNT(*) FROM vectors").fetchone()[0]
        return count

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._opened = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
                self._opened.execute("PRAGMA journal_mode=WAL")
                self._opened.execute("PRAGMA synchronous=NORMAL")
                self._opened.execute(_SCHEMA)
            except (OSError, sqlite3.Error) as error:
                self._opened = None
                raise DataError(f"cannot use {self.path} to keep vectors: {error}.", hint="Delete it.") from error
        return self._opened


def default_store() -> VectorStore:
    """The user's own store, shared by all assistants."""
    return VectorStore(cache_folder() / "vectors.sqlite")
