"""Custom actions on an action server, a real one on a free port of this machine."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from desk_assistant import Talk

from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, ActionResult, OutOfScopeReached
from rasa_ft.calm.events import SlotSet
from rasa_ft.calm.project.domain import Domain
from rasa_ft.engine.action_server import custom_actions
from rasa_ft.engine.http_endpoint import request_timeout
from rasa_ft.errors import DataError


class ActionServer:
    """Answers with what the test prepared and keeps what it was sent."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.delay = 0.0
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.requests.append((self.path, dict(self.headers), body))
                status, answer = owner.answers.pop(0)
                time.sleep(owner.delay)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                """A client that timed out, or distrusts us, has hung up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/webhook"
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
    with pytest.raises(DataError, match="ftp://x"):
        custom_actions(tmp_path, {"url": "ftp://x"}, Domain(), channel="collector")


def test_a_grpc_server_is_out_of_scope(talk):
    with pytest.raises(OutOfScopeReached, match="gRPC"):
        run(talk, {"url": "grpcs://x:50051"})


def test_who_we_are(server, talk, monkeypatch):
    monkeypatch.setenv("ACTION_PASSWORD", "pass")
    auth = {"username": "me", "password": "${ACTION_PASSWORD}"}
    server.answers = [(200, {})]
    assert run(talk, {"url": server.url, "basic_auth": auth, "cookies": {"a": "b"}}) == ActionResult()
    (_, headers, _) = server.requests[0]
    assert headers["Authorization"] == "Basic bWU6cGFzcw=="
    assert headers["Cookie"] == "a=b"


def test_a_selective_domain(server, talk):
    domain = replace(talk.engine.assistant.domain, actions_with_domain=frozenset({"action_break"}))
    options = {"url": server.url, "enable_selective_domain": True}
    actions = custom_actions(talk.engine.project, options, domain, channel="collector")
    server.answers = [(200, {}), (449, {}), (200, {})]
    for name in ("action_find_desk", "action_break"):
        asyncio.run(actions.run(name, talk.conversation.tracker))
    bodies = [body for _, _, body in server.requests]
    assert [len(body["domain"]) if "domain" in body else None for body in bodies] == [0, None, len(domain.document())]
    assert ["domain_digest" in body for body in bodies] == [False, True, True]


@pytest.mark.parametrize("answer", [["not now"], "not now", None])
def test_a_refusal_that_says_nothing_of_use(server, talk, answer):
    server.answers = [(400, answer)]
    with pytest.raises(ActionRejected, match="refused"):
        run(talk, {"url": server.url})


def test_what_a_failing_server_says(server, talk):
    server.answers = [(500, {"error": "boom"}), (404, {})]
    with pytest.raises(ActionFailed, match="500: boom"):
        run(talk, {"url": server.url})
    with pytest.raises(ActionFailed, match="it has no action action_find_desk"):
        run(talk, {"url": server.url})


def test_a_server_that_takes_too_long(server, talk, monkeypatch):
    monkeypatch.setenv("DEFAULT_REQUEST_TIMEOUT", "0.1")
    server.delay, server.answers = 0.5, [(200, {})]
    with pytest.raises(ActionFailed, match="does not answer: ReadTimeout"):
        run(talk, {"url": server.url})
    monkeypatch.setenv("DEFAULT_REQUEST_TIMEOUT", "soon")
    with pytest.raises(DataError, match="DEFAULT_REQUEST_TIMEOUT is 'soon'"):
        run(talk, {"url": server.url})
    monkeypatch.delenv("DEFAULT_REQUEST_TIMEOUT")
    assert request_timeout() == 300


def test_what_cannot_be_sent(server, talk):
    tracker = talk.conversation.tracker.apply(SlotSet("height", float("nan")))
    actions = custom_actions(talk.engine.project, {"url": server.url}, talk.engine.assistant.domain, channel="c")
    with pytest.raises(ActionFailed, match="cannot be written as JSON"):
        asyncio.run(actions.run("action_find_desk", tracker))
    assert server.requests == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificates(talk, tmp_path):
    file = tmp_path / "server.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key.pem"), "-out", str(file)]
    subprocess.run([*request.split(), *names], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(file.read_text() + (tmp_path / "key.pem").read_text())
    server = ActionServer(both)
    try:
        server.answers = [(200, {})]
        assert run(talk, {"url": server.url, "cafile": str(file)}) == ActionResult()
        with pytest.raises(ActionFailed, match=r"does not answer.*CERTIFICATE_VERIFY_FAILED"):
            run(talk, {"url": server.url})
    finally:
        server.close()
    with pytest.raises(DataError, match=r"certificates .*gone\.pem, which does not exist"):
        run(talk, {"url": server.url, "cafile": "gone.pem"})
