"""``rasa test du``: dialogue understanding tests, which judge the commands of each message in its written history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.rasa_options import rasa_options
from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_options import test_options

if TYPE_CHECKING:
    from rasa_ft.calm.dsl import Codec
    from rasa_ft.e2e.du_cases import Vocabulary
    from rasa_ft.e2e.du_runner import DuSuiteResult
    from rasa_ft.e2e.model import Suite
    from rasa_ft.e2e.runner import CaseResult
    from rasa_ft.engine.embedded import EmbeddedEngine

DEFAULT_TESTS = "dialogue_understanding_tests"
_SEVERAL_VALUES = ("--additional-commands", "--remove-default-commands")


class _SeveralValues(click.Command):
    """Takes ``--option a b`` for ``--option a --option b``, as Rasa's options of that kind are written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_repeated(args)))


def _repeated(words: Sequence[str]) -> Iterator[str]:
    option = None
    for index, word in enumerate(words):
        if word.startswith("-"):
            option = word if word in _SEVERAL_VALUES else None
            yield word
        elif option is None or words[index - 1] == option:
            yield word
        else:
            yield from (option, word)


@dataclass(frozen=True)
class _Run:
    """What is asked of a run of tests."""

    results: Path | None
    junit: Path | None
    prompts: bool
    fail_fast: bool
    concurrency: int
    as_json: bool


@click.command(cls=_SeveralValues)
@click.argument("path", default=DEFAULT_TESTS)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the results go.  [default: dialogue_understanding_test_<time>.yml]",
)
@click.option("--no-output", is_flag=True, help="Write no results file.")
@click.option("--output-prompt", is_flag=True, help="With the prompts and answers of failed steps in the results.")
@click.option(
    "--junit-xml", type=click.Path(path_type=Path, dir_okay=False), help="Write results as JUnit XML to this file."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first case that does not pass.")
@click.option(
    "--remove-default-commands",
    "removed",
    multiple=True,
    metavar="NAME …",
    help="Commands that the assistant's generator does not have, such as HumanHandoffCommand.",
)
@click.option(
    "--additional-commands",
    "additional",
    multiple=True,
    metavar="CLASS …",
    help="Commands that it has besides; only those that are known anyway can be used.",
)
@click.option("--from-e2e", is_flag=True, help="PATH holds E2E tests: write those that pass as tests of this kind.")
@click.option("--out", type=click.Path(path_type=Path), help="Where they go: a new .yml file or folder.")
@test_options
@rasa_options
def du(
    path: str,
    output_file: Path | None,
    no_output: bool,
    output_prompt: bool,
    junit_xml: Path | None,
    fail_fast: bool,
    removed: tuple[str, ...],
    additional: tuple[str, ...],
    from_e2e: bool,
    out: Path | None,
    endpoints: Path | None,
    project: Path | None,
    model: Path | None,
    concurrency: int,
    as_json: bool,
) -> int:
    """Check which commands each message in PATH is understood as.

    PATH is a test file, a folder of them, or either with `::` and the name of a case (default:
    dialogue_understanding_tests). Exit code 0: all passed; 1: some did not.

    With --from-e2e, PATH holds E2E tests. Those that pass are written to --out with the commands that were observed:
    review them before you rely on them. Those that fail go to a second file or folder, `…_to_review`. Exit code 0:
    all were converted.
    """
    from rasa_ft.cli.load_warnings import show_warnings
    from rasa_ft.cli.project import find_project
    from rasa_ft.e2e.du_cases import Vocabulary
    from rasa_ft.e2e.du_commands import chosen_commands
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.errors import DataError

    of_runs = {
        "--output-file": output_file,
        "--no-output": no_output,
        "--output-prompt": output_prompt,
        "--junit-xml": junit_xml,
        "--fail-fast": fail_fast,
    }
    _check_usage(from_e2e, out, [name for name, value in of_runs.items() if value])
    if not Path(path.partition("::")[0]).exists():
        raise DataError(f"{path} does not exist.", hint="Give a test file, a folder of them, or FILE::case name.")
    engine = load_engine(find_project(path, project, model), endpoints=endpoints)
    codec = chosen_commands(engine.codec, additional=additional, removed=removed)
    show_warnings(engine.assistant)
    vocabulary = Vocabulary(codec, frozenset(engine.assistant.domain.responses))
    if out is not None:
        return _convert(engine, vocabulary, path, out, concurrency, as_json=as_json)
    results = None if no_output else output_file or Path(f"dialogue_understanding_test_{_now()}.yml")
    return _test(engine, vocabulary, path, _Run(results, junit_xml, output_prompt, fail_fast, concurrency, as_json))


def _check_usage(from_e2e: bool, out: Path | None, of_runs: Sequence[str]) -> None:
    from rasa_ft.e2e.du_conversion import review_path
    from rasa_ft.errors import UsageError

    if from_e2e != (out is not None):
        raise UsageError("--from-e2e and --out belong together.", hint="rasa test du --from-e2e E2E_TESTS --out FILE")
    if from_e2e and of_runs:
        raise UsageError(f"--from-e2e runs no tests of this kind, so {of_runs[0]} means nothing with it.")
    if {"--output-file", "--no-output"} <= {*of_runs}:
        raise UsageError("--output-file and --no-output contradict each other.", hint="Give one of them.")
    for place in (out, review_path(out)) if out is not None else ():
        if place.exists():
            raise UsageError(f"{place} exists already.", hint="Name a new file: reviewed tests are not overwritten.")


def _now() -> str:
    return datetime.now().strftime("%Y%m%d-%H%M%S")


# --- running ---------------------------------------------------------------------------------------------------------


def _test(engine: EmbeddedEngine, vocabulary: Vocabulary, path: str, asked: _Run) -> int:
    from rasa_ft.cli.test_du_report import print_report
    from rasa_ft.cli.test_progress import progress_bar
    from rasa_ft.e2e.du_cases import load_du_suite
    from rasa_ft.e2e.du_results import du_document
    from rasa_ft.e2e.du_runner import DuResult, run_du_suite

    suite = load_du_suite(path, vocabulary)
    _warn(suite)
    codec, component = vocabulary.codec, engine.generator.config.name
    with progress_bar(len(suite.cases)) as ended:

        def show(found: DuResult) -> None:
            ended(found.status)

        result = asyncio.run(
            run_du_suite(
                engine,
                suite,
                codec=codec,
                concurrency=asked.concurrency,
                fail_fast=asked.fail_fast,
                on_progress=show,
            )
        )
    document = du_document(result, codec, component=component, config=_config(engine), prompts=asked.prompts)
    try:
        written = _write(document, result, codec, asked)
    finally:  # what was paid for is shown even if it cannot be written
        if asked.as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            print_report(result, codec, component)
    for place in written:
        click.echo(f"Written: {place}", err=True)
    return 0 if result.all_passed else 1


def _write(document: dict[str, Any], result: DuSuiteResult, codec: Codec, asked: _Run) -> list[Path]:
    from rasa_ft.e2e.du_junit import write_du_junit
    from rasa_ft.files import write_text
    from rasa_ft.yaml_source import dump_yaml

    if asked.results is not None:
        write_text(asked.results, dump_yaml(document))
    if asked.junit is not None:
        write_du_junit(asked.junit, result, codec)
    return [place for place in (asked.results, asked.junit) if place is not None]


# --- converting ------------------------------------------------------------------------------------------------------


def _convert(
    engine: EmbeddedEngine, vocabulary: Vocabulary, path: str, out: Path, concurrency: int, *, as_json: bool
) -> int:
    from rasa_ft.cli.test_progress import progress_bar
    from rasa_ft.e2e.cases import load_suite
    from rasa_ft.e2e.du_conversion import Conversion, convert, write_conversion
    from rasa_ft.e2e.runner import run_suite

    suite = load_suite(path)
    _warn(suite)
    with progress_bar(len(suite.cases)) as ended:

        def show(found: CaseResult) -> None:
            ended(found.status)

        async def play() -> Conversion:
            result = await run_suite(engine, suite, concurrency=concurrency, on_progress=show)
            return await convert(engine, result, vocabulary, concurrency=concurrency)

        conversion = asyncio.run(play())
    written = write_conversion(conversion, out, vocabulary)
    reasons = {
        "to review": {item.case.id: item.reason for item in conversion.to_review},
        "left out": {found.case.id: _reason(found) for found in conversion.left_out},
    }
    for what, cases in reasons.items():
        for case, reason in cases.items():
            click.echo(f"{what.capitalize()}: {visible(case)}: {visible(reason)}", err=True)
    for file in written:
        click.echo(f"Written: {file}", err=True)
    ready = [case.id for case in conversion.ready]
    click.echo(f"{len(ready)} of {len(suite.cases)} tests converted. Review their commands.", err=True)
    if as_json:
        document = {"converted": ready, **{what.replace(" ", "_"): cases for what, cases in reasons.items()}}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    return 0 if len(ready) == len(suite.cases) else 1


def _reason(found: CaseResult) -> str:
    return found.skipped or (found.failure.message if found.failure else found.status)


def _warn(suite: Suite) -> None:
    for warning in suite.warnings:
        click.echo(f"Warning: {visible(warning)}", err=True)


def _config(engine: EmbeddedEngine) -> dict[str, Any]:
    """What the command generator was, by names only: no addresses and no keys."""
    settings = engine.generator.config
    template = settings.prompt_template
    return {
        "name": settings.name,
        "syntax": settings.dsl_version,
        "model_group": settings.model_group,
        "prompt_template": template.name if template is not None else None,
        "flow_retrieval": settings.flow_retrieval.active,
    }
