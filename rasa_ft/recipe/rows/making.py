"""Stages 3 and 4: the rows of both parts of a split, without repetitions, leaks, and rows that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rasa_ft.engine.base import Engine
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation
from rasa_ft.recipe.parallel import Progress, in_parallel
from rasa_ft.recipe.rows.compose import Composed, compose
from rasa_ft.recipe.rows.exchange import value_pool
from rasa_ft.recipe.rows.lengths import RowLength, fitting, load_tokenizer, row_lengths
from rasa_ft.recipe.rows.points import Augmentation, Dropped, Plan
from rasa_ft.recipe.rows.transplants import donors_of
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.splitting.overlap import Leakage, without_leaks
from rasa_ft.recipe.splitting.split import Split


@dataclass(frozen=True)
class Rows:
    """What is written, and what of it was left out.

    ``counted``: the length of each row in tokens, also of those that are too long; empty if they were not measured.
    """

    train: Sequence[DataPoint]
    validation: Sequence[DataPoint]
    leakage: Leakage
    dropped: Sequence[Dropped]
    duplicates: int
    counted: Sequence[RowLength] = ()


async def make_rows(settings: PrepareSettings, engine: Engine, parts: Split, progress: Progress) -> Rows:
    """Compose new conversations and keep of their rows what may be trained on and judged by.

    Raises:
        DataError: rows are too long for training, there is no such base model, or nothing is left to train on.
    """
    composed = await _composed(settings, engine, parts, progress)
    rows = _fitting(_without_repetitions(*composed, parts), settings)
    if not rows.train:
        raise DataError("no training rows are left.", hint="See the reasons with --json, or write more tests.")
    return rows


async def _composed(
    settings: PrepareSettings, engine: Engine, parts: Split, progress: Progress
) -> tuple[list[Composed], list[Composed]]:
    """Data points of both parts; only training conversations are augmented, from training conversations."""
    plain = Plan(
        template=settings.student_prompt,
        seed=settings.seed,
        histories=settings.histories,
        wordings_per_turn=settings.wordings_per_turn,
        recheck=settings.recheck,
    )
    augmentation = Augmentation(
        exchange_fraction=settings.exchange_fraction,
        pool=value_pool(parts.train, engine.free_text_slots),
        transplants=settings.transplants,
        donors=donors_of(parts.train),
    )
    augmented = replace(plain, augmentation=augmentation)
    jobs = [
        *((conversation, augmented) for conversation in parts.train),
        *((conversation, plain) for conversation in parts.validation),
    ]

    async def one(job: tuple[RephrasedConversation, Plan]) -> Composed:
        return await compose(engine, *job)

    composed = await in_parallel("compose", jobs, one, concurrency=settings.concurrency, progress=progress)
    return composed[: len(parts.train)], composed[len(parts.train) :]


def _fitting(rows: Rows, settings: PrepareSettings) -> Rows:
    if settings.base_model is None:
        return rows
    tokenizer, limit = load_tokenizer(settings.base_model), settings.max_length
    train, validation = row_lengths(tokenizer, rows.train), row_lengths(tokenizer, rows.validation)
    return replace(
        rows,
        train=fitting(train, max_length=limit, too_long=settings.too_long),
        validation=fitting(validation, max_length=limit, too_long=settings.too_long),
        counted=(*train, *validation),
    )


def _without_repetitions(train: Sequence[Composed], validation: Sequence[Composed], parts: Split) -> Rows:
    train_points, train_duplicates = _distinct(train)
    validation_points, validation_duplicates = _distinct(validation)
    judges = [conversation.conversation for conversation in parts.validation]
    train_points, validation_points, leakage = without_leaks(train_points, validation_points, judges)
    dropped = [drop for composed in (*train, *validation) for drop in composed.dropped]
    return Rows(train_points, validation_points, leakage, dropped, train_duplicates + validation_duplicates)


def _distinct(composed: Sequence[Composed]) -> tuple[list[DataPoint], int]:
    """The data points without repetitions of prompt and answer, and how many those were; rows keep their order.

    Equal prompts with different answers stay: whoever trains on them should see that.
    """
    points = [point for part in composed for point in part.points]
    kept = {(point.prompt, point.completion): point for point in reversed(points)}
    return [point for point in points if kept[point.prompt, point.completion] is point], len(points) - len(kept)
