"""An action server that does not answer is told before any test is played."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from desk_assistant import DESK

from rasa_ft.cli.main import run

TEST = "test_cases: [{test_case: a, steps: [{user: /SetSlots(day=friday)}]}]\n"
STUBS = "stub_custom_actions: {action_count_messages: {events: []}}\n"


@pytest.fixture
def server() -> Iterator[Callable[[int], str]]:
    """Starts a server that answers ``/health`` with a status; gives the address of its webhook."""
    started: list[HTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/health" else 500)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        started.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[0].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{started[0].server_port}/webhook"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], int]:
    """Plays a test on the desk assistant with its actions on a server."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DESK, tmp_path / "bot")

    def played(url: str, test: str) -> int:
        endpoints = (DESK / "endpoints.yml").read_text().replace("actions_module: actions", f'url: "{url}"')
        (tmp_path / "bot/endpoints.yml").write_text(endpoints)
        (tmp_path / "bot/t.yml").write_text(test)
        return run(["test", "e2e", "bot/t.yml", "--json"])

    return played


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_answers(
    play: Callable[[str, str], int], server: Callable[[int], str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(server(status), TEST) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 1


def test_a_server_that_is_ill(
    play: Callable[[str, str], int], server: Callable[[int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = server(503)
    assert play(url, TEST) == 1
    out, err = capsys.readouterr()
    assert f"the action server {url.replace('webhook', 'health')} answers 503." in err and not out


def test_no_server_at_all(play: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert play("http://127.0.0.1:9/webhook", TEST) == 1
    assert "http://127.0.0.1:9/health does not answer" in capsys.readouterr().err
    assert play("http://127.0.0.1:9/webhook", STUBS + TEST) == 0
