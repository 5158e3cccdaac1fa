"""What loads the base model and puts the adapter on it: PEFT, which runs everywhere, or Unsloth, which needs CUDA."""

from __future__ import annotations

from typing import Any

from rasa_ft.training.config import TrainingRecipe


def model_with_adapter(recipe: TrainingRecipe) -> Any:
    """The base model with a new adapter, ready to be trained.

    Raises:
        DataError: the base model cannot be loaded.
    """
    if recipe.backend == "unsloth":
        from rasa_ft.training.backends import with_unsloth as backend
    else:
        from rasa_ft.training.backends import with_peft as backend  # type: ignore[no-redef]
    return backend.model_with_adapter(recipe)


def precision(recipe: TrainingRecipe) -> dict[str, bool]:
    """``bf16`` and ``fp16`` as this machine can do them: fp16 in place of bf16 on GPUs that have none.

    A quantised base model computes in its own type, and its adapter is in bf16, which fp16 scaling cannot take: such
    a training runs without.
    """
    import torch

    training = recipe.training
    if training.bf16 and torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        return {"bf16": False, "fp16": not recipe.quantization.load_in_4bit}
    return {"bf16": training.bf16, "fp16": training.fp16}
