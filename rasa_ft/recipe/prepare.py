"""Data preparation: passing tests in, rows to train and to judge a model out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e.cases import Suite
from rasa_ft.engine.base import Engine
from rasa_ft.errors import DataError, LLMError
from rasa_ft.files import fresh_folder
from rasa_ft.llm.client import LLM
from rasa_ft.recipe.card.figures import Material, turn_diversity
from rasa_ft.recipe.card.writing import write_card
from rasa_ft.recipe.gathering import Gathered, gather
from rasa_ft.recipe.labelling.audit import audited
from rasa_ft.recipe.labelling.labels import Labels
from rasa_ft.recipe.labelling.opinion import SecondOpinion
from rasa_ft.recipe.labelling.review import REVIEW, load_review
from rasa_ft.recipe.parallel import Progress, silent
from rasa_ft.recipe.provenance import Origin, assistant_name, is_current, parameters
from rasa_ft.recipe.refusals import check_before_work
from rasa_ft.recipe.rows import formats
from rasa_ft.recipe.rows.making import Rows, make_rows
from rasa_ft.recipe.scrubbing.personal_data import Finder, load_finder
from rasa_ft.recipe.scrubbing.scrub import Scrubbed, scrub
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.splitting.overlap import measured_overlap
from rasa_ft.recipe.splitting.split import Split, split
from rasa_ft.recipe.summary import Summary, figures
from rasa_ft.recipe.wordings.diversity import averaged
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig
from rasa_ft.recipe.wordings.variants import Rephrasing
from rasa_ft.recipe.writing import write_data, write_records, write_stages


async def prepare_data(
    settings: PrepareSettings,
    engine: Engine,
    suite: Suite,
    rephraser: LLM | None,
    out: Path,
    progress: Progress = silent,
    *,
    rephrase_config: RephraseConfig | None = None,
    inputs: Sequence[Path] = (),
    origin: Origin | None = None,
    finder: Finder | None = None,
    opinion: SecondOpinion | None = None,
    force: bool = False,
) -> Summary:
    """Annotate, rephrase, compose and split; writes ``out`` completely or not at all.

    Args:
        rephraser: None only if ``settings.num_rephrases`` is 0.
        inputs: further files that decide the result, such as an endpoints.yml outside of the project.
        origin: how the tests and the models are called in params.yaml and on the data card.
        finder: of personal data, if they are to be replaced; None: what is installed for it.
        opinion: who reads each message besides the teacher; None: nobody.
        force: do it again although nothing has changed since ``out`` was written.

    Raises:
        DataError: no test passes, there are too few to split, or the review file is broken.
        LLMError: no test could be run since the model cannot be asked.
        BudgetExceeded: the budget is used up; answers are kept, and ``out`` is left as it was.
        UsageError: ``out`` is a folder with other things in it, or a template does not fit the assistant.
        MissingRequirement: nothing is installed that finds personal data.
    """
    config = rephrase_config or RephraseConfig()
    check_before_work(settings, engine, out)
    scrubbed = _scrubbed(settings, engine, suite, finder)
    labels = Labels(opinion, scrubbed.decisions(load_review(_reviews(settings, out), engine)))
    params = parameters(settings, config, engine, scrubbed.suite, inputs, origin, labels.review)
    params["versions"].update(scrubbed.versions)
    if not force and is_current(out / formats.PARAMS, out / formats.SUMMARY, params):
        return Summary.load(out, out / formats.SUMMARY)
    gathered = await gather(
        engine,
        scrubbed.suite,
        _rephrasing(settings, rephraser, config),
        labels=labels,
        concurrency=settings.concurrency,
        progress=progress,
    )
    gathered = _examined(scrubbed.checked(gathered), settings, engine, labels)
    conversations = gathered.conversations
    parts = split(
        conversations, train_frac=settings.train_frac, seed=settings.seed, holdout_flows=settings.holdout_flows
    )
    rows = await make_rows(settings, engine, parts, progress)
    material = _material(engine, params, gathered, parts, rows, scrubbed, labels)
    with fresh_folder(out) as draft:
        write_stages(draft, settings, engine, conversations, labels)
        write_data(draft, settings, engine, scrubbed.suite, parts, rows)
        write_records(draft, params, dict(material.summary))
        write_card(draft, material)
    return Summary(out, dict(material.summary))


def _scrubbed(settings: PrepareSettings, engine: Engine, suite: Suite, finder: Finder | None) -> Scrubbed:
    if not settings.scrubs:
        return Scrubbed(suite)
    return scrub(suite, engine, finder or load_finder(), seed=settings.seed, slots=settings.scrub_slots)


def _reviews(settings: PrepareSettings, out: Path) -> list[Path]:
    """Where people decided about labels; what stands in the folder that is replaced must not be lost."""
    earlier = out / REVIEW
    files = [settings.review] if settings.review is not None else []
    return [*files, *([earlier] if earlier.is_file() and settings.review != earlier else [])]


def _rephrasing(settings: PrepareSettings, rephraser: LLM | None, config: RephraseConfig) -> Rephrasing | None:
    if rephraser is None or not settings.num_rephrases:
        return None
    return Rephrasing(rephraser, settings.num_rephrases, settings.refills, config)


def _examined(gathered: Gathered, settings: PrepareSettings, engine: Engine, labels: Labels) -> Gathered:
    """With the labels that look wrong among the others in doubt.

    Raises:
        DataError: no test passes.
        LLMError: no test could be run.
    """
    if settings.audit:
        gathered = replace(gathered, conversations=audited(gathered.conversations, engine.slots, labels.review))
    if not gathered.conversations:
        raise _nothing_to_learn(gathered)
    return gathered


def _nothing_to_learn(gathered: Gathered) -> DataError | LLMError:
    errors = [skipped for skipped in gathered.skipped if skipped.is_error]
    if errors:
        return LLMError(f"{len(errors)} of {len(gathered.skipped)} tests could not be run: {errors[0].reason}")
    first = f" The first: {gathered.skipped[0].case}: {gathered.skipped[0].reason}" if gathered.skipped else ""
    return DataError(
        f"no test passes, so there is nothing to learn from.{first}", hint="Run `rasa test e2e` to see why."
    )


def _material(
    engine: Engine,
    params: dict[str, Any],
    gathered: Gathered,
    parts: Split,
    rows: Rows,
    scrubbed: Scrubbed,
    labels: Labels,
) -> Material:
    """All that there is to tell of the result."""
    overlap, diversity = measured_overlap(rows.train, rows.validation), tuple(turn_diversity(gathered.conversations))
    summary = figures(
        gathered=gathered,
        num_input=len(scrubbed.suite.cases),
        parts=parts,
        leakage=rows.leakage,
        overlap=overlap,
        diversity=averaged(turn.figures for turn in diversity),
        train=rows.train,
        validation=rows.validation,
        dropped=rows.dropped,
        duplicates=rows.duplicates,
        scrubbed=scrubbed.figures,
        review=labels.review,
    )
    return Material(
        title=assistant_name(engine.project),
        params=params,
        summary=summary,
        parts=parts,
        skipped=gathered.skipped,
        train=rows.train,
        validation=rows.validation,
        overlap=overlap,
        diversity=diversity,
        codec=engine.codec,
        counted=rows.counted,
    )
