"""What our commands write is read by rasa-pro's own readers, and means the same to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from our_view import assert_same, case_view, du_case_view, their_case_view
from rasa_pro_process import RasaPro

from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.cli.main import run
from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.e2e.du_cases import Vocabulary, load_du_suite
from rasa_ft.e2e.model import BotStep, Fixture, Metadata, Suite, TestCase, UserStep
from rasa_ft.e2e.results import write_cases_by_status, write_failed_tests
from rasa_ft.e2e.runner import CaseResult, SuiteResult
from rasa_ft.errors import Location

pytestmark = pytest.mark.rasa_pro

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BOT = ROOT / "examples/bot"
DESK = ROOT / "tests/assistants/desk"
SOURCES = [BOT / "e2e_tests", BOT / "e2e_stubbed", HERE / "suites"]
DESK_FILES = {"config": DESK / "config.yml", "domain": DESK / "domain.yml", "data": DESK / "data"}
BOT_FILES = {"config": BOT / "config.yml", "domain": BOT / "domain", "data": BOT / "data"}


def meaning(case: dict[str, Any]) -> dict[str, Any]:
    """All that a run depends on; names change when files are put together, and places do."""
    steps = [{key: _unplaced(value) for key, value in step.items() if key != "line"} for step in case["steps"]]
    return {"slots": case["slots"], "steps": steps, "stubs": case["stubs"]}


def _unplaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unplaced(inner) for key, inner in value.items() if key != "line"}
    return [_unplaced(inner) for inner in value] if isinstance(value, list) else value


def assert_reads(rasa_pro: RasaPro, path: Path, cases: Iterable[TestCase]) -> None:
    """rasa-pro finds the meaning of ``cases`` below ``path``, in the same order, each under a name of its own."""
    found = [their_case_view(case) for case in rasa_pro.read("e2e", path=path)]
    assert_same([meaning(case) for case in found], [meaning(case_view(case)) for case in cases])
    assert len({(case["file"], case["name"]) for case in found}) == len(found)


@pytest.fixture(params=SOURCES, ids=lambda path: path.name)
def suite(request: pytest.FixtureRequest) -> Suite:
    return load_suite(request.param)


@pytest.fixture
def result(suite: Suite) -> SuiteResult:
    """As if every other case had failed."""
    return SuiteResult(tuple(CaseResult(case, ("passed", "failed")[i % 2]) for i, case in enumerate(suite.cases)))


def test_passed_and_failed_tests_of_a_coverage_run(rasa_pro: RasaPro, result: SuiteResult, tmp_path: Path) -> None:
    write_cases_by_status(tmp_path, result)
    for status in ("passed", "failed"):
        cases = [found.case for found in result.with_status(status)]
        assert_reads(rasa_pro, tmp_path / f"{status}.yml", cases)


def test_failed_tests_to_run_again(rasa_pro: RasaPro, result: SuiteResult, tmp_path: Path) -> None:
    folder = write_failed_tests(tmp_path / "failed.yml", result, "20250102_030405")
    assert folder is not None
    assert_reads(rasa_pro, folder, [found.case for found in result.with_status("failed")])


def test_the_tests_of_a_split(rasa_pro: RasaPro, suite: Suite, tmp_path: Path) -> None:
    for name, cases in (("train", suite.cases[:-1]), ("validation", suite.cases[-1:])):
        write_suite(suite.subset(cases), tmp_path / f"{name}.yml")
        assert_reads(rasa_pro, tmp_path / f"{name}.yml", cases)


def test_cases_of_several_files_with_the_same_names(rasa_pro: RasaPro, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(
            f"fixtures: [{{f: [{{x: {name}}}]}}]\nmetadata: [{{m: {{x: {name}}}}}]\n"
            f"stub_custom_actions: {{act: {{events: [], responses: [{{text: {name}}}]}}}}\n"
            f"test_cases: [{{test_case: the same name, fixtures: [f], metadata: m, steps: [{{user: hi}}]}}]\n"
        )
    cases = load_suite(tmp_path).cases
    for target in ("one/all.yml", "folder"):
        write_suite(cases, tmp_path / target)
        assert_reads(rasa_pro, tmp_path / target, cases)


TEXTS = (
    *("yes", "no", "null", "~", "true", "1", "1e3", "0777", "0x1F", "1_000", "12:30", "2025-01-31", ".inf", "=", "<<"),
    *(
        "a: b",
        "- x",
        "#x",
        "a #b",
        "'",
        '"',
        "%a",
        "@a",
        "`a",
        "!a",
        "&a",
        "*a",
        "[a",
        "{a}",
        "|",
        ">",
        "?",
        ": a",
        "a:",
    ),
    *(
        "${HOME}",
        "cost: ${NO_SUCH_VARIABLE_42}",
        "$HOME",
        "back\\slash",
        "tab\there",
        "é…😀",
        "\u202bעברית",
        "zero\u200bwidth",
    ),
    *(
        "one\ntwo",
        "one\n\ntwo",
        "next\x85line",
        "line\u2028separator",
        "long " * 60,
        "nbsp\xa0x",
        "---",
        "...",
        "\ufeffbom",
    ),
)
HERE_IT_IS = Location(Path("t.yml"), 1)


@pytest.mark.parametrize("text", TEXTS)
def test_odd_texts(rasa_pro: RasaPro, tmp_path: Path, text: str) -> None:
    text = text.strip()
    case = TestCase(
        name=f"a {text} b".replace("\n", " "),
        file=Path("t.yml"),
        location=HERE_IT_IS,
        steps=(UserStep(HERE_IT_IS, text, {"x": text}), BotStep(HERE_IT_IS, text)),
        fixture_sets=(Fixture("f", (("a", text), ("b", [text, {"c": text}]))),),
        case_metadata=Metadata("m", {"x": text}),
    )
    (file,) = write_suite([case], tmp_path / "t.yml")
    assert_reads(rasa_pro, file, [case])


# --- dialogue understanding tests ------------------------------------------------------------------------------------


def assert_reads_du(rasa_pro: RasaPro, path: Path, project: Path, files: dict[str, Path]) -> None:
    assistant = load_assistant(project)
    codec = codec_for(assistant.generator.dsl_version)
    cases = load_du_suite(path, Vocabulary(codec, frozenset(assistant.domain.responses))).cases
    found = rasa_pro.read("du", path=path, syntax=assistant.generator.dsl_version, cannot_handle=True, **files)
    theirs = [meaning(their_case_view(case)) for case in found]
    assert_same(theirs, [meaning(du_case_view(case, codec)) for case in cases])


def test_converted_e2e_tests(rasa_pro: RasaPro, tmp_path: Path) -> None:
    assert run(["test", "du", "--from-e2e", str(BOT / "e2e_tests"), "--out", str(tmp_path / "du")]) == 0
    assert_reads_du(rasa_pro, tmp_path / "du", BOT, BOT_FILES)
