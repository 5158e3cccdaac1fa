"""Conversations that become test cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rasa_ft.calm.events import BotUttered, Event, SlotSet, UserUttered
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.model import BotStep, SlotWasSetStep, UserStep, UtterStep
from rasa_ft.e2e.recording import append_case, check_recordable, recorded_case
from rasa_ft.engine.base import Turn
from rasa_ft.errors import DataError


def turn(text: str, *events: Event, metadata: dict[str, Any] | None = None) -> Turn:
    return Turn(text, "prompt", "", (), (), (UserUttered(text), *events), metadata=metadata or {})


def steps(file: Path, turns: list[Turn], **given: Any) -> list[dict[str, Any]]:
    from rasa_ft.e2e.writing import case_as_yaml

    return case_as_yaml(recorded_case(turns, file, **given))["steps"]


T = Path("t.yml")


def test_messages_slots_and_responses() -> None:
    turns = [
        turn(
            "two to York",
            SlotSet("city", "york", "LLM"),
            SlotSet("city", "York", "LLM"),
            SlotSet("count", 2.0, "LLM"),
            SlotSet("price", 17.3, "CUSTOM"),
            SlotSet("step", 1),
            SlotSet("old", None, "LLM", reset=True),
            BotUttered("Ok", utter_action="utter_ok"),
            BotUttered("From an action", source="action"),
        ),
        turn("/SetSlots(sure=true)", SlotSet("sure", True, "CommandPayloadReader")),
    ]
    assert steps(T, turns) == [
        {"user": "two to York"},
        {"slot_was_set": [{"city": "York"}]},
        {"slot_was_set": [{"count": 2.0}]},
        {"utter": "utter_ok"},
        {"bot": "From an action"},
        {"user": "/SetSlots(sure=true)"},
        {"slot_was_set": [{"sure": True}]},
    ]


def test_what_would_not_be_the_same_again_is_left_out() -> None:
    said = (
        BotUttered("by a model", source="search"),
        BotUttered("blanks around \n", source="action"),
        BotUttered(None, image="x.png"),
        BotUttered("reworded", source="rephraser", utter_action="utter_ok"),
    )
    assert steps(T, [turn("hi", *said)]) == [{"user": "hi"}, {"utter": "utter_ok"}]


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["/start", "two  to\nYork"], "two to York"),
        (["a::b"], "a:b"),
        (["word " * 30], "word word word word word word word word word word word word…"),
        (["/start"], "recorded conversation"),
    ],
)
def test_names(texts: list[str], name: str) -> None:
    assert recorded_case([turn(text) for text in texts], T).name == name


def test_metadata_goes_along(tmp_path: Path) -> None:
    file = tmp_path / "t.yml"
    for number, metadata in enumerate([{"tier": 1}, {"tier": 2}, None], start=1):
        append_case(recorded_case([turn(f"hi {number}", metadata=metadata)], file, metadata))
    cases = load_suite(file).cases
    assert [case.user_steps[0].metadata for case in cases] == [{"tier": 1}, {"tier": 2}, {}]
    assert [case.case_metadata.name for case in cases[:2]] == ["recorded", "recorded_2"]


# --- into a file that is there ---------------------------------------------------------------------------------------

CASE = "- test_case: hi\n  steps:\n  - user: hi   # as typed\n  - utter: utter_hi\n"
INDENTED = "".join(f"    {line}\n" for line in CASE.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        f"test_cases:\n{CASE}",
        f"# about these tests\ntest_cases:\n\n{INDENTED}\n\n# the end\n",
        f"test_cases:\n{CASE.rstrip()}",
        f"test_cases:\n{CASE}\n\nfixtures:   # in use\n- a: [{{slot: 1}}]\n",
        f"fixtures:\n- a: [{{slot: 1}}]\ntest_cases:\n{CASE}\nmetadata:\n  - m: {{x: 1}}\n",
        f"stub_custom_actions:\n  other_case::action_x: {{events: []}}\ntest_cases:\n{CASE}",
    ],
)
def test_everything_else_in_the_file_stays(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.yml"
    file.write_text(text)
    check_recordable(file)
    assert file.read_text() == text
    case = append_case(recorded_case([turn("hi", BotUttered("Hello", utter_action="utter_hi"))], file))
    assert case.name == "hi 2" and case.id == f"{file}::hi 2"
    new = file.read_text()
    assert all(line in new.splitlines() for line in text.splitlines())
    assert [found.name for found in load_suite(file).cases] == ["hi", "hi 2"]
    assert append_case(recorded_case([turn("hi")], file)).name == "hi 3"
    assert [found.name for found in load_suite(file).cases] == ["hi", "hi 2", "hi 3"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "fixtures:\n- a: [{slot: 1}]\n", "---\n"])
def test_files_without_cases(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.yml"
    file.write_text(text)
    check_recordable(file)
    append_case(recorded_case([turn("hi")], file))
    assert [case.name for case in load_suite(file).cases] == ["hi"]
    assert file.read_text().startswith(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("test_cases: [{test_case: a, steps: [{user: hi}]}]\n", "a case cannot be added to"),
        ("test_cases: []\n", "a case cannot be added to"),
        ("{test_cases: [{test_case: a, steps: [{user: hi}]}]}\n", "a case cannot be added to"),
        (f"test_cases:\n{CASE}...\n", "a case cannot be added to"),
        (f"stub_custom_actions:\n  action_x: {{events: []}}\ntest_cases:\n{CASE}", "stubs custom actions"),
        (f"stub_custom_actions:\n  t::action_x: {{events: []}}\ntest_cases:\n{CASE}", "stubs custom actions"),
        ("flows: {}\n", "unknown key 'flows' in a test file"),
        ("test_cases: [{test_case: a, steps: [{usr: hi}]}]", "a step has exactly one of"),
        ("test_cases: [", "not valid YAML"),
    ],
)
def test_files_that_nothing_can_be_added_to(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "t.yml"
    file.write_text(text)
    with pytest.raises(DataError, match=complaint):
        check_recordable(file)
    assert file.read_text() == text


def test_names_of_files(tmp_path: Path) -> None:
    check_recordable(tmp_path / "new/t.yaml")
    with pytest.raises(DataError, match="is no name for a file of tests"):
        check_recordable(tmp_path / "t.txt")


# --- any text --------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40).map(str.strip).filter(bool)
VALUE = st.one_of(TEXT, st.booleans(), st.none(), st.floats(allow_nan=False), st.integers(-9, 9))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.tuples(TEXT, TEXT, VALUE), min_size=1, max_size=3))
def test_any_conversation_is_read_as_it_was_had(
    messages: list[tuple[str, str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_text(f"test_cases:\n{CASE}", encoding="utf-8")
    turns = [turn(said, SlotSet("slot", value, "LLM"), BotUttered(answer)) for said, answer, value in messages]
    case = append_case(recorded_case(turns, file))
    found = load_suite(file).cases[1]
    assert found.name == case.name.strip()
    told: list[Any] = []
    for step in found.steps:
        match step:
            case UserStep() | BotStep():
                told.append(step.text)
            case SlotWasSetStep():
                told.append(step.value)
            case UtterStep():
                raise AssertionError
    assert told == [item for said, answer, value in messages for item in (said, value, answer)]
