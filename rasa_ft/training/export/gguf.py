"""A merged model as GGUF with a Modelfile for Ollama, converted by llama.cpp's own script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rasa_ft.errors import MissingRequirement, RasaFtError
from rasa_ft.files import write_json, write_text
from rasa_ft.training.export.modelfile import modelfile

WEIGHTS = "model.gguf"
MODELFILE = "Modelfile"
_SCRIPT = "convert_hf_to_gguf.py"
_GET_IT = "git clone --depth 1 https://github.com/ggml-org/llama.cpp, then --llama-cpp llama.cpp"


def write_gguf(model: Path, folder: Path, llama_cpp: Path | None) -> None:
    """Convert the merged model in ``model``, which is changed a little, to ``folder``/model.gguf with a Modelfile.

    The weights stay in 16 bits: those are the ones that were evaluated.

    Raises:
        MissingRequirement: no checkout of llama.cpp is given, or its script is not there or lacks a package.
        RasaFtError: the script failed; with its last words.
        DataError: the chat template cannot be written for Ollama.
    """
    from transformers import AutoTokenizer

    script = find_script(llama_cpp)
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = modelfile(tokenizer, stops=_stops(model, tokenizer), context=_context(model), weights=WEIGHTS)
    _let_the_template_begin(model)
    _convert(script, model, folder / WEIGHTS)
    write_text(folder / MODELFILE, text)


def find_script(llama_cpp: Path | None) -> Path:
    """The conversion script in a checkout of llama.cpp.

    Raises:
        MissingRequirement: it is not there.
    """
    if llama_cpp is None:
        raise MissingRequirement("GGUF files are written by llama.cpp's converter.", hint=_GET_IT)
    script = llama_cpp / _SCRIPT
    if not script.is_file():
        raise MissingRequirement(f"{llama_cpp} is no checkout of llama.cpp: it has no {_SCRIPT}.", hint=_GET_IT)
    return script


def _let_the_template_begin(model: Path) -> None:
    """Say in the tokenizer's settings that nothing is put before a prompt: the chat template writes all of it.

    Servers would otherwise guess, and begin twice.
    """
    file = model / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**settings, "add_bos_token": False, "add_eos_token": False})


def _convert(script: Path, model: Path, target: Path) -> None:
    command = [sys.executable, str(script), str(model), "--outfile", str(target), "--outtype", "bf16"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0 and target.is_file():
        return
    words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it said nothing"]
    last = words[-1].strip()
    if last.startswith(("ModuleNotFoundError", "ImportError")):
        raise MissingRequirement(
            f"{script} cannot run here: {last}",
            hint=f"pip install -r {script.parent / 'requirements' / 'requirements-convert_hf_to_gguf.txt'}",
        )
    raise RasaFtError(
        f"{script} could not convert the model (exit code {done.returncode}): {last}",
        hint="Update the checkout of llama.cpp; if it does not know this architecture yet, export merged-16bit.",
    )


def _stops(model: Path, tokenizer: Any) -> list[str]:
    """The texts of all tokens that end an answer."""
    settings = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
    ids = settings["eos_token_id"]
    return [str(tokenizer.convert_ids_to_tokens(number)) for number in ([ids] if isinstance(ids, int) else ids)]


def _context(model: Path) -> int | None:
    length = json.loads((model / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(length) if length else None
