"""Data preparation for an assistant's folder: loads everything that `prepare_data` needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rasa_ft.e2e.cases import Suite
from rasa_ft.e2e.du_cases import Vocabulary, load_any_suite
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.errors import DataError, UsageError
from rasa_ft.files import exists
from rasa_ft.llm.budget import Budget
from rasa_ft.llm.client import LLM, aclose
from rasa_ft.llm.config import RECORDED, ModelGroup, command_group, load_model_groups
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.meter import Meter
from rasa_ft.llm.pace import Paces
from rasa_ft.llm.store import ANSWERS, Store
from rasa_ft.recipe.estimate import SECOND, Estimate, estimate
from rasa_ft.recipe.labelling.opinion import AGAIN, SecondOpinion
from rasa_ft.recipe.parallel import Progress, silent
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.provenance import Origin, model_names, named_tests
from rasa_ft.recipe.settings import SETTINGS_FILE, PrepareSettings, load_settings, with_given
from rasa_ft.recipe.summary import Summary
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig, load_rephrase_config
from rasa_ft.yaml_source import did_you_mean

_TEACHER = "teacher"
_REPHRASER = "rephraser"


@dataclass(frozen=True)
class Spending:
    """What a run may spend on models, and what it has spent: the counts go on while it runs."""

    budget: Budget = field(default_factory=Budget)
    meter: Meter = field(default_factory=Meter)


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
    spending: Spending | None = None,
    progress: Progress = silent,
    force: bool = False,
) -> Summary:
    """`prepare_data` for the tests at ``path`` on the assistant in ``project`` with its own teacher.

    The rephraser is the model of ``rephrase_config``, else the model group ``rephraser`` of endpoints.yml, else the
    teacher.

    Raises:
        RasaFtError: as `prepare_data`, or tests, assistant or configuration are broken.
    """
    loaded = _load(path, project, settings, endpoints, rephrase_config, spending or Spending())

    async def prepared() -> Summary:
        try:
            return await prepare_data(
                settings,
                loaded.engine,
                loaded.suite,
                loaded.models[_REPHRASER],
                out,
                progress,
                rephrase_config=loaded.config,
                inputs=[file for file in (endpoints, rephrase_config) if file is not None],
                origin=Origin(named_tests(path, project), loaded.names),
                opinion=_opinion(settings, loaded.models),
                force=force,
            )
        finally:
            for closable in (loaded.engine, *loaded.models.values()):
                await aclose(closable)

    return asyncio.run(prepared())


def estimate_project(
    path: Path | str,
    project: Path,
    settings: PrepareSettings,
    *,
    endpoints: Path | None = None,
    rephrase_config: Path | None = None,
) -> Estimate:
    """What `prepare_project` would ask of its models; none of them is asked.

    Raises:
        RasaFtError: tests, assistant or configuration are broken.
    """
    loaded = _load(path, project, settings, endpoints, rephrase_config, Spending())
    return asyncio.run(estimate(settings, loaded.engine, loaded.suite, loaded.config, loaded.groups))


@dataclass(frozen=True)
class _Loaded:
    """An assistant and its tests, and by role the model groups that are asked and the models."""

    engine: EmbeddedEngine
    suite: Suite
    config: RephraseConfig
    groups: Mapping[str, ModelGroup]
    models: Mapping[str, LLM]

    @property
    def names(self) -> dict[str, list[str]]:
        return {role: model_names(group) for role, group in self.groups.items()}


def _load(
    path: Path | str,
    project: Path,
    settings: PrepareSettings,
    endpoints: Path | None,
    rephrase_config: Path | None,
    spending: Spending,
) -> _Loaded:
    _check_tests(path)
    groups = load_model_groups(endpoints or project / "endpoints.yml")
    teacher = command_group(project, endpoints)
    config = load_rephrase_config(rephrase_config, groups) if rephrase_config else RephraseConfig()
    rephraser = config.llm or groups.get(_REPHRASER, teacher)
    asked = {_TEACHER: teacher, _REPHRASER: rephraser, **_opinion_group(settings, groups)}
    paid = any(model.provider != RECORDED for group in asked.values() for model in group.models)
    store = Store(ANSWERS) if paid else None
    models = _models(asked, project, settings, store, spending)
    engine = load_engine(
        project,
        llm=models[_TEACHER],
        endpoints=endpoints,
        answers=store,
        rephrase=False,
        now=datetime.fromisoformat(settings.now),
    )
    suite = load_any_suite(path, Vocabulary(engine.codec, frozenset(engine.assistant.domain.responses)))
    return _Loaded(engine, suite, config, asked, models)


def _check_tests(path: Path | str) -> None:
    """Said before anything is loaded, which takes a while."""
    root = Path(str(path).partition("::")[0])
    if not exists(root) and not exists(Path(f"{root}.yml")):
        raise DataError(f"{root} does not exist.", hint="Give a test file, a folder of test files, or FILE::case name.")


def _opinion_group(settings: PrepareSettings, groups: Mapping[str, ModelGroup]) -> dict[str, ModelGroup]:
    name = settings.second_opinion
    if name is None or name == AGAIN:
        return {}
    if name not in groups:
        raise UsageError(f"second_opinion names no model group: '{name}'.{did_you_mean(name, [*groups, AGAIN])}")
    return {SECOND: groups[name]}


def _opinion(settings: PrepareSettings, models: Mapping[str, LLM]) -> SecondOpinion | None:
    if settings.second_opinion is None:
        return None
    return SecondOpinion(models[SECOND]) if SECOND in models else SecondOpinion.of_teacher(models[_TEACHER])


def _models(
    groups: Mapping[str, ModelGroup],
    project: Path,
    settings: PrepareSettings,
    store: Store | None,
    spending: Spending,
) -> dict[str, LLM]:
    """The models by role; roles that ask the same model share its pace."""
    paces = Paces(settings.concurrency)
    return {
        role: build_llm(
            group, project=project, store=store, budget=spending.budget, usage=spending.meter[role], paces=paces
        )
        for role, group in groups.items()
    }
