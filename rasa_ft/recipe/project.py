"""Data preparation for an assistant's folder: loads everything that `prepare_data` needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e.cases import load_suite
from rasa_ft.engine.embedded import load_engine
from rasa_ft.llm.budget import Budget
from rasa_ft.llm.client import LLM
from rasa_ft.llm.config import RECORDED, ModelGroup, command_group, load_model_groups
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.store import Store
from rasa_ft.recipe.parallel import Progress, silent
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.rephrase import RephraseConfig, load_rephrase_config
from rasa_ft.recipe.settings import SETTINGS_FILE, PrepareSettings, load_settings, with_given
from rasa_ft.recipe.summary import Summary

# Every answer of teacher and rephraser, below the working folder.
ANSWERS = Path(".rasa_ft") / "answers.sqlite"
_REPHRASER = "rephraser"


def settings_for(project: Path, file: Path | None = None, **given: Any) -> PrepareSettings:
    """The settings of ``file`` (default: the project's finetune_data.yml if it has one), ``given`` ones first.

    Raises:
        DataError: the file is broken.
        UsageError: a value out of its range.
    """
    file = file or project / SETTINGS_FILE
    if file == project / SETTINGS_FILE and not file.is_file():
        return with_given(PrepareSettings(), **given)
    return load_settings(file, **given)


def prepare_project(
    path: Path | str,
    project: Path,
    settings: PrepareSettings,
    out: Path,
    *,
    endpoints: Path | None = None,
    rephrase_config: Path | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
    force: bool = False,
) -> Summary:
    """`prepare_data` for the tests at ``path`` on the assistant in ``project`` with its own teacher.

    The rephraser is the model of ``rephrase_config``, else the model group ``rephraser`` of endpoints.yml, else the
    teacher.

    Raises:
        RasaFtError: as `prepare_data`, or tests, assistant or configuration are broken.
    """
    suite = load_suite(path)
    groups = load_model_groups(endpoints or project / "endpoints.yml")
    teacher = command_group(project, endpoints)
    config = load_rephrase_config(rephrase_config, groups) if rephrase_config else RephraseConfig()
    rephraser = config.llm or groups.get(_REPHRASER, teacher)
    if rephrase_config:
        settings = replace(settings, rephrase_prompt=config.prompt_template)
    asked = {"teacher": teacher, "rephraser": rephraser}
    paid = any(model.provider != RECORDED for group in asked.values() for model in group.models)
    store = Store(ANSWERS) if paid else None
    models = _models(asked, project, settings.concurrency, budget, store)
    engine = load_engine(project, llm=models["teacher"], endpoints=endpoints, answers=store, rephrase=False)
    inputs = [file for file in (endpoints, rephrase_config) if file is not None]
    return asyncio.run(
        prepare_data(settings, engine, suite, models["rephraser"], out, progress, inputs=inputs, force=force)
    )


def _models(
    groups: Mapping[str, ModelGroup], project: Path, concurrency: int, budget: Budget | None, store: Store | None
) -> dict[str, LLM]:
    return {
        name: build_llm(group, project=project, store=store, concurrency=concurrency, budget=budget)
        for name, group in groups.items()
    }
