"""The processes of one training that `accelerate launch` or torchrun started, one for each GPU.

Which process this is stands in the environment. The first one, the main process, alone writes files and reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rasa_ft.errors import UsageError
from rasa_ft.training.config import TrainingRecipe


def count() -> int:
    """How many processes train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_main() -> bool:
    """Whether this process is the one that writes and reports."""
    return index() == 0


def is_sharded() -> bool:
    """Whether the launcher asked for FSDP or DeepSpeed, so that no process is sure to hold all weights."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true" for name in ("FSDP", "DEEPSPEED"))


def check(recipe: TrainingRecipe) -> None:
    """Raise for a recipe that several processes, or sharded weights, cannot train.

    Raises:
        UsageError: says which setting of the recipe does not go together with the launcher's.
    """
    if is_sharded() and recipe.prefix_sharing.enabled:
        raise UsageError(
            "prefix sharing needs the whole model in every process, which FSDP and DeepSpeed do not keep.",
            hint="Launch with examples/accelerate/ddp.yaml, or --set prefix_sharing.enabled=false",
        )
    if is_sharded() and recipe.quantization.load_in_4bit:
        raise UsageError(
            "a base model in 4 bits is trained whole in every process, not with FSDP or DeepSpeed.",
            hint="Launch with examples/accelerate/ddp.yaml, or --set quantization.load_in_4bit=false",
        )
    if recipe.backend == "unsloth" and (is_sharded() or count() > 1):
        raise UsageError(
            "the backend unsloth trains on one GPU.", hint="Start without a launcher, or --set backend=peft"
        )


@contextmanager
def together() -> Iterator[None]:
    """The processes can talk while the block lasts, and leave it together; one process alone does nothing.

    Each gets its own GPU, which has to be chosen before weights are loaded.
    """
    if count() == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())
    yield
    wait_for_all()
    PartialState().destroy_process_group()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def main_first() -> Iterator[None]:
    """The main process runs the block before all others, which then find what it has put on the disk."""
    if not is_main():
        wait_for_all()
    try:
        yield
    finally:
        if is_main():
            wait_for_all()


def all_agree(agrees: bool) -> bool:
    """Whether ``agrees`` holds in every process."""
    if count() == 1:
        return agrees
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState()  # gather_object asks it
    return all(gather_object([agrees]))


def gathered_weights(trainer: Any) -> dict[str, Any] | None:
    """The weights of a sharded model, complete in the main process; None where every process holds the model.

    All processes have to call it.
    """
    if not is_sharded():
        return None
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights
