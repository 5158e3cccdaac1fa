"""Training runs of a tiny model, from rows to a saved model, and what happens when they are disturbed."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("trl", reason="training libraries are not installed")

from rasa_ft.cli.train import train as command
from rasa_ft.errors import DataError
from rasa_ft.training import trainer
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.probe import greedy_answers, probe
from rasa_ft.training.rows import read_examples
from rasa_ft.training.template import template_hash
from rasa_ft.training.tokens import end_token_id, prompt_ids
from rasa_ft.training.trainer import is_current, train


@pytest.fixture
def recipe(tiny_base, prepared) -> TrainingRecipe:
    return TrainingRecipe.model_validate(
        {
            "base_model": str(tiny_base),
            "lora": {"r": 4},
            "training": {"max_steps": 4, "learning_rate": 1e-2, "bf16": False, "eval_steps": 2, "seed": 3},
            "prefix_sharing": {"enabled": True, "groups_per_step": 3, "wordings_per_group": 2},
        }
    ).with_data(prepared)


def plainly(recipe: TrainingRecipe) -> TrainingRecipe:
    sharing = recipe.prefix_sharing.model_copy(update={"enabled": False})
    return recipe.model_copy(update={"prefix_sharing": sharing})


def test_a_run_leaves_everything_that_serving_needs(recipe, tmp_path, prepared):
    seen = []
    result = train(recipe, tmp_path / "out", seen.append)
    assert result.shared
    assert (result.steps, [one.step for one in seen]) == (4, [1, 2, 3, 4])
    assert 0 < result.tokens_computed < result.tokens_of_rows / 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "adapter",
        "merged",
        "training_log.jsonl",
        "loss.png",
        "student_prompt.jinja2",
        "manifest.json",
    }
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"} <= {
        path.name for path in result.merged.iterdir()
    }
    assert (result.adapter / "adapter_model.safetensors").is_file()
    assert json.loads((result.merged / "generation_config.json").read_text())["eos_token_id"] == 1
    log = [json.loads(line) for line in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()]
    assert [("validation_loss" in line) for line in log] == [False, True, False, True]
    assert [0 <= line["validation_exact"] <= 1 for line in log if "validation_exact" in line] == [True, True]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows"] == {"train": 18, "validation": 3, "turns": 6}
    assert manifest["inputs"]["student_prompt.jinja2"] == template_hash(prepared / "student_prompt.jinja2")
    assert not (tmp_path / "out.partial").exists()


def test_a_log_line_tells_tokens_memory_and_time(recipe, tmp_path, prepared):
    import itertools

    started = []
    result = train(plainly(recipe), tmp_path / "out", on_start=started.append)
    log = [json.loads(line) for line in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()]
    for line in log:
        assert line["tokens_learned"] < line["tokens_of_rows"] <= line["tokens_computed"]
        assert line["memory_gib"] > 0
    for before, after in itertools.pairwise(log):
        assert after["tokens_learned"] > before["tokens_learned"]
    assert log[0]["eta_seconds"] > log[-1]["eta_seconds"] == 0
    assert (result.tokens_of_rows, result.tokens_learned) == (log[-1]["tokens_of_rows"], log[-1]["tokens_learned"])
    assert 0 < result.memory.before_gib <= result.memory.peak_gib < result.memory.total_gib
    assert started[0].before_gib == result.memory.before_gib
    reported = json.loads((tmp_path / "out" / "manifest.json").read_text())["result"]
    assert reported["memory_peak_gib"] == result.memory.peak_gib
    assert reported["device"].startswith("CPU")


def test_prefix_sharing_learns_the_tokens_of_plain_training(recipe, tmp_path):
    """An epoch of both shows every row once."""
    training = recipe.training.model_copy(update={"max_steps": -1, "num_train_epochs": 1, "eval_steps": None})
    recipe = recipe.model_copy(update={"training": training})
    shared, plain = train(recipe, tmp_path / "shared"), train(plainly(recipe), tmp_path / "plain")
    assert (shared.tokens_of_rows, shared.tokens_learned) == (plain.tokens_of_rows, plain.tokens_learned)
    assert shared.tokens_computed < plain.tokens_of_rows <= plain.tokens_computed


def changed(recipe: TrainingRecipe, *, evaluation=None, **training) -> TrainingRecipe:
    settings = recipe.model_dump()
    settings["training"] |= {"eval_steps": 1, "lr_scheduler_type": "constant", **training}
    settings["evaluation"] |= {"max_new_tokens": 8, **(evaluation or {})}
    return TrainingRecipe.model_validate(settings)


def test_the_best_checkpoint_is_the_result(recipe, tmp_path, monkeypatch):
    """Scores as they may come: the best are those of step 2, which is no save step."""
    from rasa_ft.training.validation import Examination, Validation

    def adapter(name, **changes):
        scores = iter([Validation(3, 0.9, 1), Validation(3, 0.4, 2), Validation(3, 0.5, 2), Validation(3, 0.1, 1)])
        monkeypatch.setattr(Examination, "of", lambda self, model: next(scores))
        result = train(changed(recipe, **changes), tmp_path / name)
        return result, (result.adapter / "adapter_model.safetensors").read_bytes()

    saving = {"save_strategy": "steps", "save_steps": 3}
    best, kept = adapter("best", evaluation={"load_best_model_at_end": True}, **saving)
    assert (best.steps, best.best_step, best.validation_loss, best.validation_exact) == (4, 2, 0.4, 0.6667)
    last, other = adapter("last")
    assert (last.steps, last.best_step, last.validation_loss) == (4, None, 0.1)
    _, stopped = adapter("stopped", max_steps=2)
    assert kept == stopped != other
    assert json.loads((tmp_path / "best" / "manifest.json").read_text())["result"]["best_step"] == 2


def test_training_stops_when_it_gets_no_better(recipe, tmp_path):
    """With a learning rate of nothing, the first evaluation is as good as all others."""
    result = train(
        changed(recipe, learning_rate=1e-30, evaluation={"load_best_model_at_end": True, "early_stopping_patience": 2}),
        tmp_path / "out",
    )
    assert (result.steps, result.best_step) == (3, 1)


def test_without_validation_rows_nothing_is_examined(recipe, tmp_path):
    recipe = changed(recipe, evaluation={"early_stopping_patience": 1})
    dataset = recipe.dataset.model_copy(update={"validation": None})
    result = train(recipe.model_copy(update={"dataset": dataset}), tmp_path / "out")
    assert (result.steps, result.best_step, result.validation_loss) == (4, None, None)


def test_tensorboard_gets_the_curves(recipe, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'rasa_ft[board]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = recipe.training.model_copy(update={"report_to": "tensorboard"})
    train(recipe.model_copy(update={"training": training}), tmp_path / "out")
    folder = next((tmp_path / "out" / "runs").rglob("events*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"train/loss", "eval/loss", "eval/exact"} <= set(events.Tags()["scalars"])


def test_weights_and_biases_offline(recipe, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    training = recipe.training.model_copy(update={"report_to": "wandb", "run_name": "offline"})
    train(recipe.model_copy(update={"training": training}), tmp_path / "out")
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_the_merged_model_computes_what_was_trained(recipe, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    result = train(recipe, tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(recipe.base_model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, result.adapter).eval()
    merged = AutoModelForCausalLM.from_pretrained(result.merged, dtype=torch.float32).eval()
    tokens = torch.arange(2, 30)[None]
    with torch.no_grad():
        wanted, got = adapted(tokens).logits, merged(tokens).logits
        with adapted.disable_adapter():
            before = adapted(tokens).logits
    assert (wanted - before).norm() > 5 * (wanted - got).norm()
    assert next(AutoModelForCausalLM.from_pretrained(result.merged).parameters()).dtype == torch.bfloat16


def test_plain_training_works_too(recipe, tmp_path):
    result = train(plainly(recipe), tmp_path / "out")
    assert not result.shared
    assert result.steps == 4
    assert result.validation_loss is not None


def test_the_same_seed_gives_the_same_losses(recipe, tmp_path):
    def losses(name: str, seed: int) -> list[float]:
        training = recipe.training.model_copy(update={"seed": seed})
        seen = []
        train(recipe.model_copy(update={"training": training}), tmp_path / name, seen.append)
        return [one.loss for one in seen]

    first = losses("a", 3)
    assert first == losses("b", 3)
    assert first != losses("c", 4)
    assert len(set(first)) == 4


def test_epochs_go_on_to_other_wordings(recipe, tmp_path, monkeypatch):
    epochs = []
    original = trainer.TurnSampler.set_epoch
    monkeypatch.setattr(
        trainer.TurnSampler, "set_epoch", lambda self, epoch: (epochs.append(epoch), original(self, epoch))
    )
    two_epochs = recipe.training.model_copy(update={"max_steps": -1, "num_train_epochs": 2})
    train(recipe.model_copy(update={"training": two_epochs}), tmp_path / "out")
    assert set(epochs) == {0, 1}


def test_a_failed_check_falls_back_loudly(recipe, tmp_path, monkeypatch, caplog):
    from rasa_ft.training import shared_loss

    monkeypatch.setattr(shared_loss, "is_equal", lambda model, rows: (False, "relative difference of loss 1"))
    result = train(recipe, tmp_path / "out")
    assert not result.shared
    assert "PREFIX SHARING IS OFF" in caplog.text


def test_an_interrupted_run_leaves_the_old_model_alone(recipe, tmp_path):
    out = tmp_path / "out"
    train(recipe, out)
    before = (out / "manifest.json").read_text()

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, interrupt)
    assert (out / "manifest.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "output"]


def test_an_interrupted_run_with_checkpoints_goes_on(recipe, tmp_path):
    training = recipe.training.model_copy(update={"save_strategy": "steps", "save_steps": 1})
    recipe = recipe.model_copy(update={"training": training})

    def interrupt(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "out", interrupt)
    assert (tmp_path / "out.partial" / "checkpoint-2").is_dir()
    seen = []
    result = train(recipe, tmp_path / "out", seen.append, resume=True)
    assert result.steps == 4
    assert seen[0].step > 1
    assert not (tmp_path / "out.partial").exists()


def test_a_model_is_current_until_something_changes(recipe, tmp_path):
    out = tmp_path / "out"
    assert not is_current(recipe, out)
    train(recipe, out)
    assert is_current(recipe, out)
    assert not is_current(plainly(recipe), out)
    recipe.dataset.train.write_text(recipe.dataset.train.read_text() * 2)
    assert not is_current(recipe, out)


def test_training_needs_data(recipe, tmp_path):
    from rasa_ft.training.config import DatasetSection

    with pytest.raises(DataError, match="no training data"):
        train(recipe.model_copy(update={"dataset": DatasetSection()}), tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


@pytest.fixture
def recipe_file(recipe, tmp_path):
    from rasa_ft.yaml_source import dump_yaml

    path = tmp_path / "recipe.yml"
    path.write_text(dump_yaml(recipe.model_dump(mode="json", exclude={"dataset"})), encoding="utf-8")
    return path


def test_the_command(recipe_file, prepared, tmp_path):
    arguments = [
        str(recipe_file),
        "--data",
        str(prepared),
        "-o",
        str(tmp_path / "out"),
        "--set",
        "training.max_steps=2",
    ]
    outcome = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(outcome.stdout)["steps"] == 2
    assert "step 2/2" in outcome.stderr
    assert "serve" in outcome.stderr
    again = CliRunner().invoke(command, [*arguments, "--if-changed"], catch_exceptions=False)
    assert "up to date" in again.stderr


def test_a_dry_run_trains_nothing(recipe_file, prepared, tmp_path):
    arguments = [str(recipe_file), "--data", str(prepared), "-o", str(tmp_path / "out"), "--dry-run", "--json"]
    outcome = CliRunner().invoke(command, arguments, catch_exceptions=False)
    plan = json.loads(outcome.stdout)
    assert (plan["train_rows"], plan["train_turns"], plan["validation_rows"]) == (18, 6, 3)
    assert not (tmp_path / "out").exists()


def test_batched_greedy_answers_equal_the_model_s_own(tiny_base, tiny_tokenizer, prepared):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    examples = read_examples(prepared / "4_train_test_split" / "ft_splits" / "train.jsonl")
    prompts = [prompt_ids(tiny_tokenizer, example.messages) for example in examples]
    end = end_token_id(tiny_tokenizer)
    answers = greedy_answers(model, prompts, end=end, max_new_tokens=6)
    for prompt, answer in zip(prompts[::5], answers[::5], strict=True):
        ids = model.generate(
            torch.tensor([prompt]), max_new_tokens=6, do_sample=False, eos_token_id=end, pad_token_id=end
        )
        expected = ids[0, len(prompt) :].tolist()
        assert answer == (expected[: expected.index(end)] if end in expected else expected)


def test_the_probe_counts_exact_answers(tiny_base, prepared):
    examples = read_examples(prepared / "4_train_test_split" / "ft_splits" / "val.jsonl")
    result = probe(tiny_base, examples, limit=2, max_new_tokens=4)
    assert (result.rows, len(result.misses), result.accuracy) == (2, 2, 0.0)
    assert result.misses[0].answer != result.misses[0].example.completion


def test_scoring_in_one_pass_agrees_with_decoding(tiny_base, tiny_tokenizer):
    """Rows whose answers are what the model itself decodes, half of them spoilt in one token."""
    import torch
    from transformers import AutoModelForCausalLM

    from rasa_ft.training.prefix_tree import TrainingRow
    from rasa_ft.training.shared_loss import score, shared_attention

    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    prompts = [(3, 4, 5, *range(6, 6 + extra)) for extra in range(1, 9)]
    answers = greedy_answers(model, prompts, end=-1, max_new_tokens=4)
    rows = [
        TrainingRow(prompt, (*answer[:2], answer[2] + index % 2, answer[3]), index // 3)
        for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    with shared_attention(model):
        _, exact = score(model, rows)
    assert exact == [index % 2 == 0 for index in range(8)]


@pytest.mark.slow
@pytest.mark.usefixtures("smollm2_wheel")
def test_the_real_model_learns(prepared, tmp_path):
    """SmolLM2 with the default recipe: the loss falls, the check passes, and the answers are right."""
    from rasa_ft.training.config import DEFAULT_RECIPE, load_recipe

    recipe = load_recipe(DEFAULT_RECIPE, ["training.max_steps=20"]).with_data(prepared)
    seen = []
    result = train(recipe, tmp_path / "out", seen.append)
    assert result.shared
    assert seen[-1].loss < 0.2 * seen[0].loss
    assert probe(result.merged, read_examples(recipe.dataset.train)).accuracy > 0.8
