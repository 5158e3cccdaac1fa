"""``rasa test e2e``: end-to-end tests, with a coverage report."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rasa_ft.cli.rasa_options import rasa_options
from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_options import test_options

if TYPE_CHECKING:
    from rasa_ft.e2e.model import Suite
    from rasa_ft.e2e.runner import SuiteResult
    from rasa_ft.engine.base import Engine
    from rasa_ft.understanding.judge import Judges

DEFAULT_TESTS = "e2e_tests"
RASA_DEFAULT_TESTS = "tests/e2e_test_cases.yml"
DEFAULT_COVERAGE = "e2e_coverage_results"
DEFAULT_RESULTS = "tests/e2e_results.yml"
DEFAULT_FAILED = "tests/e2e_failed_tests.yml"


@click.command()
@click.argument("path", required=False)
@click.option("--coverage-report", is_flag=True, help="Measure which steps of the flows the tests visit.")
@click.option(
    "--coverage-output-path",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_COVERAGE,
    show_default=True,
    help="Where the coverage report goes.",
)
@click.option(
    "--require-coverage", is_flag=True, help="Exit with 3 if the passed tests miss the targets. Implies the report."
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Exit with 3 if the passed tests visit less of all steps. Implies the report.",
)
@click.option(
    "--suggest-tests",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a test for every step and kind of command that no test leads to, up to the words of the user, "
    "which are yours to write.",
)
@click.option(
    "-o",
    "--e2e-results",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=DEFAULT_RESULTS,
    help=f"Write results next to this file.  [without a value: {DEFAULT_RESULTS}]",
)
@click.option(
    "-f",
    "--e2e-failed-tests",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=DEFAULT_FAILED,
    help=f"Write the cases that did not pass, to be run again, into a folder named after this and the time.  "
    f"[without a value: {DEFAULT_FAILED}]",
)
@click.option(
    "--junit-xml", type=click.Path(path_type=Path, dir_okay=False), help="Write results as JUnit XML to this file."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first case that does not pass.")
@test_options
@rasa_options
def e2e(
    path: str | None,
    coverage_report: bool,
    coverage_output_path: Path,
    require_coverage: bool,
    min_coverage: float | None,
    suggest_tests: Path | None,
    e2e_results: Path | None,
    e2e_failed_tests: Path | None,
    junit_xml: Path | None,
    fail_fast: bool,
    endpoints: Path | None,
    project: Path | None,
    model: Path | None,
    concurrency: int,
    as_json: bool,
) -> int:
    """Play the conversations in PATH and check what the assistant does.

    PATH is a test file, a folder of them, or either with `::` and the name of a case (default: e2e_tests, else
    tests/e2e_test_cases.yml). Exit code 0: all passed; 1: some did not; 3: coverage below the targets. Tests that need
    a part of the assistant which is not run here (NLU, forms, agents …) are skipped, and count neither way. Assertions
    on generated responses are judged by the model that `llm_judge` in the nearest conftest.yml names.
    """
    from rasa_ft.cli import test_report, test_suggestions
    from rasa_ft.cli.load_warnings import show_warnings
    from rasa_ft.cli.project import find_project
    from rasa_ft.e2e.cases import load_suite
    from rasa_ft.e2e.coverage import unmet_targets
    from rasa_ft.e2e.results import write_coverage
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.engine.health import check_action_server
    from rasa_ft.errors import GateNotMet

    path = path or _default_tests()
    suite = load_suite(path)
    for warning in suite.warnings:
        click.echo(f"Warning: {visible(warning)}", err=True)
    engine = load_engine(find_project(path, project, model), endpoints=endpoints)
    show_warnings(engine.assistant)
    if any(case.stubs is None for case in suite.cases):
        check_action_server(engine)
    test_suggestions.check_folder(suggest_tests, engine)
    judges = _judges(suite, engine.project, endpoints)
    result = _run(engine, suite, judges, concurrency=concurrency, fail_fast=fail_fast)
    measured = None
    if coverage_report or require_coverage or min_coverage is not None:
        measured = write_coverage(coverage_output_path, result, engine.flows, engine.project)
    written = _write(result, results=e2e_results, failed_tests=e2e_failed_tests, junit=junit_xml)
    suggested = test_suggestions.write(suggest_tests, result, engine)
    if as_json:
        test_report.print_json(result, measured, engine.project, suggested)
    else:
        test_report.print_report(result, measured, engine.project)
        test_suggestions.show(suggested)
    for place in [*written, *([coverage_output_path] if measured is not None else [])]:
        click.echo(f"Written: {place}", err=True)
    if not result.all_passed:
        return 1
    if measured is not None:
        unmet = unmet_targets(measured.passed, targets=require_coverage, minimum=min_coverage)
        if unmet:
            raise GateNotMet(" ".join(unmet), hint=f"See {coverage_output_path / 'coverage.html'}.")
    return 0


def _default_tests() -> str:
    other = Path(RASA_DEFAULT_TESTS)
    return RASA_DEFAULT_TESTS if other.is_file() and not Path(DEFAULT_TESTS).exists() else DEFAULT_TESTS


def _write(result: SuiteResult, *, results: Path | None, failed_tests: Path | None, junit: Path | None) -> list[Path]:
    """Write the result files that were asked for; gives what was written."""
    from rasa_ft.e2e.junit import write_junit
    from rasa_ft.e2e.results import write_failed_tests, write_results

    written: list[Path] = []
    if results is not None:
        written.extend(write_results(results, result))
    if failed_tests is not None:
        folder = write_failed_tests(failed_tests, result, datetime.now().strftime("%Y%m%d_%H%M%S"))
        written.extend([folder] if folder is not None else [])
    if junit is not None:
        write_junit(junit, result)
        written.append(junit)
    return written


def _judges(suite: Suite, project: Path, endpoints: Path | None) -> Judges | None:
    """Who judges generated responses; None, with nothing of it loaded: no test wants it."""
    if not any(case.judged_assertions for case in suite.cases):
        return None
    from rasa_ft.llm.store import ANSWERS, Store
    from rasa_ft.understanding.judge import load_judges

    judges = load_judges(suite, project=project, endpoints=endpoints, answers=Store(ANSWERS))
    for warning in judges.warnings:
        click.echo(f"Warning: {visible(warning)}", err=True)
    return judges


def _run(engine: Engine, suite: Suite, judges: Judges | None, *, concurrency: int, fail_fast: bool) -> SuiteResult:
    from rasa_ft.cli.test_progress import progress_bar
    from rasa_ft.e2e.runner import CaseResult, run_suite
    from rasa_ft.llm.client import aclose

    with progress_bar(len(suite.cases)) as ended:

        def show(result: CaseResult) -> None:
            ended(result.status)

        async def play() -> SuiteResult:
            try:
                return await run_suite(
                    engine, suite, judges=judges, concurrency=concurrency, fail_fast=fail_fast, on_progress=show
                )
            finally:
                await aclose(judges)

        return asyncio.run(play())
