"""A key must not be found in anything that a run leaves behind: output, logs, files, tracebacks."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from desk_assistant import DESK
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import LLMError, MissingRequirement
from rasa_ft.llm.client import LLM, Request, aclose
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.store import Store

CANARY = "sk-canary-0123456789abcdef"
ECHO = f'{{"error": {{"message": "Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}}}}'
FAILURES = {
    **{str(status): Reply(status, ECHO) for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503)},
    "broken": Reply(200, f'{{"choices": "{CANARY}'),
    "no choices": Reply(200, ECHO),
    "no json": Reply(200, CANARY, {"content-type": "text/html"}),
    "reset": Reply(hangs_up=True),
    "hangs": Reply(delay=60),
}
PROVIDERS = ("openai", pytest.param("anthropic", marks=pytest.mark.xdist_group("litellm")))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)


def llm_of(provider: str, url: str, folder: Path) -> LLM:
    base = url if provider == "openai" else url.removesuffix("/v1")
    keys = {"provider": provider, "model": "m", "api_base": base, "timeout": 0.3, "num_retries": 0}
    return build_llm(ModelGroup("g", (model_config(keys),)), project=folder, store=Store(folder / "answers.sqlite"))


def ask(llm: LLM) -> None:
    async def run() -> None:
        try:
            await llm.complete(Request.of_prompt("hello"))
        finally:
            await aclose(llm)

    asyncio.run(run())


def told(error: BaseException) -> str:
    """All that Python and we would show of an error, whatever led to it included."""
    shown = "".join(traceback.format_exception(error))
    return f"{shown} {error} {error!r} {error.args!r} {vars(error)!r}"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_failure_tells_the_key(
    server: FakeOpenAI,
    tmp_path: Path,
    provider: str,
    failure: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    server.replies = [FAILURES[failure]] * 3
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMError) as caught:
        ask(llm_of(provider, server.url, tmp_path))
    assert server.requests, "the server was asked"
    printed = capfd.readouterr()
    for text in (told(caught.value), caplog.text, printed.out, printed.err):
        assert CANARY not in text
    assert not files_with_the_key(tmp_path)


def test_the_key_was_sent_and_is_not_kept_with_the_answer(server: FakeOpenAI, tmp_path: Path):
    ask(llm_of("openai", server.url, tmp_path))
    assert server.keys == [f"Bearer {CANARY}"]
    assert not files_with_the_key(tmp_path)


@pytest.mark.parametrize(
    ("written", "works"), [(f" {CANARY}\r\n", True), (f"{CANARY}é", False), (f"{CANARY}\n\x00", False)]
)
def test_a_key_with_odd_characters(
    server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, works: bool
):
    if "\x00" in written:  # no environment can hold it
        monkeypatch.setattr("os.environ", {**os.environ, "OPENAI_API_KEY": written})
    else:
        monkeypatch.setenv("OPENAI_API_KEY", written)
    llm = llm_of("openai", server.url, tmp_path)
    if works:
        ask(llm)
        assert server.keys == [f"Bearer {CANARY}"]
        return
    with pytest.raises(MissingRequirement, match="characters that no key has") as caught:
        ask(llm)
    assert CANARY not in told(caught.value)


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize("status", [200, 401])
def test_a_whole_run_leaves_no_trace_of_the_key(server: FakeOpenAI, tmp_path: Path, debug: list[str], status: int):
    shutil.copytree(DESK, tmp_path / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    model = f"{{provider: openai, model: m, api_base: '{server.url}'}}"
    (tmp_path / "bot" / "endpoints.yml").write_text(
        f"model_groups: [{{id: none_needed, models: [{model}]}}]\naction_endpoint: {{actions_module: actions}}\n"
    )
    cases = [f"{{test_case: number {number}, steps: [{{user: message {number}}}]}}" for number in range(4)]
    (tmp_path / "tests.yml").write_text(f"test_cases: [{', '.join(cases)}]\n")
    server.answer = lambda request: "offtopic reply"
    if status != 200:
        server.script = lambda request, number: Reply(status, ECHO)
    command = [sys.executable, "-m", "rasa_ft", *debug, "llm", "finetune", "prepare-data", "tests.yml"]
    done = subprocess.run(
        [*command, "--project", "bot", "--num-rephrases", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": CANARY},
        check=False,
    )
    assert server.keys and set(server.keys) == {f"Bearer {CANARY}"}, done.stderr
    assert done.returncode == (status != 200), done.stderr
    assert ("Traceback" in done.stderr) == (status != 200 and bool(debug))
    assert (tmp_path / "output").is_dir() == (status == 200)
    assert CANARY not in done.stdout + done.stderr
    assert (tmp_path / ".rasa_ft" / "answers.sqlite").is_file()
    assert not files_with_the_key(tmp_path)


def files_with_the_key(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
