"""The two trainers that benchmarks/training.py compares, a clock for their steps, and their gradients."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.prefix_tree import TrainingRow

if TYPE_CHECKING:
    from training_run import Run

# Standard deviation of the values that take the place of zeros.
_NOISE = 0.02


def split(count: int, parts: int) -> list[range]:
    """``count`` rows in order as ``parts`` micro-batches of nearly equal size."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return [range(start, end) for start, end in pairwise(bounds)]


def fill_zeros(model: Any) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.detach().any():
            noise = torch.randn(parameter.shape, generator=generator) * _NOISE
            parameter.data.copy_(noise.to(parameter.dtype))


def _arguments(run: Run, recipe: TrainingRecipe, plan: Sequence[Any], out: str, **more: Any) -> Any:
    from trl.trainer.sft_config import SFTConfig

    training = recipe.training
    return SFTConfig(
        output_dir=out,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
        gradient_checkpointing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_steps=len(plan),
        seed=training.seed,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_ratio or training.warmup_steps or 0,
        weight_decay=training.weight_decay,
        optim=training.optim,
        max_grad_norm=0.0 if run.gradients else training.max_grad_norm,
        **more,
    )


def _dataset(rows: Sequence[TrainingRow]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [list(row.tokens) for row in rows], "labels": [row.labels for row in rows]})


def plain_trainer(
    run: Run, recipe: TrainingRecipe, data: Any, plan: list[list[TrainingRow]], model: Any, out: str, parts: int
) -> Any:
    """TRL's trainer, its collator, attention and loss untouched; only the order of the rows is given."""
    from torch.utils.data import DataLoader
    from trl.trainer.sft_trainer import SFTTrainer

    batches: list[list[int]] = []
    for number, step in enumerate(plan):
        start = sum(map(len, plan[:number]))
        batches += [[start + index for index in part] for part in split(len(step), parts)]

    class InOrder(_with_losses(SFTTrainer)):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            order: Any = batches
            loader: Any = DataLoader(self.train_dataset, batch_sampler=order, collate_fn=self.data_collator)
            return self.accelerator.prepare(loader)

    more = {
        "per_device_train_batch_size": run.micro_batch,
        "gradient_accumulation_steps": parts,
        "padding_free": run.padding_free,
        "max_length": None if run.padding_free else recipe.training.max_length,
        "bf16": run.autocast and run.precision == "bf16",
    }
    return InOrder(
        model=model,
        args=_arguments(run, recipe, plan, out, **more),
        train_dataset=_dataset([row for step in plan for row in step]),
        processing_class=data.tokenizer,
    )


def shared_trainer(
    run: Run, recipe: TrainingRecipe, data: Any, plan: list[list[TrainingRow]], model: Any, out: str, stack: ExitStack
) -> Any:
    """The product's trainer, with the plan in place of its sampler."""
    from rasa_ft.training.fast_layers import fast_layers
    from rasa_ft.training.shared_loss import shared_attention
    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    if run.kind == "shared":
        stack.enter_context(fast_layers(model))
    stack.enter_context(shared_attention(model))
    rows = [row for step in plan for row in step]
    numbers = iter(range(len(rows)))
    order: Any = [[next(numbers) for _ in step] for step in plan]
    return _with_losses(SharedSFTTrainer)(
        rows=rows,
        sampler=order,
        model=model,
        args=_arguments(run, recipe, plan, out, bf16=False, remove_unused_columns=False),
        train_dataset=_dataset(rows[:1]),
        processing_class=data.tokenizer,
    )


def _with_losses(trainer: Any) -> Any:
    """The trainer class, also keeping the loss of every step."""

    class WithLosses(trainer):  # type: ignore[misc]
        def training_step(self, *arguments: Any, **named: Any) -> Any:
            loss = super().training_step(*arguments, **named)
            self.__dict__.setdefault("parts_of_losses", []).append(float(loss))
            return loss

        def losses(self, steps: int) -> list[float]:
            """TRL divides each micro-batch's loss by the labels of the whole step, so that they add up."""
            parts = self.parts_of_losses
            per_step = len(parts) // steps
            return [sum(parts[start : start + per_step]) for start in range(0, len(parts), per_step)]

    return WithLosses


def step_clock(gradients: Path | None) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Seconds from the end of a step to the end of the next: data, forward, backward, optimizer."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.cpu_seconds: list[float] = []

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.since = time.perf_counter(), time.process_time()

        def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
            if gradients and not self.seconds:
                _save_gradients(model, gradients)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = time.perf_counter(), time.process_time()
            self.seconds.append(round(now[0] - self.since[0], 3))
            self.cpu_seconds.append(round(now[1] - self.since[1], 3))
            self.since = now

    return Clock()


def _save_gradients(model: Any, path: Path) -> None:
    from safetensors.torch import save_file

    named = {name: one.grad.detach().float() for name, one in model.named_parameters() if one.grad is not None}
    save_file({name: gradient.contiguous() for name, gradient in named.items()}, path)


def gradient_difference(one: Path, other: Path) -> float:
    """Norm of the difference of two saved gradients, relative to the norm of the first."""
    from safetensors.torch import load_file

    first, second = load_file(one), load_file(other)
    if first.keys() != second.keys():
        raise SystemExit("the two runs trained different parameters")
    distance = sum(float((first[name].double() - second[name].double()).square().sum()) for name in first)
    size = sum(float(first[name].double().square().sum()) for name in first)
    return float((distance / size) ** 0.5)
