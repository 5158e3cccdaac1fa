"""The example assistant with a real model behind HTTP: a local server that answers as its recordings do.

The recordings are found by the message, the active flow and the slot being asked, which no request carries. So the
copy of the project that is made here has prompts which end with a line of JSON that says them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_model import serve_here

import rasa_ft
from rasa_ft.errors import NotRecorded
from rasa_ft.files import fingerprint
from rasa_ft.llm.client import Request
from rasa_ft.llm.recordings import load_recordings

EXAMPLE = Path(__file__).parents[1] / "examples" / "bot"
_COMMANDS = (
    '\n{{ {"user_message": user_message, "active_flow": current_flow, "requested_slot": current_slot} | tojson }}\n'
)
_REPHRASE = '{{ {"purpose": "rephrase", "user_message": message, "commands": commands, "number": number} | tojson }}\n'
_ENDPOINTS = """
action_endpoint: {{actions_module: actions}}
model_groups:
  - id: teacher
    models:
      - {{provider: self-hosted, model: northline, api_base: "{url}", timeout: 30}}
"""
_HINTS = re.compile(r'^\{"active_flow".*\}$|^\{"commands".*\}$', re.MULTILINE)


def write_project(folder: Path, url: str) -> Path:
    """A copy of the example assistant whose teacher and rephraser are the model at ``url``."""
    project = folder / "bot"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", "recordings", ".rasa_ft"))
    (project / "endpoints.yml").write_text(_ENDPOINTS.format(url=url), encoding="utf-8")
    prompt = project / "prompts" / "command_prompt.jinja2"
    prompt.write_text(prompt.read_text(encoding="utf-8") + _COMMANDS, encoding="utf-8")
    (project / "prompts" / "rephrase.jinja2").write_text(_REPHRASE, encoding="utf-8")
    (project / "rephrase.yml").write_text("prompt_template: prompts/rephrase.jinja2\n", encoding="utf-8")
    return project


def keep_code(folder: Path) -> None:
    """From now on commands run on a copy of the code as it is: its fingerprint is part of what they write."""
    shutil.copytree(rasa_ft.__path__[0], folder / "code" / "rasa_ft", ignore=shutil.ignore_patterns("__pycache__"))
    os.environ["PYTHONPATH"] = str(folder / "code")


def command(tests: str, out: str, concurrency: int, *options: str) -> list[str]:
    """Data preparation as a user starts it, in the folder that `write_project` was given."""
    prepare = [sys.executable, "-m", "rasa_ft", "llm", "finetune", "prepare-data", tests, "--out", out]
    config = ["--rephrase-config", "bot/rephrase.yml", "--num-rephrases", "10", "--seed", "1"]
    return [*prepare, *config, "--concurrency", str(concurrency), *options]


@dataclass(frozen=True)
class Run:
    """One run of a command: ``seconds`` of wall time, ``cpu`` of its process."""

    seconds: float
    cpu: float
    code: int
    text: str


def run(words: Sequence[str], folder: Path) -> Run:
    """Run a command in ``folder`` to its end."""
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment(), check=False)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(time.perf_counter() - begin, cpu, done.returncode, done.stdout + done.stderr)


def environment() -> dict[str, str]:
    """That of this process, without what could name another model."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "RASA_"))}


def serve(latency: float) -> None:
    """The server's process: answers after ``latency`` seconds, and reports how it was asked."""
    from fake_openai import FakeOpenAI, Reply

    recorded = load_recordings(EXAMPLE / "recordings", model="northline")

    def script(request: Mapping[str, Any], number: int) -> Reply | None:
        try:
            answer_to(request)
        except NotRecorded:
            return Reply(400, "{}", delay=latency)
        return None

    def answer_to(request: Mapping[str, Any]) -> str:
        prompt = request["messages"][0]["content"]
        hints = json.loads(_HINTS.findall(prompt)[-1])
        if hints.get("purpose") == "rephrase":
            return json.dumps({"wordings": _wordings(recorded, hints, prompt)})
        if str(hints["active_flow"]).startswith("pattern_"):
            hints["active_flow"] = None
        return asyncio.run(recorded.complete(Request.of_prompt("", **hints))).text

    server = FakeOpenAI(script, answer_to)
    server.delay = latency

    def report(since: int = 0) -> dict[str, Any]:
        """Of the requests from number ``since``: what they asked, and seconds from the first to the last answer."""
        times = server.times[since:]
        asked = [fingerprint(request["messages"]) for request in server.requests[since:]]
        return {"span": times[-1] - times[0] + latency if times else 0.0, "asked": asked}

    serve_here(server, report)


def _wordings(recorded: Any, hints: Mapping[str, Any], prompt: str) -> list[str]:
    """Those of the recordings that the prompt does not show as known."""
    entries = [entry for entry in recorded._candidates(hints) if entry.rephrasings is not None]
    same = [entry for entry in entries if entry.commands == hints["commands"]]
    known = set(prompt.splitlines())
    return [text for entry in (same or entries)[:1] for text in entry.rephrasings if f"- {text}" not in known]


if __name__ == "__main__":
    serve(float(sys.argv[1]))
