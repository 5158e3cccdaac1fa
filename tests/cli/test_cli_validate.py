"""``rasa data validate``: excerpts for people, a list for programs, exit codes for both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rasa_ft.cli.main import run

BOT = Path(__file__).parents[2] / "examples" / "bot"
CONFIG = """\
recipe: default.v1
assistant_id: test
pipeline:
  - name: CompactLLMCommandGenerator
    llm: {model_group: main}
policies:
  - name: FlowPolicy
"""
ENDPOINTS = "model_groups:\n  - id: main\n    models: [{provider: openai, model: gpt-5.1}]\n"
DOMAIN = "slots:\n  city: {type: text}\nresponses:\n  utter_ask_city: [{text: Where?}]\n"
MISSPELT = (
    "data/flows.yml:5:18: error: flow 'book' uses slot 'cty', which is not in the domain. "
    "Did you mean 'city'?  [unknown-slot]"
)
FLOWS = "flows:\n  book:\n    description: book\n    steps:\n      - collect: city\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    files = {"config.yml": CONFIG, "endpoints.yml": ENDPOINTS, "domain.yml": DOMAIN, "data/flows.yml": FLOWS}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def test_the_example_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "validate", "--project", str(BOT)]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("custom actions: 0 errors, 0 warnings.\n") and not err
    assert run(["data", "validate", "--project", str(BOT), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_findings_with_place_excerpt_and_counts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(project / "data/flows.yml", "collect: city", "collect: cty")
    replace(project / "config.yml", "assistant_id: test\n", "")
    assert run(["data", "validate"]) == 1
    assert capsys.readouterr().out == (
        f"""\
config.yml:1:1: warning: there is no 'assistant_id'.  [no-assistant-id]
  1 | recipe: default.v1
    | ^^^^^^
  Give the assistant a name of its own.

{MISSPELT}
  4 |     steps:
  5 |       - collect: cty
    |                  ^^^

{project.name}: 1 error, 1 warning.
"""
    )


def test_json_is_a_list_of_findings(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(project / "data/flows.yml", "collect: city", "collect: cty")
    (project / "domain.yml").rename(project / "other.yml")
    assert run(["data", "validate", "--json", "-d", "other.yml"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "severity": "error",
            "rule": "unknown-slot",
            "message": "flow 'book' uses slot 'cty', which is not in the domain. Did you mean 'city'?",
            "file": "data/flows.yml",
            "line": 5,
            "column": 18,
            "hint": None,
        }
    ]


def test_a_finding_without_a_place(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "domain.yml").write_text("version: '3.1'\n")
    assert run(["data", "validate"]) == 1
    assert capsys.readouterr().out.startswith("error: there is no domain in domain.yml.  [no-domain]\n  A domain has")
    assert run(["data", "validate", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["file"], found["line"], found["column"]) == (None, None, None)


def test_warnings_fail_only_if_wanted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(project / "config.yml", "assistant_id: test\n", "")
    assert run(["data", "validate"]) == 0
    assert "1 flow, 0 custom actions: 0 errors, 1 warning." in capsys.readouterr().out
    assert run(["data", "validate", "--fail-on-warnings"]) == 1


def test_files_may_lie_elsewhere(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.yml", "endpoints.yml", "domain.yml", "data"):
        (project / name).rename(project / f"my_{name}")
    words = ["-c", "my_config.yml", "-d", "my_domain.yml", "--data", "my_data", "--endpoints", "my_endpoints.yml"]
    assert run(["data", "validate", *words]) == 0
    assert run(["data", "validate", "-c", "ghost.yml"]) == 1
    assert "ghost.yml does not exist" in capsys.readouterr().err


def test_models_are_checked_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = "[{provider: openai, model: a, n: 2}, {provider: self-hosted, model: b, stream: true}]"
    replace(project / "endpoints.yml", "[{provider: openai, model: gpt-5.1}]", f"{models}\n    router: {{}}")
    replace(project / "endpoints.yml", "router: {}", "router: {routing_strategy: simple-shuffle}")
    assert run(["data", "validate", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {item["rule"] for item in found} == {"invalid-model"}
    assert {item["line"] for item in found} == {3}
    messages = " ".join(item["message"] for item in found)
    assert "'n' is not allowed" in messages


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: main", "id: main\n    models: []\n  - id: main", "no models"),
        (
            "[{provider: openai, model: gpt-5.1}]",
            "[{provider: openai, model: a}, {provider: openai, model: b}]",
            "no router",
        ),
        ("model: gpt-5.1", "model: gpt-5.1, api_key: sk-123", "written out"),
        ("model: gpt-5.1", 'model: "${MODEL}"', "may not refer to an environment variable"),
        ("provider: openai, ", "provider: opnai, ", "Did you mean 'openai'?"),
    ],
)
def test_model_groups_are_consistent(
    project: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    replace(project / "endpoints.yml", old, new)
    assert run(["data", "validate", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [item["rule"] for item in found] == ["invalid-model"]
    assert message in found[0]["message"] and found[0]["file"] == "endpoints.yml"


def test_an_unknown_group_is_told_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(project / "config.yml", "main", "mian")
    assert run(["data", "validate", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["rule"] == "unknown-model-group" and "Did you mean 'main'?" in found["message"]


def test_colours_only_on_a_terminal(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(project / "data/flows.yml", "collect: city", "collect: cty")
    run(["data", "validate"])
    assert "\x1b[" not in capsys.readouterr().out
    monkeypatch.setattr("click._compat.isatty", lambda stream: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda stream, color: color is False)
    run(["data", "validate"])
    assert "\x1b[31m\x1b[1merror\x1b[0m: " in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    run(["data", "validate"])
    assert "\x1b[" not in capsys.readouterr().out
