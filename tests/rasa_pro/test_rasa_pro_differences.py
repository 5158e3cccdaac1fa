"""Where our readers and rasa-pro's do not agree on a file, on purpose: docs/compatibility.md lists the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from our_view import case_view, their_case_view
from rasa_pro_process import RasaPro, Refused

from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.du_cases import Vocabulary, load_du_suite
from rasa_ft.errors import DataError

pytestmark = pytest.mark.rasa_pro

DESK = Path(__file__).parents[1] / "assistants/desk"
DESK_FILES = {"config": DESK / "config.yml", "domain": DESK / "domain.yml", "data": DESK / "data"}
HI = "test_cases: [{test_case: a, steps: [{user: hi}]}]\n"


def asserting(assertion: str) -> str:
    return f"test_cases: [{{test_case: a, steps: [{{user: hi, assertions: [{assertion}]}}]}}]\n"


def stubbed(stub: str) -> str:
    return f"stub_custom_actions: {{{stub}}}\n{HI}"


WE_REFUSE = {
    "no steps": "test_cases: [{test_case: a}]\n",
    "empty steps": "test_cases: [{test_case: a, steps: []}]\n",
    "no cases": "test_cases: []\n",
    "an empty message": "test_cases: [{test_case: a, steps: [{user: ''}]}]\n",
    "an empty list of slots": "test_cases: [{test_case: a, steps: [{user: hi}, {slot_was_set: []}]}]\n",
    "metadata defined twice in a file": f"metadata: [{{m: {{x: 1}}}}, {{m: {{x: 2}}}}]\n{HI}",
    "a slot event without name": stubbed("act: {events: [{event: slot}], responses: []}"),
    "no regular expression": asserting("{bot_uttered: {text_matches: '('}}"),
    "a button without payload": asserting("{bot_uttered: {buttons: [{title: a}]}}"),
    "a threshold that is no number": asserting("{generative_response_is_relevant: {threshold: '0.5'}}"),
    "two fixtures in one entry": f"fixtures: [{{a: [{{x: 1}}], b: [{{x: 2}}]}}]\n{HI}",
    "two assertions in one entry": asserting("{action_executed: a, slot_was_set: [{name: b}]}"),
}
THEY_REFUSE = {
    "other characters in a stub's key": stubbed("my-case::act: {events: [], responses: []}"),
    "a button of a stub with more keys": stubbed(
        "act: {events: [], responses: [{text: a, buttons: [{title: a, payload: b, type: c}]}]}"
    ),
    "an empty section of stubs": f"stub_custom_actions:\n{HI}",
}


def read_by_both(rasa_pro: RasaPro, path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    theirs = [their_case_view(case) for case in rasa_pro.read("e2e", path=path)]
    return theirs, [case_view(case) for case in load_suite(path).cases]


@pytest.mark.parametrize("text", WE_REFUSE.values(), ids=WE_REFUSE.keys())
def test_what_only_we_refuse(rasa_pro: RasaPro, tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yml").write_text(text)
    rasa_pro.read("e2e", path=tmp_path / "t.yml")
    with pytest.raises(DataError):
        load_suite(tmp_path / "t.yml")


@pytest.mark.parametrize("text", THEY_REFUSE.values(), ids=THEY_REFUSE.keys())
def test_what_only_they_refuse(rasa_pro: RasaPro, tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yml").write_text(text)
    load_suite(tmp_path / "t.yml")
    with pytest.raises(Refused):
        rasa_pro.read("e2e", path=tmp_path / "t.yml")


def test_metadata_that_two_files_define(rasa_pro: RasaPro, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(
            f"metadata: [{{m: {{x: {name}}}}}]\n" + HI.replace("hi", "hi, metadata: m")
        )
    theirs, ours = read_by_both(rasa_pro, tmp_path)
    assert [case["steps"][0]["sent"] for case in theirs] == [{"x": "a"}, {"x": "a"}]
    assert [case["steps"][0]["sent"] for case in ours] == [{"x": "a"}, {"x": "b"}]


def test_fixtures_that_set_the_same_slot(rasa_pro: RasaPro, tmp_path: Path) -> None:
    """Ours are set in the order of the case, theirs in the order of the definitions."""
    fixtures = "fixtures: [{one: [{x: 1}]}, {two: [{x: 2}]}]\n"
    (tmp_path / "t.yml").write_text(fixtures + HI.replace("steps", "fixtures: [two, one], steps"))
    (theirs,), (ours,) = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert (theirs["slots"], ours["slots"]) == ({"x": 2}, {"x": 1})


def test_two_cases_with_one_name(rasa_pro: RasaPro, tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        "test_cases: [{test_case: a, steps: [{user: hi}]}, {test_case: a, steps: [{user: ho}]}]\n"
    )
    theirs, ours = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert ([case["name"] for case in theirs], [case["name"] for case in ours]) == (["a", "a"], ["a", "a 2"])


def test_several_slots_in_one_entry(rasa_pro: RasaPro, tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(HI.replace("hi}", "hi}, {slot_was_set: [{a: 1, b: 2}]}"))
    (theirs,), (ours,) = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert theirs["steps"][1:] == [{"slot_was_set": ["a", 1]}]
    assert ours["steps"][1:] == [{"slot_was_set": ["a", 1]}, {"slot_was_set": ["b", 2]}]


def test_blanks_around_names(rasa_pro: RasaPro, tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(HI.replace("a,", "' a ',").replace("hi}", "hi}, {utter: ' utter_x '}"))
    (theirs,), (ours,) = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert (theirs["name"], theirs["steps"][1]["utter"]) == (" a ", " utter_x ")
    assert (ours["name"], ours["steps"][1]["utter"]) == ("a", "utter_x")


def test_a_yaml_1_1_header_and_a_byte_order_mark(rasa_pro: RasaPro, tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("%YAML 1.1\n---\n" + HI.replace("hi}", "hi}, {slot_was_set: [{a: yes}]}"))
    (theirs,), (ours,) = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert (theirs["steps"][1], ours["steps"][1]) == ({"slot_was_set": ["a", True]}, {"slot_was_set": ["a", "yes"]})
    (tmp_path / "t.yml").write_text("\ufeff" + HI)
    theirs, ours = read_by_both(rasa_pro, tmp_path / "t.yml")
    assert (len(theirs), len(ours)) == (0, 1)


# --- dialogue understanding tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "we", "they"),
    [
        ("{user: hi, commands: [start flow book_desk]}", True, True),
        ("{user: hi, commands: []}", True, True),
        ("{user: hi, commands: [cannot handle]}", True, False),
        ("{user: hi, commands: [hand over]}", True, False),
        ("{user: hi, commands: [disambiguate flows]}", True, True),
        ("{user: hi, commands: [StartFlow(book_desk)]}", False, False),
        ("{user: hi, commands: [start flow no_such_flow]}", True, False),
        ("{user: hi}", False, False),
        ("{user: hi, commands: [cancel flow]}, {utter: utter_no_such}", False, False),
        ("{user: hi, commands: [provide info]}, {utter: placeholder_generated_answer}", True, True),
        ("{user: hi, commands: [cancel flow]}, {slot_was_set: [day]}", False, False),
    ],
)
def test_commands_of_du_tests(rasa_pro: RasaPro, tmp_path: Path, step: str, we: bool, they: bool) -> None:
    (tmp_path / "t.yml").write_text(f"test_cases: [{{test_case: a, steps: [{step}]}}]\n")
    domain = load_assistant(DESK).domain
    try:
        load_du_suite(tmp_path / "t.yml", Vocabulary(codec_for("v2"), frozenset(domain.responses)))
        ours = True
    except DataError:
        ours = False
    try:
        rasa_pro.read("du", path=tmp_path / "t.yml", syntax="v2", **DESK_FILES)
        theirs = True
    except Refused:
        theirs = False
    assert (ours, theirs) == (we, they)
