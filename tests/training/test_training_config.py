from pathlib import Path

import pytest

from rasa_ft.errors import DataError, UsageError
from rasa_ft.training.config import DEFAULT_RECIPE, RECIPES, load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "path", sorted([*EXAMPLES.glob("command-*.yml"), *RECIPES.glob("*.yml")]), ids=lambda p: p.name
)
def test_every_shipped_recipe_is_valid(path):
    recipe = load_recipe(path)
    assert recipe.base_model
    assert recipe.training.learning_rate > 0


def test_the_packaged_recipe_is_the_example():
    assert (EXAMPLES / DEFAULT_RECIPE.name).read_text(encoding="utf-8") == DEFAULT_RECIPE.read_text(encoding="utf-8")


def test_all_problems_are_shown_with_their_lines(tmp_path):
    path = write(
        tmp_path,
        "base_model: m\nlora:\n  rank: 8\n  lora_alfa: 3\ntraining:\n  learning_rate: -1\n  seed: 3\nbackend: peff\n",
    )
    with pytest.raises(DataError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert "4 problems" in text
    assert f"{path}:3: unknown key lora.rank." in text
    assert f"{path}:4: unknown key lora.lora_alfa. Did you mean 'lora_alpha'?" in text
    assert f"{path}:6: training.learning_rate: input should be greater than 0." in text
    assert f"{path}:8: backend" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {}\n", ":1: base_model is missing"),
        ("[]\n", "a recipe is a mapping"),
        (
            "base_model: m\ntraining:\n  warmup_ratio: 0.1\n  warmup_steps: 5\n",
            "warmup_ratio or warmup_steps, not both",
        ),
        ("base_model: m\ntraining:\n  bf16: true\n  fp16: true\n", "bf16 or fp16, not both"),
        ("base_model: m\nlora: 3\n", ":2: lora"),
    ],
)
def test_broken_recipes(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_recipe(write(tmp_path, text))


def test_values_are_overridden(tmp_path):
    path = write(tmp_path, "base_model: m\ntraining:\n  max_steps: 5\n")
    recipe = load_recipe(path, ["training.max_steps=7", "lora.target_modules=[q_proj, v_proj]", "base_model=n"])
    assert (recipe.training.max_steps, recipe.lora.target_modules, recipe.base_model) == (7, ["q_proj", "v_proj"], "n")


@pytest.mark.parametrize("override", ["training.max_steps", "=3", "training.=3", "base_model.x=3"])
def test_overrides_have_a_form(tmp_path, override):
    with pytest.raises(UsageError, match="--set"):
        load_recipe(write(tmp_path, "base_model: m\n"), [override])


def test_a_wrong_override_is_not_blamed_on_the_file(tmp_path):
    path = write(tmp_path, "base_model: m\ntraining:\n  max_steps: 5\n")
    with pytest.raises(DataError) as caught:
        load_recipe(path, ["training.max_step=3"])
    assert str(caught.value) == "--set: unknown key training.max_step. Did you mean 'max_steps'?"


def test_paths_in_a_recipe_count_from_its_folder(tmp_path):
    recipe = load_recipe(write(tmp_path, "base_model: m\ndataset:\n  train: rows/t.jsonl\n"))
    assert recipe.dataset.train == tmp_path / "rows" / "t.jsonl"
    assert load_recipe(DEFAULT_RECIPE, ["dataset.train=t.jsonl"]).dataset.train == Path("t.jsonl")


def test_data_folders(tmp_path, prepared):
    recipe = load_recipe(DEFAULT_RECIPE)
    splits = prepared / "4_train_test_split" / "ft_splits"
    assert recipe.with_data(prepared).dataset.train == splits / "train.jsonl"
    assert recipe.with_data(splits).dataset.validation == splits / "val.jsonl"
    (splits / "val.jsonl").unlink()
    assert recipe.with_data(prepared).dataset.validation is None
    with pytest.raises(DataError, match=r"no train\.jsonl"):
        recipe.with_data(tmp_path / "elsewhere")
