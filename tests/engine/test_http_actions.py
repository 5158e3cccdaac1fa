"""Custom actions on an action server, a real one on a free port of this machine."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from desk_assistant import Talk

from rasa_ft.calm.domain import Domain
from rasa_ft.calm.runtime import ActionFailed, ActionRejected, ActionResult
from rasa_ft.engine.action_server import custom_actions
from rasa_ft.errors import DataError


class ActionServer:
    """Answers with what the test prepared and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.requests.append((self.path, dict(self.headers), body))
                status, answer = owner.answers.pop(0)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[ActionServer]:
    running = ActionServer()
    yield running
    running.close()


def run(talk: Talk, options: dict[str, Any]) -> ActionResult:
    actions = custom_actions(talk.engine.project, options, talk.engine.assistant.domain, channel="collector")
    return asyncio.run(actions.run("action_find_desk", talk.conversation.tracker))


def test_events_and_responses_come_back(server, talk, monkeypatch):
    monkeypatch.setenv("ACTION_TOKEN", "secret")
    talk.turn("start flow book_desk; set slot day friday", text="a desk")
    slot = {"event": "slot", "name": "desk_found", "value": True}
    server.answers = [(200, {"events": [slot], "responses": [{"text": "hi"}]})]
    result = run(talk, {"url": server.url, "token": "${ACTION_TOKEN}", "headers": {"X-Team": "a"}})
    assert result == ActionResult((slot,), ({"text": "hi"},))
    (path, headers, body) = server.requests[0]
    assert path == "/webhook?token=secret"
    assert headers["X-Team"] == "a"
    assert body["next_action"] == "action_find_desk"
    assert "domain" not in body
    assert body["tracker"]["slots"]["day"] == "friday"
    assert body["tracker"]["latest_message"]["text"] == "a desk"
    assert body["tracker"]["latest_message"]["commands"] == [
        {"command": "start flow", "flow": "book_desk"},
        {"command": "set slot", "name": "day", "value": "friday", "extractor": "LLM"},
    ]
    assert [frame["flow_id"] for frame in body["tracker"]["stack"]] == ["book_desk", "pattern_collect_information"]
    assert {"slot", "user", "bot", "action", "flow_started"} <= {event["event"] for event in body["tracker"]["events"]}


def test_the_domain_is_sent_when_the_server_asks_for_it(server, talk):
    server.answers = [(449, {}), (200, {"events": None, "responses": []})]
    assert run(talk, {"url": server.url}) == ActionResult()
    first, second = (body for _, _, body in server.requests)
    assert "domain" not in first
    assert "day" in second["domain"]["slots"]
    assert first["domain_digest"] == second["domain_digest"]


@pytest.mark.parametrize("status", [404, 500, 503])
def test_failures(server, talk, status):
    server.answers = [(status, {})]
    with pytest.raises(ActionFailed, match=str(status)):
        run(talk, {"url": server.url})


@pytest.mark.parametrize("answer", [[], {"events": "none"}, {"responses": [1]}])
def test_answers_of_another_shape_are_failures(server, talk, answer):
    server.answers = [(200, answer)]
    with pytest.raises(ActionFailed):
        run(talk, {"url": server.url})


def test_refusal(server, talk):
    server.answers = [(400, {"error": "not now", "action_name": "action_find_desk"})]
    with pytest.raises(ActionRejected, match="not now"):
        run(talk, {"url": server.url})


def test_a_server_that_is_not_there(server, talk):
    server.close()
    with pytest.raises(ActionFailed, match="does not answer"):
        run(talk, {"url": server.url})


def test_no_endpoint_at_all(talk):
    with pytest.raises(ActionFailed, match="action_endpoint"):
        run(talk, {})


def test_a_url_that_is_none(tmp_path):
    with pytest.raises(DataError, match="grpc://x"):
        custom_actions(tmp_path, {"url": "grpc://x"}, Domain(), channel="collector")
