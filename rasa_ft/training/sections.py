"""The sections of a training recipe, with the argument names of PEFT, TRL, transformers and bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from rasa_ft.yaml_source import did_you_mean

Format = Literal["commands", "xlam", "sharegpt", "alpaca", "oasst", "text", "dialogue-summary"]

# What a reader looks for in a row, and where it finds it unless `columns` says otherwise.
COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "commands": (),
    "xlam": ("query", "tools", "answers"),
    "sharegpt": ("conversations", "tools", "system"),
    "alpaca": ("instruction", "input", "output", "history", "system"),
    "oasst": ("instruction", "input", "output", "history", "system"),
    "text": ("text",),
    "dialogue-summary": ("dialogue", "summary"),
}


class Section(BaseModel):
    """Unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSection(Section):
    """One set of rows: a file (``path``), or a data set of the Hugging Face hub (``hub``) with its ``split``.

    ``name`` is the hub's configuration of the set, ``max_samples`` takes so many rows from the start. ``columns`` says
    under which names the data has what the format's reader looks for.
    """

    path: Path | None = None
    hub: str | None = None
    name: str | None = None
    split: str = "train"
    max_samples: int | None = Field(default=None, ge=1)
    format: Format | None = None
    columns: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> SourceSection:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give path or hub, one of them")
        if self.path is not None and {"name", "split"} & self.model_fields_set:
            raise ValueError("name and split belong to hub; a path has neither")
        return self

    @property
    def label(self) -> str:
        """What the set is called in reports: the file's name, or the hub's."""
        return self.path.name if self.path is not None else f"{self.hub}:{self.split}"


def _kind(value: Any) -> str:
    return "sources" if isinstance(value, list | tuple) else "file"


Rows = Annotated[
    Annotated[Path, Tag("file")] | Annotated[tuple[SourceSection, ...], Tag("sources")], Discriminator(_kind)
]


class DatasetSection(Section):
    """Where the rows are, in which format, and what is done to them; ``--data`` names a folder of rows instead.

    ``train`` and ``validation`` are a file each, or a list of sets that are mixed. ``format`` and ``columns`` hold for
    every set that has none of its own. ``system`` is the system message of rows that have none; for `xlam` and
    `dialogue-summary` it takes the place of the reader's instruction. ``seed`` shuffles the mixed rows. ``bad_rows``:
    what happens to rows that are broken or longer than max_length.
    """

    train: Rows | None = None
    validation: Rows | None = None
    format: Format = "commands"
    columns: dict[str, str] | None = None
    system: str | None = Field(default=None, min_length=1)
    seed: int | None = None
    bad_rows: Literal["error", "drop"] = "error"

    @property
    def train_sources(self) -> tuple[SourceSection, ...]:
        """The training sets, each with its format and columns."""
        return self._sources(self.train)

    @property
    def validation_sources(self) -> tuple[SourceSection, ...]:
        """The validation sets, each with its format and columns."""
        return self._sources(self.validation)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all sets, training first."""
        sources = (*self.train_sources, *self.validation_sources)
        return tuple(source.path for source in sources if source.path is not None)

    @property
    def hub_names(self) -> tuple[str, ...]:
        """The hub's data sets among all sets."""
        sources = (*self.train_sources, *self.validation_sources)
        return tuple(dict.fromkeys(source.hub for source in sources if source.hub is not None))

    def identity(self) -> dict[str, Any]:
        """What decides which rows there are, but for the content of files, which stand here by name only."""
        return {
            **self.model_dump(mode="json", exclude={"train", "validation", "format", "columns"}),
            **{
                side: [{**source.model_dump(mode="json"), "path": source.path and source.path.name} for source in rows]
                for side, rows in (("train", self.train_sources), ("validation", self.validation_sources))
            },
        }

    def _sources(self, rows: Path | tuple[SourceSection, ...] | None) -> tuple[SourceSection, ...]:
        given = (SourceSection(path=rows),) if isinstance(rows, Path) else rows or ()
        return tuple(
            source.model_copy(
                update={"format": source.format or self.format, "columns": source.columns or self.columns or {}}
            )
            for source in given
        )

    @model_validator(mode="after")
    def _fitting(self) -> DatasetSection:
        sources = (*self.train_sources, *self.validation_sources)
        for source in sources:
            _check_columns(source.columns or {}, source.format or self.format)
        if self.system and any(source.format == "text" for source in sources):
            raise ValueError("system is for rows of messages; rows of format text are trained as they are")
        return self


def _check_columns(columns: Iterable[str], kind: Format) -> None:
    for column in columns:
        if column not in COLUMNS[kind]:
            known = ", ".join(COLUMNS[kind]) or "none that could be renamed"
            raise ValueError(
                f"columns: format {kind} has no '{column}', only {known}{did_you_mean(column, COLUMNS[kind])}".rstrip(
                    "."
                )
            )


class QuantizationSection(Section):
    """Arguments of `transformers.BitsAndBytesConfig`: the base model in 4 bits under an adapter in 16 (QLoRA)."""

    load_in_4bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    bnb_4bit_use_double_quant: bool = False


class LoraSection(Section):
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


class TrainingSection(Section):
    """Arguments of `trl.SFTConfig`, and older names that recipes still use.

    ``warmup_ratio`` is a ``warmup_steps`` below 1, ``group_by_length`` a ``train_sampling_strategy``. ``project`` is
    the project in Weights & Biases. ``gradient_checkpointing: unsloth`` is the backend unsloth's own kind; with peft it
    is the ordinary one.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    num_train_epochs: float = Field(default=3, gt=0)
    max_steps: int = Field(default=-1, ge=-1)
    per_device_train_batch_size: int = Field(default=4, ge=1)
    per_device_eval_batch_size: int = Field(default=4, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    gradient_checkpointing: bool | Literal["unsloth"] = False
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
    group_by_length: bool = False
    packing: bool = False
    bf16: bool = True
    fp16: bool = False
    logging_steps: int = Field(default=1, ge=1)
    eval_steps: int | None = Field(default=None, ge=1)
    save_strategy: Literal["no", "steps", "epoch"] = "no"
    save_steps: int = Field(default=500, ge=1)
    save_total_limit: int | None = Field(default=2, ge=1)
    report_to: str | list[str] = "none"
    run_name: str | None = None
    project: str | None = None
    seed: int = 42

    @property
    def trackers(self) -> tuple[str, ...]:
        """The experiment trackers that ``report_to`` names."""
        named = [self.report_to] if isinstance(self.report_to, str) else self.report_to
        return tuple(name for name in named if name != "none")

    @model_validator(mode="after")
    def _one_of_each(self) -> TrainingSection:
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise ValueError("give warmup_ratio or warmup_steps, not both")
        if self.bf16 and self.fp16:
            raise ValueError("give bf16 or fp16, not both")
        if self.packing and self.group_by_length:
            raise ValueError("packing makes rows equally long; give it or group_by_length, not both")
        return self


class EvaluationSection(Section):
    """What is done every ``training.eval_steps`` with validation rows; without such rows, nothing.

    ``rows`` turns spread over the set are answered with up to ``max_new_tokens`` tokens each. The best checkpoint has
    the most exact answers, and among equals the smallest loss: with ``load_best_model_at_end`` it is the result. That
    is off unless chosen: the same rows judge the model later, and a checkpoint chosen by them looks better than it is.
    Training stops after ``early_stopping_patience`` evaluations in a row that are no better.
    """

    rows: int = Field(default=48, ge=1)
    max_new_tokens: int = Field(default=64, ge=1)
    load_best_model_at_end: bool = False
    early_stopping_patience: int | None = Field(default=None, ge=1)


class PrefixSharingSection(Section):
    """Prefix-shared training: what the rows of a step have in common is computed once.

    A step then holds ``groups_per_step`` user turns with up to ``wordings_per_group`` wordings of each, and
    ``per_device_train_batch_size`` is not used. ``self_check`` compares loss and gradients with plain training on the
    first rows, and falls back to it if they differ.
    """

    enabled: bool = False
    groups_per_step: int = Field(default=8, ge=1)
    wordings_per_group: int = Field(default=3, ge=1)
    self_check: bool = True
