"""Runs a model server as long as it is needed: started, watched until healthy, stopped with everything it started."""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from rasa_ft.errors import RasaFtError, ServerError
from rasa_ft.serving.command import Backend, ServerCommand, ServeSettings, choose_backend, server_command

Progress = Callable[[str], None]

# What a line of the log says about how far the server is, in the order in which they appear.
_PHASES = (
    ("Resolved architecture", "reading the model's configuration"),
    ("Starting to load model", "loading weights"),
    ("Loading weights took", "weights are loaded, preparing memory"),
    ("Capturing CUDA graph", "preparing the GPU"),
    ("init engine", "starting the web server"),
)
_ERROR_LINE = re.compile(r"\b(\w*(?:Error|Exception|Interrupt)\b(?::| \[).*|error: .*)")


class Server:
    """A running model server; made by `serve`.

    ``url`` ends in /v1. ``startup_seconds`` is the time until it was healthy.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], command: ServerCommand, host: str, port: int, log: Path
    ) -> None:
        self._process = process
        self.command = command
        self.host = host
        self.port = port
        self.log = log
        self.startup_seconds = 0.0

    @property
    def model_name(self) -> str:
        return self.command.model_name

    @property
    def root(self) -> str:
        """Scheme, host and port; a server that listens everywhere is spoken to on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def wait_until_healthy(self, timeout: float, on_progress: Progress) -> None:
        """Return when ``/health`` answers.

        Raises:
            ServerError: the server died or took longer than ``timeout`` seconds; with the reason from its log.
        """
        start = time.monotonic()
        while not self._is_healthy():
            waited = time.monotonic() - start
            if self._process.poll() is not None:
                raise ServerError(
                    f"the model server ended with exit code {self._process.returncode} before it was ready: "
                    f"{self.last_words()}",
                    hint=f"The whole log: {self.log}",
                )
            if waited > timeout:
                raise ServerError(
                    f"the model server was not ready after {timeout:.0f} seconds; it is {self._phase()}.",
                    hint=f"The log is {self.log}; wait longer with --timeout.",
                )
            on_progress(f"{self._phase()} ({waited:.0f} s)")
            time.sleep(0.25)
        self.startup_seconds = time.monotonic() - start

    def wait(self) -> int:
        """Block until the server ends by itself; its exit code."""
        return self._process.wait()

    def last_words(self) -> str:
        """The line of the log that says best what went wrong."""
        lines = self._log_text().splitlines()
        errors = [match[1].strip() for line in lines if (match := _ERROR_LINE.search(line))]
        telling = (
            [line for line in errors if "root cause" not in line] or errors or [line for line in lines if line.strip()]
        )
        return telling[-1][:500] if telling else "it wrote nothing"

    def stop(self, patience: float = 15.0) -> None:
        """End the server and every process it started; doing it again does nothing."""
        for kind, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
            if not _signal_group(self._process.pid, kind):
                break
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline and _signal_group(self._process.pid, None):
                self._process.poll()  # collects the ended process, so that its group can vanish
                time.sleep(0.05)
        self._process.poll()

    def _is_healthy(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.root}/health", timeout=2.0).status_code == 200 and self._process.poll() is None
        except httpx.HTTPError:
            return False

    def _phase(self) -> str:
        text = self._log_text()
        return next((phase for mark, phase in reversed(_PHASES) if mark in text), "starting")

    def _log_text(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


@contextmanager
def serve(
    settings: ServeSettings,
    *,
    log: Path,
    backend: Backend | None = None,
    timeout: float = 600.0,
    on_progress: Progress = lambda text: None,
) -> Iterator[Server]:
    """A healthy model server for the length of the block; afterwards nothing of it runs any more.

    That also holds after an exception, Ctrl-C, SIGTERM or the end of the interpreter. ``log`` receives what the server
    writes; ``on_progress`` is told several times a second what it is doing. ``backend`` None: what is installed.

    Raises:
        ServerError: the port is taken, the server died, or it was not ready in ``timeout`` seconds.
        MissingRequirement: no server is installed.
    """
    check_port(settings.host, settings.port)
    command = server_command(settings, backend or choose_backend())
    with run_server(command, settings.host, settings.port, log=log, timeout=timeout, on_progress=on_progress) as server:
        yield server


@contextmanager
def run_server(
    command: ServerCommand,
    host: str,
    port: int,
    *,
    log: Path,
    timeout: float = 600.0,
    on_progress: Progress = lambda text: None,
) -> Iterator[Server]:
    """As `serve`, for a command that is already there."""
    with _open_log(log) as stream, _terminated_as_interrupt():
        server = Server(_start(command, stream), command, host, port, log)
        atexit.register(server.stop)
        try:
            server.wait_until_healthy(timeout, on_progress)
            yield server
        finally:
            server.stop()
            atexit.unregister(server.stop)


def check_port(host: str, port: int) -> None:
    """Make sure that a server can listen there.

    Raises:
        ServerError: the port is in use or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = "is already in use" if error.errno in (98, 48, 10048) else f"cannot be used: {error.strerror}"
            raise ServerError(
                f"port {port} on {host} {taken}.", hint=f"Stop what listens there, or choose another: --port {port + 1}"
            ) from None


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _start(command: ServerCommand, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # What the user has set wins.
    environment = {**command.environment, **os.environ}
    try:
        # A group of its own: it can be ended as a whole, and Ctrl-C in the terminal reaches us first.
        return subprocess.Popen(
            command.arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ServerError(f"{command.arguments[0]} cannot be started: {error.strerror}.") from None


def _open_log(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise RasaFtError(f"cannot write {path}: {error.strerror}.") from None


def _signal_group(group: int, kind: signal.Signals | None) -> bool:
    """Signal a process group (None: only look); False if nobody of it is left."""
    try:
        os.killpg(group, kind or 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C does, so that the server is stopped; only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
