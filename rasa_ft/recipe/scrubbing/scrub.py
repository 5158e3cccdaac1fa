"""Tests without personal data: each name, address and number is replaced by a surrogate before anything else is done.

A scrubbed suite is a suite like any other. Messages, expected values, fixtures and stubs change together, so its tests
pass as they did, no model sees the originals, and nothing that is made of it can hold them. What the assistant itself
brings into a conversation (from a database behind an action, say) is out of reach: such a conversation is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.events import BotUttered, Event, SlotSet
from rasa_ft.e2e.cases import Suite, TestCase
from rasa_ft.engine.base import Engine
from rasa_ft.recipe.conversations import AnnotatedConversation, RephrasedConversation
from rasa_ft.recipe.gathering import Gathered
from rasa_ft.recipe.labelling.annotate import Skipped
from rasa_ft.recipe.labelling.review import Entry, Review
from rasa_ft.recipe.scrubbing.case_texts import Writer, rewritten, rewritten_command
from rasa_ft.recipe.scrubbing.personal_data import Finder, Finding
from rasa_ft.recipe.scrubbing.personal_search import Reading, Search, own_text, personal_slots
from rasa_ft.recipe.scrubbing.replacing import Replacer
from rasa_ft.recipe.scrubbing.surrogates import KEPT, TOKEN, Kind, Surrogates, squeezed

_IN_WORDS: Mapping[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "iban": "an IBAN",
    "card": "a card number",
    "name": "a name",
    "number": "personal data",
    "text": "personal data",
}
_WANTED = "; its personal data were replaced, and an action or a validation may want the original"


@dataclass(frozen=True)
class Scrubbed:
    """``suite`` has no personal data; ``figures``: how much it had, by kind. ``watch`` None: nobody has looked."""

    suite: Suite
    figures: Mapping[str, int] = field(default_factory=dict)
    watch: Watch | None = field(default=None, repr=False)

    @property
    def versions(self) -> Mapping[str, str]:
        """What has found the personal data."""
        return {} if self.watch is None else {"personal_data": self.watch.search.finder}

    def checked(self, gathered: Gathered) -> Gathered:
        """Without the conversations into which the assistant brought personal data, and with reasons free of them."""
        return gathered if self.watch is None else self.watch.checked(gathered)

    def decisions(self, review: Review) -> Review:
        """The decisions that people made about the tests as they were, or as they are now."""
        return review if self.watch is None else self.watch.decisions(review)


@dataclass(frozen=True)
class Watch:
    """Knows personal data when it sees them.

    ``changed``: keys of the cases that had some; ``replacers``: what was done to a case, by its old key; ``originals``:
    what was done to all.
    """

    suite: Suite
    changed: frozenset[str]
    search: Search
    originals: Replacer
    replacers: Mapping[str, Replacer]

    def checked(self, gathered: Gathered) -> Gathered:
        """See `Scrubbed.checked`."""
        skipped = {one.case: self._explained(one) for one in gathered.skipped}
        kept: list[RephrasedConversation] = []
        for conversation in gathered.conversations:
            leak = self._leak(conversation.conversation)
            if leak is None:
                kept.append(conversation)
            else:
                skipped[conversation.key] = Skipped(conversation.key, leak)
        order = {case.key: number for number, case in enumerate(self.suite.cases)}
        return Gathered(tuple(kept), tuple(sorted(skipped.values(), key=lambda one: order[one.case])))

    def decisions(self, review: Review) -> Review:
        """See `Scrubbed.decisions`; what is about other tests and has personal data of its own is left out."""
        entries = (_decided(entry, self.replacers.get(entry.test, self.originals)) for entry in review.entries)
        return Review(tuple(entry for entry in entries if not self._has_data(entry)))

    def _has_data(self, entry: Entry) -> bool:
        reading = Reading()
        _decided(entry, reading)
        return entry.test not in self.keys and any(self.search.in_case(reading))

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(case.key for case in self.suite.cases)

    def _explained(self, skipped: Skipped) -> Skipped:
        wanted = "" if skipped.is_error or skipped.case not in self.changed else _WANTED
        return replace(skipped, reason=self._without_data(skipped.reason) + wanted)

    def _without_data(self, text: str) -> str:
        for finding in self.search.in_text(text):
            text = text.replace(finding.text, f"({_IN_WORDS[finding.kind]})")
        return self.originals.text(text)

    def _leak(self, conversation: AnnotatedConversation) -> str | None:
        texts = Reading.of(conversation.case).everything
        known = "\n".join(map(squeezed, texts))
        words = {word.lower() for text in texts for word in TOKEN.findall(text)}
        turns: list[tuple[str, Sequence[Event]]] = [
            (f"turn {number}", turn.turn.events) for number, turn in enumerate(conversation.turns, start=1)
        ]
        if conversation.before:
            turns.insert(0, ("the start", conversation.before[0].events))
        for place, events in turns:
            for finding in self._personal(events):
                if squeezed(finding.text) not in known and not words.issuperset(TOKEN.findall(finding.text.lower())):
                    return (
                        f"{place}: the assistant brings in {_IN_WORDS[finding.kind]} that is not in the test, so it "
                        "cannot be replaced; stub the action that knows it"
                    )
        return None

    def _personal(self, events: Iterable[Event]) -> Iterator[Finding]:
        for event in events:
            texts: list[str] = []
            if isinstance(event, BotUttered):
                texts = [event.text or "", *(button.title for button in event.buttons)]
            elif isinstance(event, SlotSet):
                texts = list(_texts(event.value))
                yield from (finding for text in texts for finding in self.search.in_slot(event.slot, text))
            for text in texts:
                yield from self.search.in_text(text)
                yield from self.originals.stated(text)


def scrub(suite: Suite, engine: Engine, find: Finder, *, seed: int, slots: Collection[str] = ()) -> Scrubbed:
    """``suite`` with surrogates for all personal data.

    They are what ``find`` finds in any text, and the values of ``slots`` and of those free-text slots whose name says
    name, e-mail, phone, IBAN, card or address. The same person has the same surrogates in all cases, and the same again
    with the same ``seed``. What stands in the assistant's own texts (a hotline) stays.

    Raises:
        UsageError: the assistant has no such slot.
    """
    search = Search(find, personal_slots(engine, slots), own_text(engine.project))
    readings = [Reading.of(case) for case in suite.cases]
    found = [frozenset(search.in_case(reading)) for reading in readings]
    everywhere = frozenset(finding for findings in found for finding in findings if not _is_short(finding))
    words = {word.lower() for reading in readings for text in reading.everything for word in TOKEN.findall(text)}
    surrogates = Surrogates(seed, words | search.own_words)
    # Numbers with a country go first, so that the same ones without it are of that country.
    for finding in sorted(frozenset().union(*found), key=lambda one: (one.kind, one.text[:1] != "+", one.text)):
        surrogates.of(finding.kind, finding.text)
    originals = Replacer(everywhere, surrogates)
    cases: list[TestCase] = []
    replacers: dict[str, Replacer] = {}
    for case, reading, own in zip(suite.cases, readings, found, strict=True):
        stated = frozenset(finding for text in reading.everything for finding in originals.stated(text))
        local = own | _parts(own | stated)
        replacers[case.key] = Replacer(local - everywhere, surrogates, base=originals)
        new = rewritten(case, replacers[case.key])
        cases.append(case if new == case else new)
    changed = frozenset(new.key for new, old in zip(cases, suite.cases, strict=True) if new is not old)
    new_suite = suite.subset(cases)
    return Scrubbed(new_suite, _figures(found, changed), Watch(new_suite, changed, search, originals, replacers))


def _decided(entry: Entry, writer: Writer) -> Entry:
    def written(commands: Iterable[Command]) -> tuple[Command, ...]:
        return tuple(rewritten_command(command, writer) for command in commands)

    return replace(
        entry,
        test=writer.text(entry.test),
        message=writer.text(entry.message),
        original=writer.text(entry.original),
        history=tuple(writer.text(line) for line in entry.history),
        commands=written(entry.commands),
        reason=writer.text(entry.reason),
        other=None if entry.other is None else written(entry.other),
        decision=written(entry.decision) if isinstance(entry.decision, tuple) else entry.decision,
    )


def _figures(found: Iterable[Iterable[Finding]], changed: Collection[str]) -> dict[str, int]:
    distinct = {(finding.kind, squeezed(finding.text)) for findings in found for finding in findings}
    return {"tests": len(changed), **dict(sorted(Counter(kind for kind, _ in distinct).items()))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _is_short(finding: Finding) -> bool:
    """Whether the value may well mean something else elsewhere: the number of a house or a train, two letters."""
    plain = squeezed(finding.text)
    return len(plain) < (6 if plain.isdecimal() else 3)


def _parts(findings: Iterable[Finding]) -> frozenset[Finding]:
    """First and last names of whole ones."""
    return frozenset(
        Finding("name", word)
        for finding in findings
        if finding.kind == "name"
        for word in TOKEN.findall(finding.text)
        if len(word) > 1 and word.lower() not in KEPT
    )
