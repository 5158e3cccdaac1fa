"""Adds an adapter to the weights of its base model, and writes both kinds of model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.files import fresh_folder
from rasa_ft.training.base_models import load_config, load_model

SHARD_SIZE = "2GB"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


def save_adapter(model: Any, tokenizer: Any, folder: Path, weights: Mapping[str, Any] | None = None) -> None:
    """The LoRA weights in 16 bits with the tokenizer beside them, as PEFT and vLLM read them.

    ``weights`` stand for those of ``model`` if each process has only a part of it.
    """
    with fresh_folder(folder) as draft:
        model.save_pretrained(draft, state_dict=weights)
        to_16_bits(draft)
        tokenizer.save_pretrained(draft)
        (draft / "README.md").unlink(missing_ok=True)
        readable(draft)


def readable(folder: Path) -> None:
    """Let everybody read the files of a folder, as a server that runs under another name has to."""
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)


def to_16_bits(adapter: Path) -> None:
    """Store the weights of an adapter folder as bf16; training keeps them in fp32."""
    import torch
    from safetensors.torch import load_file, save_file

    file = adapter / _ADAPTER_WEIGHTS
    weights = load_file(file)
    if any(tensor.dtype == torch.float32 for tensor in weights.values()):
        halves = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
        save_file(halves, file, metadata={"format": "pt"})


def save_merged(
    model: Any, tokenizer: Any, end_token_id: int, folder: Path, *, max_shard_size: str = SHARD_SIZE
) -> None:
    """Merge the adapter into ``model`` and save it in bf16 with tokenizer, chat template and generation settings.

    The model is used up: its adapter layers are gone afterwards. Decoding is greedy and stops at ``end_token_id``.

    Raises:
        DataError: the model's weights are quantised.
    """
    import torch

    save_model(merge(model).to(torch.bfloat16), tokenizer, end_token_id, folder, max_shard_size=max_shard_size)


def save_model(model: Any, tokenizer: Any, end_token_id: int, folder: Path, *, max_shard_size: str) -> None:
    """Save a whole model as it is, with settings for greedy decoding; no file is larger than ``max_shard_size``."""
    settings = copy.deepcopy(model.generation_config)
    settings.eos_token_id = _with(settings.eos_token_id, end_token_id)
    settings.pad_token_id = tokenizer.pad_token_id
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None
    model.generation_config = settings
    model.config.use_cache = True
    with fresh_folder(folder) as draft:
        model.save_pretrained(draft, max_shard_size=max_shard_size)
        tokenizer.save_pretrained(draft)
        readable(draft)


def merge(model: Any) -> Any:
    """The base model with the adapter added to its weights, rounded once.

    PEFT adds in the precision of the base, which rounds the update before it is added. So each layer is merged in fp32.

    Raises:
        DataError: the weights are quantised; what is rounded that coarsely would swallow most of the update.
    """
    import torch

    if is_quantised(model.config):
        raise DataError(
            "an adapter cannot be merged into quantised weights without loss.",
            hint="Merge it into the 16-bit base model: rasa llm finetune export",
        )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that everything is merged already, when all is unloaded
        for layer in model.modules():
            if hasattr(layer, "lora_A") and hasattr(layer, "get_delta_weight") and not layer.merged:
                base = layer.get_base_layer()
                kept = {name: value.dtype for name, value in base.named_parameters()}
                base.float()
                layer.merge()
                for name, value in base.named_parameters():
                    value.data = value.data.to(kept[name])
        return model.merge_and_unload()


def mergeable(model: Any, base_model: str, adapter: Path, *, whole: bool = True) -> Any:
    """``model`` itself, or the adapter on the 16-bit base model if this one is quantised or not ``whole``.

    Raises:
        DataError: see `load_with_adapter`.
    """
    return model if whole and not is_quantised(model.config) else load_with_adapter(base_model, adapter)


def check_mergeable(base_model: str) -> None:
    """Raise if the base model's weights are stored in fewer than 16 bits, so that no adapter is merged into them.

    Raises:
        DataError: they are; or nothing can be loaded under this name.
    """
    if is_quantised(load_config(base_model)):
        raise DataError(
            f"the base model {base_model} is stored quantised, and an adapter is merged into 16-bit weights only.",
            hint="Name its 16-bit original as base model.",
        )


def load_with_adapter(base_model: str, adapter: Path, *, dtype: str = "bfloat16") -> Any:
    """The 16-bit base model with the adapter of a folder on it, ready for `merge`.

    Raises:
        DataError: the base model cannot be had, is stored quantised, or the adapter does not fit it.
    """
    from peft import PeftModel

    check_mergeable(base_model)
    model = load_model(base_model, dtype=dtype)
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"the adapter {adapter} does not fit the base model {base_model}: {reason}") from None


def is_quantised(config: Any) -> bool:
    """Whether a model's configuration says that its weights have fewer than 16 bits."""
    return getattr(config, "quantization_config", None) is not None


def _with(ids: int | list[int] | None, one: int) -> int | list[int]:
    known = [ids] if isinstance(ids, int) else list(ids or [])
    together = list(dict.fromkeys([one, *known]))
    return together[0] if len(together) == 1 else together
