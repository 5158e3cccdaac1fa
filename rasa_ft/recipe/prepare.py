"""Data preparation: passing tests in, rows to train and to judge a model out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.e2e.cases import Suite, write_suite
from rasa_ft.engine.base import Conversation, Engine
from rasa_ft.errors import BudgetExceeded, DataError, LLMError, Location, UsageError
from rasa_ft.files import fingerprint, fresh_folder, write_text
from rasa_ft.llm.client import LLM
from rasa_ft.recipe import formats
from rasa_ft.recipe.annotate import Annotation, annotate
from rasa_ft.recipe.check import check
from rasa_ft.recipe.compose import Augmentation, Composed, Plan, compose
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    DataPoint,
    Judged,
    RephrasedConversation,
    RephrasedTurn,
    Wording,
)
from rasa_ft.recipe.exchange import value_pool
from rasa_ft.recipe.parallel import Progress, in_parallel, silent
from rasa_ft.recipe.rephrase import rephrase
from rasa_ft.recipe.replay import replay_original
from rasa_ft.recipe.settings import STUDENT_TEMPLATE, PrepareSettings
from rasa_ft.recipe.split import Split, split, without_leaks
from rasa_ft.recipe.summary import Summary, figures
from rasa_ft.recipe.transplants import donors_of
from rasa_ft.yaml_source import dump_yaml, load_yaml

# What an assistant is made of; the rest of its folder (models, results) does not decide the data.
_ASSISTANT_FILES = ("config.yml", "endpoints.yml", "domain.yml", "domain", "data", "actions", "actions.py", "prompts")
_RECORDINGS = "recordings"
# The parts of this package that decide the data.
_CODE = ("calm", "e2e", "engine", "llm", "recipe", "understanding")
_NOWHERE = Location(Path(), 0)


async def prepare_data(
    settings: PrepareSettings,
    engine: Engine,
    suite: Suite,
    rephraser: LLM | None,
    out: Path,
    progress: Progress = silent,
    *,
    inputs: Sequence[Path] = (),
    force: bool = False,
) -> Summary:
    """Annotate, rephrase, compose and split; writes ``out`` completely or not at all.

    Args:
        rephraser: None only if ``settings.num_rephrases`` is 0.
        inputs: further files that decide the result, such as an endpoints.yml outside of the project.
        force: do it again although nothing has changed since ``out`` was written.

    Raises:
        DataError: no test passes, or there are too few to split.
        LLMError: no test could be run since the model cannot be asked, or the budget is used up.
        UsageError: ``out`` is a folder with other things in it, or a template does not fit the assistant.
    """
    _check_template(settings, engine)
    _check_out(out)
    params = _params(settings, engine, suite, inputs)
    if not force and _is_current(out, params):
        return Summary.load(out, out / formats.SUMMARY)
    annotation = await annotate(engine, suite, concurrency=settings.concurrency, progress=progress)
    if not annotation.conversations:
        raise _nothing_to_learn(annotation)
    rephrased = await _rephrased(settings, engine, annotation.conversations, rephraser, progress)
    parts = split(rephrased, train_frac=settings.train_frac, seed=settings.seed)
    train, validation = await _composed(settings, engine, parts, progress)
    train_points, train_duplicates = _distinct(train)
    validation_points, validation_duplicates = _distinct(validation)
    judges = [conversation.conversation for conversation in parts.validation]
    train_points, validation_points, leakage = without_leaks(train_points, validation_points, judges)
    if not train_points:
        raise DataError("no training rows are left.", hint="See the reasons with --json, or write more tests.")
    summary = figures(
        annotation=annotation,
        num_input=len(suite.cases),
        rephrased=rephrased,
        parts=parts,
        leakage=leakage,
        train=train_points,
        validation=validation_points,
        dropped=[drop for composed in (*train, *validation) for drop in composed.dropped],
        duplicates=train_duplicates + validation_duplicates,
    )
    with fresh_folder(out) as draft:
        formats.write_annotations(draft, annotation.conversations, engine.codec)
        if settings.num_rephrases:
            formats.write_rephrasings(draft, rephrased, engine.codec)
        rows = {"train": train_points, "val": validation_points}
        formats.write_rows(draft, rows, parts.groups, settings.output_format)
        _write_tests(draft, suite, parts)
        shutil.copyfile(settings.student_prompt, draft / formats.STUDENT_PROMPT)
        write_text(draft / formats.PARAMS, dump_yaml(params))
        write_text(draft / formats.SUMMARY, dump_yaml(summary))
    return Summary(out, summary)


# --- before the work -------------------------------------------------------------------------------------------------


def _check_template(settings: PrepareSettings, engine: Engine) -> None:
    if settings.student_prompt == STUDENT_TEMPLATE and engine.codec.version != "v2":
        raise UsageError(
            f"the built-in student prompt is for command syntax v2; this assistant uses {engine.codec.version}.",
            hint="Give a template of your own with --student-prompt, or use CompactLLMCommandGenerator.",
        )


def _check_out(out: Path) -> None:
    if out.is_file():
        raise UsageError(f"{out} is a file; a folder is needed.")
    if out.is_dir() and any(out.iterdir()) and not (out / formats.SUMMARY).is_file():
        raise UsageError(f"{out} holds other things and would be replaced.", hint="Choose another folder with --out.")


def _params(settings: PrepareSettings, engine: Engine, suite: Suite, inputs: Sequence[Path]) -> dict[str, Any]:
    """What decides the result, for params.yaml; free of times and places, so that equal runs give equal bytes."""
    assistant = [engine.project / name for name in (*_ASSISTANT_FILES, _RECORDINGS)]
    parameters = settings.as_yaml()
    hashes = {
        "assistant": fingerprint(*(path for path in assistant if path.exists())),
        "tests": fingerprint(*(_case_content(suite, index) for index in range(len(suite.cases)))),
        "student_prompt": fingerprint(settings.student_prompt),
        "rephrase_prompt": fingerprint(settings.rephrase_prompt),
        "further_inputs": fingerprint(*inputs),
        "rasa_ft": fingerprint(*(Path(rasa_ft.__file__).parent / name for name in _CODE)),
    }
    versions = {"rasa_ft": rasa_ft.__version__, "engine": engine.name, "command_syntax": engine.codec.version}
    return {"parameters": parameters, "versions": versions, "hashes": hashes}


def _case_content(suite: Suite, index: int) -> str:
    """All that a case says, without where it stands."""
    case = suite.cases[index]
    steps = [repr(replace(step, location=_NOWHERE)) for step in case.steps]
    return repr((case.key, steps, case.fixtures, case.stubs))


def _is_current(out: Path, params: dict[str, Any]) -> bool:
    try:
        return bool(load_yaml(out / formats.PARAMS) == params) and (out / formats.SUMMARY).is_file()
    except DataError:
        return False


def _nothing_to_learn(annotation: Annotation) -> DataError | LLMError:
    errors = [skipped for skipped in annotation.skipped if skipped.is_error]
    if errors:
        return LLMError(f"{len(errors)} of {len(annotation.skipped)} tests could not be run: {errors[0].reason}")
    first = f" The first: {annotation.skipped[0].case}: {annotation.skipped[0].reason}" if annotation.skipped else ""
    return DataError(
        f"no test passes, so there is nothing to learn from.{first}", hint="Run `rasa test e2e` to see why."
    )


# --- rephrasing ------------------------------------------------------------------------------------------------------


async def _rephrased(
    settings: PrepareSettings,
    engine: Engine,
    conversations: Sequence[AnnotatedConversation],
    rephraser: LLM | None,
    progress: Progress,
) -> list[RephrasedConversation]:
    """All conversations, each turn with its judged rephrasings."""
    slots = [(c, t) for c, conversation in enumerate(conversations) for t in range(len(conversation.turns))]
    turns = {(c, t): RephrasedTurn(conversations[c].turns[t]) for c, t in slots}
    if settings.num_rephrases and rephraser is not None:
        asked = [slot for slot in slots if turns[slot].turn.rephrase]
        texts = await _ask(settings, engine, rephraser, [turns[slot].turn for slot in asked], progress)
        candidates = {slot: text for slot, text in zip(asked, texts, strict=True) if not isinstance(text, LLMError)}
        for slot, text in zip(asked, texts, strict=True):
            if isinstance(text, LLMError):
                turns[slot] = replace(turns[slot], error=str(text))
        for slot, judged in (await _judge(settings, engine, conversations, candidates, progress)).items():
            turns[slot] = replace(
                turns[slot],
                passing=tuple(verdict for verdict in judged if isinstance(verdict, Wording)),
                rejected=tuple(verdict for verdict in judged if isinstance(verdict, Judged)),
            )
    return [
        RephrasedConversation(conversation, tuple(turns[c, t] for t in range(len(conversation.turns))))
        for c, conversation in enumerate(conversations)
    ]


async def _ask(
    settings: PrepareSettings, engine: Engine, rephraser: LLM, turns: Sequence[AnnotatedTurn], progress: Progress
) -> list[list[str] | LLMError]:
    async def one(turn: AnnotatedTurn) -> list[str] | LLMError:
        try:
            return await rephrase(
                rephraser,
                turn,
                number=settings.num_rephrases,
                codec=engine.codec,
                template=settings.rephrase_prompt,
            )
        except BudgetExceeded:
            raise
        except LLMError as error:
            return error

    return await in_parallel("rephrase", turns, one, concurrency=settings.concurrency, progress=progress)


async def _judge(
    settings: PrepareSettings,
    engine: Engine,
    conversations: Sequence[AnnotatedConversation],
    candidates: dict[tuple[int, int], list[str]],
    progress: Progress,
) -> dict[tuple[int, int], list[Wording | Judged]]:
    """The verdict on each candidate, by conversation and turn."""

    async def places(conversation: AnnotatedConversation) -> tuple[Conversation, ...]:
        return (await replay_original(engine, conversation)).before

    befores = await in_parallel("replay", conversations, places, concurrency=settings.concurrency)
    questions = [
        (slot, text) for slot, texts in candidates.items() if slot[1] < len(befores[slot[0]]) for text in texts
    ]

    async def one(question: tuple[tuple[int, int], str]) -> Wording | Judged:
        (c, t), text = question
        return await check(engine, befores[c][t], conversations[c].turns[t], text)

    verdicts = await in_parallel("check", questions, one, concurrency=settings.concurrency, progress=progress)
    judged: dict[tuple[int, int], list[Wording | Judged]] = {}
    for (slot, _), verdict in zip(questions, verdicts, strict=True):
        judged.setdefault(slot, []).append(verdict)
    return judged


# --- composing -------------------------------------------------------------------------------------------------------


async def _composed(
    settings: PrepareSettings, engine: Engine, parts: Split, progress: Progress
) -> tuple[list[Composed], list[Composed]]:
    """Data points of both parts; only training conversations are augmented, from training conversations."""
    plain = Plan(settings.student_prompt, settings.seed, settings.histories, settings.wordings_per_turn)
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


def _distinct(composed: Sequence[Composed]) -> tuple[list[DataPoint], int]:
    """The data points without repetitions of prompt and answer, and how many those were; rows keep their order.

    Equal prompts with different answers stay: whoever trains on them should see that.
    """
    points = [point for part in composed for point in part.points]
    kept = {(point.prompt, point.completion): point for point in reversed(points)}
    return [point for point in points if kept[point.prompt, point.completion] is point], len(points) - len(kept)


def _write_tests(draft: Path, suite: Suite, parts: Split) -> None:
    for name, conversations in (("train", parts.train), ("validation", parts.validation)):
        keys = {conversation.key for conversation in conversations}
        cases = [case for case in suite.cases if case.key in keys]
        if cases:
            write_suite(suite.subset(cases), draft / formats.E2E_TESTS / f"{name}.yml")
