"""Everything that a run trains on: the rows of both sets as token ids, and the tokenizer that made them."""

from __future__ import annotations

import importlib.metadata
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasa_ft.errors import DataError, Location, MissingRequirement
from rasa_ft.training.base_models import load_tokenizer
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.conversations import encode_conversation, encode_text
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.requirements import use_hub_token
from rasa_ft.training.rows import Conversation, PlainText, Row
from rasa_ft.training.sections import DatasetSection, SourceSection
from rasa_ft.training.sources import read_source
from rasa_ft.training.tokens import encode_example, end_token_id, too_long_error

log = logging.getLogger(__name__)

_SHOWN = 20
_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@dataclass(frozen=True)
class TrainingData:
    """Encoded rows of both sets and the tokenizer that made them.

    ``dropped`` are problems of rows that were left out, as the recipe's ``bad_rows: drop`` wants it.
    """

    tokenizer: Any
    end_token_id: int
    train: list[TrainingRow]
    validation: list[TrainingRow]
    dropped: tuple[DataError, ...] = ()

    @property
    def turns(self) -> int:
        """Number of different user turns in the training set."""
        return len({row.group for row in self.train})


def load_data(recipe: TrainingRecipe) -> TrainingData:
    """Read and encode the rows that a recipe names.

    Raises:
        DataError: no training data are named, a set cannot be read, or rows are broken or too long.
        MissingRequirement: the training libraries or the base model are not installed.
    """
    require_libraries()
    use_hub_token()
    dataset = recipe.dataset
    if not dataset.train_sources:
        raise DataError("no training data: the recipe has no dataset.train.", hint="Give --data output/.")
    dropped: list[DataError] = []
    train = _read(dataset.train_sources, dataset, dropped)
    held_out = _read(dataset.validation_sources, dataset, dropped)
    if dataset.seed is not None:
        random.Random(dataset.seed).shuffle(train)  # noqa: S311 - a reproducible shuffle
    tokenizer = load_tokenizer(recipe.base_model, recipe.chat_template)
    data = TrainingData(
        tokenizer=tokenizer,
        end_token_id=end_token_id(tokenizer),
        train=_encoded(recipe, tokenizer, train, dropped),
        validation=_encoded(recipe, tokenizer, held_out, dropped),
        dropped=tuple(dropped),
    )
    _check(recipe, data)
    return data


def _read(sources: Sequence[SourceSection], dataset: DatasetSection, dropped: list[DataError]) -> list[Row]:
    rows: list[Row] = []
    problems: list[DataError] = []
    for source in sources:
        found, wrong = read_source(source, dataset.system)
        rows += found
        problems += wrong
    if problems and dataset.bad_rows == "error":
        raise shortened(problems)
    dropped += problems
    return rows


def _encoded(
    recipe: TrainingRecipe, tokenizer: Any, rows: Sequence[Row], dropped: list[DataError]
) -> list[TrainingRow]:
    """The rows as token ids; what is wrong with the others goes to ``dropped``, or is raised."""
    limit = recipe.training.max_length
    end = end_token_id(tokenizer)
    encoded: list[TrainingRow] = []
    problems: list[DataError] = []
    too_long: list[tuple[Location, int]] = []
    for row in rows:
        try:
            ids = _encode(tokenizer, row, end)
        except DataError as problem:
            problems.append(problem)
            continue
        if len(ids.tokens) > limit:
            too_long.append((row.location, len(ids.tokens)))
        else:
            encoded.append(ids)
    if recipe.dataset.bad_rows == "error" and (problems or too_long):
        raise shortened([*problems, *([too_long_error(too_long, limit)] if too_long else [])])
    dropped += problems
    dropped += [DataError(f"{length} tokens, more than {limit}.", location=place) for place, length in too_long]
    return encoded


def _encode(tokenizer: Any, row: Row, end: int) -> TrainingRow:
    from jinja2 import TemplateError

    try:
        if isinstance(row, PlainText):
            return encode_text(tokenizer, row)
        if isinstance(row, Conversation):
            return encode_conversation(tokenizer, row, end)
        return encode_example(tokenizer, row, end)
    except TemplateError as error:
        raise DataError(f"the chat template refuses this row: {error}", location=row.location) from None


def _check(recipe: TrainingRecipe, data: TrainingData) -> None:
    if data.dropped:
        log.warning("%d rows are left out, the first: %s", len(data.dropped), data.dropped[0])
    if not data.train:
        raise DataError(f"no training rows are left of {len(data.dropped)}; the first: {data.dropped[0]}")
    if recipe.prefix_sharing.enabled and any(row.learned for row in data.train):
        raise DataError(
            "prefix sharing learns one answer a row; these conversations have several.",
            hint="--set prefix_sharing.enabled=false",
        )


def shortened(problems: Sequence[DataError]) -> DataError:
    """All problems as one error; of very many the first ones and their number."""
    if len(problems) <= _SHOWN:
        return DataError.collected(problems)
    listing = "\n".join(f"- {problem}" for problem in problems[:_SHOWN])
    return DataError(
        f"{len(problems)} rows are broken:\n{listing}\n- and {len(problems) - _SHOWN} more",
        hint="Repair them, or leave them out: --set dataset.bad_rows=drop",
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
