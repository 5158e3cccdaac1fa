"""The backend unsloth: its own kernels for a number of model families, on CUDA only.

Unsloth changes transformers, TRL and PEFT as it is imported; `rasa_ft.training.requirements` imports it first.
"""

from __future__ import annotations

from typing import Any

from rasa_ft.training.base_models import find_base_model
from rasa_ft.training.config import TrainingRecipe


def model_with_adapter(recipe: TrainingRecipe) -> Any:
    """See `rasa_ft.training.backends.model_with_adapter`."""
    from unsloth import FastLanguageModel

    training, lora = recipe.training, recipe.lora
    model, _ = FastLanguageModel.from_pretrained(
        model_name=find_base_model(recipe.base_model),
        max_seq_length=training.max_length,
        dtype=None,  # bf16 where the card has it, else fp16
        load_in_4bit=recipe.quantization.load_in_4bit,
    )
    return FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        layers_to_transform=lora.layers_to_transform,
        modules_to_save=lora.modules_to_save,
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        use_gradient_checkpointing=training.gradient_checkpointing,
        random_state=training.seed,
    )
