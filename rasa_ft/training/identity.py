"""What decides the outcome of a training: settings, inputs and versions."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.files import fingerprint
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.data import library_versions
from rasa_ft.training.template import template_of_data


def identity(recipe: TrainingRecipe) -> dict[str, Any]:
    """The part of a manifest that decides what a run makes: settings, inputs and versions."""
    sources = (*recipe.dataset.files, student_prompt(recipe), Path(recipe.chat_template or ""))
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"dataset"}),
        "dataset": recipe.dataset.identity(),
        "inputs": {path.name: fingerprint(path) for path in sources if path is not None and path.is_file()},
        "versions": {
            "rasa_ft": rasa_ft.__version__,
            "python": platform.python_version(),
            **library_versions(),
        },
    }


def student_prompt(recipe: TrainingRecipe) -> Path | None:
    """The prompt template that the rows were made with, if it lies beside them."""
    found = (template_of_data(source.path) for source in recipe.dataset.train_sources if source.path is not None)
    return next((template for template in found if template is not None), None)
