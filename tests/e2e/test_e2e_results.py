from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm.commands import CannotHandle, SetSlot, StartFlow
from rasa_ft.calm.flows.model import END, ActionStep, Branch, Flow
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.coverage import COLUMNS
from rasa_ft.e2e.results import write_coverage, write_results
from rasa_ft.e2e.runner import SuiteResult, run_suite
from rasa_ft.errors import Location
from rasa_ft.yaml_source import load_yaml


def flow_of(project: Path) -> Flow:
    place = Location(project / "data/flows.yml", 4, 5)
    steps = [ActionStep(name, (Branch(None, END),), place, action=f"utter_{name}") for name in ("a", "b")]
    first = ActionStep("a", (Branch("slots.x", "b"), Branch(None, END)), place, action="utter_a")
    return Flow("greet", "saying hello", "", (first, steps[1]), place)


def run(tmp_path: Path, **script: str) -> SuiteResult:
    """Cases named after their outcome; ``script`` maps a case to its steps."""
    cases = "".join(f"  - test_case: {name}\n    steps: [{steps}]\n" for name, steps in script.items())
    (tmp_path / "t.yml").write_text(f"test_cases:\n{cases}")
    engine = ScriptedEngine(
        {"hi": (bot("Hi", "utter_a", flow_id="greet", step_id="a"),), "llm": "503"},
        commands={"hi": (StartFlow("greet"), SetSlot("x", 1)), "odd": (CannotHandle(),)},
    )
    return asyncio.run(run_suite(engine, load_suite(tmp_path / "t.yml")))


def rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8") as stream:
        return list(csv.reader(stream))


MIXED = {"good": "{user: hi}", "bad": "{user: odd}, {bot: x}", "unknown": "{user: llm}"}


def test_coverage_folder(tmp_path: Path) -> None:
    project, out = tmp_path / "bot", tmp_path / "out"
    flow = flow_of(project)
    measured = write_coverage(out, run(tmp_path, **MIXED), {flow.id: flow}, project)
    assert sorted(file.name for file in out.iterdir()) == [
        "commands_histogram.csv",
        "commands_histogram_for_failed_tests.png",
        "commands_histogram_for_passed_tests.png",
        "coverage.html",
        "coverage.json",
        "coverage_report_for_all_tests.csv",
        "coverage_report_for_failed_tests.csv",
        "coverage_report_for_passed_tests.csv",
        "errored.yml",
        "failed.yml",
        "passed.yml",
    ]
    assert rows(out / "coverage_report_for_passed_tests.csv") == [
        list(COLUMNS),
        ["data/flows.yml::saying hello", "50.0", "2", "1", "[4-5]"],
        ["Total", "50.00%", "2", "1", ""],
    ]
    assert rows(out / "coverage_report_for_failed_tests.csv")[-1] == ["Total", "0.00%", "2", "2", ""]
    counts = {row[0]: row[1:] for row in rows(out / "commands_histogram.csv")}
    assert counts["Command"] == ["Passed", "Failed", "All"]
    assert counts["start flow"] == ["1", "0", "1"]
    assert counts["cannot handle"] == ["0", "1", "1"]
    assert counts["clarify"] == ["0", "0", "0"]
    assert measured.unused_commands == ("cancel flow", "chitchat", "clarify", "knowledge", "skip question")
    for status, name in (("passed", "good"), ("failed", "bad"), ("errored", "unknown")):
        assert [case.name for case in load_suite(out / f"{status}.yml").cases] == [name]
    document = json.loads((out / "coverage.json").read_text())
    assert (out / document["project"]).resolve() == project.resolve()
    assert document["passed"]["flows"]["greet"]["missing"] == {"b": "data/flows.yml:4"}


def test_a_second_run_leaves_nothing_stale(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_coverage(out, run(tmp_path, **MIXED), {}, tmp_path)
    (out / "notes.txt").write_text("mine")
    write_coverage(out, run(tmp_path, good="{user: hi}"), {}, tmp_path)
    assert {file.name for file in out.iterdir()} & {"failed.yml", "errored.yml", "notes.txt"} == {"notes.txt"}
    assert rows(out / "coverage_report_for_failed_tests.csv") == [list(COLUMNS)]


def test_plots_are_pictures(tmp_path: Path) -> None:
    import matplotlib.image

    write_coverage(tmp_path / "out", run(tmp_path, **MIXED), {}, tmp_path)
    for status in ("passed", "failed"):
        picture = matplotlib.image.imread(tmp_path / f"out/commands_histogram_for_{status}_tests.png")
        height, width = picture.shape[:2]
        assert width == 1200 and height > 500


def test_results_files(tmp_path: Path) -> None:
    asserts = "{user: hi, assertions: [{bot_uttered: {text_matches: H}}, {action_executed: x}]}"
    passed, failed = write_results(tmp_path / "r/res.yml", run(tmp_path, **MIXED, asserted=asserts))
    assert (passed.name, failed.name) == ("res_passed.yml", "res_failed.yml")
    (good,) = load_yaml(passed)["test_results"]
    assert good == {"name": f"{tmp_path}/t.yml::good", "pass_status": True, "expected_steps": [{"user": "hi"}]}
    bad, unknown, asserted = load_yaml(failed)["test_results"]
    assert bad["error_path"] == f"{tmp_path}/t.yml:5"
    assert bad["difference"][-1] == '+ bot: "x"'
    assert unknown["error"] is True and unknown["message"] == "503"
    assert asserted["assertion_failure"]["assertion"] == {"type": "action_executed", "action_executed": "x"}
    assert asserted["assertion_failure"]["actual_events_transcript"][-1] == '- bot: utter_a "Hi"'


def test_results_file_may_be_a_folder(tmp_path: Path) -> None:
    passed, failed = write_results(tmp_path, run(tmp_path, good="{user: hi}"))
    assert (passed.name, failed.name) == ("e2e_results_passed.yml", "e2e_results_failed.yml")
    assert load_yaml(failed) == {"test_results": []}
