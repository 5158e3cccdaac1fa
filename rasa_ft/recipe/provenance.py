"""What decides the result of data preparation: for params.yaml, and to know whether anything has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.e2e.cases import Suite
from rasa_ft.engine.base import Engine
from rasa_ft.errors import DataError, Location
from rasa_ft.files import fingerprint
from rasa_ft.llm.config import ModelGroup
from rasa_ft.recipe.labelling.review import Review
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.summary import INCOMPLETE
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig
from rasa_ft.yaml_source import load_yaml

# What an assistant is made of; the rest of its folder (models, results) does not decide the data.
_ASSISTANT_FILES = ("config.yml", "endpoints.yml", "domain.yml", "domain", "data", "actions", "actions.py", "prompts")
_RECORDINGS = "recordings"
# The parts of this package that decide the data.
_CODE = ("calm", "e2e", "engine", "llm", "recipe", "understanding")
_NOWHERE = Location(Path(), 0)


@dataclass(frozen=True)
class Origin:
    """What the data are made from, in names: the tests, and the models of each role."""

    tests: str | None = None
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)


def named_tests(path: Path | str, project: Path) -> str:
    """The tests at ``path`` as params.yaml names them: from the project's folder, or by name if they lie outside.

    A whole path would tell where somebody works, and differ between equal runs.
    """
    file, separator, case = str(path).partition("::")
    place, root = Path(file).resolve(), project.resolve()
    name = place.relative_to(root).as_posix() if place.is_relative_to(root) else place.name
    return f"{name}{separator}{case}"


def model_names(group: ModelGroup) -> list[str]:
    """The models of a group without anything that could be a secret."""
    return [f"{model.provider}/{model.model}" for model in group.models]


def assistant_name(project: Path) -> str:
    """What config.yml calls the assistant, else the folder's name."""
    config = load_yaml(project / "config.yml")
    name = config.get("assistant_id") if isinstance(config, Mapping) else None
    return str(name or project.resolve().name)


def parameters(
    settings: PrepareSettings,
    config: RephraseConfig,
    engine: Engine,
    suite: Suite,
    inputs: Sequence[Path],
    origin: Origin | None = None,
    review: Review | None = None,
) -> dict[str, Any]:
    """The content of params.yaml; free of times and places, so that equal runs give equal bytes.

    Args:
        inputs: further files that decide the result, such as an endpoints.yml outside of the project.
        review: what people decided about labels.
    """
    assistant = [engine.project / name for name in (*_ASSISTANT_FILES, _RECORDINGS)]
    hashes = {
        "assistant": fingerprint(*(path for path in assistant if path.exists())),
        "tests": fingerprint(*(_case_content(suite, index) for index in range(len(suite.cases)))),
        "student_prompt": fingerprint(settings.student_prompt),
        "rephrase_prompt": fingerprint(config.prompt_template),
        "further_inputs": fingerprint(*inputs),
        "review": fingerprint((review or Review()).as_data(engine.codec)),
        "rasa_ft": fingerprint(*(Path(rasa_ft.__file__).parent / name for name in _CODE)),
    }
    versions = {"rasa_ft": rasa_ft.__version__, "engine": engine.name, "command_syntax": engine.codec.version}
    origin = origin or Origin()
    return {
        "tests": origin.tests,
        "models": {role: list(models) for role, models in origin.models.items()},
        "parameters": settings.as_yaml(),
        "rephrase_config": config.as_yaml(),
        "versions": versions,
        "hashes": hashes,
    }


def is_current(params_file: Path, summary_file: Path, wanted: dict[str, Any]) -> bool:
    """Whether an earlier run had the same parameters and lacked nothing: failed calls deserve another try."""
    try:
        return bool(load_yaml(params_file) == wanted) and not (load_yaml(summary_file) or {}).get(INCOMPLETE, True)
    except DataError:
        return False


def _case_content(suite: Suite, index: int) -> str:
    """All that a case says, without where it stands."""
    case = suite.cases[index]
    steps = [repr(replace(step, location=_NOWHERE)) for step in case.steps]
    return repr((case.key, steps, case.fixtures, case.stubs))
