"""Re-runs the E2E tests of both splits for the base model, the tuned model and the teacher, and gives a verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.model import Suite
from rasa_ft.errors import DataError, LLMUnavailable
from rasa_ft.evaluation.comparisons import Comparison, compare, compare_turns
from rasa_ft.evaluation.gates import Gates
from rasa_ft.evaluation.must_pass import check_names, judge_must_pass
from rasa_ft.evaluation.results import SPLITS, EvaluationResult, ModelResult, SplitResult
from rasa_ft.evaluation.summary import turn_rows, verdict_json
from rasa_ft.evaluation.verdict import Verdict, decide
from rasa_ft.files import fresh_folder, write_json, write_jsonl, write_text
from rasa_ft.llm.client import aclose
from rasa_ft.recipe.evaluating.examine import Answered, Gold, examine_student, examine_teacher
from rasa_ft.recipe.evaluating.subjects import BASE_MAX_TOKENS, ServedSubjects, Subject, Subjects
from rasa_ft.recipe.parallel import Progress, silent
from rasa_ft.recipe.provenance import assistant_name


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate and how.

    ``data`` is the output folder of prepare-data, ``model`` that of train (or a model folder). ``base_model``: a folder
    or hub name; None takes the one that the training manifest names. ``concurrency`` calls are in flight at once;
    ``grammar``: base and tuned model can emit nothing but commands that the assistant knows. ``must_pass``: tests and
    flows that may not fail, by name or pattern.
    ``max_tokens`` bounds an answer (of the base model, which rambles, more tightly); ``timeout`` is seconds a call.
    """

    project: Path
    data: Path = Path("output")
    model: Path = Path("finetuned")
    out: Path = Path("evaluation")
    endpoints: Path | None = None
    base_model: str | None = None
    skip_base: bool = False
    gates: Gates = field(default_factory=Gates)
    must_pass: tuple[str, ...] = ()
    concurrency: int = 16
    max_tokens: int = 64
    timeout: float = 120.0
    grammar: bool = True
    logs: Path = Path(".rasa_ft/logs")


def evaluate(
    settings: EvaluateSettings,
    *,
    subjects: Subjects | None = None,
    progress: Progress = silent,
) -> EvaluationResult:
    """Examine all models one after the other, decide, and write the folder ``settings.out``.

    The folder then holds verdict.json, report.html, turns.jsonl and the plots; it is replaced as a whole.

    Args:
        subjects: where the models come from; None serves them on this machine.
        progress: told what is being done, how much of it is done, and of how much (0: nothing is counted).

    Raises:
        DataError: the prepared data or the model is missing.
        UsageError: what must pass is neither a test nor a flow.
        ServerError: a model could not be served.
        LLMUnavailable: a model gave no answer at all.
    """
    suites = load_splits(settings.data)
    subjects = subjects or _served(settings, progress)
    with subjects.teacher() as subject:
        engine = subject.engine.name
        check_names(
            settings.must_pass, [case.id for suite in suites.values() for case in suite.cases], subject.engine.flows
        )
        teacher, gold = _examine_teacher(subject, suites, settings, progress)
    models: dict[str, ModelResult] = {}
    for role in ("tuned",) if settings.skip_base else ("base", "tuned"):
        with subjects.student(role) as subject:
            models[role] = _examine_student(role, subject, suites, gold, settings, progress)
    models["teacher"] = teacher
    result = EvaluationResult(
        assistant=assistant_name(settings.project),
        engine=engine,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        models=models,
        verdict=judge(models, settings.gates, settings.must_pass),
        settings=_shown(settings),
    )
    write_evaluation(result, settings.out)
    return result


def load_splits(data: Path) -> dict[str, Suite]:
    """The training and validation conversations that prepare-data wrote below ``data``; files or folders.

    Raises:
        DataError: one of them is missing.
    """
    folder = data / "4_train_test_split" / "e2e_tests"
    suites = {}
    for split in SPLITS:
        place = next((path for path in (folder / f"{split}.yml", folder / split) if path.exists()), None)
        if place is None:
            raise DataError(
                f"{folder / f'{split}.yml'} does not exist.",
                hint="Make it with `rasa llm finetune prepare-data`, or name its output folder with --data.",
            )
        suites[split] = load_suite(place)
    return suites


def judge(models: Mapping[str, ModelResult], gates: Gates, must_pass: tuple[str, ...] = ()) -> Verdict:
    """The verdict on ``models["tuned"]``, with comparisons against the others on the validation conversations.

    It rests on the comparison with the teacher on the validation messages. ``must_pass`` counts on both splits.
    """
    tuned = models["tuned"].splits
    comparisons = [_comparison(models["tuned"], model, gates) for role, model in models.items() if role != "tuned"]
    return decide(
        (tuned["train"].passed, tuned["train"].total),
        (tuned["validation"].passed, tuned["validation"].total),
        gates,
        comparisons=comparisons,
        unanswered=sum(case.unanswered for split in tuned.values() for case in split.cases),
        turns=compare_turns("teacher", "validation", _right(models["tuned"]), _right(models["teacher"]), gates=gates),
        must_pass=judge_must_pass(must_pass, [case for split in tuned.values() for case in split.cases]),
    )


def write_evaluation(result: EvaluationResult, out: Path) -> None:
    """Write verdict.json, report.html, turns.jsonl and the plots into ``out``, completely or not at all."""
    from rasa_ft.evaluation.report.plots import save_plots
    from rasa_ft.evaluation.report.render import render_report

    with fresh_folder(out) as draft:
        write_json(draft / "verdict.json", verdict_json(result))
        write_jsonl(draft / "turns.jsonl", turn_rows(result))
        write_text(draft / "report.html", render_report(result))
        save_plots(result, draft)


def _examine_teacher(
    subject: Subject, suites: Mapping[str, Suite], settings: EvaluateSettings, progress: Progress
) -> tuple[ModelResult, dict[str, Gold]]:
    start = time.monotonic()
    report = _prefixed("teacher", progress)

    async def all_splits() -> dict[str, Answered]:
        try:
            return {
                split: await examine_teacher(
                    subject.engine, suite, split, concurrency=settings.concurrency, progress=report
                )
                for split, suite in suites.items()
            }
        finally:
            await aclose(subject.engine)
            await aclose(subject.llm)

    answered = asyncio.run(all_splits())
    splits = {split: answer.result for split, answer in answered.items()}
    return _model_result("teacher", subject, splits, start), {split: a.gold for split, a in answered.items()}


def _examine_student(
    role: str,
    subject: Subject,
    suites: Mapping[str, Suite],
    gold: Mapping[str, Gold],
    settings: EvaluateSettings,
    progress: Progress,
) -> ModelResult:
    start = time.monotonic()
    report = _prefixed(role, progress)

    # One event loop for all: clients and locks stay bound to the one they were first used in.
    async def all_splits() -> dict[str, SplitResult]:
        try:
            return {split: await one_split(split, suite) for split, suite in suites.items()}
        finally:
            await aclose(subject.engine)
            await aclose(subject.llm)

    async def one_split(split: str, suite: Suite) -> SplitResult:
        return await examine_student(
            subject.engine,
            subject.llm,
            suite,
            split,
            gold[split],
            concurrency=settings.concurrency,
            progress=report,
            # An untuned model talks at length; what it says to messages of the training set tells nobody anything.
            messages=role == "tuned" or split == "validation",
        )

    return _model_result(role, subject, asyncio.run(all_splits()), start)


def _model_result(role: str, subject: Subject, splits: Mapping[str, SplitResult], start: float) -> ModelResult:
    """What was found, put together.

    Raises:
        LLMUnavailable: not one message was answered, so that there is nothing to judge.
    """
    turns = [turn for split in splits.values() for turn in split.turns]
    if turns and all(turn.error for turn in turns):
        raise LLMUnavailable(f"the {role} model answered none of {len(turns)} messages: {turns[0].error}")
    seconds = time.monotonic() - start
    return ModelResult(role, subject.name, subject.source, splits, subject.startup_seconds, seconds)


def _comparison(tuned: ModelResult, other: ModelResult, gates: Gates) -> Comparison:
    mine, others = ({case.case: case.passed for case in model.splits["validation"].cases} for model in (tuned, other))
    return compare(other.role, "validation", mine, others, gates=gates)


def _right(model: ModelResult) -> dict[tuple[str, int], bool]:
    return {(turn.case, turn.position): turn.exact for turn in model.splits["validation"].turns}


def _prefixed(role: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{role}: {what}", done, total)


def _served(settings: EvaluateSettings, progress: Progress) -> ServedSubjects:
    return ServedSubjects(
        project=settings.project,
        data=settings.data,
        model=settings.model,
        logs=settings.logs,
        endpoints=settings.endpoints,
        base_model=settings.base_model,
        concurrency=settings.concurrency,
        max_tokens=settings.max_tokens,
        timeout=settings.timeout,
        grammar=settings.grammar,
        on_progress=lambda text: progress(text, 0, 0),
    )


def _shown(settings: EvaluateSettings) -> dict[str, str | int | float | bool | None]:
    return {
        "model": str(settings.model),
        "data": str(settings.data),
        "train_gate": settings.gates.train,
        "validation_gate": settings.gates.validation,
        "confidence": settings.gates.confidence,
        "margin": settings.gates.margin,
        "alpha": settings.gates.alpha,
        "must_pass": ", ".join(settings.must_pass) or None,
        "concurrency": settings.concurrency,
        "grammar": settings.grammar,
        "max_tokens": settings.max_tokens,
        "max_tokens_of_base": min(settings.max_tokens, BASE_MAX_TOKENS),
        "temperature": 0.0,
    }
