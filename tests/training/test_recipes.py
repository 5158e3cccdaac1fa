"""The committed recipes: valid, with the values that people know, and run for two steps on a tiny model."""

import json
from pathlib import Path

import pytest
import real_schemas
from click.testing import CliRunner

from rasa_ft.training.config import load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"
ALL = sorted(EXAMPLES.glob("*.yml"))

# What makes a recipe for a GPU run anywhere, on the tiny model.
ANYWHERE = (
    "backend=peft",
    "quantization.load_in_4bit=false",
    "training.optim=adamw_torch",
    "training.report_to=none",
    "training.max_steps=2",
    "training.logging_steps=1",
    "training.bf16=false",
    "lora.layers_to_transform=null",
    "prefix_sharing.self_check=false",
)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_what_it_is(path):
    recipe = load_recipe(path)
    assert recipe.base_model
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "unknown" not in text


def values(name: str) -> dict[str, object]:
    return load_recipe(EXAMPLES / f"{name}.yml").model_dump(mode="json")


def test_function_calling_has_the_known_values():
    recipe = values("function-calling-xlam")
    training, (source,) = recipe["training"], recipe["dataset"]["train"]
    assert (recipe["base_model"], recipe["backend"]) == ("unsloth/Meta-Llama-3.1-8B-Instruct", "unsloth")
    assert (source["hub"], source["split"], source["max_samples"]) == (
        "Salesforce/xlam-function-calling-60k",
        "train",
        15_000,
    )
    assert (training["per_device_train_batch_size"], training["gradient_accumulation_steps"]) == (8, 2)
    assert (training["learning_rate"], training["num_train_epochs"], training["warmup_steps"]) == (2e-4, 3, 5)
    assert (training["optim"], training["weight_decay"], training["seed"]) == ("adamw_8bit", 0.01, 3407)
    assert (training["gradient_checkpointing"], training["save_strategy"]) == ("unsloth", "no")


def test_the_agent_mixes_four_sets():
    recipe = values("agent-glaive")
    sources = recipe["dataset"]["train"]
    assert [source["format"] for source in sources] == ["sharegpt", "alpaca", "alpaca", "oasst"]
    assert {source["max_samples"] for source in sources} == {8000}
    assert (recipe["base_model"], recipe["chat_template"]) == ("01-ai/Yi-6B", "default")
    assert recipe["lora"]["target_modules"] == "all-linear"
    assert recipe["training"]["num_train_epochs"] == 2


def test_the_chat_model_is_trained_in_4_bits():
    recipe = values("chat-guanaco-qlora")
    quantization, lora, training = recipe["quantization"], recipe["lora"], recipe["training"]
    assert list(quantization.values()) == [True, "nf4", "float16", False]
    assert (lora["r"], lora["lora_alpha"], lora["lora_dropout"]) == (64, 16, 0.1)
    assert (training["optim"], training["lr_scheduler_type"]) == ("paged_adamw_32bit", "constant")
    assert (training["max_grad_norm"], training["weight_decay"], training["warmup_ratio"]) == (0.3, 0.001, 0.03)
    assert (training["group_by_length"], training["packing"], training["save_steps"]) == (True, False, 25)


def test_summaries_are_trained_for_a_thousand_steps():
    recipe = values("dialogue-summary-rouge")
    lora, training = recipe["lora"], recipe["training"]
    assert lora["target_modules"] == ["q_proj", "k_proj", "v_proj", "dense"]
    assert (lora["r"], lora["lora_alpha"], lora["lora_dropout"]) == (32, 32, 0.05)
    assert (training["max_steps"], training["optim"], training["warmup_steps"]) == (1000, "paged_adamw_8bit", 1)
    assert (training["eval_steps"], training["gradient_checkpointing"]) == (25, True)
    assert recipe["dataset"]["bad_rows"] == "drop"


# -- each of them runs -------------------------------------------------------------------------------------------------


def file_of(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    path = folder / name
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_for(name: str, folder: Path) -> list[str]:
    """Rows in the schema of the recipe's data set, as overrides."""
    if name == "agent-glaive":
        sets = {
            "glaive.jsonl": ("sharegpt", [real_schemas.glaive(1), real_schemas.glaive_without_tools()]),
            "alpaca.jsonl": ("alpaca", [real_schemas.alpaca(1), real_schemas.alpaca(2)]),
            "oasst.json": ("oasst", [real_schemas.oasst(1), real_schemas.oasst(2)]),
        }
        paths = [
            f"{{path: {file_of(folder, file, rows)}, format: {kind}, max_samples: 2}}"
            for file, (kind, rows) in sets.items()
        ]
        return [f"dataset.train=[{', '.join(paths)}]", "training.max_length=4096"]
    make = {
        "function-calling-xlam": real_schemas.xlam,
        "chat-guanaco-qlora": real_schemas.guanaco,
        "dialogue-summary-rouge": real_schemas.dialogsum,
    }[name]
    rows = file_of(folder, "train.jsonl", [make(number) for number in range(6)])
    held_out = file_of(folder, "validation.jsonl", [make(9)])
    return [f"dataset.train={rows}", *([f"dataset.validation={held_out}"] if name.startswith("dialogue") else [])]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_recipe_runs(path, tiny_base, prepared, tmp_path):
    pytest.importorskip("trl", reason="training libraries are not installed")
    from rasa_ft.cli.train import train

    ours = path.stem.startswith("command-")
    data = ["--data", str(prepared)] if ours else [f"--set={one}" for one in rows_for(path.stem, tmp_path)]
    changes = [f"--set={one}" for one in (f"base_model={tiny_base}", *ANYWHERE)]
    out = tmp_path / "out"
    outcome = CliRunner().invoke(train, [str(path), "-o", str(out), "--json", *changes, *data], catch_exceptions=False)
    result = json.loads(outcome.stdout)
    assert result["steps"] == 2
    assert result["loss"] > 0
    assert (out / "merged" / "model.safetensors").is_file()
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert "dropped" not in manifest["rows"]
    assert str(tmp_path) not in json.dumps(manifest["dataset"])


def test_the_chosen_template_is_saved_with_the_model(tiny_base, tmp_path):
    pytest.importorskip("trl", reason="training libraries are not installed")
    from transformers import AutoTokenizer

    from rasa_ft.training.trainer import train

    overrides = [f"base_model={tiny_base}", *ANYWHERE, *rows_for("dialogue-summary-rouge", tmp_path)]
    train(load_recipe(EXAMPLES / "dialogue-summary-rouge.yml", overrides), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "merged")
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )
    assert asked.endswith("### Instruction:\nx\n\n### Response:\n")


def test_packing_trains_too(tiny_base, tmp_path):
    pytest.importorskip("trl", reason="training libraries are not installed")
    from rasa_ft.training.trainer import train

    changes = [
        f"base_model={tiny_base}",
        *ANYWHERE,
        *rows_for("chat-guanaco-qlora", tmp_path),
        "training.packing=true",
        "training.group_by_length=false",
        "training.max_length=256",
        "training.max_steps=1",
    ]
    assert train(load_recipe(EXAMPLES / "chat-guanaco-qlora.yml", changes), tmp_path / "out").steps == 1


@pytest.mark.slow
@pytest.mark.usefixtures("smollm2_wheel")
def test_summaries_on_a_real_model(tmp_path):
    from rasa_ft.training.base_models import SMOLLM2
    from rasa_ft.training.trainer import train

    changes = [
        f"base_model={SMOLLM2}",
        *ANYWHERE,
        *rows_for("dialogue-summary-rouge", tmp_path),
        "training.max_steps=8",
        "training.gradient_accumulation_steps=1",
        "training.bf16=true",
        "training.eval_steps=8",
    ]
    seen = []
    result = train(load_recipe(EXAMPLES / "dialogue-summary-rouge.yml", changes), tmp_path / "out", seen.append)
    assert seen[-1].loss < seen[0].loss
    assert result.validation_loss is not None
