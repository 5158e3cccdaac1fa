"""Answers once paid for, kept in SQLite and never asked for again."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint
from rasa_ft.llm.client import LLM, Completion, Request, aclose
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.retry import end_if_cancelled

# Where the commands keep answers, below the working folder.
ANSWERS = Path(".rasa_ft") / "answers.sqlite"

_COLUMNS = {
    "key": "TEXT PRIMARY KEY",
    "request": "TEXT NOT NULL",
    "text": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
    "latency": "REAL NOT NULL",
    # Added to files that do not have them yet.
    "prompt_tokens": "INTEGER",
    "completion_tokens": "INTEGER",
}
_VERSION = 1
# Words in the names of parameters that may hold a secret, and secrets in addresses.
_SECRET = re.compile(r"auth|header|key|password|secret|token$", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|\?.*")
_ADDRESS = "api_base"


class Store:
    """A file of answers, keyed by everything that decides an answer.

    Each answer is committed before anybody sees it, so a killed run loses at most the calls in flight. Several
    processes may use one file.

    Raises:
        DataError: the file cannot be used, is damaged, or was made by a newer version; it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._told("use"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # Enough against a killed process; only a power failure could undo the newest answers.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._bring_up_to_date()

    def get(self, key: str) -> Completion | None:
        """The answer under ``key``, marked `Completion.from_store`.

        Raises:
            DataError: the file is damaged or closed.
        """
        query = "SELECT text, model, latency, prompt_tokens, completion_tokens FROM answers WHERE key = ?"
        with self._lock, self._told("read"):
            row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            return None
        text, model, latency, prompt_tokens, completion_tokens = row
        return Completion(text, model, latency, prompt_tokens, completion_tokens, from_store=True)

    def put(self, key: str, request: Mapping[str, Any], completion: Completion) -> None:
        """Keep an answer; ``request`` is there for people who look into the file, without what may be secret.

        Raises:
            DataError: the disk is full, or the file is damaged or closed.
        """
        row = (
            key,
            json.dumps(_presentable(request), ensure_ascii=False, default=str),
            completion.text,
            completion.model,
            completion.latency,
            completion.prompt_tokens,
            completion.completion_tokens,
        )
        places = ", ".join("?" * len(_COLUMNS))
        statement = f"INSERT OR REPLACE INTO answers ({', '.join(_COLUMNS)}) VALUES ({places})"  # noqa: S608 - our names
        with self._lock, self._told("keep an answer in"):
            self._connection.execute(statement, row)

    def __len__(self) -> int:
        with self._lock, self._told("read"):
            count: int = self._connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        return count

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _bring_up_to_date(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise DataError(
                f"{self.path} was made by a newer version of rasa_ft.", hint="Update, or use another folder."
            )
        if version == _VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
        there = {row[1] for row in self._connection.execute("PRAGMA table_info(answers)")}
        for name, kind in _COLUMNS.items():
            if name not in there:
                self._connection.execute(f"ALTER TABLE answers ADD COLUMN {name} {kind}")
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        self._connection.execute("COMMIT")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """SQLite's errors as one sentence. Answers are never thrown away: what to do about a file is for its owner."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # its subclasses are about the statement or the system
                raise DataError(
                    f"{self.path}, the file of kept answers, is damaged ({error}).",
                    hint="Nothing in it was changed. Get a copy back, or rescue what is left: sqlite3 FILE .recover; "
                    "without the file every answer is asked for again.",
                ) from None
            raise self._unusable(what, error) from None
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(what, error) from None

    def _unusable(self, what: str, error: Exception) -> DataError:
        return DataError(
            f"cannot {what} {self.path}: {error}.", hint="Is the disk full, the folder write-protected, or a run stuck?"
        )


@dataclass
class _Turns:
    """Those who have the same question in flight, one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    askers: int = 0


class StoredLLM:
    """Looks an answer up before asking ``inner`` for it; equal questions in flight are asked once."""

    def __init__(self, inner: LLM, store: Store, identity: Mapping[str, Any], usage: Usage | None = None) -> None:
        self._inner = inner
        self._store = store
        self._identity = dict(identity)
        self._usage = usage or Usage()
        self._asking: dict[str, _Turns] = {}

    async def complete(self, request: Request) -> Completion:
        question = {
            "model": self._identity,
            "messages": [dict(message) for message in request.messages],
            "parameters": dict(request.parameters),
        }
        key = fingerprint(question)
        known = self._known(key)
        if known:
            return known
        async with self._alone(key):
            return self._known(key) or await self._ask(key, question, request)

    async def aclose(self) -> None:
        await aclose(self._inner)

    def _known(self, key: str) -> Completion | None:
        known = self._store.get(key)
        self._usage.from_store += known is not None
        return known

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        turns = self._asking.setdefault(key, _Turns())
        turns.askers += 1
        try:
            async with turns.lock:
                yield
        finally:
            turns.askers -= 1
            if not turns.askers:
                del self._asking[key]

    async def _ask(self, key: str, question: Mapping[str, Any], request: Request) -> Completion:
        completion = await self._inner.complete(request)
        self._store.put(key, question, completion)
        end_if_cancelled()
        return completion


def _presentable(value: Any, name: str = "") -> Any:
    """``value`` without headers, keys and credentials in addresses, should anybody have written them out."""
    if _SECRET.search(name):
        return "..."
    if isinstance(value, Mapping):
        return {key: _presentable(item, str(key)) for key, item in value.items()}
    if name == _ADDRESS and isinstance(value, str):
        return _CREDENTIALS.sub("", value)
    if isinstance(value, list | tuple):
        return [_presentable(item) for item in value]
    return value
