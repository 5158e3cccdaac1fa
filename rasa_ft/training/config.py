"""Training recipes: YAML with the argument names of PEFT and transformers, checked as a whole before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of, parse_yaml, plain

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = RECIPES / "command-generation-smollm2.yml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSection(_Section):
    """Where the rows are; both may come from the command line instead (``--data``)."""

    train: Path | None = None
    validation: Path | None = None


class LoraSection(_Section):
    """Arguments of `peft.LoraConfig`."""

    r: int = Field(default=16, ge=1)
    lora_alpha: float = Field(default=32, gt=0)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    layers_to_transform: list[int] | None = None
    modules_to_save: list[str] | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    use_dora: bool = False


class TrainingSection(_Section):
    """Arguments of `trl.SFTConfig`; ``warmup_ratio`` is the older name of a ``warmup_steps`` below 1."""

    learning_rate: float = Field(default=1e-3, gt=0)
    num_train_epochs: float = Field(default=3, gt=0)
    max_steps: int = Field(default=-1, ge=-1)
    per_device_train_batch_size: int = Field(default=4, ge=1)
    per_device_eval_batch_size: int = Field(default=4, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = False
    warmup_ratio: float | None = Field(default=None, ge=0, lt=1)
    warmup_steps: float | None = Field(default=None, ge=0)
    lr_scheduler_type: str = "cosine"
    lr_scheduler_kwargs: dict[str, Any] | None = None
    optim: str = "adamw_torch"
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, ge=0)
    max_length: int = Field(default=2048, ge=1)
    bf16: bool = True
    fp16: bool = False
    logging_steps: int = Field(default=1, ge=1)
    eval_steps: int | None = Field(default=None, ge=1)
    save_strategy: Literal["no", "steps", "epoch"] = "no"
    save_steps: int = Field(default=500, ge=1)
    save_total_limit: int | None = Field(default=2, ge=1)
    report_to: str | list[str] = "none"
    seed: int = 42

    @model_validator(mode="after")
    def _one_warmup(self) -> TrainingSection:
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise ValueError("give warmup_ratio or warmup_steps, not both")
        if self.bf16 and self.fp16:
            raise ValueError("give bf16 or fp16, not both")
        return self


class PrefixSharingSection(_Section):
    """Prefix-shared training: what the rows of a step have in common is computed once.

    A step then holds ``groups_per_step`` user turns with up to ``wordings_per_group`` wordings of each, and
    ``per_device_train_batch_size`` is not used. ``self_check`` compares loss and gradients with plain training on the
    first rows, and falls back to it if they differ.
    """

    enabled: bool = False
    groups_per_step: int = Field(default=8, ge=1)
    wordings_per_group: int = Field(default=3, ge=1)
    self_check: bool = True


class TrainingRecipe(_Section):
    """Everything that decides what a training run does."""

    base_model: str
    backend: Literal["peft"] = "peft"
    dataset: DatasetSection = DatasetSection()
    lora: LoraSection = LoraSection()
    training: TrainingSection = TrainingSection()
    prefix_sharing: PrefixSharingSection = PrefixSharingSection()

    def with_data(self, folder: Path) -> TrainingRecipe:
        """The recipe with the data sets found in ``folder``: what prepare-data wrote, or a folder with train.jsonl.

        Raises:
            DataError: there is no train.jsonl.
        """
        for candidate in (folder / "4_train_test_split" / "ft_splits", folder / "ft_splits", folder):
            if (candidate / "train.jsonl").is_file():
                validation = candidate / "val.jsonl"
                dataset = DatasetSection(
                    train=candidate / "train.jsonl", validation=validation if validation.is_file() else None
                )
                return self.model_copy(update={"dataset": dataset})
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
        raise DataError.collected([_problem(one, source, path, overridden) for one in error.errors()]) from None
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
    keys = tuple(error["loc"])
    name = ".".join(str(key) for key in keys) or "recipe"
    if error["type"] == "extra_forbidden":
        nearest = did_you_mean(str(keys[-1]), _known_keys(keys[:-1]))
        message = f"unknown key {name}.{nearest}"
    elif error["type"] == "missing":
        message = f"{name} is missing."
    else:
        message = f"{name}: {_lower_first(error['msg'].removeprefix('Value error, '))}."
    if keys in overridden:
        return DataError(f"--set: {message}")
    return DataError(message, location=_place(source, keys, path))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _known_keys(keys: tuple[Any, ...]) -> list[str]:
    model: Any = TrainingRecipe
    for key in keys:
        model = model.model_fields[key].annotation
    return list(model.model_fields)


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

    def resolved(key: str, value: Path | None) -> Path | None:
        return value if value is None or ("dataset", key) in overridden else folder / value

    dataset = DatasetSection(
        train=resolved("train", recipe.dataset.train), validation=resolved("validation", recipe.dataset.validation)
    )
    return recipe.model_copy(update={"dataset": dataset})
