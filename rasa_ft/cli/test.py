"""``rasa test e2e``: end-to-end tests, with a coverage report."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_options import test_options

if TYPE_CHECKING:
    from rasa_ft.e2e.model import Suite
    from rasa_ft.e2e.runner import SuiteResult
    from rasa_ft.engine.base import Engine

DEFAULT_TESTS = "e2e_tests"
DEFAULT_COVERAGE = "e2e_coverage_results"
DEFAULT_RESULTS = "tests/e2e_results.yml"
DEFAULT_FAILED = "tests/e2e_failed_tests.yml"


@click.command()
@click.argument("path", default=DEFAULT_TESTS)
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
def e2e(
    path: str,
    coverage_report: bool,
    coverage_output_path: Path,
    require_coverage: bool,
    min_coverage: float | None,
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

    PATH is a test file, a folder of them, or either with `::` and the name of a case (default: e2e_tests). Exit code 0:
    all passed; 1: some did not; 3: coverage below the targets. Tests that need a part of the assistant which is not run
    here (NLU, forms, agents …) are skipped, and count neither way.
    """
    from rasa_ft.cli import test_report
    from rasa_ft.cli.load_warnings import show_warnings
    from rasa_ft.cli.project import find_project
    from rasa_ft.e2e.cases import load_suite
    from rasa_ft.e2e.coverage import unmet_targets
    from rasa_ft.e2e.results import write_coverage
    from rasa_ft.engine.embedded import load_engine
    from rasa_ft.errors import GateNotMet

    suite = load_suite(path)
    for warning in suite.warnings:
        click.echo(f"Warning: {visible(warning)}", err=True)
    engine = load_engine(find_project(path, project, model), endpoints=endpoints)
    show_warnings(engine.assistant)
    result = _run(engine, suite, concurrency=concurrency, fail_fast=fail_fast)
    measured = None
    if coverage_report or require_coverage or min_coverage is not None:
        measured = write_coverage(coverage_output_path, result, engine.flows, engine.project)
    written = _write(result, results=e2e_results, failed_tests=e2e_failed_tests, junit=junit_xml)
    if as_json:
        test_report.print_json(result, measured, engine.project)
    else:
        test_report.print_report(result, measured, engine.project)
    for place in [*written, *([coverage_output_path] if measured is not None else [])]:
        click.echo(f"Written: {place}", err=True)
    if not result.all_passed:
        return 1
    if measured is not None:
        unmet = unmet_targets(measured.passed, targets=require_coverage, minimum=min_coverage)
        if unmet:
            raise GateNotMet(" ".join(unmet), hint=f"See {coverage_output_path / 'coverage.html'}.")
    return 0


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


def _run(engine: Engine, suite: Suite, *, concurrency: int, fail_fast: bool) -> SuiteResult:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rasa_ft.e2e.runner import CaseResult, run_suite

    counts = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    console = Console(stderr=True)
    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[state]}"), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("playing", total=len(suite.cases), state="")

        def show(result: CaseResult) -> None:
            counts[result.status] += 1
            bar.update(task, advance=1, state=", ".join(f"{n} {name}" for name, n in counts.items() if n))

        return asyncio.run(run_suite(engine, suite, concurrency=concurrency, fail_fast=fail_fast, on_progress=show))
