"""Prefix-shared against plain training: tokens a second and what a step costs, as ratios within one run.

    python benchmarks/training_speed.py [--data output/] [--steps 3]

Without data the rows are made up: a static part of about 300 tokens, 80 that change from turn to turn, 3 wordings.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from rasa_ft.training.base_models import load_model
from rasa_ft.training.config import DEFAULT_RECIPE, load_recipe
from rasa_ft.training.cpu import use_all_cores
from rasa_ft.training.data import load_data
from rasa_ft.training.fast_layers import fast_layers
from rasa_ft.training.prefix_tree import TrainingRow, pack
from rasa_ft.training.shared_loss import collate, plain_loss, shared_attention, shared_loss
from rasa_ft.training.trainer import turn_sampler

PLAIN_ROWS = 6


def made_up_rows(groups: int, wordings: int) -> list[TrainingRow]:
    dice = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(dice.randrange(1000, 40_000) for _ in range(count))

    static = tokens(300)
    return [
        TrainingRow(static + turn + tokens(dice.randint(8, 16)), tokens(dice.randint(5, 16)), group)
        for group in range(groups)
        for turn in [tokens(dice.randint(50, 90))]
        for _ in range(wordings)
    ]


def timed(model: Any, loss: Callable[[], torch.Tensor], times: int) -> tuple[float, float]:
    """Median seconds of forward and backward, and the loss."""
    seconds = []
    value = loss().item()
    for _ in range(times):
        model.zero_grad()
        started = time.perf_counter()
        loss().backward()
        seconds.append(time.perf_counter() - started)
    model.zero_grad()
    return statistics.median(seconds), value


def report(name: str, rows: Sequence[TrainingRow], computed: int, seconds: float, loss: float) -> None:
    per_row = seconds / len(rows)
    print(
        f"{name:<30} {len(rows):>3} rows  {computed:>6} tokens computed  {computed / seconds:>5.0f} tokens/s  "
        f"{per_row * 1000:>6.0f} ms a row  loss {loss:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="output folder of prepare-data")
    parser.add_argument("--steps", type=int, default=3, help="how often each step is timed")
    options = parser.parse_args()

    recipe = load_recipe(DEFAULT_RECIPE)
    sharing = recipe.prefix_sharing
    if options.data:
        recipe = recipe.with_data(options.data)
        data = load_data(recipe)
        rows = [data.train[index] for index in next(iter(turn_sampler(recipe, data)))]
    else:
        rows = made_up_rows(sharing.groups_per_step, sharing.wordings_per_group)
    few = rows[:PLAIN_ROWS]

    use_all_cores()
    torch.manual_seed(0)
    model = get_peft_model(
        load_model(recipe.base_model), LoraConfig(task_type="CAUSAL_LM", **recipe.lora.model_dump())
    ).train()
    step, small = collate(rows, torch.bfloat16), collate(few, torch.bfloat16)

    def plain() -> torch.Tensor:
        return plain_loss(model, few)

    plain_seconds, plain_value = timed(model, plain, options.steps)
    report("plain, row by row", few, sum(len(row.tokens) for row in few), plain_seconds, plain_value)
    with shared_attention(model):
        seconds, value = timed(model, lambda: shared_loss(model, step), options.steps)
        report("prefix tree", rows, len(pack(rows).input_ids), seconds, value)
        with fast_layers(model):
            fast_seconds, fast_value = timed(model, lambda: shared_loss(model, step), options.steps)
            report("prefix tree and fast layers", rows, len(pack(rows).input_ids), fast_seconds, fast_value)
            same = shared_loss(model, small).item()

    print(f"a row is {plain_seconds / len(few) / (fast_seconds / len(rows)):.1f} times as fast as in plain training")
    print(f"fast layers alone: {seconds / fast_seconds:.2f} times as fast")
    print(f"loss of the same rows: plain {plain_value:.5f}, shared {same:.5f} (bf16)")


if __name__ == "__main__":
    main()
