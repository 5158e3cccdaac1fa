"""`rasa llm finetune prepare-data` on the example assistant with its recorded teacher."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any, get_args

import pytest

from rasa_ft.cli.main import run
from rasa_ft.cli.prepare_data import prepare_data
from rasa_ft.recipe.rows.formats import OutputFormat
from rasa_ft.recipe.rows.lengths import TooLong

BOT = Path(__file__).parents[2] / "examples" / "bot"
COMMAND = ["llm", "finetune", "prepare-data"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Data of the correction tests, and what --json said about them."""
    out = tmp_path_factory.mktemp("prepared") / "output"
    monkeypatch = pytest.MonkeyPatch()
    lines: list[str] = []
    monkeypatch.setattr("click.echo", lambda text="", err=False, **_: None if err else lines.append(str(text)))
    code = run([*COMMAND, str(BOT / "e2e_tests" / "corrections.yml"), "-o", str(out), "--json", "--histories", "2"])
    monkeypatch.undo()
    assert code == 0
    return out, json.loads(lines[0])


def test_the_example_gives_data(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    assert report["num_annotated_conversations"] == report["num_input_e2e_tests"]
    assert report["num_skipped_e2e_tests"] == report["num_rephrasing_errors"] == 0
    assert report["num_passing_rephrased_user_messages"] > 3 * report["num_user_messages_across_conversations"]
    row = json.loads((out / "4_train_test_split/ft_splits/train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    prompt = row["messages"][0]["content"]
    message = prompt.rstrip().splitlines()[-1].removeprefix("USER: ")
    internal = json.loads((out / "3_llm_finetune_data/llm_ft_data.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert message in (internal["original_user_utterance"], internal["rephrased_user_utterance"])
    assert internal["prompt"] == prompt


def test_every_answer_is_what_the_codec_reads_back(prepared: tuple[Path, dict[str, Any]]) -> None:
    from rasa_ft.calm.dsl import codec_for

    codec = codec_for("v2")
    for line in (prepared[0] / "3_llm_finetune_data/llm_ft_data.jsonl").read_text(encoding="utf-8").splitlines():
        completion = json.loads(line)["completion"]
        assert completion
        assert codec.dump(codec.parse(completion)) == completion


def test_the_split_tests_pass_on_the_teacher(
    prepared: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is written as train and validation tests are again passing tests."""
    tests = prepared[0] / "4_train_test_split" / "e2e_tests" / "validation.yml"
    code = run([*COMMAND, str(tests), "-o", str(tmp_path / "o"), "--project", str(BOT), "--train-frac", "1", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["num_annotated_conversations"] == prepared[1]["num_validation_conversations"]


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["nowhere.yml"], 1, "nowhere.yml does not exist"),
        (["{bot}/e2e_tests/corrections.yml", "--train-frac", "2"], 2, "train_frac must be above 0"),
        (["{bot}/e2e_tests/corrections.yml", "--settings", "no.yml"], 1, "no.yml does not exist"),
        (
            ["{bot}/e2e_tests/corrections.yml", "--holdout-flows", "book_ticket, buy_railcart"],
            2,
            "unknown flow 'buy_railcart'. Did you mean 'buy_railcard'?",
        ),
        (["{bot}/e2e_tests/corrections.yml", "--student-prompt", "no.jinja2"], 2, "student_prompt does not exist"),
        (["{bot}/e2e_tests/corrections.yml", "--rephrase-config", "no.yml"], 1, "no.yml does not exist"),
        (["{bot}/e2e_tests/corrections.yml", "--second-opinion", "teachr"], 2, "'teachr'. Did you mean 'teacher'?"),
        (["{bot}/e2e_tests/corrections.yml", "--review", "no.yml"], 2, "review does not exist"),
        (["{bot}/e2e_tests/corrections.yml", "-o", "{bot}"], 2, "would be replaced"),
        (["{bot}/e2e_tests/corrections.yml", "--output-format"], 2, "requires an argument"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*COMMAND, *(option.format(bot=BOT) for option in options)]) == code
    told = capsys.readouterr().err
    assert complaint in told
    assert "Traceback" not in told


def test_an_unreachable_teacher_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    bot = tmp_path / "bot"
    shutil.copytree(BOT, bot, ignore=shutil.ignore_patterns("recordings", "__pycache__"))
    endpoints = (bot / "endpoints.yml").read_text(encoding="utf-8")
    model = f"- provider: self-hosted\n        model: gone\n        api_base: {address}"
    (bot / "endpoints.yml").write_text(
        endpoints.replace("- provider: recorded\n        model: northline-teacher", model)
        .replace("- provider: recorded\n        model: northline-rephraser", model)
        .replace("        recordings: recordings", "        temperature: 0.0 #"),
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert run([*COMMAND, "bot/e2e_tests/clarifications.yml"]) == 1
    told = capsys.readouterr().err
    assert f"model 'gone' at {address} is not reachable" in told
    assert "Start the server" in told
    assert not (tmp_path / "output").exists()


def test_the_options_know_all_choices_of_the_settings() -> None:
    options = {option.name: option.type for option in prepare_data.params}
    for name, kind in (("output_format", OutputFormat), ("too_long", TooLong)):
        assert tuple(options[name].choices) == get_args(kind)


def test_an_estimate_asks_nothing_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [*COMMAND, str(BOT / "e2e_tests" / "clarifications.yml"), "--project", str(BOT), "--estimate"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in told["items"]] == ["annotate", "rephrase", "check"]
    assert told["calls"] == sum(item["calls"] for item in told["items"]) > 0
    assert told["cost"] == 0
    assert run(command) == 0
    assert f"{told['calls']:,}" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
