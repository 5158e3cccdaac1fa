"""A real HTTP server on 127.0.0.1 that behaves like an OpenAI-compatible one, well or badly as told."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Reply:
    """One scripted reply; ``body`` None is a good answer. ``hangs_up``: the connection is reset instead."""

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hangs_up: bool = False


class FakeOpenAI:
    """Gives the scripted replies in order, then those of ``script``; remembers what it was asked, and when.

    ``script`` gets a request and its number from 0, and gives None for a good answer. ``answer`` makes the text of a
    good answer; by default it says the last message again. ``most_at_once`` counts the requests that had no answer yet
    and whose client still waited.
    """

    def __init__(
        self,
        script: Callable[[dict[str, Any], int], Reply | None] = lambda request, number: None,
        answer: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        self.script = script
        self.answer = answer
        self.replies: list[Reply] = []
        self.times: list[float] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.delay = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are kept, as real servers do

            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                """A client that timed out has hung up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._lock:
            reply = self._reply(request)
            self.times.append(time.monotonic())
            self.requests.append(request)
            self.paths.append(handler.path)
            self.keys.append(handler.headers.get("authorization"))
            self._open.add(handler.connection)
            self.most_at_once = max(self.most_at_once, sum(not _is_gone(client) for client in self._open))
        is_gone = _is_gone(handler.connection, reply.delay)
        with self._lock:
            self._open.discard(handler.connection)
        if is_gone or reply.hangs_up:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        body = (reply.body if reply.body is not None else json.dumps(_answer(request, self.answer))).encode()
        handler.send_response(reply.status)
        for name, value in {"content-type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _reply(self, request: dict[str, Any]) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        return self.script(request, len(self.requests)) or Reply(delay=self.delay)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _is_gone(client: socket.socket, seconds: float = 0.0) -> bool:
    """Whether the other end hangs up within ``seconds``; nothing else than the end can come from it now."""
    return bool(select.select([client], [], [], seconds)[0])


def _answer(request: dict[str, Any], answer: Callable[[dict[str, Any]], str] | None = None) -> dict[str, Any]:
    """The last message, or the prompt, said again; for texts to embed, their lengths and numbers of words."""
    if "input" in request:
        vectors = [[float(len(text)), float(len(text.split()))] for text in request["input"]]
        data = [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(vectors)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "data": data[::-1], "model": request["model"], "usage": usage}
    chat = "messages" in request
    echo = "echo: " + (request["messages"][-1]["content"] if chat else request["prompt"])
    text = answer(request) if answer else echo
    choice = {"index": 0, "finish_reason": "stop"}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "1", "object": "x", "created": 0, "model": request["model"], "choices": [choice], "usage": usage}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    fake = FakeOpenAI()
    yield fake
    fake.stop()
