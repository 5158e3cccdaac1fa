"""What the rephraser is asked for: the ``--rephrase-config`` file, and the manner of each wording."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location
from rasa_ft.files import exists
from rasa_ft.llm.config import REPHRASER_DEFAULTS, ModelGroup, resolve_group
from rasa_ft.recipe.parallel import seeded
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of, plain

DEFAULT_TEMPLATE = Path(__file__).with_name("prompts") / "rephrase.jinja2"
STYLES = (
    "short and telegraphic, key words only",
    "polite and wordy, in full sentences",
    "colloquial, as to a friend",
    "hesitant, with a filler word such as well or hmm",
    "indirect: a remark or a hint, not a request",
    "a question",
    "a plain statement",
    "curt and a little impatient",
    "formal, as in a letter",
    "all in lower case, without punctuation",
)
_TYPOS = "with one or two typing errors as they happen on a phone, never in a name, a number or a text to keep exactly"
# What a template has to print for the manners to have any effect.
_WAYS = re.compile(r"\bways\b")


@dataclass(frozen=True)
class RephraseConfig:
    """What a ``--rephrase-config`` file says; ``llm`` None if it names no model.

    Attributes:
        styles: ways of speaking, dealt to the wordings of each message in turn; empty for none.
        personas: who is speaking, dealt in the same way.
        typos: share of the wordings that are to carry typing errors, 0 to 1.
        languages: dealt in the same way; empty for the language of the message.
        seed: another one deals differently, so that every question is a new one. It is not the seed of the data, so
            that another split costs no calls.
    """

    prompt_template: Path = DEFAULT_TEMPLATE
    llm: ModelGroup | None = None
    styles: tuple[str, ...] = STYLES
    personas: tuple[str, ...] = ()
    typos: float = 0.1
    languages: tuple[str, ...] = ()
    seed: int = 0

    def manners(self, message: str, number: int, *, round: int = 0) -> list[str]:
        """How each of ``number`` wordings of a message is to be said; a text is empty if nothing is chosen for it.

        Every option is dealt once before any is dealt again. The same message and round give the same manners.
        """
        number = max(number, 0)
        columns = [
            self._dealt(self.styles, "styles", message, number, round),
            [f"said by {who}" for who in self._dealt(self.personas, "personas", message, number, round)],
            self._mistyped(message, number, round),
            [f"language: {name}" for name in self._dealt(self.languages, "languages", message, number, round)],
        ]
        rows = zip(*(column for column in columns if column), strict=True)
        return ["; ".join(filter(None, row)) for row in rows]

    def as_yaml(self) -> dict[str, Any]:
        """All settings, for params.yaml; of a model only its name, since its other keys may hold secrets."""
        models = self.llm.models if self.llm else ()
        return {
            "prompt_template": self.prompt_template.name,
            "llm": [f"{model.provider}/{model.model}" for model in models] or None,
            "styles": list(self.styles),
            "personas": list(self.personas),
            "typos": self.typos,
            "languages": list(self.languages),
            "seed": self.seed,
        }

    def _rng(self, what: str, message: str, round: int) -> random.Random:
        return seeded(self.seed, "manners", what, round, message)

    def _dealt(self, options: Sequence[str], what: str, message: str, number: int, round: int) -> list[str]:
        """``number`` of the options, from one shuffled deck after the other."""
        rng = self._rng(what, message, round)
        dealt: list[str] = []
        while options and len(dealt) < number:
            dealt += rng.sample(options, len(options))
        return dealt[:number]

    def _mistyped(self, message: str, number: int, round: int) -> list[str]:
        """Whole wordings only; over many messages their share is ``typos``."""
        rng = self._rng("typos", message, round)
        count = int(self.typos * number + rng.random())
        chosen = set(rng.sample(range(number), min(count, number)))
        return [_TYPOS if index in chosen else "" for index in range(number)]


def load_rephrase_config(path: Path, groups: Mapping[str, ModelGroup]) -> RephraseConfig:
    """Read a file such as::

        prompt_template: prompts/rephrase.jinja2   # from the file's folder or the working folder
        llm: {model_group: strong}                 # or a model in place
        styles: [short, polite and wordy]
        personas: [a commuter in a hurry, a tourist]
        typos: 0.2
        languages: [en, de]
        seed: 1

    Raises:
        DataError: unknown keys, values of the wrong kind, no such template or one that ignores the manners, an unknown
            or broken model; all at once.
    """
    content = load_yaml(path) or {}
    if not isinstance(content, Mapping):
        raise DataError("a mapping is needed.", location=Location(path, 1))
    readers: dict[str, Callable[[str], Any]] = {
        "prompt_template": lambda key: _template(content, path),
        "llm": lambda key: resolve_group(content[key], groups, defaults=REPHRASER_DEFAULTS),
        "styles": lambda key: _texts(content, key),
        "personas": lambda key: _texts(content, key),
        "typos": lambda key: _share(content, key),
        "languages": lambda key: _texts(content, key),
        "seed": lambda key: _whole_number(content, key),
    }
    values: dict[str, Any] = {}
    errors: list[DataError] = []
    for key in content:
        try:
            if key not in readers:
                place = location_of(content, key)
                raise DataError(f"unknown key '{key}'.{did_you_mean(key, readers)}", location=place)
            values[key] = readers[key](key)
        except DataError as error:
            errors.append(error)
    if errors:
        raise DataError.collected(errors)
    config = RephraseConfig(**values)
    _check_template(config, content)
    return config


def read_template(template: Path) -> str:
    """The text of a template.

    Raises:
        DataError: it cannot be read, or is not UTF-8 text.
    """
    try:
        return template.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{template} is not UTF-8 text.") from None
    except OSError as error:
        raise DataError(f"cannot read {template}: {error.strerror}.") from None


def _template(content: Mapping[str, Any], path: Path) -> Path:
    name = str(content["prompt_template"])
    found = next((file for file in (path.parent / name, Path(name)) if exists(file) and file.is_file()), None)
    if found is None:
        raise DataError(f"{name} does not exist.", location=location_of(content, "prompt_template"))
    return found


def _check_template(config: RephraseConfig, content: Mapping[str, Any]) -> None:
    """Options that the template never prints would be believed to work."""
    chosen = [key for key in ("styles", "personas", "typos", "languages") if content.get(key)]
    if chosen and not _WAYS.search(read_template(config.prompt_template)):
        raise DataError(
            f"{chosen[0]} has no effect: {config.prompt_template.name} does not print `ways`.",
            location=location_of(content, chosen[0]),
            hint="Add {% for way in ways %}{{ loop.index }}. {{ way }}{% endfor %} to the template.",
        )


def _texts(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = content[key]
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        shown = plain(value)
        raise DataError(f"{key} must be a list of texts, not {shown!r}.", location=location_of(content, key))
    return tuple(" ".join(item.split()) for item in value)


def _share(content: Mapping[str, Any], key: str) -> float:
    value = content[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise DataError(f"{key} must be between 0 and 1, not {value!r}.", location=location_of(content, key))
    return float(value)


def _whole_number(content: Mapping[str, Any], key: str) -> int:
    value = content[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{key} must be a whole number, not {value!r}.", location=location_of(content, key))
    return value
