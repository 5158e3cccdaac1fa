from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from rasa_ft.cli import main
from rasa_ft.cli.serve import ProgressLine, student_template
from rasa_ft.serving import command
from rasa_ft.serving.command import ServerCommand
from rasa_ft.serving.vllm import free_port

# Healthy once, then the end.
BRIEF = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.handle_request()
server.server_close()
print("OSError: the lights went out")
import time; time.sleep(0.5); sys.exit(5)
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "finetuned"
    (folder / "merged").mkdir(parents=True)
    (folder / "merged" / "config.json").write_text(json.dumps({"max_position_embeddings": 1024}))
    (folder / "student_prompt.jinja2").write_text("…")
    return folder


def run(*arguments: str) -> int:
    return main.run(["llm", "finetune", "serve", *arguments])


def test_dry_run_prints_the_command_and_the_configuration(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("finetuned", "--dry-run", "--backend", "vllm-cpu", "--port", "8010", "--host", "::") == 0
    out = capsys.readouterr().out
    assert "--model finetuned/merged --host :: --port 8010" in out
    assert "VLLM_CPU_NUM_OF_RESERVED_CPU=0" in out
    assert "api_base: http://127.0.0.1:8010/v1" in out
    assert "prompt_template: finetuned/student_prompt.jinja2" in out


def test_default_is_what_train_writes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run", "--backend", "vllm") == 0
    assert "model: finetuned" in capsys.readouterr().out


def test_configuration_on_stdout_the_rest_on_stderr(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    brief = ServerCommand((sys.executable, "-c", BRIEF, str(port)), {}, "finetuned")
    monkeypatch.setattr(command, "server_command", lambda *_: brief)
    assert run("finetuned", "--backend", "vllm", "--port", str(port)) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("# endpoints.yml\nmodel_groups:")
    assert f"at http://127.0.0.1:{port}/v1. Ctrl-C stops it." in captured.err
    assert "The server ended with exit code 5: OSError: the lights went out" in captured.err
    assert (Path(".rasa_ft") / f"serve-{port}.log").is_file()


def test_port_in_use_is_one_sentence(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert run("finetuned", "--backend", "vllm", "--port", port) == 1
    error = capsys.readouterr().err
    assert f"Error: port {port} on 127.0.0.1 is already in use." in error
    assert "Traceback" not in error


def test_nothing_to_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "nowhere"), "--backend", "vllm") == 1
    assert "there is no model at" in capsys.readouterr().err


def test_template_is_looked_for_beside_the_weights(model: Path) -> None:
    assert student_template(Path("finetuned/merged")) == Path("finetuned/student_prompt.jinja2")
    assert student_template(Path("elsewhere/model")) is None


def test_progress_says_each_phase_once_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressLine()
    for text in ("starting (0 s)", "starting (1 s)", "loading weights (2 s)"):
        progress(text)
    assert capsys.readouterr().err == "  starting (0 s)\n  loading weights (2 s)\n"
