"""What validation has in common with training: taken out where it is a leak, measured where it is a likeness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rasa_ft.recipe.conversations import AnnotatedConversation, DataPoint
from rasa_ft.recipe.wording import near_duplicate_share, normalised
from rasa_ft.recipe.wordings.diversity import words


@dataclass(frozen=True)
class Leakage:
    """Overlap of wording between the two parts, before anything was dropped.

    ``validation_messages``: distinct messages that validation users typed; ``seen_in_training`` of them also stood in
    training rows as the message to understand. Those training rows were dropped, and so were rephrasings in
    validation rows that training has.
    """

    validation_messages: int
    seen_in_training: int
    train_rows_dropped: int
    validation_rows_dropped: int


@dataclass(frozen=True)
class Overlap:
    """How much of what validation asks stands in training too, in the rows as they are written.

    Attributes:
        messages: distinct messages of validation rows; case, punctuation and blanks do not count.
        exact: how many of them are the message of a training row.
        near: share of them with a near-duplicate there (`rasa_ft.recipe.wording.is_near`); messages that differ in a
            short value only are near.
        trigrams: share of their sequences of three words that stand in a training message; None if there are none.
    """

    messages: int
    exact: int
    near: float
    trigrams: float | None


def without_leaks(
    train: Sequence[DataPoint], validation: Sequence[DataPoint], judges: Iterable[AnnotatedConversation]
) -> tuple[list[DataPoint], list[DataPoint], Leakage]:
    """Both parts without what the other has.

    Training rows whose own message a validation user types are dropped; so are rephrasings in validation rows that are
    left in training. Case, punctuation and blanks do not count.
    """
    typed = {normalised(text) for conversation in judges for text in conversation.typed_messages}
    kept = [point for point in train if normalised(point.message) not in typed]
    learnt = {normalised(point.message) for point in kept}
    unseen = [point for point in validation if normalised(point.message) not in learnt]
    leakage = Leakage(
        validation_messages=len(typed),
        seen_in_training=len(typed & {normalised(point.message) for point in train}),
        train_rows_dropped=len(train) - len(kept),
        validation_rows_dropped=len(validation) - len(unseen),
    )
    return kept, unseen, leakage


def measured_overlap(train: Sequence[DataPoint], validation: Sequence[DataPoint]) -> Overlap:
    """The overlap of two parts as they are; nothing is taken for granted of how they were made."""
    learnt = sorted({normalised(point.message) for point in train})
    asked = sorted({normalised(point.message) for point in validation})
    known, wanted = _trigrams(learnt), _trigrams(asked)
    return Overlap(
        messages=len(asked),
        exact=len(set(asked) & set(learnt)),
        near=near_duplicate_share(asked, learnt),
        trigrams=len(wanted & known) / len(wanted) if wanted else None,
    )


def _trigrams(texts: Iterable[str]) -> set[tuple[str, ...]]:
    lists = map(words, texts)
    return {tuple(found[start : start + 3]) for found in lists for start in range(len(found) - 2)}
