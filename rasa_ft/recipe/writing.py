"""The output folder of data preparation, but for its data card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.cases import Suite, write_suite
from rasa_ft.e2e.du_cases import write_du_suite
from rasa_ft.engine.base import Engine
from rasa_ft.files import write_text
from rasa_ft.recipe.conversations import RephrasedConversation, is_gold
from rasa_ft.recipe.labelling.labels import Labels
from rasa_ft.recipe.labelling.review import REVIEW, open_entries, write_review
from rasa_ft.recipe.rows import formats
from rasa_ft.recipe.rows.function_calling import command_tools
from rasa_ft.recipe.rows.making import Rows
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.splitting.split import Split
from rasa_ft.yaml_source import dump_yaml


def write_stages(
    out: Path, settings: PrepareSettings, engine: Engine, conversations: Sequence[RephrasedConversation], labels: Labels
) -> None:
    """For people: the labels, the rephrasings, and what waits for a decision."""
    formats.write_annotations(out, [done.conversation for done in conversations], engine.codec)
    if settings.num_rephrases:
        formats.write_rephrasings(out, conversations, engine.codec)
    write_review(out / REVIEW, open_entries(conversations), labels.review, engine.codec)


def write_data(out: Path, settings: PrepareSettings, engine: Engine, suite: Suite, parts: Split, rows: Rows) -> None:
    """For training and evaluation: rows, tests of both parts, and the template of the prompts."""
    points = {"train": rows.train, "val": rows.validation}
    calling = formats.FunctionCalling(engine.codec, command_tools(engine.flows, engine.slots))
    formats.write_rows(out, points, parts.groups, settings.output_format, calling)
    _write_tests(out, suite, parts, engine.codec)
    shutil.copyfile(settings.student_prompt, out / formats.STUDENT_PROMPT)


def write_records(out: Path, params: dict[str, Any], summary: dict[str, Any]) -> None:
    """What decided the result, and what it is in numbers."""
    write_text(out / formats.PARAMS, dump_yaml(params))
    write_text(out / formats.SUMMARY, dump_yaml(summary))


def _write_tests(draft: Path, suite: Suite, parts: Split, codec: Codec) -> None:
    for name, conversations in (("train", parts.train), ("validation", parts.validation)):
        keys = {conversation.key for conversation in conversations}
        cases = [case for case in suite.cases if case.key in keys]
        gold, others = [case for case in cases if is_gold(case)], [case for case in cases if not is_gold(case)]
        if others:
            write_suite(suite.subset(others), draft / formats.E2E_TESTS / f"{name}.yml")
        if gold:
            write_du_suite(gold, draft / formats.DU_TESTS / f"{name}.yml", codec)
