"""Training recipes: YAML with the argument names of PEFT and transformers, checked as a whole before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator

from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.training.sections import (
    DatasetSection,
    EvaluationSection,
    LoraSection,
    PrefixSharingSection,
    QuantizationSection,
    Section,
    SourceSection,
    TrainingSection,
)
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of, parse_yaml, plain

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = RECIPES / "command-generation-smollm2.yml"
TEMPLATES = Path(__file__).parent / "templates"


class TrainingRecipe(Section):
    """Everything that decides what a training run does.

    ``chat_template`` is for base models that have none: the name of one of ours (`TEMPLATES`), or a Jinja file.
    """

    base_model: str
    backend: Literal["peft", "unsloth"] = "peft"
    chat_template: str | None = None
    quantization: QuantizationSection = QuantizationSection()
    dataset: DatasetSection = DatasetSection()
    lora: LoraSection = LoraSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    prefix_sharing: PrefixSharingSection = PrefixSharingSection()

    @model_validator(mode="after")
    def _sharing_is_possible(self) -> TrainingRecipe:
        if self.prefix_sharing.enabled and self.backend != "peft":
            raise ValueError("prefix_sharing needs backend peft")
        if self.prefix_sharing.enabled and self.training.packing:
            raise ValueError("prefix_sharing packs rows in its own way; give it or training.packing, not both")
        return self

    @model_validator(mode="after")
    def _evaluation_is_possible(self) -> TrainingRecipe:
        if self.evaluation.early_stopping_patience is not None and self.training.eval_steps is None:
            raise ValueError("evaluation.early_stopping_patience needs training.eval_steps")
        return self

    def with_data(self, folder: Path) -> TrainingRecipe:
        """The recipe with the data sets found in ``folder``: what prepare-data wrote, or a folder with train.jsonl.

        Raises:
            DataError: there is no train.jsonl.
        """
        for candidate in (folder / "4_train_test_split" / "ft_splits", folder / "ft_splits", folder):
            if (candidate / "train.jsonl").is_file():
                validation = candidate / "val.jsonl"
                files = {"train": candidate / "train.jsonl", "validation": validation if validation.is_file() else None}
                return self.model_copy(update={"dataset": self.dataset.model_copy(update=files)})
        raise DataError(
            f"{folder} holds no training data: no train.jsonl in it or in 4_train_test_split/ft_splits.",
            hint="Run `rasa llm finetune prepare-data` first, or name its output folder with --data.",
        )


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> TrainingRecipe:
    """Read and check a recipe; ``overrides`` are ``section.key=value`` as in ``--set training.max_steps=50``.

    Raises:
        DataError: the file is broken or has unknown keys or impossible values; all of them, with file and line.
        UsageError: an override is not of the form ``key=value``.
    """
    source = load_yaml(path)
    if not isinstance(source, Mapping):
        raise DataError(
            "a recipe is a mapping of sections such as base_model and training.", location=Location(path, 1)
        )
    values = plain(source)
    overridden = {_override(values, override) for override in overrides}
    try:
        recipe = TrainingRecipe.model_validate(values)
    except ValidationError as error:
        problems = [_problem(one, source, path, overridden) for one in error.errors()]
        raise DataError.collected(list({str(problem): problem for problem in problems}.values())) from None
    return _relative_to(recipe, path.parent, overridden)


def _override(values: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one value in place; the path of the key that was set."""
    name, equals, text = override.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise UsageError(f"--set {override}: not of the form key=value.", hint="Example: --set training.max_steps=50")
    target = values
    for key in keys[:-1]:
        if not isinstance(target.setdefault(key, {}), dict):
            raise UsageError(f"--set {override}: {key} is a single value, not a section.")
        target = target[key]
    target[keys[-1]] = plain(parse_yaml(text, Path("--set")))
    return keys


def _problem(error: Any, source: Any, path: Path, overridden: set[tuple[str, ...]]) -> DataError:
    keys, model = _walk(error["loc"])
    name = ".".join(str(key) for key in keys) or "recipe"
    if error["type"] == "extra_forbidden":
        message = f"unknown key {name}.{did_you_mean(str(keys[-1]), model.model_fields if model else ())}"
    elif error["type"] == "missing":
        message = f"{name} is missing."
    else:
        message = f"{name}: {_lower_first(error['msg'].removeprefix('Value error, '))}."
    if any(keys[: len(one)] == one for one in overridden):
        return DataError(f"--set: {message}")
    return DataError(message, location=_place(source, keys, path))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _walk(place: Sequence[Any]) -> tuple[tuple[Any, ...], type[BaseModel] | None]:
    """The keys of a file that a place in pydantic's errors names, and the section that has the last one.

    Pydantic also names which kind of a value it tried (``list[str]``), which no file has.
    """
    keys: list[Any] = []
    section: type[BaseModel] | None = None
    inside: list[Any] = [TrainingRecipe]
    for key in place:
        sections = [one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)]
        if isinstance(key, int):
            inside = [item for one in inside for item in _alternatives((get_args(one) or (None,))[0])]
        elif sections:
            section = sections[0]
            field = section.model_fields.get(key)
            inside = _alternatives(field.annotation) if field else []
        else:
            continue
        keys.append(key)
    return tuple(keys), section


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [found for one in get_args(annotation) for found in _alternatives(one)]
    return [annotation]


def _place(source: Any, keys: tuple[Any, ...], path: Path) -> Location:
    """The line of the deepest part of ``keys`` that the file has."""
    place = Location(path, 1)
    node = source
    for key in keys:
        # The reader of values may count a list's items where the file has a mapping, and the other way round.
        in_list = isinstance(node, list) and isinstance(key, int) and key < len(node)
        if not in_list and not (isinstance(node, Mapping) and key in node):
            break
        place = location_of(node, key) or place
        node = node[key]
    return replace(place, end_line=0)


def _relative_to(recipe: TrainingRecipe, folder: Path, overridden: set[tuple[str, ...]]) -> TrainingRecipe:
    """Paths in the file count from the file's folder; paths given by ``--set`` from the current one."""

    def in_folder(source: SourceSection) -> SourceSection:
        return source.model_copy(update={"path": folder / source.path}) if source.path is not None else source

    def resolved(key: str, rows: Path | tuple[SourceSection, ...] | None) -> Path | tuple[SourceSection, ...] | None:
        if ("dataset", key) in overridden or ("dataset",) in overridden or rows is None:
            return rows
        return folder / rows if isinstance(rows, Path) else tuple(map(in_folder, rows))

    dataset = recipe.dataset
    rows = {key: resolved(key, getattr(dataset, key)) for key in ("train", "validation")}
    template = recipe.chat_template
    if template is not None and template.endswith(".jinja") and ("chat_template",) not in overridden:
        template = str(folder / template)
    return recipe.model_copy(update={"dataset": dataset.model_copy(update=rows), "chat_template": template})
