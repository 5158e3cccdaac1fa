"""One export: a folder with the model in the form asked for, and all that belongs to it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.errors import UsageError
from rasa_ft.files import fresh_folder, write_json
from rasa_ft.training.data import library_versions
from rasa_ft.training.export.gguf import find_script, write_gguf
from rasa_ft.training.export.merged import SHARD_SIZE, load_with_adapter, merge, readable, save_model, to_16_bits
from rasa_ft.training.export.quantised import require_cuda, save_4bit
from rasa_ft.training.export.source import Source, find_source
from rasa_ft.training.model_card import (
    CARD,
    CURVE,
    LOG,
    MANIFEST,
    Format,
    gather,
    hub_name,
    read_object,
    shown_base,
    without_paths,
    write_card,
)
from rasa_ft.training.template import PROMPT_FILE

INDEX = "export.json"
_SIZE = re.compile(r"[1-9]\d*[KMGT]B")


@dataclass(frozen=True)
class ExportSettings:
    """``base_model`` stands for the one that the training run names. ``llama_cpp``: a checkout of llama.cpp, for gguf.

    ``max_shard_size`` as in "2GB": no file of merged weights is larger.
    """

    format: Format
    max_shard_size: str = SHARD_SIZE
    llama_cpp: Path | None = None
    base_model: str | None = None


@dataclass(frozen=True)
class Exported:
    """What was written; ``size`` in bytes."""

    folder: Path
    format: Format
    files: int
    size: int


def export(model: Path, out: Path, settings: ExportSettings) -> Exported:
    """Write the model at ``model`` into the folder ``out``, completely or not at all.

    The folder also gets a model card, the prompt template, the manifest of the training without local paths, and
    export.json with the hash of every file.

    Raises:
        DataError: there is no model, or its base model cannot be had in 16 bits.
        UsageError: ``out`` holds something else than an earlier export; or there is no adapter to export.
        MissingRequirement: 4 bits without CUDA; a llama.cpp checkout that is missing or does not work.
    """
    if not _SIZE.fullmatch(settings.max_shard_size):
        raise UsageError(f"--max-shard-size {settings.max_shard_size}: not of the form 2GB or 500MB.")
    source = find_source(model, settings.base_model)
    _check_free(out, source)
    if settings.format == "merged-4bit":
        require_cuda()
    if settings.format == "gguf":
        find_script(settings.llama_cpp)
    with fresh_folder(out) as draft:
        _write_model(source, draft, out.resolve().name, settings)
        _add_papers(source, draft, out.resolve().name, settings)
        index = _index(draft, out.resolve().name, source, settings.format)
        write_json(draft / INDEX, index)
        readable(draft)
    sizes = [entry["bytes"] for entry in index["files"].values()]
    return Exported(out, settings.format, len(sizes), sum(sizes))


def _check_free(out: Path, source: Source) -> None:
    """Whatever stands at ``out`` is going to be replaced, so it has to be an export."""
    inside = [folder.resolve() for folder in (source.run, source.adapter, source.merged) if folder]
    if out.resolve() in inside:
        raise UsageError(f"{out} is the model itself.", hint="Choose another folder with --out.")
    if out.exists() and not (out / INDEX).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is no earlier export.", hint="Choose another folder with --out.")


def _write_model(source: Source, draft: Path, name: str, settings: ExportSettings) -> None:
    if settings.format == "adapter":
        _write_adapter(source, draft)
        return
    if settings.format == "merged-16bit":
        _write_merged(source, draft, settings.max_shard_size)
        return
    with tempfile.TemporaryDirectory(dir=draft.parent, prefix=f".{name}.16bit.") as place:
        whole = Path(place) / "model"
        _write_merged(source, whole, settings.max_shard_size)
        if settings.format == "gguf":
            write_gguf(whole, draft, settings.llama_cpp)
        else:
            save_4bit(whole, draft, max_shard_size=settings.max_shard_size)


def _write_adapter(source: Source, draft: Path) -> None:
    shutil.copytree(source.need_adapter(), draft, dirs_exist_ok=True)
    for paper in (CARD, CURVE, INDEX):
        (draft / paper).unlink(missing_ok=True)
    to_16_bits(draft)
    config = json.loads((draft / "adapter_config.json").read_text(encoding="utf-8"))
    # A name of the hub works everywhere; where training found it on this machine does not.
    config["base_model_name_or_path"] = hub_name(source.base_model) or config["base_model_name_or_path"]
    write_json(draft / "adapter_config.json", config)


def _write_merged(source: Source, folder: Path, max_shard_size: str) -> None:
    """The merged model that training left, which is the one that was evaluated; else made from the adapter."""
    from rasa_ft.training.base_models import load_model
    from rasa_ft.training.tokens import end_token_id

    if source.merged is not None:
        model = load_model(str(source.merged))
    else:
        model = merge(load_with_adapter(source.need_base_model(), source.need_adapter()))
    tokenizer = _tokenizer(source)
    save_model(model, tokenizer, end_token_id(tokenizer), folder, max_shard_size=max_shard_size)


def _tokenizer(source: Source) -> Any:
    """The tokenizer that training left with the weights, which may have a chat template that the base has not."""
    from transformers import AutoTokenizer

    from rasa_ft.training.base_models import load_tokenizer

    place = source.merged or source.need_adapter()
    if not (place / "tokenizer_config.json").is_file():
        return load_tokenizer(source.need_base_model())
    tokenizer: Any = AutoTokenizer.from_pretrained(place)
    return tokenizer


def _add_papers(source: Source, draft: Path, name: str, settings: ExportSettings) -> None:
    if source.prompt is not None:
        shutil.copy(source.prompt, draft / PROMPT_FILE)
    if (source.run / LOG).is_file():
        shutil.copy(source.run / LOG, draft / LOG)
    manifest = read_object(source.run / MANIFEST)
    if manifest:
        write_json(draft / MANIFEST, without_paths(manifest))
    facts = gather(source.run, settings.format, name=name, base_model=source.base_model)
    write_card(draft, source.run, facts)


def _index(draft: Path, name: str, source: Source, form: Format) -> dict[str, Any]:
    files = {
        str(file.relative_to(draft).as_posix()): {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(draft.rglob("*"))
        if file.is_file()
    }
    return {
        "kind": "export",
        "format": form,
        "name": name,
        "base_model": shown_base(source.base_model) if source.base_model else None,
        "versions": {"rasa_ft": rasa_ft.__version__, **library_versions()},
        "files": files,
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
