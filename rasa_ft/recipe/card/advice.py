"""What a person should do about the data, gravest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rasa_ft.recipe.card.figures import Card, Material
from rasa_ft.recipe.conversations import RephrasedConversation
from rasa_ft.recipe.labelling.review import REVIEW
from rasa_ft.recipe.splitting.split import NEEDED, NO_ROOM, ONE_GROUP, ONE_TEST, Skill, answer_of, in_words
from rasa_ft.recipe.summary import INCOMPLETE

# A test below this share of accepted rephrasings deserves a look.
LOW_YIELD = 0.5
# Fewer training rows than these teach little.
FEW_ROWS = 5
# How far validation may be from its share of the examples.
_OFF = 0.05
_WHAT_HELPS = {
    ONE_TEST: "Write another test with each of them, in other words.",
    ONE_GROUP: "Write another test with each of them that goes another way.",
    NEEDED: "Write more tests for what only these tests show.",
    NO_ROOM: "Lower train_frac, or write shorter tests for them.",
}


@dataclass(frozen=True)
class Advice:
    """``about``: what it is about, one by one; ``grave``: verdicts on a model of these data would be wrong."""

    what: str
    to_do: str
    about: tuple[str, ...] = ()
    grave: bool = False


def advice(material: Material, card: Card) -> list[Advice]:
    """All that applies; empty: nothing has to be done."""
    found = [*_wrong(material), *_missing(material, card), *_weak(material, card)]
    return sorted(found, key=lambda one: not one.grave)


def _wrong(material: Material) -> Iterator[Advice]:
    parts, overlap, summary = material.parts, material.overlap, material.summary
    if overlap.exact:
        yield Advice(
            f"{overlap.exact} of {overlap.messages} validation messages stand in training.",
            "This should not happen: please report it.",
            grave=True,
        )
    if not material.validation:
        yield Advice("Nothing is judged: all rows are for training.", "Lower train_frac.", grave=True)
    if parts.only_in_validation:
        yield Advice(
            f"{_count(len(parts.only_in_validation), 'answer')} judged but never trained.",
            "Write another test with each of them.",
            tuple(map(in_words, parts.only_in_validation)),
            grave=True,
        )
    if summary[INCOMPLETE]:
        yield Advice("Some model calls failed, so data are missing.", "Run the command again: answers are kept.")


def _missing(material: Material, card: Card) -> Iterator[Advice]:
    if material.skipped:
        yield Advice(
            f"{_count(len(material.skipped), 'test')} gave no data.",
            "Repair them, or take them out.",
            tuple(f"{skipped.case}: {skipped.reason}" for skipped in material.skipped),
        )
    commands = [name for name, rows in card.commands.items() if rows.train and not rows.validation]
    if commands and material.validation:
        yield Advice(
            f"{_count(len(commands), 'command')} trained but never judged.",
            "Write more tests with each of them.",
            tuple(commands),
        )
    reasons = material.parts.not_in_validation
    for reason, to_do in _WHAT_HELPS.items():
        skills = [in_words(skill) for skill, why in reasons.items() if why == reason]
        if skills:
            yield Advice(f"{_count(len(skills), 'skill')} trained but never judged: {reason}.", to_do, tuple(skills))
    yield from _share(material)


def _share(material: Material) -> Iterator[Advice]:
    train, validation = _examples(material.parts.train), _examples(material.parts.validation)
    share, wanted = train / (train + validation), material.params["parameters"]["train_frac"]
    if abs(share - wanted) > _OFF and wanted < 1:
        yield Advice(
            f"{100 * share:.0f} % of the examples are for training; {100 * wanted:g} % were asked for.",
            "Held-out flows and conversations that say nearly the same stay together; write more tests that differ.",
        )


def _examples(conversations: Sequence[RephrasedConversation]) -> int:
    return sum(len(turn.wordings) for done in conversations for turn in done.turns)


def _weak(material: Material, card: Card) -> Iterator[Advice]:
    if card.doubts:
        yield Advice(
            f"{_count(card.doubts, 'label')} in doubt.", f"Fill in the decisions in {REVIEW} and run the command again."
        )
    longest = material.params["parameters"].get("max_length", 0)
    left_out = [row for row in material.counted if row.total > longest]
    if left_out:
        yield Advice(
            f"{_count(len(left_out), 'row')} left out: longer than {longest} tokens.",
            "Raise max_length here and in the training recipe, or shorten the student prompt.",
            tuple(map(str, left_out)),
        )
    low = [test for test in card.yields if test.share is not None and test.share < LOW_YIELD]
    if low:
        yield Advice(
            f"{_count(len(low), 'test')} kept less than {100 * LOW_YIELD:.0f} % of the rephrasings that were wanted.",
            "See in 2_rephrasings why, and whether the teacher understands the original for the right reason.",
            tuple(f"{test.test}: {test.accepted} of {test.wanted}" for test in low),
        )
    rows: Counter[Skill] = Counter()
    for row in card.skills:
        rows[answer_of(row.skill)] += row.rows.train
    few = {in_words(answer): count for answer, count in rows.items() if 0 < count < FEW_ROWS}
    if few:
        yield Advice(
            f"{_count(len(few), 'command')} in fewer than {FEW_ROWS} training rows.",
            "Write more tests with each of them, or ask for more rephrasings.",
            tuple(f"{words}: {count}" for words, count in few.items()),
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
