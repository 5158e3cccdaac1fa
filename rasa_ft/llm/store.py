"""Answers once paid for, kept in SQLite and never asked for again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint
from rasa_ft.llm.client import LLM, Completion, Request, aclose

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    latency REAL NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER
)
"""


class Store:
    """A file of answers, keyed by everything that decides an answer.

    Each answer is committed before anybody sees it, so a killed run loses at most the calls in flight. Several
    processes may use one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # Enough against a killed process; only a power failure could undo the newest answers.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot use {path} to keep answers: {error}.", hint="Delete it or free space.") from error

    def get(self, key: str) -> Completion | None:
        """The answer under ``key``, marked `Completion.from_store`."""
        query = "SELECT text, model, latency, prompt_tokens, completion_tokens FROM answers WHERE key = ?"
        with self._lock:
            row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            return None
        text, model, latency, prompt_tokens, completion_tokens = row
        return Completion(text, model, latency, prompt_tokens, completion_tokens, from_store=True)

    def put(self, key: str, request: Mapping[str, Any], completion: Completion) -> None:
        """Keep an answer; ``request`` is there for people who look into the file."""
        row = (
            key,
            json.dumps(request, ensure_ascii=False, default=str),
            completion.text,
            completion.model,
            completion.latency,
            completion.prompt_tokens,
            completion.completion_tokens,
        )
        try:
            with self._lock:
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise DataError(f"cannot keep an answer in {self.path}: {error}.", hint="Free some space.") from error

    def __len__(self) -> int:
        with self._lock:
            count: int = self._connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        return count

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class StoredLLM:
    """Looks an answer up before asking ``inner`` for it; equal questions in flight are asked once."""

    def __init__(self, inner: LLM, store: Store, identity: Mapping[str, Any]) -> None:
        self._inner = inner
        self._store = store
        self._identity = dict(identity)
        self._in_flight: dict[str, asyncio.Lock] = {}

    async def complete(self, request: Request) -> Completion:
        question = {
            "model": self._identity,
            "messages": [dict(message) for message in request.messages],
            "parameters": dict(request.parameters),
        }
        key = fingerprint(question)
        known = self._store.get(key)
        if known:
            return known
        lock = self._in_flight.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return self._store.get(key) or await self._ask(key, question, request)
        finally:
            if not lock.locked():
                self._in_flight.pop(key, None)

    async def aclose(self) -> None:
        await aclose(self._inner)

    async def _ask(self, key: str, question: Mapping[str, Any], request: Request) -> Completion:
        completion = await self._inner.complete(request)
        self._store.put(key, question, completion)
        return completion
