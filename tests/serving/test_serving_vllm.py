"""Against a small process that behaves like a model server, children included."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import httpx
import pytest

from rasa_ft.errors import RasaFtError, ServerError
from rasa_ft.serving.command import ServedModel, ServerCommand, ServeSettings
from rasa_ft.serving.vllm import Server, check_port, free_port, run_server, serve

FAKE = textwrap.dedent("""
    import http.server, os, subprocess, sys, time
    port, mode, pids = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    print("Resolved architecture: LlamaForCausalLM", flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(pids, "w").write(f"{os.getpid()} {child.pid}")
    if mode == "dies":
        print("(EngineCore pid=1) ERROR [core.py:1] ValueError: the model has 3 heads too many", flush=True)
        print("RuntimeError: Engine failed. See root cause above.", flush=True)
        sys.exit(7)
    if mode == "stubborn":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "slow":
        time.sleep(600)
    time.sleep(0.3)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("MARK", "").encode())
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
""")


class Fake:
    """Commands that start the process above in one of its modes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.pids_file = folder / "pids"
        self.log = folder / "logs" / "server.log"

    def command(self, mode: str = "works") -> ServerCommand:
        arguments = (sys.executable, "-c", FAKE, str(self.port), mode, str(self.pids_file))
        return ServerCommand(arguments, {"MARK": "ours"}, "bot")

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in self.pids_file.read_text().split()]

    def assert_gone(self) -> None:
        deadline = time.monotonic() + 5
        while any(is_running(pid) for pid in self.pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [pid for pid in self.pids if is_running(pid)] == []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_healthy_then_gone(fake: Fake) -> None:
    said: list[str] = []
    with run_server(fake.command(), "127.0.0.1", fake.port, log=fake.log, on_progress=said.append) as server:
        assert server.url == f"http://127.0.0.1:{fake.port}/v1"
        assert server.model_name == "bot"
        assert server.startup_seconds >= 0.3
        assert httpx.get(f"{server.root}/v1/models").text == "ours"
        assert all(is_running(pid) for pid in fake.pids)
    fake.assert_gone()
    assert said
    assert "Resolved architecture" in fake.log.read_text()


def test_gone_after_an_exception(fake: Fake) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        run_server(fake.command(), "127.0.0.1", fake.port, log=fake.log),
    ):
        _ = 1 / 0
    fake.assert_gone()


def test_a_server_that_ignores_sigterm_is_killed(fake: Fake) -> None:
    with run_server(fake.command("stubborn"), "127.0.0.1", fake.port, log=fake.log) as server:
        server.stop(patience=0.3)
        fake.assert_gone()


def test_death_is_reported_with_its_cause(fake: Fake) -> None:
    with (
        pytest.raises(ServerError, match=r"exit code 7 .* ValueError: the model has 3 heads too many") as caught,
        run_server(fake.command("dies"), "127.0.0.1", fake.port, log=fake.log),
    ):
        pass
    assert str(fake.log) in str(caught.value)
    fake.assert_gone()


def test_patience_ends(fake: Fake) -> None:
    with (
        pytest.raises(ServerError, match="was not ready after 1 seconds; it is reading the model's configuration"),
        run_server(fake.command("slow"), "127.0.0.1", fake.port, log=fake.log, timeout=1.0),
    ):
        pass
    fake.assert_gone()


def test_program_that_does_not_exist(fake: Fake) -> None:
    with (
        pytest.raises(ServerError, match="no-such-program cannot be started"),
        run_server(ServerCommand(("no-such-program",)), "127.0.0.1", fake.port, log=fake.log),
    ):
        pass


def test_log_that_cannot_be_written(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RasaFtError, match="cannot write"),
        run_server(fake.command(), "127.0.0.1", fake.port, log=tmp_path / "file" / "log"),
    ):
        pass


def test_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = ServeSettings(ServedModel(tmp_path), port=port)
        with pytest.raises(ServerError) as caught, serve(settings, log=tmp_path / "log", backend="vllm"):
            pass
        assert f"port {port} on 127.0.0.1 is already in use." in str(caught.value)
        assert f"--port {port + 1}" in str(caught.value)
    check_port("127.0.0.1", free_port())


def test_serve_runs_in_other_threads_as_well(fake: Fake) -> None:
    outcome: list[str] = []

    def work() -> None:
        with run_server(fake.command(), "127.0.0.1", fake.port, log=fake.log) as server:
            outcome.append(server.url)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert outcome == [f"http://127.0.0.1:{fake.port}/v1"]
    fake.assert_gone()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_no_orphan_when_we_are_ended(fake: Fake, tmp_path: Path, kind: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import pathlib, time
        from rasa_ft.serving.command import ServerCommand
        from rasa_ft.serving.vllm import run_server
        command = ServerCommand({fake.command().arguments!r}, {{}}, "bot")
        with run_server(command, "127.0.0.1", {fake.port}, log=pathlib.Path({str(fake.log)!r})):
            print("ready", flush=True)
            time.sleep(600)
        """)
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(kind)
    parent.wait(20)
    parent.stdout.close()
    fake.assert_gone()


def test_address_for_clients() -> None:
    def url(host: str) -> str:
        return Server(None, ServerCommand(()), host, 8000, Path("log")).url  # type: ignore[arg-type]

    assert url("::") == "http://127.0.0.1:8000/v1"
    assert url("::1") == "http://[::1]:8000/v1"


def test_silent_death_says_so(tmp_path: Path) -> None:
    server = Server(None, ServerCommand(()), "127.0.0.1", 1, tmp_path / "missing")  # type: ignore[arg-type]
    assert server.last_words() == "it wrote nothing"
    (tmp_path / "missing").write_text("usage: vllm\n\nvllm: error: unrecognized arguments: --nonsense\n")
    assert server.last_words() == "error: unrecognized arguments: --nonsense"
    (tmp_path / "missing").write_text("loading\nKilled\n")
    assert server.last_words() == "Killed"
