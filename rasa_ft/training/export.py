"""Writes what training made: the adapter, and the base model with the adapter merged in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from rasa_ft.files import fresh_folder


def save_adapter(model: Any, tokenizer: Any, folder: Path) -> None:
    """The LoRA weights with the tokenizer beside them, as PEFT and vLLM read them."""
    with fresh_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        (draft / "README.md").unlink(missing_ok=True)


def save_merged(model: Any, tokenizer: Any, end_token_id: int, folder: Path) -> None:
    """Merge the adapter into ``model`` and save it in bf16 with tokenizer, chat template and generation settings.

    The model is used up: its adapter layers are gone afterwards. Decoding is greedy and stops at ``end_token_id``.
    """
    import torch

    merged = merge(model).to(torch.bfloat16)
    settings = copy.deepcopy(merged.generation_config)
    settings.eos_token_id = _with(settings.eos_token_id, end_token_id)
    settings.pad_token_id = tokenizer.pad_token_id
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None
    merged.generation_config = settings
    merged.config.use_cache = True
    with fresh_folder(folder) as draft:
        merged.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


def merge(model: Any) -> Any:
    """The base model with the adapter added to its weights, rounded once.

    PEFT adds in the precision of the base, which rounds the update before it is added.
    """
    import torch

    with torch.no_grad():
        for layer in model.modules():
            if hasattr(layer, "lora_A") and hasattr(layer, "get_delta_weight") and not layer.merged:
                weight = layer.get_base_layer().weight
                for adapter in layer.active_adapters:
                    delta = layer.get_delta_weight(adapter).to(weight.device, torch.float32)
                    weight.data = (weight.data.float() + delta).to(weight.dtype)
    return model.unload()


def _with(ids: int | list[int] | None, one: int) -> int | list[int]:
    known = [ids] if isinstance(ids, int) else list(ids or [])
    together = list(dict.fromkeys([one, *known]))
    return together[0] if len(together) == 1 else together
