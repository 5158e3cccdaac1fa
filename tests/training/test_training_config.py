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


def test_data_sets_are_files_or_on_the_hub(tmp_path):
    text = (
        "base_model: m\ndataset:\n  train:\n    - {path: a.jsonl, format: oasst}\n"
        "    - {hub: o/n, split: test, max_samples: 5, columns: {query: q}}\n  format: xlam\n"
    )
    first, second = load_recipe(write(tmp_path, text)).dataset.train_sources
    assert (first.path, first.format, first.max_samples) == (tmp_path / "a.jsonl", "oasst", None)
    assert (second.hub, second.split, second.format, second.columns) == ("o/n", "test", "xlam", {"query": "q"})


def test_problems_of_data_sets_have_their_lines(tmp_path):
    text = (
        "base_model: m\ndataset:\n  train:\n    - path: a.jsonl\n      formt: xlam\n    - hub: b\n      path: c\n"
        "    - path: d\n      split: test\n  validation:\n    - {}\n  bad_rows: maybe\n"
    )
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        f"- {path}:5: unknown key dataset.train.0.formt. Did you mean 'format'?",
        f"- {path}:6: dataset.train.1: give path or hub, one of them.",
        f"- {path}:8: dataset.train.2: name and split belong to hub; a path has neither.",
        f"- {path}:11: dataset.validation.0: give path or hub, one of them.",
        f"- {path}:12: dataset.bad_rows: input should be 'error' or 'drop'.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dataset: {train: a, format: xlam, columns: {qurey: q}}",
            ":2: dataset: columns: format xlam has no 'qurey', only .* Did you mean 'query'?",
        ),
        ("dataset: {train: a, columns: {query: q}}", "has no 'query', only none that could be renamed"),
        ("dataset: {train: a, format: text, system: s}", "system is for rows of messages"),
        ("training: {packing: true, group_by_length: true}", "packing makes rows equally long"),
        ("training: {packing: true}\nprefix_sharing: {enabled: true}", "packs rows in its own way"),
        ("backend: unsloth\nprefix_sharing: {enabled: true}", "prefix_sharing needs backend peft"),
        ("training: {gradient_checkpointing: often}", ":2: training.gradient_checkpointing: .*'unsloth'"),
        ("quantization: {load_in_8bit: true}", "unknown key quantization.load_in_8bit. Did you mean 'load_in_4bit'?"),
    ],
)
def test_values_that_do_not_go_together(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_recipe(write(tmp_path, f"base_model: m\n{text}\n"))


def test_data_sets_may_be_given_by_set(tmp_path):
    path = write(tmp_path, "base_model: m\ndataset:\n  train: [{hub: a}]\n  format: text\n")
    dataset = load_recipe(path, ["dataset.train=[{path: b.jsonl, format: oasst}]"]).dataset
    assert [(one.path, one.format) for one in dataset.train_sources] == [(Path("b.jsonl"), "oasst")]
    assert load_recipe(path, ["dataset.train=c.jsonl"]).dataset.train == Path("c.jsonl")


def test_a_template_in_a_file_counts_from_the_recipe(tmp_path):
    path = write(tmp_path, "base_model: m\nchat_template: own.jinja\n")
    assert load_recipe(path).chat_template == str(tmp_path / "own.jinja")
    assert load_recipe(path, ["chat_template=own.jinja"]).chat_template == "own.jinja"
    assert load_recipe(path, ["chat_template=alpaca"]).chat_template == "alpaca"
