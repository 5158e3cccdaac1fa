"""What goes into an archive: all that the engine reads, none that it does not, no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.engine.archive import open_archive, read_archive
from rasa_ft.engine.embedded import load_engine
from rasa_ft.engine.packing import Packed, pack, words
from rasa_ft.errors import DataError

CONFIG = """\
assistant_id: post-office
pipeline: [{name: CompactLLMCommandGenerator, prompt_template: prompts/own.jinja2, llm: {model_group: main}}]
policies: [{name: FlowPolicy}]
"""
FILES = {
    "config.yml": CONFIG,
    "domain.yml": "actions: [action_weigh]\nresponses:\n  utter_hi: [{text: Hi}]\n",
    "data/flows/a.yml": "flows:\n  send:\n    description: send a parcel\n    steps:\n      - action: action_weigh\n",
    "data/notes.txt": "not read",
    "endpoints.yml": "action_endpoint: {actions_module: actions}\n"
    "model_groups: [{id: main, models: [{provider: self-hosted, model: m, api_base: 'http://localhost:9/v1', "
    "api_key: '${POST_KEY}'}]}]\n",
    "prompts/own.jinja2": "{{ user_message }}",
    "actions/__init__.py": "",
    "actions/weigh.py": """\
from rasa_sdk import Action
from scales.digital import weigh
from . import helpers


class Weigh(Action):
    def name(self):
        return "action_weigh"

    def run(self, dispatcher, tracker, domain):
        import prices

        dispatcher.utter_message(text=f"{weigh()} grams, {prices.LIST['small']} pounds, {helpers.table()}")
        return []
""",
    "actions/helpers.py": """\
from pathlib import Path


def table():
    return (Path(__file__).parent / "table.csv").read_text()
""",
    "actions/table.csv": "1,2",
    "actions/.env": "KEY=secret",
    "actions/server.pem": "secret",
    "actions/credentials.yml": "secret",
    "actions/__pycache__/weigh.cpython-311.pyc": "",
    "actions/venv/pyvenv.cfg": "",
    "actions/venv/x.py": "",
    "scales/__init__.py": "",
    "scales/digital.py": "def weigh():\n    return 7\n",
    "prices.py": "LIST = {'small': 3}\n",
    "unused.py": "",
    "finetune_data.yml": "num_rephrases: 1\n",
    "e2e_tests/a.yml": "",
    "models/old.tar.gz": "",
    ".env": "POST_KEY=secret",
    "credentials.yml": "rest:\n",
    "docs/faq.txt": "not asked for",
}
TAKEN = [
    *("actions/__init__.py", "actions/helpers.py", "actions/table.csv", "actions/weigh.py", "config.yml"),
    *("data/flows/a.yml", "domain.yml", "endpoints.yml", "finetune_data.yml", "prices.py", "prompts/own.jinja2"),
    *("scales/__init__.py", "scales/digital.py"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "project", FILES)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def packed(project: Path, **given: Any) -> Packed:
    return pack(load_assistant(project, **given), project / "models", force=True)


def names(found: Packed) -> list[str]:
    return [entry.name for entry in found.manifest.files]


def test_what_is_needed_and_nothing_else(project: Path) -> None:
    found = packed(project)
    assert names(found) == TAKEN
    assert [file.name for file in found.left_out] == ["credentials.yml", "server.pem"]
    assert b"secret" not in b"".join(read_archive(found.path).contents.values())
    assert found.manifest.assistant_id == "post-office"
    assert found.manifest.sources == {
        "config": "config.yml",
        "domain": "domain.yml",
        "data": "data",
        "endpoints": "endpoints.yml",
    }


async def _answer(place: Path) -> str:
    from rasa_ft.calm.commands import StartFlow

    conversation = await load_engine(place).start()
    turn = await conversation.say("hello", commands=[StartFlow("send")])
    return str(turn.bot_messages[0].text)


def test_it_runs_without_the_project(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import shutil

    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POST_KEY", "x")
    path = pack(load_assistant(project), tmp_path).path
    shutil.rmtree(project)
    assert asyncio.run(_answer(path)) == "7 grams, 3 pounds, 1,2"


def test_the_usual_names_inside_wherever_the_files_come_from(project: Path, tmp_path: Path) -> None:
    places = {
        "config.yml": "config/main.yml",
        "domain.yml": "other/domain/x.yml",
        "data": "content",
        "prompts": "config/prompts",
    }
    for old, new in places.items():
        (project / new).parent.mkdir(parents=True, exist_ok=True)
        (project / old).rename(project / new)
    text = FILES["endpoints.yml"].replace("actions_module: actions", "url: http://x")
    endpoints = write(tmp_path, {"elsewhere.yml": text})
    given = {
        "config": project / "config/main.yml",
        "domain": project / "other/domain",
        "data": project / "content",
        "endpoints": endpoints / "elsewhere.yml",
    }
    found = packed(project, **given)
    assert names(found) == [
        *("config.yml", "data/flows/a.yml", "domain/x.yml", "endpoints.yml", "finetune_data.yml", "prompts/own.jinja2")
    ]
    assert found.manifest.sources == {
        "config": "config/main.yml",
        "domain": "other/domain",
        "data": "content",
        "endpoints": "elsewhere.yml",
    }
    folder = open_archive(found.path, tmp_path / "cache")
    again = load_assistant(folder)
    assert list(again.user_flows) == ["send"]
    assert again.generator.prompt_template == folder / "prompts/own.jinja2"
    one_file = packed(project, **{**given, "data": project / "content/flows/a.yml"})
    assert "data/a.yml" in names(one_file)


def test_documents_are_taken_if_they_are_searched(project: Path) -> None:
    policy = "policies: [{name: FlowPolicy}, {name: EnterpriseSearchPolicy, vector_store: {type: faiss%s}}]"
    config = CONFIG.replace("policies: [{name: FlowPolicy}]", policy)
    write(project, {"docs/deep/b.txt": "", "docs/c.pdf": "", "config.yml": config % "", "more/d.txt": ""})
    assert {"docs/faq.txt", "docs/deep/b.txt"} == {name for name in names(packed(project)) if name.startswith("docs")}
    write(project, {"config.yml": config % ", source: ./more"})
    assert {"more/d.txt"} == set(names(packed(project))) - set(TAKEN)
    write(project, {"config.yml": config % ", source: ../more"})
    write(project.parent, {"more/e.txt": ""})
    with pytest.raises(DataError, match=r"config.yml:3: '../more' leads out of the project"):
        packed(project)


def test_recordings_and_agents_are_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    recorded = "model_groups: [{id: main, models: [{provider: recorded, model: m, recordings: played}]}]\n"
    write(project, {"endpoints.yml": recorded, "played/a.yml": "", "played/.hidden.yml": ""})
    write(
        project,
        {
            "sub_agents/car/config.yml": "agent: {name: car}",
            "sub_agents/car/own.py": "",
            "sub_agents/bus/config.yml": "token: written",
            "sub_agents/tram/config.yml": "url: ${UNSET}",
        },
    )
    found = packed(project)
    assert {"played/a.yml", "sub_agents/car/config.yml"} == set(names(found)) - set(TAKEN)
    assert {file.parent.name for file in found.left_out} == {"bus", "tram"}


def test_own_components_are_taken(project: Path) -> None:
    config = CONFIG.replace("name: Compact", "name: generators.mine.MyCompact")
    write(
        project, {"config.yml": config, "generators/mine.py": "import broken\nclass MyCompactLLMCommandGenerator: ..."}
    )
    write(project, {"broken.py": "def ("})
    assert {"generators/mine.py", "broken.py"} == set(names(packed(project))) - set(TAKEN)


def test_links_are_followed_only_inside(project: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside.txt": "outside"})
    (project / "actions/outside.txt").symlink_to(tmp_path / "outside.txt")
    (project / "actions/settings.txt").symlink_to(project / ".env")
    (project / "actions/linked.py").symlink_to(project / "prices.py")
    (project / "actions/circle").symlink_to(project)
    found = packed(project)
    assert {"actions/linked.py"} == set(names(found)) - set(TAKEN)
    assert {"outside.txt", "settings.txt"} < {file.name for file in found.left_out}


@pytest.mark.parametrize(
    ("endpoints", "complaints"),
    [
        ("action_endpoint:\n  url: http://x\n  token: abc\n", ["endpoints.yml:3: 'token' is written out"]),
        (
            "tracker_store:\n  type: SQL\n  username: me\n  password: hunter2\n  url: 'postgresql://me:hunter2@db/x'\n",
            ["endpoints.yml:4: 'password'", "endpoints.yml:5: 'url'", "Write ${PASSWORD}"],
        ),
        ("event_broker: [{sasl_password: 'x'}]\n", ["endpoints.yml:1: 'sasl_password'"]),
    ],
)
def test_secrets_that_are_written_out_stop_it(project: Path, endpoints: str, complaints: list[str]) -> None:
    write(
        project,
        {
            "endpoints.yml": FILES["endpoints.yml"].replace("action_endpoint: {actions_module: actions}\n", "")
            + endpoints
        },
    )
    assistant = load_assistant(project)
    with pytest.raises(DataError) as caught:
        pack(assistant, project / "models")
    for complaint in complaints:
        line = complaint.partition(":")[2].partition(":")[0]
        shifted = complaint.replace(f":{line}:", f":{int(line) + 1}:") if line.isdecimal() else complaint
        assert shifted in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_that_are_named_are_fine(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    text = FILES["endpoints.yml"].replace(
        "{actions_module: actions}",
        "\n  url: http://x\n  token: ${TOKEN}\n  password: '${TOKEN}'\n  api_key: $TOKEN\n  \"secret\": x${TOKEN}",
    )
    write(project, {"endpoints.yml": text})
    found = packed(project)
    assert b"hunter2" not in b"".join(read_archive(found.path).contents.values())


def test_names_and_what_has_not_changed(project: Path, tmp_path: Path) -> None:
    assistant = load_assistant(project)
    first = pack(assistant, tmp_path / "out")
    stem = first.path.name.removesuffix(".tar.gz")
    assert not first.unchanged and stem.endswith(words(first.manifest.content))
    assert len(stem.split("-")) == 4 and stem[:8].isdecimal()
    again = pack(assistant, tmp_path / "out")
    assert again.unchanged and again.path == first.path and again.manifest == first.manifest

    fixed = pack(assistant, tmp_path / "out", name="bot")
    assert not fixed.unchanged and fixed.path == tmp_path / "out/bot.tar.gz"
    assert pack(assistant, tmp_path / "out", name="bot.tar.gz").unchanged
    assert not pack(assistant, tmp_path / "out", name="bot", force=True).unchanged

    write(project, {"prompts/own.jinja2": "changed"})
    changed = pack(load_assistant(project), tmp_path / "out", name="bot")
    assert not changed.unchanged and changed.manifest.content != first.manifest.content
