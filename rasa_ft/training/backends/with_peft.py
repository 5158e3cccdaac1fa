"""The backend peft: transformers loads the base model, in 16, 32 or 4 bits, and PEFT puts the adapter on it."""

from __future__ import annotations

from typing import Any

from rasa_ft.training.base_models import load_model
from rasa_ft.training.config import TrainingRecipe


def model_with_adapter(recipe: TrainingRecipe) -> Any:
    """See `rasa_ft.training.backends.model_with_adapter`."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", **recipe.lora.model_dump())
    return get_peft_model(_base_model(recipe), config)


def _base_model(recipe: TrainingRecipe) -> Any:
    from rasa_ft.training.backends import precision

    if not recipe.quantization.load_in_4bit:
        chosen = precision(recipe)
        return load_model(
            recipe.base_model, dtype="bfloat16" if chosen["bf16"] else "float16" if chosen["fp16"] else "float32"
        )
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    settings = recipe.quantization.model_dump()
    dtype = settings.pop("bnb_4bit_compute_dtype")
    config: Any = BitsAndBytesConfig
    prepare: Any = prepare_model_for_kbit_training
    quantization = config(bnb_4bit_compute_dtype=getattr(torch, dtype), **settings)
    model = load_model(recipe.base_model, dtype=dtype, quantization=quantization)
    return prepare(model, use_gradient_checkpointing=bool(recipe.training.gradient_checkpointing))
