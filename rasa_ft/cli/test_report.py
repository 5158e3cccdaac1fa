"""What ``rasa test e2e`` prints: failures first, tables after them, one line of summary at the end."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_suggestions import Suggested
from rasa_ft.e2e.coverage import FLOW_TARGET, TOTAL_TARGET, CoverageReport, SuiteCoverage, as_json
from rasa_ft.e2e.results import case_result
from rasa_ft.e2e.runner import CaseResult, Failure, SuiteResult, assertion_counts

_DIFF_STYLES = {"+": "green", "-": "red", "?": "yellow"}
# Without a terminal: wide enough that nothing of a table is cut.
_PLAIN_WIDTH = 160
_SHOWN_ERRORS = 3


def print_json(
    result: SuiteResult, measured: SuiteCoverage | None, project: Path, suggested: Suggested | None = None
) -> None:
    """Summary, one entry per case and, if measured, the coverage; the suggested tests, if there are any wanted."""
    counts = Counter(found.status for found in result.results)
    document = {
        "passed": counts["passed"],
        "failed": counts["failed"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "not_run": result.not_run,
        "not_run_cases": [case.id for case in result.left_out],
        "seconds": round(result.seconds, 3),
        "results": [{**case_result(found), "status": found.status} for found in result.results],
    }
    if measured is not None:
        document["coverage"] = as_json(measured, project)
    if suggested is not None:
        document["suggested_tests"] = suggested.as_json()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_report(result: SuiteResult, measured: SuiteCoverage | None, project: Path) -> None:
    """For people, on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for found in result.with_status("failed"):
        _print_failure(console, found)
    _print_errors(console, result.with_status("error"))
    console.print(_files_table(result))
    if counts := assertion_counts(result.results):
        console.print(_assertion_table(counts))
    if measured is not None:
        _print_coverage(console, measured)
    _print_skipped(console, result.with_status("skipped"))
    for found in result.results:
        if found.status in ("failed", "error"):
            console.print(
                f"{'FAILED' if found.status == 'failed' else 'ERROR '} {escape(visible(found.case.id))}", soft_wrap=True
            )
    console.print(_summary(result))


def _print_failure(console: Console, found: CaseResult) -> None:
    failure = found.failure
    if failure is None:
        return
    console.rule(f"[bold]{escape(visible(found.case.name))}", align="left", style="red")
    console.print(Text(visible(f"{failure.location}: {failure.message}")), soft_wrap=True)
    for line in failure.diff:
        console.print(Text(visible(f"  {line}"), style=_DIFF_STYLES.get(line[:1], "")), soft_wrap=True)
    console.print()


def _print_errors(console: Console, errors: tuple[CaseResult, ...]) -> None:
    """Cases that could not be judged, those with the same reason together."""
    by_message: defaultdict[str, list[Failure]] = defaultdict(list)
    for found in errors:
        if found.failure is not None:
            by_message[found.failure.message].append(found.failure)
    for message, failures in by_message.items():
        number = f"{len(failures)} cases" if len(failures) > 1 else "1 case"
        places = ", ".join(str(failure.location) for failure in failures[:_SHOWN_ERRORS])
        more = f" and {len(failures) - _SHOWN_ERRORS} more" if len(failures) > _SHOWN_ERRORS else ""
        console.print(Text(visible(f"{number} could not be judged: {message}"), style="yellow"), soft_wrap=True)
        console.print(Text(f"  at {places}{more}\n"), soft_wrap=True)


def _print_skipped(console: Console, skipped: tuple[CaseResult, ...]) -> None:
    for found in skipped:
        console.print(Text(visible(f"SKIPPED {found.case.id}"), style="yellow"), soft_wrap=True)
        console.print(Text(visible(f"  {found.skipped}")), soft_wrap=True)


def _files_table(result: SuiteResult) -> Table:
    table = Table("tests", title="E2E tests", title_justify="left")
    for column in ("passed", "failed", "errors", "skipped", "user turns"):
        table.add_column(column, justify="right")
    by_file: defaultdict[str, list[CaseResult]] = defaultdict(list)
    for found in result.results:
        by_file[str(found.case.file)].append(found)
    for file, results in by_file.items():
        table.add_row(escape(file), *_counts(results))
    if len(by_file) > 1:
        table.add_section()
        table.add_row("total", *_counts(result.results), style="bold")
    return table


def _counts(results: list[CaseResult] | tuple[CaseResult, ...]) -> list[str]:
    counts = Counter(found.status for found in results)
    turns = sum(len(found.turns) for found in results)
    failed = f"[red]{counts['failed']}" if counts["failed"] else "0"
    errors = f"[yellow]{counts['error']}" if counts["error"] else "0"
    return [str(counts["passed"]), failed, errors, str(counts["skipped"]), str(turns)]


def _assertion_table(counts: dict[str, tuple[int, int]]) -> Table:
    table = Table("assertion", title="Assertions", title_justify="left")
    for column in ("passed", "failed", "accuracy"):
        table.add_column(column, justify="right")
    for kind, (passed, failed) in counts.items():
        table.add_row(kind, str(passed), str(failed), f"{100 * passed / (passed + failed):.1f}%")
    return table


def _print_coverage(console: Console, measured: SuiteCoverage) -> None:
    reports = {"passed": measured.passed, "failed": measured.failed}
    shown = {name: report for name, report in reports.items() if report.flows}
    if len(shown) == len(reports):
        shown["passed and failed"] = measured.both
    for name, report in shown.items():
        console.print(_coverage_table(f"Steps visited by {name} tests", report))
    if measured.unused_commands:
        console.print(Text(f"No test leads to: {', '.join(measured.unused_commands)}.", style="yellow"))


def _coverage_table(title: str, report: CoverageReport) -> Table:
    table = Table("flow", title=title, title_justify="left")
    for column in ("coverage", "steps", "missing"):
        table.add_column(column, justify="right")
    table.add_column("missing steps (lines)")
    for flow in report.flows:
        missing = ", ".join(f"{step.id} ({step.location.line})" for step in flow.missing)
        table.add_row(
            flow.flow.id,
            _percent(flow.percent, FLOW_TARGET),
            str(len(flow.steps)),
            str(len(flow.missing)),
            escape(missing),
        )
    table.add_section()
    target = f"target: {TOTAL_TARGET:.0f}% of all steps, {FLOW_TARGET:.0f}% of each flow"
    table.add_row("total", _percent(report.percent, TOTAL_TARGET), str(report.steps), str(report.missing), target)
    return table


def _percent(value: float, target: float) -> str:
    return f"[{'green' if value >= target else 'red'}]{value:.2f}%"


def outcome_parts(statuses: Iterable[str], not_run: int) -> list[str]:
    """How many cases ended in which way, in words; what did not occur is left out, but for failed and passed."""
    counts = Counter(statuses)
    parts = [f"{counts['failed']} failed", f"{counts['passed']} passed"]
    if counts["error"]:
        parts.insert(1, f"{counts['error']} could not be judged")
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped")
    if not_run:
        parts.append(f"{not_run} not run")
    return parts


def _summary(result: SuiteResult) -> Text:
    parts = outcome_parts([found.status for found in result.results], result.not_run)
    style = "bold green" if result.all_passed else "bold red"
    return Text(f"{', '.join(parts)} in {result.seconds:.1f} s", style=style)
