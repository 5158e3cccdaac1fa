"""Sizes of a training before it begins."""

import json

import pytest
import real_schemas

pytest.importorskip("trl", reason="training libraries are not installed")

from rasa_ft.errors import DataError
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.data import load_data
from rasa_ft.training.plan import Step, longest_step, make_plan, optimizer_steps, percentile


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    texts = ["a" * length for length in (10, 20, 30, 40, 900)]
    lines = [json.dumps({"text": text}) for text in texts]
    path.write_text("\n".join([*lines, '{"txt": 1}']), encoding="utf-8")
    return path


@pytest.fixture
def recipe(tiny_base, rows) -> TrainingRecipe:
    return TrainingRecipe.model_validate(
        {
            "base_model": str(tiny_base),
            "dataset": {"train": rows, "format": "text", "bad_rows": "drop"},
            "lora": {"r": 4, "target_modules": ["q_proj"]},
            "training": {
                "max_length": 100,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "num_train_epochs": 3,
            },
        }
    )


def changed(recipe: TrainingRecipe, **sections) -> TrainingRecipe:
    values = {
        name: getattr(recipe, name).model_copy(update=values) if isinstance(values, dict) else values
        for name, values in sections.items()
    }
    return recipe.model_copy(update=values)


def test_rows_tokens_and_steps(recipe):
    plan = make_plan(recipe)
    assert (plan.train_rows, plan.dropped_rows) == (4, 2)
    # Bytes as tokens, and the end token.
    assert (plan.row_tokens_mean, plan.row_tokens_p95, plan.row_tokens_max, plan.epoch_tokens) == (26.0, 41, 41, 104)
    assert plan.steps == 3
    assert plan.missing == ()


def test_parameters_are_those_of_the_model(recipe, tiny_config):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    plan = make_plan(recipe)
    model = get_peft_model(LlamaForCausalLM(tiny_config), LoraConfig(r=4, target_modules=["q_proj"]))
    trainable, everything = model.get_nb_trainable_parameters()
    assert (plan.trainable_parameters, plan.parameters) == (trainable, everything - trainable)


def test_the_steps_are_those_that_are_made(recipe, tmp_path):
    from rasa_ft.training.trainer import train

    plain = changed(recipe, training={"bf16": False})
    assert train(plain, tmp_path / "out").steps == make_plan(plain).steps


@pytest.mark.parametrize(
    ("training", "batches", "steps"),
    [
        ({"num_train_epochs": 3, "gradient_accumulation_steps": 4}, 10, 9),
        ({"num_train_epochs": 0.5, "gradient_accumulation_steps": 1}, 5, 3),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 8}, 3, 2),
        ({"max_steps": 7}, 100, 7),
    ],
)
def test_counting_steps(training, batches, steps):
    recipe = TrainingRecipe.model_validate({"base_model": "m", "training": training})
    assert optimizer_steps(recipe, batches) == steps


def test_percentiles():
    assert [percentile([1, 2, 3, 4], share) for share in (25, 50, 95, 100)] == [1, 2, 4, 4]


def sizes(recipe: TrainingRecipe, parameters: int = 8_000_000_000, wide: int = 0, tokens: int = 4096):
    from types import SimpleNamespace

    from rasa_ft.training import plan

    text = SimpleNamespace(hidden_size=4096, num_hidden_layers=32, vocab_size=128_256)
    config = SimpleNamespace(get_text_config=lambda: text)
    return (
        plan._base_bytes(recipe, parameters, wide),
        plan._adapter_bytes(recipe, 1_000_000),
        plan._activation_bytes(recipe, config, tokens),
        plan._loss_bytes(recipe, config, Step(tokens, 300)),
    )


def test_memory_follows_its_formula(recipe):
    assert sizes(recipe) == (16e9, 16e6, 4096 * 4096 * 34 * 32, 2 * 300 * 32768)
    quantised = changed(
        recipe,
        quantization={"load_in_4bit": True},
        training={"optim": "paged_adamw_8bit", "gradient_checkpointing": True},
    )
    in_4_bits = (7e9 * 0.5625 + 2e9, 10e6, 4096 * 4096 * (2 * 32 + 34))
    assert sizes(quantised, wide=1_000_000_000)[:3] == in_4_bits
    in_full = changed(recipe, training={"bf16": False})
    assert sizes(in_full)[0] == 32e9
    sharing = changed(recipe, prefix_sharing={"enabled": True})
    assert sizes(sharing)[3] == 12 * 300 * 128_256


def test_prefix_sharing_needs_less(recipe, prepared):
    ours = TrainingRecipe.model_validate({"base_model": recipe.base_model}).with_data(prepared)
    shared = changed(ours, prefix_sharing={"enabled": True, "groups_per_step": 2, "wordings_per_group": 3})
    plain = changed(ours, training={"per_device_train_batch_size": 6})
    data = load_data(ours)
    assert longest_step(shared, data).tokens < longest_step(plain, data).tokens / 2
    # 6 turns with 3 wordings each, two turns or six rows a step; three epochs.
    assert (make_plan(shared).steps, make_plan(plain).steps) == (9, 9)


def test_a_plan_says_what_is_missing_here(recipe, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (found,) = make_plan(changed(recipe, quantization={"load_in_4bit": True})).missing
    assert "needs a CUDA GPU" in found
    assert "--set quantization.load_in_4bit=false" in found


def test_conversations_cannot_share_prefixes(recipe, tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(real_schemas.oasst(1)), encoding="utf-8")
    dataset = {"train": path, "format": "oasst"}
    sharing = changed(recipe, dataset=dataset, prefix_sharing={"enabled": True}, training={"max_length": 2048})
    with pytest.raises(DataError, match=r"learns one answer a row(.|\n)*prefix_sharing.enabled=false"):
        load_data(sharing)


def test_bad_rows_are_refused_unless_they_may_be_dropped(recipe):
    data = load_data(recipe)
    assert [problem.location.line for problem in data.dropped] == [6, 5]
    strict = changed(recipe, dataset={"bad_rows": "error"})
    with pytest.raises(DataError, match=r"rows.jsonl:6: text has to be a text"):
        load_data(strict)
    with pytest.raises(DataError, match="no training rows are left of 6"):
        load_data(changed(recipe, training={"max_length": 3}))


def test_rows_are_mixed_by_the_seed(recipe):
    def order(seed):
        return [len(row.tokens) for row in load_data(changed(recipe, dataset={"seed": seed})).train]

    assert order(None) == [11, 21, 31, 41]
    assert order(1) == order(1)
    assert {tuple(order(seed)) for seed in range(5)} != {(11, 21, 31, 41)}
