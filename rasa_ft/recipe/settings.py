"""What can be chosen in data preparation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import rasa_ft
from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.files import exists
from rasa_ft.recipe.rephrase import DEFAULT_TEMPLATE
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

OutputFormat = Literal["instruction", "conversational"]
STUDENT_TEMPLATE = Path(rasa_ft.__file__).parent / "understanding" / "prompts" / "student.jinja2"
# Read from the assistant's folder when it is there.
SETTINGS_FILE = "finetune_data.yml"
_NOT_IN_FILES = ("student_prompt", "rephrase_prompt")


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of data preparation.

    Attributes:
        num_rephrases: wordings asked for, per user message; 0 skips rephrasing.
        train_frac: share of the examples that goes to training, above 0 and at most 1.
        output_format: ``instruction`` (prompt, completion) or ``conversational`` (messages).
        seed: decides the split and every random choice.
        concurrency: model calls in flight.
        histories: the most new conversations per test; None for as many as its most rephrased turn has rephrasings.
        wordings_per_turn: wordings of the current message behind one history.
        exchange_fraction: share of new training conversations whose free-text values are exchanged, 0 to 1.
        transplants: messages from other conversations that each training conversation is interrupted by.
        student_prompt: template of the prompts that the tuned model will see.
        rephrase_prompt: template of the question to the rephraser.

    Raises:
        UsageError: a value out of its range.
    """

    num_rephrases: int = 10
    train_frac: float = 0.8
    output_format: OutputFormat = "instruction"
    seed: int = 42
    concurrency: int = 8
    histories: int | None = None
    wordings_per_turn: int = 3
    exchange_fraction: float = 0.0
    transplants: int = 0
    student_prompt: Path = STUDENT_TEMPLATE
    rephrase_prompt: Path = DEFAULT_TEMPLATE

    def __post_init__(self) -> None:
        complaints = {
            "num_rephrases": self.num_rephrases < 0 and "must be 0 or more",
            "train_frac": not 0 < self.train_frac <= 1 and "must be above 0 and at most 1",
            "output_format": self.output_format not in get_args(OutputFormat)
            and f"must be one of {', '.join(get_args(OutputFormat))}",
            "concurrency": self.concurrency < 1 and "must be 1 or more",
            "histories": self.histories is not None and self.histories < 0 and "must be 0 or more",
            "wordings_per_turn": self.wordings_per_turn < 1 and "must be 1 or more",
            "exchange_fraction": not 0 <= self.exchange_fraction <= 1 and "must be between 0 and 1",
            "transplants": self.transplants < 0 and "must be 0 or more",
            "student_prompt": not _is_file(self.student_prompt) and "does not exist",
            "rephrase_prompt": not _is_file(self.rephrase_prompt) and "does not exist",
        }
        for name, complaint in complaints.items():
            if complaint:
                raise UsageError(f"{name} {complaint}, not {getattr(self, name)}.")

    def as_yaml(self) -> dict[str, Any]:
        """All settings that decide the result, for params.yaml; ``concurrency`` does not."""
        values = asdict(self)
        del values["concurrency"]
        for name in _NOT_IN_FILES:
            values[name] = Path(values[name]).name
        return values


def _is_file(path: Path) -> bool:
    return exists(path) and path.is_file()


def load_settings(path: Path, **given: Any) -> PrepareSettings:
    """Settings of a YAML file with the names of `PrepareSettings`; ``given`` ones that are not None go first.

    Raises:
        DataError: an unknown name or a value of the wrong kind, with its line.
        UsageError: a value out of its range.
    """
    content = load_yaml(path) or {}
    if not isinstance(content, Mapping):
        raise DataError("a mapping is needed.", location=Location(path, 1))
    known = {field.name: field for field in fields(PrepareSettings)}
    defaults = PrepareSettings()
    values: dict[str, Any] = {}
    for name, value in content.items():
        place = location_of(content, name)
        if name not in known:
            raise DataError(f"unknown setting '{name}'.{did_you_mean(name, known)}", location=place)
        values[name] = path.parent / str(value) if name in _NOT_IN_FILES else _typed(name, value, defaults, place)
    return with_given(replace(defaults, **values), **given)


def with_given(settings: PrepareSettings, **given: Any) -> PrepareSettings:
    """``settings`` with those of ``given`` that are not None."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _typed(name: str, value: Any, defaults: PrepareSettings, place: Location | None) -> Any:
    default = getattr(defaults, name)
    wanted = int if default is None else type(default)
    if default is None and value is None:
        return None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise DataError(f"{name} must be a {wanted.__name__}, not {value!r}.", location=place)
    return value
