"""A recipe's training section as the arguments that TRL's trainer takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rasa_ft.training.backends import precision
from rasa_ft.training.config import TrainingRecipe


def arguments(recipe: TrainingRecipe, partial: Path, *, shared: bool, on_cpu: bool, examined: bool) -> Any:
    """The recipe's `trl.SFTConfig` for a training that saves into ``partial``.

    ``shared``: steps are packed; ``examined``: validation rows are looked at, and the best checkpoint may be kept.
    """
    from trl.trainer.sft_config import SFTConfig

    training = recipe.training
    ours = {"warmup_ratio", "warmup_steps", "eval_steps", "group_by_length", "project"}
    chosen = training.model_dump(exclude=ours, exclude_none=True) | precision(recipe)
    chosen["warmup_steps"] = training.warmup_ratio or training.warmup_steps or 0
    # Unsloth has put its own kind into the model.
    chosen["gradient_checkpointing"] = bool(training.gradient_checkpointing) and recipe.backend != "unsloth"
    if training.group_by_length:
        chosen["train_sampling_strategy"] = "group_by_length"
    if shared:
        # The weights are in bf16 already; autocast would only add conversions around every layer.
        chosen["bf16"] = chosen["fp16"] = False
    if examined:
        chosen |= _of_examination(recipe)
    made = SFTConfig(
        output_dir=str(partial),
        use_cpu=on_cpu,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=not shared,
        # Every step goes through the whole adapter.
        ddp_find_unused_parameters=False,
        dataset_kwargs={"skip_prepare_dataset": not training.packing},
        **chosen,
    )
    # Set afterwards: its check wants save_steps to be a multiple of eval_steps, while here the best is always saved.
    made.load_best_model_at_end = examined and recipe.evaluation.load_best_model_at_end
    return made


def _of_examination(recipe: TrainingRecipe) -> dict[str, Any]:
    training, evaluation = recipe.training, recipe.evaluation
    chosen: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": training.eval_steps,
        "metric_for_best_model": "score",
        "greater_is_better": True,
        # A resumed run goes on counting the evaluations without an improvement.
        "restore_callback_states_from_checkpoint": evaluation.early_stopping_patience is not None,
    }
    if evaluation.load_best_model_at_end and training.save_strategy == "no":
        chosen |= {"save_strategy": "steps", "save_steps": training.eval_steps}
    return chosen
