"""Single rules of the E2E test format that no other file of tests is about."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.calm.events import Event, SlotSet
from rasa_ft.calm.flows.model import END, Branch, CollectStep, Flow
from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.e2e.results import write_coverage
from rasa_ft.e2e.runner import run_suite
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import load_yaml

CASE = "test_cases:\n- {test_case: a, fixtures: [f], steps: [{user: hi}]}\n"


def fixtures(file: Path, value: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"fixtures: [{{f: [{{x: {value}}}]}}]\n")


def test_the_conftest_file_of_another_tool_is_passed_over(tmp_path: Path) -> None:
    fixtures(tmp_path / "conftest.yml", "outer")
    fixtures(tmp_path / "eval/conftest.yml", "another tool's")
    (tmp_path / "eval/deep").mkdir()
    (tmp_path / "eval/deep/t.yml").write_text(CASE)
    assert load_suite(tmp_path / "eval").cases[0].fixtures == (("x", "another tool's"),)
    (tmp_path / "config.yml").write_text("")  # now `eval` is a folder of an assistant
    assert load_suite(tmp_path / "eval").cases[0].fixtures == (("x", "outer"),)


def test_one_conftest_file_for_each_folder(tmp_path: Path) -> None:
    fixtures(tmp_path / "conftest.yaml", "yaml")
    (tmp_path / "t.yml").write_text(CASE)
    assert load_suite(tmp_path).cases[0].fixtures == (("x", "yaml"),)
    fixtures(tmp_path / "conftest.yml", "yml")
    assert load_suite(tmp_path).cases[0].fixtures == (("x", "yml"),)


def test_written_files_hold_what_variables_stood_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTEL", "Ritz")
    steps = "  - user: at ${HOTEL}\n  - bot: '${HOTEL}'\n"
    (tmp_path / "t.yml").write_text(f"test_cases:\n- test_case: a\n  steps:\n{steps}")
    (file,) = write_suite(load_suite(tmp_path / "t.yml"), tmp_path / "passed.yml")
    monkeypatch.delenv("HOTEL")
    assert load_yaml(file)["test_cases"][0]["steps"] == [{"user": "at Ritz"}, {"bot": "${HOTEL}"}]


def test_a_clash_of_metadata_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        "metadata: [{web: {channel: web, lang: en}}, {phone: {channel: phone, lang: en}}]\n"
        "test_cases:\n- test_case: a\n  metadata: web\n  steps:\n"
        "  - {user: hi, metadata: phone}\n  - {user: ho, metadata: web}\n  - user: ha\n"
    )
    (warning,) = load_suite(tmp_path / "t.yml").warnings
    assert warning == f"{tmp_path}/t.yml:6: channel of metadata 'phone' goes before that of 'web'."


def test_metadata_has_one_definition_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        f"metadata: [{{m: {{x: 1}}}}, {{m: {{x: 2}}}}]\n{CASE.replace('fixtures: [f], ', '')}"
    )
    with pytest.raises(DataError, match=r"t\.yml:1: 'm' is defined twice"):
        load_suite(tmp_path / "t.yml")


class InTurn(dict[str, Any]):
    """What a text leads to the first time, the second time …"""

    def __init__(self, **turns: list[tuple[Event, ...]]) -> None:
        super().__init__(turns)
        self.count: defaultdict[str, int] = defaultdict(int)

    def get(self, text: str, default: Any = None) -> Any:
        self.count[text] += 1
        return self[text][self.count[text] - 1]


@pytest.mark.parametrize(("second", "status"), [("Bye", "passed"), ("Hello", "failed")])
def test_the_same_message_twice_is_judged_by_its_own_turn(tmp_path: Path, second: str, status: str) -> None:
    steps = ", ".join(
        f"{{user: hi, assertions: [{{bot_uttered: {{text_matches: {text}}}}}]}}" for text in ("Hello", second)
    )
    (tmp_path / "t.yml").write_text(f"test_cases: [{{test_case: a, steps: [{steps}]}}]\n")
    engine = ScriptedEngine(InTurn(hi=[(bot("Hello"),), (bot("Bye"),)]))
    (found,) = asyncio.run(run_suite(engine, load_suite(tmp_path / "t.yml"))).results
    assert found.status == status


def test_coverage_counts_commands_and_slots_by_outcome(tmp_path: Path) -> None:
    place = Location(Path("flows.yml"), 3, 4)
    steps = tuple(CollectStep(slot, (Branch(None, END),), place, slot=slot, utter="u") for slot in ("city", "day"))
    flow = Flow("book", "book", "", steps, place)
    (tmp_path / "t.yml").write_text(
        "test_cases:\n- {test_case: a, steps: [{user: Bern}]}\n- {test_case: b, steps: [{user: Bern}, {bot: no}]}\n"
        "- {test_case: c, steps: [{user: Bern}]}\n"
    )
    engine = ScriptedEngine(
        {"Bern": (SlotSet("city", "Bern", flow_id="book"),)},
        commands={"Bern": (StartFlow("book"), SetSlot("city", "Bern"))},
    )
    result = asyncio.run(run_suite(engine, load_suite(tmp_path / "t.yml")))
    write_coverage(tmp_path / "out", result, {"book": flow})
    document = json.loads((tmp_path / "out/coverage.json").read_text())
    none = {"passed": 0, "failed": 0}
    assert document["slots"] == {"book": {"city": {"passed": 2, "failed": 1}, "day": none}}
    used = {status: {kind: n for kind, n in counts.items() if n} for status, counts in document["commands"].items()}
    assert used == {"passed": {"start flow": 2, "set slot": 2}, "failed": {"start flow": 1, "set slot": 1}}


def test_tables_and_pictures_are_there_without_any_test_of_the_kind(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("test_cases: [{test_case: a, steps: [{user: hi}]}]\n")
    write_coverage(tmp_path / "out", asyncio.run(run_suite(ScriptedEngine({}), load_suite(tmp_path / "t.yml"))), {})
    for status in ("passed", "failed"):
        assert (tmp_path / f"out/commands_histogram_for_{status}_tests.png").stat().st_size > 1000
        table = (tmp_path / f"out/coverage_report_for_{status}_tests.csv").read_text()
        assert table == "Flow Name,Coverage,Num Steps,Missing Steps,Line Numbers for Missing Steps\n"
