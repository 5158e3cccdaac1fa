"""The last training: on training and validation rows together, with the settings that were evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rasa_ft.errors import DataError
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.identity import identity
from rasa_ft.training.model_card import MANIFEST, read_object

_COMPARED = {"recipe": "settings", "dataset": "data sets", "inputs": "content of its data"}


def final_recipe(
    model: Path, recipe: TrainingRecipe | None = None, data: Path | None = None
) -> tuple[TrainingRecipe, dict[str, Any]]:
    """The recipe of the training run in ``model``, with its validation rows among those that are trained.

    Args:
        recipe: the recipe of that run, where it names data sets of its own; None takes the one in the run's manifest.
        data: the output folder of prepare-data; None takes what ``recipe`` names, else "output".

    Returns:
        The recipe, and what belongs into the manifest of the final training as ``final_of``.

    Raises:
        DataError: ``model`` is no training run, had nothing held out, or had other settings or data than these.
    """
    manifest = read_object(model / MANIFEST)
    if manifest.get("kind") != "training":
        raise DataError(
            f"{model} is no training run: it has no {MANIFEST} of one.", hint="Name the folder that `train` wrote."
        )
    recipe = recipe or _recorded(model, manifest)
    if data is not None or recipe.dataset.train is None:
        recipe = recipe.with_data(data or Path("output"))
    _check_same(model, manifest, recipe)
    dataset = recipe.dataset
    if not dataset.validation_sources:
        raise DataError(f"{model} was trained on everything already: there are no validation rows.")
    everything = {"train": (*dataset.train_sources, *dataset.validation_sources), "validation": None}
    final = recipe.model_copy(update={"dataset": dataset.model_copy(update=everything)})
    return final, {"model": model.resolve().name, "finished": manifest.get("result", {}).get("finished")}


def _recorded(model: Path, manifest: dict[str, Any]) -> TrainingRecipe:
    dataset = {key: value for key, value in manifest.get("dataset", {}).items() if key not in ("train", "validation")}
    try:
        return TrainingRecipe.model_validate({**manifest.get("recipe", {}), "dataset": dataset})
    except ValidationError:
        raise DataError(
            f"the settings in {model / MANIFEST} are of another version of rasa_ft.", hint="Train and evaluate again."
        ) from None


def _check_same(model: Path, manifest: dict[str, Any], recipe: TrainingRecipe) -> None:
    now = identity(recipe)
    other = [name for key, name in _COMPARED.items() if now[key] != manifest.get(key)]
    if other:
        raise DataError(
            f"{model} was trained with other {' and other '.join(other)}, so its evaluation says nothing about this.",
            hint="Give the recipe and the data that it was trained with, or train and evaluate again.",
        )
