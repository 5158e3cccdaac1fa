"""The evaluation on the small test assistant, with models that answer from a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from desk_assistant import DESK

from rasa_ft.cli import evaluate as cli
from rasa_ft.engine.embedded import load_engine
from rasa_ft.errors import DataError, LLMUnavailable, UsageError
from rasa_ft.evaluation.gates import Gates
from rasa_ft.evaluation.verdict import Outcome
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.recipe.evaluating import evaluate as recipe
from rasa_ft.recipe.evaluating.evaluate import EvaluateSettings, evaluate
from rasa_ft.recipe.evaluating.subjects import Subject, find_base, manifest_base, student_template
from rasa_ft.training.template import template_hash

TRAIN = """
test_cases:
  - test_case: parks
    steps:
      - user: I come by car
      - utter: utter_ask_plate
      - user: it is AB 12
      - utter: utter_ask_floor
      - user: /SetSlots(floor=1)
      - utter: utter_parked
  - test_case: gives up
    steps:
      - user: I come by car
      - utter: utter_ask_plate
      - user: oh forget it
      - slot_was_not_set: [{plate: AB 12}]
"""
VALIDATION = """
test_cases:
  - test_case: parks again
    steps:
      - user: need a place for my car
      - utter: utter_ask_plate
      - user: XY 9
      - slot_was_set: [{plate: XY 9}]
      - utter: utter_ask_floor
"""
TEACHER = {
    "I come by car": "start flow park_car",
    "it is AB 12": "set slot plate AB 12",
    "oh forget it": "cancel flow",
    "need a place for my car": "start flow park_car",
    "XY 9": "set slot plate XY 9",
}


@dataclass
class Table:
    """A model that answers by the message; what is not in the table is an outage."""

    answers: Mapping[str, str]
    asked: list[str] = field(default_factory=list)
    closed: int = 0

    async def complete(self, request: Request) -> Completion:
        message = request.hints["user_message"]
        self.asked.append(message)
        if message not in self.answers:
            raise LLMUnavailable(f"nobody answers '{message}'.")
        return Completion(self.answers[message], "table", 0.25, 100, 7)

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class Tables:
    """`Subjects` made of tables."""

    models: Mapping[str, Table]
    folder: Path

    @contextmanager
    def teacher(self) -> Iterator[Subject]:
        with self.student("teacher") as subject:
            yield subject

    @contextmanager
    def student(self, role: str) -> Iterator[Subject]:
        store = Store(self.folder / f"{role}.sqlite")
        llm = StoredLLM(self.models[role], store, {"model": role})
        yield Subject(f"{role} table", "a test", load_engine(DESK, llm=llm), llm, 1.0)
        store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "output" / "4_train_test_split" / "e2e_tests"
    folder.mkdir(parents=True)
    (folder / "train.yml").write_text(TRAIN)
    (folder / "validation.yml").write_text(VALIDATION)
    return tmp_path / "output"


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> EvaluateSettings:
    return EvaluateSettings(project=DESK, data=data, out=tmp_path / "evaluation", gates=Gates())


def tables(tmp_path: Path, tuned: Mapping[str, str], base: Mapping[str, str] | None = None) -> Tables:
    rambling = dict.fromkeys(TEACHER, "I am happy to help you with that!")
    return Tables({"teacher": Table(TEACHER), "tuned": Table(tuned), "base": Table(base or rambling)}, tmp_path)


def test_all_three_models_side_by_side(settings: EvaluateSettings, tmp_path: Path) -> None:
    wrong = {**TEACHER, "XY 9": "set slot plate AB 12"}
    result = evaluate(settings, subjects=tables(tmp_path, wrong))
    passed = {role: {split: part.passed for split, part in m.splits.items()} for role, m in result.models.items()}
    assert passed == {
        "base": {"train": 0, "validation": 0},
        "tuned": {"train": 2, "validation": 0},
        "teacher": {"train": 2, "validation": 1},
    }
    assert result.verdict.outcome is Outcome.DO_NOT_SHIP
    tuned = result.models["tuned"].splits["validation"]
    assert (tuned.scores.exact, tuned.scores.turns) == (1, 2)
    assert tuned.scores.confusion == {("set_slot", "set_slot"): 1}
    failed = tuned.cases[0]
    assert failed.turns[1].expected == ("set slot plate XY 9",)
    assert failed.turns[1].predicted == ("set slot plate AB 12",)
    assert failed.place.endswith("validation.yml:8")
    assert any(line.startswith("+") for line in failed.diff)
    # A button's payload is no question to a model.
    assert [turn.message for turn in result.models["tuned"].splits["train"].turns].count("/SetSlots(floor=1)") == 0


def test_messages_are_judged_in_the_teachers_history(settings: EvaluateSettings, tmp_path: Path) -> None:
    """The base model gets the first message wrong; it is asked the second one all the same, and gets it right."""
    base = {**TEACHER, "need a place for my car": "offtopic reply"}
    result = evaluate(settings, subjects=tables(tmp_path, TEACHER, base))
    validation = result.models["base"].splits["validation"]
    assert validation.passed == 0
    assert [turn.exact for turn in validation.turns] == [False, True]
    assert validation.turns[1].requested_slot == "plate"


def test_a_prompt_is_asked_once(settings: EvaluateSettings, tmp_path: Path) -> None:
    subjects = tables(tmp_path, TEACHER)
    evaluate(settings, subjects=subjects)
    assert sorted(subjects.models["tuned"].asked) == sorted(TEACHER)
    assert len(subjects.models["teacher"].asked) == len(TEACHER)
    assert [model.closed for model in subjects.models.values()] == [1, 1, 1]


def test_folder_is_written_as_a_whole(settings: EvaluateSettings, tmp_path: Path) -> None:
    settings.out.mkdir()
    (settings.out / "old").write_text("")
    evaluate(settings, subjects=tables(tmp_path, TEACHER))
    assert {path.name for path in settings.out.iterdir()} == {
        "verdict.json",
        "report.html",
        "turns.jsonl",
        "pass_rates.png",
        "commands.png",
        "latency.png",
    }
    verdict = json.loads((settings.out / "verdict.json").read_text())
    assert verdict["outcome"] == "not enough evidence"
    assert verdict["gates_met"] is True
    assert verdict["assistant"] == "desk"
    # One validation conversation of two messages, both right: 33 such conversations would do.
    assert verdict["more_tests"] == 32
    assert verdict["turns"]["messages"] == 2
    rows = [json.loads(line) for line in (settings.out / "turns.jsonl").read_text().splitlines()]
    # "I come by car" opens two conversations.
    assert len([row for row in rows if row["model"] == "tuned"]) == 6
    assert {row["split"] for row in rows if row["model"] == "base"} == {"validation"}
    assert {row["latency"] for row in rows} == {0.25}


def test_base_can_be_left_out(settings: EvaluateSettings, tmp_path: Path) -> None:
    from dataclasses import replace

    result = evaluate(replace(settings, skip_base=True), subjects=tables(tmp_path, TEACHER))
    assert list(result.models) == ["tuned", "teacher"]


def test_outage_in_one_conversation_is_told_apart(settings: EvaluateSettings, tmp_path: Path) -> None:
    tuned = {message: answer for message, answer in TEACHER.items() if message != "XY 9"}
    result = evaluate(settings, subjects=tables(tmp_path, tuned))
    validation = result.models["tuned"].splits["validation"]
    assert validation.cases[0].unanswered
    assert validation.turns[1].error is not None
    assert validation.scores.turns == 1
    assert any("gave no answer" in reason for reason in result.verdict.reasons)


def test_no_answer_at_all_is_an_error(settings: EvaluateSettings, tmp_path: Path) -> None:
    with pytest.raises(LLMUnavailable, match="the tuned model answered none of 6 messages: nobody answers"):
        evaluate(settings, subjects=tables(tmp_path, {}))
    assert not settings.out.exists()


def test_progress_counts_every_part(settings: EvaluateSettings, tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        seen[stage] = (done, total)

    evaluate(settings, subjects=tables(tmp_path, TEACHER), progress=progress)
    assert seen["tuned: train conversations"] == (2, 2)
    assert seen["base: validation messages"] == (2, 2)
    assert all(done == total for done, total in seen.values())


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.yml does not exist") as caught:
        evaluate(EvaluateSettings(project=DESK, data=tmp_path))
    assert "prepare-data" in str(caught.value)


def test_base_model_comes_from_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    run = tmp_path / "finetuned"
    (run / "merged").mkdir(parents=True)
    with pytest.raises(DataError, match=r"nothing at .* says which base model"):
        find_base(run)
    (run / "manifest.json").write_text(json.dumps({"recipe": {"base_model": str(tmp_path / "base")}}))
    assert manifest_base(run / "merged") == str(tmp_path / "base")
    assert find_base(run) == tmp_path / "base"
    (run / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="not a manifest of a training run"):
        find_base(run)


def test_template_is_the_one_beside_the_model(tmp_path: Path) -> None:
    model, data = tmp_path / "finetuned", tmp_path / "output"
    model.mkdir()
    data.mkdir()
    with pytest.raises(DataError, match="is neither in"):
        student_template(model, data)
    (data / "student_prompt.jinja2").write_text("from the data")
    assert student_template(model, data).parent == data
    (model / "student_prompt.jinja2").write_text("from the model")
    assert student_template(model, data).parent == model


def test_a_template_changed_since_training_is_refused(tmp_path: Path) -> None:
    model, template = tmp_path / "finetuned", tmp_path / "finetuned" / "student_prompt.jinja2"
    model.mkdir()
    template.write_text("from the model")
    (model / "manifest.json").write_text(json.dumps({"inputs": {template.name: template_hash(template)}}))
    assert student_template(model, tmp_path) == template
    template.write_text("changed")
    with pytest.raises(DataError, match="not the prompt template that the model was trained with"):
        student_template(model, tmp_path)


@pytest.mark.parametrize(("tuned", "code"), [(TEACHER, 0), ({**TEACHER, "XY 9": "cancel flow"}, 3)])
def test_command_line(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned: Mapping[str, str], code: int
) -> None:
    from rasa_ft.cli import main

    monkeypatch.setattr(recipe, "_served", lambda *_: tables(tmp_path, tuned))
    options = ["--data", str(settings.data), "--project", str(DESK), "--out", str(settings.out)]
    assert main.run(["llm", "finetune", "evaluate", *options]) == code
    assert main.run(["llm", "finetune", "evaluate", *options, "--validation-gate", "80"]) == 2


def test_a_flow_that_must_pass_decides(settings: EvaluateSettings, tmp_path: Path) -> None:
    from dataclasses import replace

    must = replace(settings, must_pass=("park_car", "gives*"))
    result = evaluate(must, subjects=tables(tmp_path, {**TEACHER, "it is AB 12": "cancel flow"}))
    parked, given_up = result.verdict.must_pass
    assert [case.rpartition("::")[2] for case in parked.tests] == ["parks", "gives up", "parks again"]
    assert [case.rpartition("::")[2] for case in parked.failed] == ["parks"]
    assert given_up.failed == ()
    assert result.verdict.headline == "Do not ship: 1 test that must pass fails."


def test_unknown_names_are_refused_before_a_model_is_asked(settings: EvaluateSettings, tmp_path: Path) -> None:
    from dataclasses import replace

    subjects = tables(tmp_path, TEACHER)
    with pytest.raises(UsageError, match="Did you mean 'park_car'"):
        evaluate(replace(settings, must_pass=("park_cra",)), subjects=subjects)
    assert not any(model.asked for model in subjects.models.values())


def test_options_reach_the_verdict(settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rasa_ft.cli import main

    monkeypatch.setattr(recipe, "_served", lambda *_: tables(tmp_path, {**TEACHER, "it is AB 12": "cancel flow"}))
    base = ["llm", "finetune", "evaluate", "--data", str(settings.data), "--project", str(DESK)]
    options = [*base, "--out", str(settings.out), "--train-gate", "0.5", "--margin", "0.1", "--alpha", "0.025"]
    assert main.run(options) == 0
    verdict = json.loads((settings.out / "verdict.json").read_text())
    assert (verdict["turns"]["margin"], verdict["turns"]["alpha"]) == (0.1, 0.025)
    assert main.run([*options, "--must-pass", "parks"]) == 3
    assert main.run([*base, "--margin", "5"]) == 2


def test_json_goes_to_stdout(settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_served", lambda *_: tables(tmp_path, TEACHER))
    options = ["--data", str(settings.data), "--project", str(DESK), "--out", str(settings.out), "--json"]
    run = CliRunner().invoke(cli.evaluate, options)
    assert json.loads(run.stdout)["outcome"] == "not enough evidence"
    assert "report.html" in run.stderr
