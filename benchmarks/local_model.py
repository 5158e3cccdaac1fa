"""A model server on this machine in a process of its own, so that its work is not part of what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The server is the tests' one.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


@dataclass(frozen=True)
class Served:
    """A running server and how to ask about it."""

    url: str
    process: subprocess.Popen[str]

    def report(self, **words: Any) -> dict[str, Any]:
        """What it has seen so far; ``words`` are for what the server's own process wants to be told."""
        if not (self.process.stdin and self.process.stdout):
            raise ValueError("this server was not started by `served`")
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def served(command: Sequence[str]) -> Iterator[Served]:
    """The server that ``command`` runs by `serve_here`, until the block ends."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(json.loads((process.stdout or sys.stdin).readline())["url"], process)
        finally:
            process.kill()


def serve_here(server: Any, report: Any = None) -> None:
    """Say where ``server`` (a FakeOpenAI) is, and then, for each line that comes in, what it has seen."""
    print(json.dumps({"url": server.url}), flush=True)
    for line in sys.stdin:
        seen = {"requests": len(server.requests), "most_at_once": server.most_at_once}
        print(json.dumps({**seen, **(report(**json.loads(line)) if report else {})}), flush=True)
    threading.Event().wait()
