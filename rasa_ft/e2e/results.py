"""Result files of a test run: the coverage folder and the results file of ``rasa test e2e``."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa_ft.calm.flows.model import Flow
from rasa_ft.e2e.assertions import as_yaml
from rasa_ft.e2e.coverage import COLUMNS, CoverageReport, SuiteCoverage, as_json, measure, table
from rasa_ft.e2e.report.page import render_coverage
from rasa_ft.e2e.runner import CaseResult, Status, SuiteResult
from rasa_ft.e2e.writing import step_as_yaml, write_suite
from rasa_ft.files import fresh_folder, write_bytes, write_json, write_text
from rasa_ft.yaml_source import dump_yaml

_BARS = {"passed": "#2a7f62", "failed": "#b5483a"}


def write_coverage(
    out: Path, result: SuiteResult, flows: Mapping[str, Flow], project: Path | None = None
) -> SuiteCoverage:
    """Write the coverage folder; files of an earlier run that this one does not have are removed.

    ``coverage_report_for_{passed,failed,all}_tests.csv``, ``coverage.json``, ``coverage.html``,
    ``commands_histogram.csv``, ``commands_histogram_for_{passed,failed}_tests.png``, and the cases themselves by
    outcome in ``passed.yml``, ``failed.yml`` and ``errored.yml``, each only if there is such a case.

    Args:
        flows: all flows of the assistant.
        project: the assistant's folder: flow files are named relative to it, and coverage.json remembers it.
    """
    measured = measure(result, flows)
    reports = {"passed": measured.passed, "failed": measured.failed, "all": measured.both}
    for name, report in reports.items():
        write_text(out / f"coverage_report_for_{name}_tests.csv", coverage_csv(report, project))
    remembered = {"project": os.path.relpath(project, out)} if project is not None else {}
    write_json(out / "coverage.json", {**remembered, **as_json(measured, project)})
    write_text(out / "coverage.html", render_coverage(measured, title=_title(project), root=project))
    write_text(out / "commands_histogram.csv", _histogram_csv(measured))
    _write_histogram(out, "passed", len(result.with_status("passed")), measured.passed_commands)
    _write_histogram(out, "failed", len(result.with_status("failed")), measured.failed_commands)
    write_cases_by_status(out, result)
    return measured


def _title(project: Path | None) -> str:
    return project.resolve().name if project is not None else "Assistant"


def _write_histogram(out: Path, status: str, cases: int, counts: Mapping[str, int]) -> None:
    title = f"Commands in {cases} {status} test{'' if cases == 1 else 's'}"
    write_bytes(out / f"commands_histogram_for_{status}_tests.png", _histogram_png(title, counts, _BARS[status]))


def write_cases_by_status(out: Path, result: SuiteResult) -> None:
    """``passed.yml``, ``failed.yml`` and ``errored.yml``, each only if there is such a case; skipped ones in none."""
    files: dict[str, Status] = {"passed.yml": "passed", "failed.yml": "failed", "errored.yml": "error"}
    for name, status in files.items():
        cases = [found.case for found in result.with_status(status)]
        if cases:
            write_suite(cases, out / name)
        else:
            (out / name).unlink(missing_ok=True)


def coverage_csv(report: CoverageReport, root: Path | None = None) -> str:
    """The five columns, a row per flow and a total; only the header if nothing was played."""
    rows: list[Sequence[Any]] = [COLUMNS, *table(report, root)]
    if report.flows:
        rows.append(("Total", f"{report.percent:.2f}%", report.steps, report.missing, ""))
    return _csv(rows)


def _histogram_csv(measured: SuiteCoverage) -> str:
    passed, failed = measured.passed_commands, measured.failed_commands
    kinds = sorted({*passed, *failed})
    rows = [
        (kind, passed.get(kind, 0), failed.get(kind, 0), passed.get(kind, 0) + failed.get(kind, 0)) for kind in kinds
    ]
    return _csv([("Command", "Passed", "Failed", "All"), *rows])


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _histogram_png(title: str, counts: Mapping[str, int], color: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 0.42 * len(counts) + 1.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = list(counts)
    bars = axes.barh(kinds, [counts[kind] for kind in kinds], color=color, height=0.62)
    axes.bar_label(bars, padding=4, color="#333333")
    axes.invert_yaxis()
    axes.set_xlim(0, max(1, *counts.values()) * 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("number of commands")
    axes.set_title(title, loc="left", fontweight="bold", pad=12)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


# --- the results file ------------------------------------------------------------------------------------------------


def write_results(path: Path, result: SuiteResult) -> tuple[Path, Path]:
    """Write ``<stem>_passed.yml`` and ``<stem>_failed.yml`` beside ``path`` (in it as ``e2e_results_…``, for a folder).

    Cases that could not be judged stand among the failed ones with ``error: true``; skipped ones in neither file.

    Returns:
        Both paths.
    """
    folder, stem = (path, "e2e_results") if path.is_dir() or not path.suffix else (path.parent, path.stem)
    passed, failed = folder / f"{stem}_passed.yml", folder / f"{stem}_failed.yml"
    write_text(passed, _results_yaml([found for found in result.results if found.passed]))
    write_text(failed, _results_yaml([found for found in result.results if found.status in ("failed", "error")]))
    return passed, failed


def write_failed_tests(path: Path, result: SuiteResult, stamp: str) -> Path | None:
    """Write the cases that did not pass so that they can be run again, with fixtures, metadata and stubs.

    They stand in the folder ``<stem>_<stamp>`` beside ``path`` (in it as ``e2e_failed_tests_…``, for a folder), one
    file for each file that they came from.

    Returns:
        The folder; None if every case passed, and nothing was written.
    """
    cases = [found.case for found in result.results if found.status in ("failed", "error")]
    if not cases:
        return None
    folder, stem = (path, "e2e_failed_tests") if path.is_dir() or not path.suffix else (path.parent, path.stem)
    with fresh_folder(folder / f"{stem}_{stamp}") as draft:
        write_suite(cases, draft)
    return folder / f"{stem}_{stamp}"


def _results_yaml(results: Sequence[CaseResult]) -> str:
    return dump_yaml({"test_results": [case_result(found) for found in results]})


def case_result(result: CaseResult) -> dict[str, Any]:
    """One case's outcome as plain data."""
    found: dict[str, Any] = {
        "name": result.case.id,
        "pass_status": result.passed,
        "expected_steps": [step_as_yaml(step) for step in result.case.steps],
    }
    if result.skipped is not None:
        found["skipped"] = result.skipped
    failure = result.failure
    if failure is None:
        return found
    found |= {"error_path": str(failure.location), "error": result.status == "error", "message": failure.message}
    if failure.assertion is not None and result.status == "failed":
        found["assertion_failure"] = {
            "assertion": {"type": failure.assertion.key, **as_yaml(failure.assertion)},
            "error_message": failure.message,
            "actual_events_transcript": [line for line in failure.diff if line[0] not in "+?"],
        }
    elif failure.diff:
        found["difference"] = list(failure.diff)
    return found
