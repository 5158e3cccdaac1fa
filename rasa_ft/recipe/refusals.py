"""What can be refused before any model is asked."""

from __future__ import annotations

from pathlib import Path

from rasa_ft.engine.base import Engine
from rasa_ft.errors import UsageError
from rasa_ft.recipe.rows import formats
from rasa_ft.recipe.settings import STUDENT_TEMPLATE, PrepareSettings
from rasa_ft.yaml_source import did_you_mean


def check_before_work(settings: PrepareSettings, engine: Engine, out: Path) -> None:
    """
    Raises:
        UsageError: ``out`` is a folder with other things in it, the template does not fit the assistant, or a flow to
            hold out is unknown.
    """
    _check_template(settings, engine)
    _check_out(out)
    _check_holdout(settings, engine)


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


def _check_holdout(settings: PrepareSettings, engine: Engine) -> None:
    for flow in settings.holdout_flows:
        if flow not in engine.flows:
            raise UsageError(f"holdout_flows names an unknown flow '{flow}'.{did_you_mean(flow, engine.flows)}")
