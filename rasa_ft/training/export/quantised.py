"""A merged model in 4 bits, as bitsandbytes makes it; vLLM and transformers load it as it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rasa_ft.errors import MissingRequirement


def require_cuda() -> None:
    """Raise unless 4-bit weights can be made here.

    Raises:
        MissingRequirement: no CUDA device, or no bitsandbytes.
    """
    import torch

    if not torch.cuda.is_available():
        raise MissingRequirement(
            "4-bit weights are made on an NVIDIA GPU, and there is none here.",
            hint="Export with --format merged-16bit, or do this on a machine with CUDA.",
        )
    if find_spec("bitsandbytes") is None:
        raise MissingRequirement("4-bit weights need bitsandbytes.", hint="pip install 'rasa_ft[gpu]'")


def save_4bit(model: Path, folder: Path, *, max_shard_size: str) -> None:
    """Read the 16-bit model in ``model`` and write it to ``folder`` in NF4 with double quantisation.

    Source of the settings: Dettmers et al., QLoRA, 2023, section 3.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    config: Any = BitsAndBytesConfig
    settings = config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    loaded = AutoModelForCausalLM.from_pretrained(
        model, quantization_config=settings, dtype=torch.bfloat16, device_map="cuda"
    )
    loaded.save_pretrained(folder, max_shard_size=max_shard_size)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
