"""One measured training run: plain TRL or prefix sharing, the same rows in the same order.

`measured` starts it in a process of its own, so that its peak memory is its own; `measure` runs it in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rasa_ft.training.config import DEFAULT_RECIPE, TrainingRecipe, load_recipe
from rasa_ft.training.prefix_tree import TrainingRow, pack

# Passes over the data in which enough steps have to be found.
_EPOCHS = 20


@dataclass(frozen=True)
class Run:
    """What is to be measured.

    Attributes:
        kind: ``plain`` is TRL with its own collator, attention and loss; ``tree`` adds prefix sharing; ``shared`` also
            the fused layers, as `rasa-ft llm finetune train` does on a CPU.
        data: output folder of prepare-data.
        settings: changes to the recipe, as in ``--set``.
        precision: of weights and arithmetic, ``bf16`` or ``fp32``; LoRA's own weights are in fp32 in both.
        steps: how many steps are trained and timed.
        warm_up: whether a step of a few rows comes first and is not counted.
        micro_batch: plain: most rows that go through the model at once.
        padding_free: plain: TRL's padding_free, the rows of a micro-batch as one sequence.
        autocast: plain in bf16: TRL's bf16=True, which casts around every operation.
        rows: plain: only the first so many rows of each step.
        gradients: a file for the gradient of the first step; LoRA's zero matrices get small values then, since zeros
            hide the gradient of the others.
    """

    kind: str
    data: str
    settings: tuple[str, ...] = ()
    precision: str = "bf16"
    steps: int = 1
    warm_up: bool = True
    micro_batch: int = 4
    padding_free: bool = False
    autocast: bool = False
    rows: int | None = None
    gradients: str | None = None


@dataclass(frozen=True)
class Measured:
    """What came out, one entry a step; ``executed`` tokens with padding, ``row_tokens`` those of the rows without.

    ``static`` is the number of tokens that all rows of the first step begin with, ``load`` the machine's load average
    before, ``peak_mib`` the most memory the process ever had.
    """

    run: Run
    losses: list[float]
    seconds: list[float]
    cpu_seconds: list[float]
    rows: list[int]
    executed: list[int]
    row_tokens: list[int]
    static: int
    peak_mib: int
    load: float


def measured(run: Run) -> Measured:
    """`measure` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        command = [sys.executable, __file__, json.dumps(asdict(run)), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the measured process failed:\n{done.stderr[-2000:]}")
        found = json.loads(out.read_text(encoding="utf-8"))
    return Measured(**found | {"run": run})


def measure(run: Run) -> Measured:
    """Train as ``run`` says, in this process."""
    from training_trainers import fill_zeros, plain_trainer, shared_trainer, step_clock
    from transformers import set_seed

    from rasa_ft.training.backends import model_with_adapter
    from rasa_ft.training.cpu import use_all_cores
    from rasa_ft.training.data import load_data

    load = os.getloadavg()[0]
    recipe = recipe_of(run)
    use_all_cores()
    set_seed(recipe.training.seed)
    data = load_data(recipe)
    plan = planned(run, recipe, data)
    model = model_with_adapter(recipe).train()
    if run.gradients:
        fill_zeros(model)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as out:
        if run.kind == "plain":
            trainer = plain_trainer(run, recipe, data, plan, model, out, micro_batches(recipe, run))
        else:
            trainer = shared_trainer(run, recipe, data, plan, model, out, stack)
        clock = step_clock(Path(run.gradients) if run.gradients else None)
        trainer.add_callback(clock)
        trainer.train()
    first = int(run.warm_up)
    return Measured(
        run=run,
        losses=trainer.losses(len(plan))[first:],
        seconds=clock.seconds[first:],
        cpu_seconds=clock.cpu_seconds[first:],
        rows=[len(step) for step in plan[first:]],
        executed=[executed(run, step) for step in plan[first:]],
        row_tokens=[sum(len(row.tokens) for row in step) for step in plan[first:]],
        static=pack(plan[-1]).prefix_length,
        peak_mib=peak_mib(),
        load=round(load, 2),
    )


def recipe_of(run: Run) -> TrainingRecipe:
    """The shipped recipe with the run's data, changes and precision."""
    settings = (*run.settings, f"training.bf16={str(run.precision == 'bf16').lower()}")
    return load_recipe(DEFAULT_RECIPE, settings).with_data(Path(run.data))


def planned(run: Run, recipe: TrainingRecipe, data: Any) -> list[list[TrainingRow]]:
    """The rows of every step that is trained, the warm-up first; the same for all kinds of runs."""
    least = micro_batches(recipe, replace(run, rows=None))
    steps = list(islice(_steps(recipe, data, least=least), run.steps))
    if len(steps) < run.steps:
        raise SystemExit(f"the data have only {len(steps)} steps of {least} rows or more")
    if run.kind == "plain" and run.rows:
        steps = [step[: run.rows] for step in steps]
    return [steps[0][: micro_batches(recipe, run)], *steps] if run.warm_up else steps


def micro_batches(recipe: TrainingRecipe, run: Run) -> int:
    """How many micro-batches plain training makes of a step: the same number for all, as TRL wants it."""
    sharing = recipe.prefix_sharing
    largest = sharing.groups_per_step * sharing.wordings_per_group
    return -(-min(largest, run.rows or largest) // run.micro_batch)


def _steps(recipe: TrainingRecipe, data: Any, *, least: int) -> Iterator[list[TrainingRow]]:
    """Steps in the order of a real run; those too small to be split into micro-batches are left out."""
    from rasa_ft.training.trainer import turn_sampler

    sampler = turn_sampler(recipe, data)
    for epoch in range(_EPOCHS):
        sampler.set_epoch(epoch)
        yield from ([data.train[index] for index in step] for step in sampler if len(step) >= least)


def executed(run: Run, step: Sequence[TrainingRow]) -> int:
    """Tokens of a step that go through the model, padding included."""
    if run.kind != "plain":
        return len(pack(step).input_ids)
    if run.padding_free:
        return sum(len(row.tokens) for row in step)
    from training_trainers import split

    parts = split(len(step), micro_batches(recipe_of(run), run))
    return sum(len(part) * max(len(step[index].tokens) for index in part) for part in parts)


def peak_mib() -> int:
    """The most memory this process ever had (Linux), in MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), 0)


def main() -> None:
    """What `measured` starts: a run as JSON, and the file for what came out."""
    given, out = sys.argv[1:]
    values = json.loads(given)
    found = measure(Run(**values | {"settings": tuple(values["settings"])}))
    Path(out).write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
