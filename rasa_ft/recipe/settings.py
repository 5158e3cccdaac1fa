"""What can be chosen in data preparation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import rasa_ft
from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.files import exists
from rasa_ft.recipe.rows.formats import OutputFormat
from rasa_ft.recipe.rows.lengths import TooLong
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

STUDENT_TEMPLATE = Path(rasa_ft.__file__).parent / "understanding" / "prompts" / "student.jinja2"
# Read from the assistant's folder when it is there.
SETTINGS_FILE = "finetune_data.yml"
_PATHS = ("student_prompt", "review")


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of data preparation.

    Attributes:
        num_rephrases: accepted wordings wanted, per user message; 0 skips rephrasing.
        refills: how often more wordings are asked for while some are missing.
        train_frac: share of the examples that goes to training, above 0 and at most 1.
        holdout_flows: conversations in which one of these flows is started go to validation, so that the model is
            judged on flows that it never saw.
        output_format: of the rows, see `rasa_ft.recipe.rows.formats`.
        seed: decides the split and every random choice.
        concurrency: model calls in flight.
        histories: the most new conversations per test; None for as many as its most rephrased turn has rephrasings.
        wordings_per_turn: wordings of the current message behind one history.
        exchange_fraction: share of new training conversations whose free-text values are exchanged, 0 to 1.
        transplants: messages from other conversations that each training conversation is interrupted by.
        recheck: share of the new rows whose label the teacher is asked about once more, in their new history; 0 to 1.
        second_opinion: a model group that reads every message too, or ``again``: the teacher does so a second time. A
            person has to decide where it differs.
        review: a review.yml with decisions.
        audit: let a person decide about labels that do not fit the others, see `rasa_ft.recipe.labelling.audit`.
        student_prompt: template of the prompts that the tuned model will see.
        base_model: a folder or hub name; its tokenizer measures the rows. None: they are not measured here.
        max_length: tokens of the longest row that training takes, prompt and answer together.
        too_long: ``error`` or ``drop``, for longer rows.
        scrub: replace personal data in the tests by surrogates before anything else is done.
        scrub_slots: slots whose values are personal data whatever they are called; with one, ``scrub`` goes without
            saying.
        now: the time that all prompts show, ISO 8601 without a zone (it is in the assistant's): prompts with the real
            one would never be the same twice.

    Raises:
        UsageError: a value out of its range.
    """

    num_rephrases: int = 10
    refills: int = 2
    train_frac: float = 0.8
    holdout_flows: tuple[str, ...] = ()
    output_format: OutputFormat = "instruction"
    seed: int = 42
    concurrency: int = 8
    histories: int | None = None
    wordings_per_turn: int = 3
    exchange_fraction: float = 0.0
    transplants: int = 0
    recheck: float = 0.0
    second_opinion: str | None = None
    review: Path | None = None
    audit: bool = True
    student_prompt: Path = STUDENT_TEMPLATE
    base_model: str | None = None
    max_length: int = 2048
    too_long: TooLong = "error"
    scrub: bool = False
    scrub_slots: tuple[str, ...] = ()
    now: str = "2025-01-15T10:00:00"

    def __post_init__(self) -> None:
        complaints = {
            "num_rephrases": self.num_rephrases < 0 and "must be 0 or more",
            "refills": self.refills < 0 and "must be 0 or more",
            "train_frac": not 0 < self.train_frac <= 1 and "must be above 0 and at most 1",
            "output_format": self.output_format not in get_args(OutputFormat)
            and f"must be one of {', '.join(get_args(OutputFormat))}",
            "concurrency": self.concurrency < 1 and "must be 1 or more",
            "histories": self.histories is not None and self.histories < 0 and "must be 0 or more",
            "wordings_per_turn": self.wordings_per_turn < 1 and "must be 1 or more",
            "exchange_fraction": not 0 <= self.exchange_fraction <= 1 and "must be between 0 and 1",
            "transplants": self.transplants < 0 and "must be 0 or more",
            "recheck": not 0 <= self.recheck <= 1 and "must be between 0 and 1",
            "review": self.review is not None and not _is_file(self.review) and "does not exist",
            "student_prompt": not _is_file(self.student_prompt) and "does not exist",
            "max_length": self.max_length < 1 and "must be 1 or more",
            "too_long": self.too_long not in get_args(TooLong) and f"must be one of {', '.join(get_args(TooLong))}",
            "now": not _is_naive_time(self.now) and "must be a time such as 2025-01-15T10:00:00",
        }
        for name, complaint in complaints.items():
            if complaint:
                raise UsageError(f"{name} {complaint}, not {getattr(self, name)}.")

    @property
    def scrubs(self) -> bool:
        """Whether personal data are replaced."""
        return self.scrub or bool(self.scrub_slots)

    def as_yaml(self) -> dict[str, Any]:
        """All settings that decide the result, for params.yaml; of the review it is what was decided."""
        values = asdict(self)
        del values["concurrency"], values["review"]
        values["student_prompt"] = self.student_prompt.name
        values["holdout_flows"] = list(self.holdout_flows)
        values["scrub_slots"] = list(self.scrub_slots)
        return values


def _is_naive_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


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
        values[name] = path.parent / str(value) if name in _PATHS else _typed(name, value, place)
    return with_given(replace(defaults, **values), **given)


def with_given(settings: PrepareSettings, **given: Any) -> PrepareSettings:
    """``settings`` with those of ``given`` that are not None."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _typed(name: str, value: Any, place: Location | None) -> Any:
    from pydantic import TypeAdapter, ValidationError

    wanted = get_type_hints(PrepareSettings)[name]
    try:
        # YAML has a type for every value, so nothing is converted but whole numbers to floats, and lists to tuples.
        return TypeAdapter(wanted).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        raise DataError(f"{name} must be {_in_words(wanted)}, not {value!r}.", location=place) from None


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return "a list of texts"
    several = [member for member in get_args(kind) if member is not NoneType]
    return _in_words(several[0]) if several else _KINDS[kind]


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
