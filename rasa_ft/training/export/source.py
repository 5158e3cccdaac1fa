"""What there is to export at a path: the folder of a training run, an adapter, or a whole model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rasa_ft.errors import DataError, UsageError
from rasa_ft.training.model_card import MANIFEST, read_object
from rasa_ft.training.template import PROMPT_FILE


@dataclass(frozen=True)
class Source:
    """``run`` is where manifest, log and prompt template stand; ``base_model`` a hub name or a folder, "" if unknown.

    ``adapter`` holds LoRA weights, ``merged`` a whole model in 16 bits; at least one of them is there.
    """

    run: Path
    adapter: Path | None
    merged: Path | None
    base_model: str

    @property
    def prompt(self) -> Path | None:
        """The template that the model's prompts are rendered with."""
        file = self.run / PROMPT_FILE
        return file if file.is_file() else None

    def need_adapter(self) -> Path:
        """Raises UsageError where only a merged model is left."""
        if self.adapter is None:
            raise UsageError(
                f"{self.run} holds no adapter, only a whole model.",
                hint="Export it with --format merged-16bit or gguf.",
            )
        return self.adapter

    def need_base_model(self) -> str:
        """Raises DataError where nothing names the base model."""
        if not self.base_model:
            raise DataError(f"nothing in {self.run} names the base model.", hint="Name it with --base-model.")
        return self.base_model


def find_source(path: Path, base_model: str | None = None) -> Source:
    """What stands at ``path``, or in its folders adapter/ and merged/; ``base_model`` stands for the one on record.

    Raises:
        DataError: no model is there, or it is stored in something else than safetensors.
    """
    adapter = _first(path, "adapter", "adapter_config.json")
    # On another base model than the recorded one the adapter has to be merged anew.
    merged = None if adapter and base_model else _first(path, "merged", "config.json")
    found = adapter or merged
    if found is None:
        what = "holds no model" if path.exists() else "does not exist"
        raise DataError(
            f"{path} {what}.", hint="Give the folder that `rasa llm finetune train` wrote, or an adapter's folder."
        )
    for folder in filter(None, (adapter, merged)):
        _check_weights(folder)
    run = next((place for place in (path, found, found.parent) if (place / MANIFEST).is_file()), found)
    recorded = read_object(run / MANIFEST).get("recipe", {}).get("base_model")
    in_adapter = read_object(adapter / "adapter_config.json").get("base_model_name_or_path") if adapter else None
    return Source(run, adapter, merged, str(base_model or recorded or in_adapter or ""))


def _first(path: Path, inner: str, file: str) -> Path | None:
    return next((folder for folder in (path, path / inner) if (folder / file).is_file()), None)


def _check_weights(folder: Path) -> None:
    """Only safetensors: other formats of weights can run code when they are loaded. Only what is not rounded yet."""
    if not any(folder.glob("*.safetensors")):
        raise DataError(f"{folder} holds no weights as safetensors.", hint="Train the model again, or convert it.")
    if "quantization_config" in read_object(folder / "config.json"):
        raise DataError(f"{folder} is quantised already.", hint="Export from what `rasa llm finetune train` wrote.")
