"""Where tests and conversations hold personal data: in their texts, and in slots that are made for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rasa_ft.e2e.cases import TestCase
from rasa_ft.engine.base import Engine
from rasa_ft.errors import UsageError
from rasa_ft.recipe.scrubbing.case_texts import rewritten
from rasa_ft.recipe.scrubbing.personal_data import Finder, Finding
from rasa_ft.recipe.scrubbing.replacing import unescaped
from rasa_ft.recipe.scrubbing.surrogates import TOKEN, Kind, is_nobodys, squeezed
from rasa_ft.yaml_source import did_you_mean

_PERSONS = (
    "birth|caller|client|contact|customer|driver|employee|family|first|full|given|guest|last|legal|maiden|member|middle"
    r"|owner|passenger|patient|payee|person|personal|recipient|sender|sur|traveler|traveller|user|\w*holder"
)
# What a slot holds, by its name.
_SLOT_NAMES: Mapping[Kind, str] = {
    "email": "e_?mail",
    "iban": "iban",
    "card": r"(?:credit|debit|bank)_?card|card_?(?:number|no)",
    "phone": r"\w*phone|mobile|cell|fax|whatsapp",
    "text": r"address|street|post_?code|zip|zip_?code",
    "name": rf"(?:{_PERSONS})_?name",
}
# The assistant's own texts: what stands there is known to everybody.
_OWN_FILES = ("domain.yml", "domain", "data")
_OWN = re.compile("^(?:actions|flows|responses|slots):", re.MULTILINE)
_TESTS = re.compile("^test_cases:", re.MULTILINE)


@dataclass
class Reading:
    """A `rasa_ft.recipe.scrubbing.case_texts.Writer` that changes nothing and remembers what it was shown."""

    texts: list[str] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, case: TestCase) -> Reading:
        reading = cls()
        rewritten(case, reading)
        return reading

    @property
    def everything(self) -> list[str]:
        return [*self.texts, *(value for _, value in self.values)]

    def text(self, text: str) -> str:
        self.texts.append(text)
        return text

    def pattern(self, pattern: str) -> str:
        self.texts.append(unescaped(pattern))
        return pattern

    def value(self, value: str | int, slot: str | None) -> str | int:
        if slot is not None:
            self.values.append((slot, str(value)))
        elif isinstance(value, str):
            self.texts.append(value)
        return value


class Search:
    """Finds personal data in texts and in slots, but neither surrogates nor the assistant's own texts."""

    def __init__(self, find: Finder, slots: Mapping[str, Kind], own_text: str) -> None:
        self._find = find
        self._slots = slots
        self._own = f" {' '.join(TOKEN.findall(own_text)).lower()} "
        self._known: dict[str, tuple[Finding, ...]] = {}

    @property
    def finder(self) -> str:
        return self._find.name

    @property
    def own_words(self) -> frozenset[str]:
        return frozenset(self._own.split())

    def in_case(self, reading: Reading) -> Iterator[Finding]:
        for text in reading.everything:
            yield from self.in_text(text)
        for slot, value in reading.values:
            yield from self.in_slot(slot, value)

    def in_text(self, text: str) -> tuple[Finding, ...]:
        if text not in self._known:
            self._known[text] = tuple(found for found in self._find(text) if self._counts(found))
        return self._known[text]

    def in_slot(self, slot: str, value: str) -> Iterator[Finding]:
        """The whole value, if the slot holds personal data."""
        kind = self._slots.get(slot)
        if kind is None or any(squeezed(found.text) == squeezed(value) for found in self.in_text(value)):
            return
        finding = Finding(_kind_of(value, kind), value)
        one_word = len(TOKEN.findall(value)) == 1 and finding.kind in ("name", "text")
        # A first name may be a word of the assistant's by chance.
        if self._counts(finding, may_be_own=not one_word):
            yield finding

    def _counts(self, finding: Finding, *, may_be_own: bool = True) -> bool:
        words = " ".join(TOKEN.findall(finding.text)).lower()
        if not words or is_nobodys(finding.kind, finding.text):
            return False
        return not (may_be_own and f" {words} " in self._own)


def _kind_of(value: str, slot_kind: Kind) -> Kind:
    """By what the value looks like, else by its slot."""
    plain = squeezed(value)
    digits = sum(map(str.isdecimal, plain))
    if "@" in value:
        return "email"
    if slot_kind in ("phone", "card", "iban") and digits:
        return slot_kind
    if 2 * digits >= len(plain):
        return "number"
    return "text" if slot_kind == "text" else "name"


def personal_slots(engine: Engine, further: Collection[str]) -> Mapping[str, Kind]:
    """What the free-text slots hold whose names say so, and the ``further`` ones.

    Raises:
        UsageError: the assistant has no such slot.
    """
    named = {slot: kind for slot in engine.free_text_slots if (kind := kind_of_slot(slot)) is not None}
    for slot in further:
        if slot not in engine.slots:
            raise UsageError(f"scrub_slots: the assistant has no slot '{slot}'.{did_you_mean(slot, engine.slots)}")
    return {**{slot: kind_of_slot(slot) or "text" for slot in further}, **named}


def kind_of_slot(slot: str) -> Kind | None:
    """The personal data that a slot holds, by its name; None: none that one could tell."""
    if slot == "name":
        return "name"
    return next(
        (kind for kind, names in _SLOT_NAMES.items() if re.search(rf"(?:^|_)(?:{names})(?:_|$)", slot.lower())), None
    )


def own_text(project: Path) -> str:
    """What the assistant's domain and flows say."""
    roots = (project / name for name in _OWN_FILES)
    files = (file for root in roots for file in ([root] if root.is_file() else sorted(root.rglob("*.y*ml"))))
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
    return "\n".join(text for text in texts if _OWN.search(text) and not _TESTS.search(text))
