"""Finding personal data in texts: e-mail addresses, phone numbers, IBANs, card numbers, and names where a model can.

The patterns are those of presidio-analyzer. Names are found by the spaCy models that are installed; there may be none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from rasa_ft.errors import MissingRequirement
from rasa_ft.recipe.scrubbing.surrogates import Kind

_KINDS: dict[str, Kind] = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
}
_PERSONS = ("PERSON", "PER")


@dataclass(frozen=True, order=True)
class Finding:
    """A piece of personal data as it stands in a text."""

    kind: Kind
    text: str


class Finder(Protocol):
    """Finds personal data in a text."""

    @property
    def name(self) -> str:
        """What it is and its version: another one may find other data."""

    def __call__(self, text: str) -> Sequence[Finding]:
        """What was found, in order; no two overlap."""


@dataclass(frozen=True)
class PresidioFinder:
    """`Finder` of presidio's patterns and spaCy's models; `load_finder` makes it."""

    name: str
    recognizers: Sequence[Any]
    models: Sequence[Callable[[str], Any]] = ()

    def __call__(self, text: str) -> Sequence[Finding]:
        spans = [
            (found.start, found.end, _KINDS[found.entity_type])
            for recognizer in self.recognizers
            for found in recognizer.analyze(text, recognizer.supported_entities, None)
        ]
        names: list[tuple[int, int, Kind]] = [
            (entity.start_char, entity.end_char, "name")
            for model in self.models
            for entity in model(text).ents
            if entity.label_ in _PERSONS
        ]
        return [Finding(kind, text[start:end]) for start, end, kind in _apart([*spans, *names])]


def load_finder() -> Finder:
    """The finder of what is installed; nothing is downloaded, now or later.

    Raises:
        MissingRequirement: presidio-analyzer is not installed.
    """
    try:
        import spacy
        from presidio_analyzer import predefined_recognizers as known
    except ImportError:
        raise MissingRequirement(
            "presidio-analyzer is needed to find personal data.", hint="Install it: pip install 'rasa_ft[pii]'"
        ) from None
    # It logs the texts in which it finds something.
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)

    class Email(known.EmailRecognizer):  # type: ignore[misc]
        """Without the check that downloads a list of domains; addresses in inner networks count too."""

        def validate_result(self, pattern_text: str) -> bool | None:
            return None

    recognizers = [Email(), known.PhoneRecognizer(), known.IbanRecognizer(), known.CreditCardRecognizer()]
    names = sorted(spacy.util.get_installed_models())
    models = {name: spacy.load(name) for name in names}
    versions = [f"{name} {model.meta['version']}" for name, model in models.items()]
    name = ", ".join([f"presidio-analyzer {version('presidio-analyzer')}", *versions])
    return PresidioFinder(name, recognizers, tuple(models.values()))


def _apart(spans: Iterable[tuple[int, int, Kind]]) -> list[tuple[int, int, Kind]]:
    """The longest of those that overlap."""
    kept: list[tuple[int, int, Kind]] = []
    for start, end, kind in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if all(end <= other[0] or other[1] <= start for other in kept):
            kept.append((start, end, kind))
    return sorted(kept)
