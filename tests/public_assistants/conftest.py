"""Public assistants, each loaded once, and a summary of their test cases."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from assistant_scripts import STAND_INS, PublicAssistant, ScriptedLLM, ScriptedSearch, write_endpoints
from workspaces import model_api, workspace

from rasa_ft.e2e.model import TestCase
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.understanding.knowledge import Knowledge

_START_SECONDS = 60.0
_OUTCOMES = ("passed", "failed", "skipped", "xfailed")


class Loaded:
    """An assistant with a model and documents that play scripts, and its test cases by ``file::name``."""

    def __init__(
        self, engine: EmbeddedEngine, llm: ScriptedLLM, search: ScriptedSearch, cases: Mapping[str, TestCase]
    ) -> None:
        self.engine = engine
        self.llm = llm
        self.search = search
        self.cases = cases


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[PublicAssistant], Loaded]]:
    """Loads an assistant at the first call and starts its action server."""
    found: dict[str, Loaded | Exception] = {}
    with ExitStack() as stack:

        def load(assistant: PublicAssistant) -> Loaded:
            if assistant.name not in found:
                try:
                    found[assistant.name] = _load(assistant, tmp_path_factory.mktemp(assistant.name), stack)
                except Exception as error:  # not tried again for each of its cases
                    found[assistant.name] = error
            answer = found[assistant.name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        yield load


def _load(assistant: PublicAssistant, folder: Path, stack: ExitStack) -> Loaded:
    with pytest.MonkeyPatch.context() as patch:
        set_environment(assistant, patch)
        server = stack.enter_context(_action_server(assistant, folder)) if assistant.actions == "server" else None
        llm, search = ScriptedLLM(), ScriptedSearch()
        engine = load_engine(
            assistant.source(),
            llm=llm,
            config=assistant.given("config"),
            domain=assistant.given("domain"),
            data=assistant.given("data"),
            endpoints=write_endpoints(assistant, folder, server),
            validate=assistant.validate,
            knowledge=Knowledge(search=search),  # all flows are offered
            rephrase=False,
        )
    return Loaded(engine, llm, search, assistant.cases())


def set_environment(assistant: PublicAssistant, patch: pytest.MonkeyPatch) -> None:
    for name, value in assistant.environment.items():
        patch.setenv(name, str(value))


@contextmanager
def _action_server(assistant: PublicAssistant, folder: Path) -> Iterator[str]:
    """A rasa_sdk server with the assistant's actions; its temporary files go into ``folder``."""
    port = _free_port()
    run = workspace(assistant.workspace, assistant.source(), folder)
    path = [str(run), str(folder), *([str(STAND_INS)] if assistant.stand_ins else [])]
    # Telemetry and bytecode: nothing is sent anywhere, and nothing is written into the clone.
    settings = {"PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    log = folder / "action_server.log"
    module = "actions"
    if assistant.action_modules:
        module = "served_actions"
        (folder / f"{module}.py").write_text(_served(assistant.action_modules))
    with model_api() as model, log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "rasa_sdk", "--actions", module, "-p", str(port)],
            cwd=run,
            env={**os.environ, **settings, **model, "RASA_TELEMETRY_ENABLED": "false"},
            stdout=stream,
            stderr=stream,
        )
        try:
            _wait_for(port, server, log)
            yield f"http://127.0.0.1:{port}/webhook"
        finally:
            server.terminate()
            server.wait(10)


def _served(modules: Sequence[str]) -> str:
    """A module with those actions; with one process for all, they need not be such that they can be pickled."""
    lines = ["from sanic import Sanic", *(f"import {name}" for name in modules)]
    lines.append("Sanic.serve = staticmethod(lambda primary, app_loader: Sanic.serve_single(primary))")
    return "".join(f"{line}\n" for line in lines)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the action server does not start:\n{log.read_text(errors='replace')}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases of each assistant passed, in one line."""
    counts: dict[str, Counter[str]] = {}
    for outcome in _OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            _, found, parameters = report.nodeid.partition("::test_own_case[")
            if found and (report.when == "call" or outcome == "skipped"):
                counts.setdefault(parameters.partition("-")[0], Counter())[outcome] += 1
    for name, count in sorted(counts.items()):
        judged = count["passed"] + count["failed"] + count["xfailed"]
        if not judged:
            continue
        terminalreporter.write_line(
            f"{name}: {count['passed']} passed of {judged} that need no out-of-scope part, {count['skipped']} skipped"
        )
