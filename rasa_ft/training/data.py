"""Everything that a run trains on: the rows of both sets as token ids, and the tokenizer that made them."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.training.base_models import load_tokenizer
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.rows import read_examples
from rasa_ft.training.tokens import encode, end_token_id

_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@dataclass(frozen=True)
class TrainingData:
    """Encoded rows of both sets and the tokenizer that made them."""

    tokenizer: Any
    end_token_id: int
    train: list[TrainingRow]
    validation: list[TrainingRow]

    @property
    def turns(self) -> int:
        """Number of different user turns in the training set."""
        return len({row.group for row in self.train})


def load_data(recipe: TrainingRecipe) -> TrainingData:
    """Read and encode the rows that a recipe names.

    Raises:
        DataError: no training file is named, a file is broken, or rows are too long.
        MissingRequirement: the training libraries or the base model are not installed.
    """
    require_libraries()
    if recipe.dataset.train is None:
        raise DataError("no training data: the recipe has no dataset.train.", hint="Give --data output/.")
    examples = read_examples(recipe.dataset.train)
    held_out = read_examples(recipe.dataset.validation) if recipe.dataset.validation else []
    tokenizer = load_tokenizer(recipe.base_model)
    limit = recipe.training.max_length
    return TrainingData(
        tokenizer=tokenizer,
        end_token_id=end_token_id(tokenizer),
        train=encode(tokenizer, examples, limit),
        validation=encode(tokenizer, held_out, limit),
    )


def require_libraries() -> None:
    """Raise unless everything that training imports is installed.

    Raises:
        MissingRequirement: names what is missing and the command that installs it.
    """
    missing = [name for name, version in library_versions().items() if version is None]
    if missing:
        raise MissingRequirement(
            f"training needs {', '.join(missing)}.", hint="pip install 'rasa_ft[train]' -c constraints/cpu.txt"
        )


def library_versions() -> dict[str, str | None]:
    """Version of every library that training imports; None where it is missing."""
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
