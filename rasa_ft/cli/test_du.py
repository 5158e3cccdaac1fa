"""``rasa test du``: dialogue understanding tests, which judge the commands of each message in its written history."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_options import test_options

if TYPE_CHECKING:
    from rasa_ft.e2e.model import Suite
    from rasa_ft.engine.embedded import EmbeddedEngine

DEFAULT_TESTS = "dialogue_understanding_tests"


@click.command()
@click.argument("path", default=DEFAULT_TESTS)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the results go.  [default: dialogue_understanding_test_<time>.yml]",
)
@click.option("--no-output", is_flag=True, help="Write no results file.")
@click.option("--output-prompt", is_flag=True, help="With the prompts of failed steps in the results.")
@click.option("--from-e2e", is_flag=True, help="PATH holds E2E tests: write those that pass as tests of this kind.")
@click.option("--out", type=click.Path(path_type=Path), help="Where they go: a new .yml file or folder.")
@test_options
def du(
    path: str,
    output_file: Path | None,
    no_output: bool,
    output_prompt: bool,
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

    With --from-e2e, PATH holds E2E tests; those that pass are written to --out with the commands that were observed.
    Review them before you rely on them.
    """
    from rasa_ft.cli.load_warnings import show_warnings
    from rasa_ft.cli.project import find_project
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.errors import UsageError

    if from_e2e != (out is not None):
        raise UsageError("--from-e2e and --out belong together.", hint="rasa test du --from-e2e E2E_TESTS --out FILE")
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already.", hint="Name a new file: reviewed tests are not overwritten.")
    if not Path(path.partition("::")[0]).exists():
        from rasa_ft.errors import DataError

        raise DataError(f"{path} does not exist.", hint="Give a test file, a folder of them, or FILE::case name.")
    engine = load_engine(find_project(path, project, model), endpoints=endpoints)
    show_warnings(engine.assistant)
    if out is not None:
        return _convert(engine, path, out, concurrency)
    if no_output:
        target = None
    else:
        target = output_file or Path(f"dialogue_understanding_test_{datetime.now():%Y%m%d-%H%M%S}.yml")
    return _test(engine, path, target, concurrency, prompts=output_prompt, as_json=as_json)


def _test(
    engine: EmbeddedEngine, path: str, target: Path | None, concurrency: int, *, prompts: bool, as_json: bool
) -> int:
    from rasa_ft.cli.test_du_report import print_report
    from rasa_ft.e2e.du_cases import Vocabulary, load_du_suite
    from rasa_ft.e2e.du_results import du_document
    from rasa_ft.e2e.du_runner import run_du_suite
    from rasa_ft.files import write_text
    from rasa_ft.yaml_source import dump_yaml

    suite = load_du_suite(path, Vocabulary(engine.codec, frozenset(engine.assistant.domain.responses)))
    _warn(suite)
    result = asyncio.run(run_du_suite(engine, suite, concurrency=concurrency))
    document = du_document(
        result, engine.codec, component=engine.generator.config.name, config=_config(engine), prompts=prompts
    )
    if target is not None:
        write_text(target, dump_yaml(document))
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print_report(result, engine.codec)
    if target is not None:
        click.echo(f"Written: {target}", err=True)
    return 0 if result.all_passed else 1


def _convert(engine: EmbeddedEngine, path: str, out: Path, concurrency: int) -> int:
    from rasa_ft.e2e.cases import load_suite
    from rasa_ft.e2e.du_cases import write_du_suite
    from rasa_ft.e2e.du_conversion import du_case
    from rasa_ft.e2e.runner import run_suite

    suite = load_suite(path)
    _warn(suite)
    result = asyncio.run(run_suite(engine, suite, concurrency=concurrency))
    passed = result.with_status("passed")
    for found in result.results:
        if not found.passed:
            reason = found.skipped or (found.failure.message if found.failure else found.status)
            click.echo(f"Left out: {visible(found.case.id)}: {visible(reason)}", err=True)
    for file in write_du_suite([du_case(found, engine.codec) for found in passed], out, engine.codec):
        click.echo(f"Written: {file}", err=True)
    click.echo(f"{len(passed)} of {len(result.results)} tests converted. Review their commands.", err=True)
    return 0 if result.all_passed and passed else 1


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
