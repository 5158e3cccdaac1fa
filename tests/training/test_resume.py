"""Training that is killed and resumed ends as if nothing had happened; the same seed gives the same bytes."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

pytest.importorskip("trl", reason="training libraries are not installed")

from rasa_ft.cli.train import train as command
from rasa_ft.errors import UsageError
from rasa_ft.training import checkpoints
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.trainer import train

# Trains as its arguments say, and kills itself, as kill -9 does, when a step is done.
KILLED = """
import os, signal, sys
from pathlib import Path
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.trainer import train

def kill(progress):
    if progress.step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

recipe = TrainingRecipe.model_validate_json(Path(sys.argv[1]).read_text())
train(recipe, Path(sys.argv[2]), kill)
"""


def recipe_of(base, prepared, *, sharing, **training) -> TrainingRecipe:
    settings = {"max_steps": 8, "learning_rate": 1e-2, "bf16": False, "eval_steps": 4, "seed": 3}
    return TrainingRecipe.model_validate(
        {
            "base_model": str(base),
            "lora": {"r": 4, "lora_dropout": 0.0 if sharing else 0.1},
            "training": {**settings, "save_strategy": "steps", "save_steps": 3, **training},
            "evaluation": {"max_new_tokens": 16, "load_best_model_at_end": True},
            "prefix_sharing": {"enabled": sharing, "groups_per_step": 3, "wordings_per_group": 2},
        }
    ).with_data(prepared)


@pytest.fixture
def recipe(tiny_base, prepared) -> TrainingRecipe:
    return recipe_of(tiny_base, prepared, sharing=True)


def adapter(out) -> str:
    return hashlib.sha256((out / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def log_lines(out) -> list[dict]:
    return [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]


def interrupt_at(step):
    def interrupt(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("sharing", [True, False], ids=["prefix sharing", "plain"])
def test_a_killed_run_ends_as_an_undisturbed_one(tiny_base, prepared, tmp_path, sharing):
    """An epoch has 4 steps with prefix sharing and 5 without: the killed step 8 is in the second one of both."""
    recipe = recipe_of(tiny_base, prepared, sharing=sharing)
    whole = train(recipe, tmp_path / "whole")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    arguments = [tmp_path / "recipe.json", tmp_path / "killed", 8]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoints.newest(tmp_path / "killed.partial").step == 6
    seen = []
    resumed = train(recipe, tmp_path / "killed", seen.append, resume=True)
    assert [one.step for one in seen] == [7, 8]
    before, after = log_lines(whole.out), log_lines(resumed.out)
    for key in ("step", "loss", "tokens_computed", "tokens_of_rows", "tokens_learned", "validation_exact"):
        expected = [line.get(key) for line in before]
        assert [line.get(key) for line in after] == (pytest.approx(expected, abs=1e-6) if key == "loss" else expected)
    assert (resumed.steps, resumed.best_step) == (whole.steps, whole.best_step)
    assert adapter(resumed.out) == adapter(whole.out)


def test_the_same_seed_gives_the_same_adapter_bytes(tiny_base, prepared, tmp_path):
    recipe = recipe_of(tiny_base, prepared, sharing=False, max_steps=2, eval_steps=None, save_strategy="no")
    first, second = (train(recipe, tmp_path / name) for name in ("first", "second"))
    assert adapter(first.out) == adapter(second.out)


def test_half_a_checkpoint_is_not_resumed_from(recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "out", interrupt_at(5))
    partial = tmp_path / "out.partial"
    (partial / "checkpoint-7").mkdir()
    (partial / "checkpoint-7" / "trainer_state.json").write_text('{"global_step": 7, "log_hi')
    with (partial / "training_log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')
    seen = []
    result = train(recipe, tmp_path / "out", seen.append, resume=True)
    # Step 3 is a save step; step 4 was the best evaluation so far.
    assert seen[0].step == 5
    assert [line["step"] for line in log_lines(result.out)] == list(range(1, 9))


def test_a_run_killed_after_its_last_step_trains_nothing_more(recipe, tmp_path, monkeypatch):
    from rasa_ft.training import trainer

    def interrupted(*_):
        raise KeyboardInterrupt

    whole = train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer, "_save", interrupted)
        train(recipe, tmp_path / "out")
    seen = []
    result = train(recipe, tmp_path / "out", seen.append, resume=True)
    assert seen == []
    assert (result.steps, result.loss, adapter(result.out)) == (whole.steps, whole.loss, adapter(whole.out))


def test_another_training_is_not_resumed(recipe, tmp_path):
    partial = tmp_path / "out.partial"
    checkpoints.begin(partial, {"recipe": {"training": {"seed": 1, "max_steps": 8}}}, resume=False)
    with pytest.raises(UsageError, match=r"cannot be resumed: recipe\.training\.seed changed"):
        checkpoints.begin(partial, {"recipe": {"training": {"seed": 2, "max_steps": 8}}}, resume=True)
    assert (partial / "run.json").is_file()


def test_a_new_start_says_what_it_throws_away(tmp_path, caplog):
    folder = tmp_path / "out.partial" / "checkpoint-40"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    checkpoints.begin(tmp_path / "out.partial", {}, resume=False)
    assert "--resume would have gone on from step 40" in caplog.text
    assert not folder.exists()
    checkpoints.begin(tmp_path / "out.partial", {}, resume=True)
    assert "There is no checkpoint" in caplog.text


@pytest.mark.parametrize(
    ("steps", "said"), [((), "before the first checkpoint"), ((9, 100), "Step 100 is kept: the same command with --re")]
)
def test_an_interruption_names_the_way_on(prepared, tmp_path, monkeypatch, steps, said):
    from rasa_ft.training import trainer

    def interrupted(recipe, out, *_, **__):
        for step in steps:
            folder = checkpoints.partial_folder(out) / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            (folder / "trainer_state.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train", interrupted)
    outcome = CliRunner().invoke(command, ["--data", str(prepared), "-o", str(tmp_path / "out")])
    assert outcome.exit_code == 130
    assert said in outcome.stderr
