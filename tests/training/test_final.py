"""The last training: everything is learned, with the settings that were evaluated, and the manifest says so."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("trl", reason="training libraries are not installed")

from rasa_ft.cli import main
from rasa_ft.cli.train import train as command
from rasa_ft.errors import DataError
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.final import final_recipe
from rasa_ft.training.trainer import is_current, train
from rasa_ft.yaml_source import dump_yaml


@pytest.fixture(scope="module")
def settings(tiny_base) -> dict:
    return {
        "base_model": str(tiny_base),
        "lora": {"r": 4},
        "training": {"max_steps": 2, "bf16": False, "eval_steps": 1},
        "prefix_sharing": {"enabled": True, "groups_per_step": 3, "wordings_per_group": 2},
    }


@pytest.fixture
def tuned(settings, prepared, tmp_path, monkeypatch):
    """An evaluated model in the current folder, with its data in output/."""
    monkeypatch.chdir(tmp_path)
    train(TrainingRecipe.model_validate(settings).with_data(prepared), tmp_path / "finetuned")
    return tmp_path / "finetuned"


def manifest(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_the_command(tuned, tmp_path):
    outcome = CliRunner().invoke(command, ["--final"], catch_exceptions=False)
    assert outcome.exit_code == 0
    final = tmp_path / "finetuned-final"
    # 18 training and 3 validation rows of 6 and 3 turns.
    assert manifest(final)["rows"] == {"train": 21, "validation": 0, "turns": 9}
    assert manifest(final)["recipe"] == manifest(tuned)["recipe"]
    assert manifest(final)["without_held_out_data"] is True
    assert manifest(final)["final_of"] == {"model": "finetuned", "finished": manifest(tuned)["result"]["finished"]}
    assert manifest(final)["result"]["validation_exact"] is None
    assert "Trained without held-out data" in (final / "merged" / "README.md").read_text()
    assert "without_held_out_data" not in manifest(tuned)
    assert "held-out" not in (tuned / "merged" / "README.md").read_text()
    again = CliRunner().invoke(command, ["--final", "finetuned", "--if-changed"], catch_exceptions=False)
    assert "finetuned-final is up to date" in again.stderr


def test_a_final_recipe_is_another_model(tuned):
    final, _ = final_recipe(tuned)
    assert not is_current(final, tuned)


def test_the_recipe_may_be_given_again_but_not_another(settings, tuned, prepared):
    recipe = TrainingRecipe.model_validate(settings)
    assert final_recipe(tuned, recipe, prepared) == final_recipe(tuned, None, prepared)
    other = recipe.model_copy(update={"training": recipe.training.model_copy(update={"max_steps": 3})})
    with pytest.raises(DataError, match="other settings, so its evaluation says nothing"):
        final_recipe(tuned, other)


def test_other_data_are_refused(tuned, prepared):
    rows = prepared / "4_train_test_split" / "ft_splits" / "val.jsonl"
    rows.write_text(rows.read_text() * 2)
    with pytest.raises(DataError, match="other content of its data"):
        final_recipe(tuned)


def test_a_model_with_nothing_held_out_is_final_already(settings, prepared, tmp_path):
    (prepared / "4_train_test_split" / "ft_splits" / "val.jsonl").unlink()
    train(TrainingRecipe.model_validate(settings).with_data(prepared), tmp_path / "out")
    with pytest.raises(DataError, match="no validation rows"):
        final_recipe(tmp_path / "out", None, prepared)


def test_what_is_no_training_run(tmp_path):
    with pytest.raises(DataError, match="is no training run"):
        final_recipe(tmp_path)


def test_settings_of_another_version(tuned):
    changed = manifest(tuned)
    changed["recipe"]["lora"]["alpha_of_old"] = 1
    (tuned / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="another version"):
        final_recipe(tuned)


def test_the_settings_cannot_be_changed_on_the_way(settings, tuned, tmp_path, capsys):
    assert main.run(["llm", "finetune", "train", "--final", "finetuned", "--set", "lora.r=8"]) == 2
    assert "--final trains with those that were evaluated" in capsys.readouterr().err
    (tmp_path / "recipe.yml").write_text(dump_yaml(settings))
    arguments = ["recipe.yml", "--final", "finetuned", "--set", "training.max_steps=9"]
    assert main.run(["llm", "finetune", "train", *arguments]) == 1
    assert "other settings" in capsys.readouterr().err
