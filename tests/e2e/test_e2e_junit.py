"""JUnit XML: what a build server reads of a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree import ElementTree

from e2e_doubles import ScriptedEngine, bot
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.junit import NOT_RUN, junit_xml, write_junit
from rasa_ft.e2e.model import TestCase, UserStep
from rasa_ft.e2e.runner import CaseResult, Failure, SuiteResult, run_suite
from rasa_ft.errors import Location

HERE = Location(Path("t.yml"), 3)
ENGINE = ScriptedEngine({"hi": (bot('<b>&"]]>\x1b\ufffe'),), "boom": ValueError("broken")})


def played(folder: Path, *, fail_fast: bool = False) -> SuiteResult:
    (folder / "sub").mkdir()
    (folder / "a.yml").write_text(
        "test_cases:\n- {test_case: good, steps: [{user: hi}]}\n"
        "- test_case: bad\n  steps:\n  - user: hi\n  - bot: Bye\n"
    )
    (folder / "sub/b.yml").write_text(
        "test_cases:\n- {test_case: broken, steps: [{user: boom}]}\n- {test_case: last, steps: [{user: hi, "
        "assertions: [{generative_response_is_relevant: {threshold: 0.9}}]}]}\n"
    )
    return asyncio.run(run_suite(ENGINE, load_suite(folder), fail_fast=fail_fast))


def test_one_suite_for_each_file_with_places_times_and_reasons(tmp_path: Path) -> None:
    result = played(tmp_path)
    write_junit(tmp_path / "out/junit.xml", result)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["junit.xml"]
    root = ElementTree.parse(tmp_path / "out/junit.xml").getroot()  # noqa: S314  (our own)
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    assert [suite.get("name") for suite in root] == [str(tmp_path / "a.yml"), str(tmp_path / "sub/b.yml")]
    good, bad, broken, last = root.iter("testcase")
    assert (good.get("classname"), good.get("name"), good.get("line"), len(good)) == ("a", "good", "2", 0)
    assert good.get("file") == str(tmp_path / "a.yml") and float(good.get("time", "-1")) >= 0
    assert (bad[0].tag, bad[0].get("message")) == ("failure", 'expected bot: "Bye"')
    assert bad[0].text is not None
    assert bad[0].text.startswith(f'{tmp_path}/a.yml:6: expected bot: "Bye"\n  user: hi')
    assert '- bot: "<b>&"]]>\\x1b\\ufffe"' in bad[0].text and '+ bot: "Bye"' in bad[0].text
    assert (broken.get("classname"), broken[0].tag) == ("sub.b", "error")
    assert broken[0].get("message") == "ValueError: broken"
    assert last[0].tag in ("skipped", "error")


def test_cases_that_were_not_run_are_reported_as_such(tmp_path: Path) -> None:
    root = ElementTree.fromstring(junit_xml(played(tmp_path, fail_fast=True)).encode())  # noqa: S314  (our own)
    assert [len(case) and case[0].get("message") for case in root.iter("testcase")] == [
        *(0, 'expected bot: "Bye"', NOT_RUN, NOT_RUN)
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("4", "1", "0", "2")


@given(st.text(st.characters()), st.text(st.characters()), st.sampled_from(["failed", "error"]))
def test_any_text_gives_xml_that_can_be_read(name: str, message: str, status: str) -> None:
    case = TestCase(name, Path("t.yml"), HERE, (UserStep(HERE, "hi"),))
    result = CaseResult(case, status, Failure(message, HERE, (f"- {message}",)))  # type: ignore[arg-type]
    (found,) = ElementTree.fromstring(junit_xml(SuiteResult((result,))).encode()).iter("testcase")  # noqa: S314  (our own)
    printable = [sign for sign in name if sign.isprintable() and not sign.isspace()]
    assert all(sign in (found.get("name") or "") for sign in printable)
