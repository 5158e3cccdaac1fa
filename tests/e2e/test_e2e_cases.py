from pathlib import Path

import pytest

from rasa_ft.e2e.assertions import BotUtteredAssertion, FlowStartedAssertion
from rasa_ft.e2e.cases import BotStep, SlotWasNotSetStep, SlotWasSetStep, UserStep, UtterStep, load_suite
from rasa_ft.engine.base import Stub
from rasa_ft.errors import DataError

CLASSIC = """\
fixtures:
  - gold: [{tier: gold}, {points: 3}]
metadata:
  - web: {channel: web, lang: en}
  - french: {lang: fr}
test_cases:
  - test_case: extends a stay
    fixtures: [gold]
    metadata: web
    steps:
      - user: "  two more nights  "
        metadata: french
      - slot_was_set: [{nights: "2"}, room, {a: 1, b: null}]
      - slot_was_not_set: [late]
      - utter: utter_confirm
      - user: yes
      - bot: |
          Done,
          see you.
"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def one_case(name: str = "one", steps: str = "[{user: hi}]", head: str = "") -> str:
    return f"{head}test_cases:\n  - test_case: {name}\n    steps: {steps}\n"


def test_classic_case_is_read_with_places(tmp_path: Path) -> None:
    file = write(tmp_path, "stay.yml", CLASSIC)
    (case,) = load_suite(file).cases
    assert case.id == f"{file}::extends a stay"
    assert case.key == "stay.yml::extends a stay"
    assert case.fixtures == (("tier", "gold"), ("points", 3))
    assert case.location.line == 7
    first, *expectations, second, last = case.steps
    assert isinstance(first, UserStep)
    assert (first.text, first.metadata, first.location.line) == (
        "two more nights",
        {"channel": "web", "lang": "fr"},
        11,
    )
    assert [type(step) for step in expectations] == [SlotWasSetStep] * 4 + [SlotWasNotSetStep, UtterStep]
    sets = [(s.slot, s.value, s.has_value) for s in expectations if isinstance(s, SlotWasSetStep)]
    assert sets == [("nights", "2", True), ("room", None, False), ("a", 1, True), ("b", None, True)]
    assert isinstance(second, UserStep) and second.text == "yes" and second.metadata == {"channel": "web", "lang": "en"}
    assert isinstance(last, BotStep) and last.text == "Done,\nsee you."
    assert not case.uses_assertions


def test_assertion_case_is_read(tmp_path: Path) -> None:
    steps = """
      - user: hi
        assertion_order_enabled: true
        assertions:
          - flow_started: {operator: ANY, flow_ids: [a, b]}
          - bot_uttered: {utter_name: utter_x, text_matches: "^H", buttons: [{title: Yes, payload: /yes}]}
"""
    (case,) = load_suite(write(tmp_path, "a.yml", one_case(steps=steps))).cases
    started, uttered = case.user_steps[0].assertions
    assert case.user_steps[0].assertion_order_enabled and case.uses_assertions
    assert isinstance(started, FlowStartedAssertion) and started.flow_ids == ("a", "b")
    assert isinstance(uttered, BotUtteredAssertion) and uttered.text_matches == "^H"
    assert uttered.location.line == 8


def test_a_user_step_may_have_no_assertions(tmp_path: Path) -> None:
    steps = "[{user: hi, assertions: []}, {user: go, assertions: [{flow_started: f}]}]"
    first, second = load_suite(write(tmp_path, "a.yml", one_case(steps=steps))).cases[0].user_steps
    assert (len(first.assertions), len(second.assertions)) == (0, 1)


def test_folder_is_sorted_and_reads_only_test_files(tmp_path: Path) -> None:
    write(tmp_path, "b.yml", one_case("second"))
    write(tmp_path, "a/deep.yaml", one_case("first"))
    write(tmp_path, "off.yml", "# test_cases:\n#  - test_case: x\n")
    write(tmp_path, "domain.yml", "slots: {}\n")
    write(tmp_path, "du.yml", one_case("understood", "[{user: hi, commands: [offtopic reply]}]"))
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    suite = load_suite(tmp_path)
    assert [case.key for case in suite.cases] == ["a/deep.yaml::first", "b.yml::second"]
    assert [case.file for case in suite.cases] == [tmp_path / "a/deep.yaml", tmp_path / "b.yml"]
    assert len(suite.warnings) == 1 and "du.yml" in suite.warnings[0]


def test_path_may_name_a_case(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", one_case("left") + "  - test_case: right\n    steps: [{user: hi}]\n")
    for path in (f"{tmp_path}/a.yml::right", f"{tmp_path}::right", f"{tmp_path}/a.yml::any::right"):
        assert [case.name for case in load_suite(path).cases] == ["right"]
    with pytest.raises(DataError, match="Did you mean 'right'"):
        load_suite(f"{tmp_path}::rigth")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing", None, "does not exist"),
        ("empty", "", "holds no E2E tests"),
        ("none", "test_cases:\n", "no E2E test"),
    ],
)
def test_nothing_to_run_is_an_error(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    folder = tmp_path / name
    if text is not None:
        write(folder, "x.yml", text)
    with pytest.raises(DataError, match=message):
        load_suite(folder)


def test_conftest_files_of_all_parents_count_nearest_first(tmp_path: Path) -> None:
    write(tmp_path, "conftest.yml", "fixtures: [{far: [{x: 1}]}, {both: [{x: outer}]}]\nllm_judge: {llm: {model: m}}\n")
    write(tmp_path, "in/conftest.yaml", "fixtures: [{both: [{x: inner}]}, {own: [{x: conftest}]}]\n")
    case = "[{user: hi}]\n    fixtures: [far, both, own]"
    file = write(tmp_path, "in/t.yml", one_case(steps=case, head="fixtures: [{own: [{x: file}]}]\n"))
    (found,) = load_suite(file).cases
    assert found.fixtures == (("x", 1), ("x", "inner"), ("x", "file"))


def test_fixtures_and_metadata_belong_to_their_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        head = f"fixtures: [{{f: [{{x: {name}}}]}}]\nmetadata: [{{m: {{x: {name}}}}}]\n"
        write(tmp_path, f"{name}.yml", one_case(name, "[{user: hi, metadata: m}]\n    fixtures: [f]", head))
    write(tmp_path, "c.yml", one_case("c", "[{user: hi, metadata: m}]"))
    a, b, c = load_suite(tmp_path).cases
    assert (a.fixtures, b.fixtures) == ((("x", "a"),), (("x", "b"),))
    assert [case.user_steps[0].metadata["x"] for case in (a, b, c)] == ["a", "b", "a"]  # the pool holds the first


def test_mocked_clock_is_normalised(tmp_path: Path) -> None:
    moments = ["2025-01-31T09:30:00+0100", "2025-01-31 09:30:00", "2025-01-31"]
    fixtures = "".join(f"  - f{i}: [{{mocked_datetime: {moment}}}]\n" for i, moment in enumerate(moments))
    text = one_case(steps="[{user: hi}]\n    fixtures: [f0, f1, f2]", head=f"fixtures:\n{fixtures}")
    (case,) = load_suite(write(tmp_path, "t.yml", text)).cases
    assert [value for _, value in case.fixtures] == [
        "2025-01-31T09:30:00+01:00",
        "2025-01-31T09:30:00+00:00",
        "2025-01-31T00:00:00+00:00",
    ]


def test_stubs_of_case_go_before_those_of_file(tmp_path: Path) -> None:
    stubs = """\
stub_custom_actions:
  action_a: {responses: [{text: file}]}
  first_case::action_a: {responses: [{text: case}]}
  t::action_b: {events: [{event: slot, name: x, value: 1}]}
"""
    text = stubs + one_case("first case") + "  - test_case: other\n    steps: [{user: hi}]\n"
    write(tmp_path, "t.yml", text)
    write(tmp_path, "plain.yml", one_case("real"))
    suite = load_suite(tmp_path)
    real, first, other = suite.cases
    assert suite.setup(real).stubs is None
    b = Stub(events=({"event": "slot", "name": "x", "value": 1},))
    assert suite.setup(first).stubs == {"action_a": Stub(responses=({"text": "case"},)), "action_b": b}
    assert suite.setup(other).stubs == {"action_a": Stub(responses=({"text": "file"},)), "action_b": b}


def test_a_case_named_like_its_file_keeps_its_stub_for_itself(tmp_path: Path) -> None:
    head = "stub_custom_actions:\n  t::action_a: {responses: [{text: x}]}\n"
    text = head + one_case("t") + "  - test_case: u\n    steps: [{user: hi}]\n"
    t, u = load_suite(write(tmp_path, "t.yml", text)).cases
    assert t.stubs and u.stubs is None


def test_warnings_tell_what_is_not_used(tmp_path: Path) -> None:
    head = "stub_custom_actions:\n  nobody::action_a: {}\n"
    steps = "[{user: hi, assertions: [{action_executed: x}]}, {utter: utter_y}]"
    text = one_case("twin", steps, head) + "  - test_case: twin\n    steps: [{user: hi}]\n"
    suite = load_suite(write(tmp_path, "t.yml", text))
    assert [case.name for case in suite.cases] == ["twin", "twin 2"]
    stub, twin, mixed = sorted(suite.warnings, key=lambda text: ("stubs for" not in text, "second" not in text))
    assert "not in this file: nobody" in stub and "twin 2" in twin and "not looked at" in mixed


# Every line that is wrong, with the line on which it must be reported.
BROKEN = [
    ("fixtures: [{f: [{x: 1}]}, {f: [{x: 2}]}]", 1, "defined twice"),
    ("fixtures: {f: 1}", 1, "must be a list"),
    ("fixtures: [{f g: []}]", 1, "cannot be a name"),
    ("fixtures: [{f: [x]}]", 1, "must be a mapping"),
    ("fixtures: [{f: [{mocked_datetime: noon}]}]", 1, "must be a time"),
    ("fixtures: [f]", 1, "`name: value` pair"),
    ("metadata: [{m-m: {}}]", 1, "cannot be a name"),
    ("metadata: [{m: {a-b: 1}}]", 1, "cannot be a key"),
    ("stub_custom_actions: {a: {event: []}}", 1, "Did you mean 'events'"),
    ("stub_custom_actions: {a: {events: [{event: slott}]}}", 1, "Did you mean 'slot'"),
    ("stub_custom_actions: {a: {events: [{event: slot}]}}", 1, "needs `name`"),
    ("stub_custom_actions: {a: {responses: [{txt: x}]}}", 1, "Did you mean 'text'"),
    ("test_case: []", 1, "Did you mean 'test_cases'"),
    ("test_cases: [{test_case: a}]", 1, "needs `steps`"),
    ("test_cases: [{steps: [{user: a}]}]", 1, "needs `test_case`"),
    ("test_cases: [{test_case: a, steps: []}]", 1, "is empty"),
    ("test_cases: [{test_case: a, fixtures: [b], steps: [{user: a}]}]", 1, "fixture 'b' is not defined"),
    ("test_cases: [{test_case: a, metadata: b, steps: [{user: a}]}]", 1, "metadata 'b' is not defined"),
    ("test_cases: [{test_case: a, steps: [{user: 5}]}]", 1, 'in quotes: "5"'),
    ("test_cases: [{test_case: a, steps: [{user: }]}]", 1, "is empty"),
    ("test_cases: [{test_case: a, steps: [{user: a, bot: b}]}]", 1, "not user and bot"),
    ("test_cases: [{test_case: a, steps: [{say: a}]}]", 1, "not say"),
    ("test_cases: [{test_case: a, steps: [{bot: a, assertions: []}]}]", 1, "unknown key 'assertions'"),
    ("test_cases: [{test_case: a, steps: [{user: a, assertion_order_enabled: true}]}]", 1, "needs `assertions`"),
    ("test_cases: [{test_case: a, steps: [{user: a, commands: [x]}]}]", 1, "dialogue understanding"),
    ("test_cases: [{test_case: a, steps: [{user: a}, {slot_was_set: []}]}]", 1, "is empty"),
    ("test_cases: [{test_case: a, steps: [{user: a}, {slot_was_set: x}]}]", 1, "must be a list"),
    ("test_cases: [{test_case: a, steps: [{user: a}, {slot_was_set: [3]}]}]", 1, "must be text"),
    ("test_cases:\n  - test_case: a\n    steps:\n      - user: a\n        bott: c", 5, "unknown key 'bott'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
def test_broken_files_say_where_and_what(tmp_path: Path, text: str, line: int, message: str) -> None:
    file = write(tmp_path, "t.yml", text + "\n")
    with pytest.raises(DataError) as caught:
        load_suite(file)
    assert f"{file}:{line}: " in str(caught.value)
    assert message in str(caught.value)


BROKEN_ASSERTIONS = [
    ("flow_starte: x", "Did you mean 'flow_started'"),
    ("flow_started: {operator: all, flow_ids: [a, b]}", "exactly one flow id"),
    ("flow_started: {operator: some, flow_ids: [a]}", "any or all"),
    ("flow_started: {flow_ids: [a]}", "needs `operator`"),
    ("flow_started: {operator: any, flow_ids: []}", "is empty"),
    ("flow_completed: x", "must be a mapping"),
    ("flow_completed: {flow_step_id: x}", "needs `flow_id`"),
    ("pattern_clarification_contains: []", "is empty"),
    ("action_executed: [x]", "must be text"),
    ("slot_was_set: [x]", "must be a mapping"),
    ("slot_was_set: [{value: x}]", "needs `name`"),
    ("bot_uttered: {}", "needs at least one"),
    ("bot_uttered: {text_matches: '('}", "not a regular expression"),
    ("bot_uttered: {buttons: []}", "is empty"),
    ("bot_uttered: {buttons: [{title: x}]}", "needs payload"),
    ("bot_did_not_utter: {utter: x}", "Did you mean 'utter_name'"),
    ("flow_started: x, action_executed: y", "`name: value` pair"),
]


@pytest.mark.parametrize(("assertion", "message"), BROKEN_ASSERTIONS)
def test_broken_assertions_say_where_and_what(tmp_path: Path, assertion: str, message: str) -> None:
    steps = f"\n      - user: hi\n        assertions:\n          - {{{assertion}}}\n"
    file = write(tmp_path, "t.yml", one_case(steps=steps))
    with pytest.raises(DataError) as caught:
        load_suite(file)
    assert f"{file}:6: " in str(caught.value)
    assert message in str(caught.value)


def test_all_errors_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", one_case(steps="[{usr: hi}]\n    fixtures: [nope]"))
    write(tmp_path, "b.yml", "test_cases: [")
    write(tmp_path, "c.yml", "test_cases: x\n")
    write(tmp_path, "conftest.yml", "fixture: []\n")
    with pytest.raises(DataError) as caught:
        load_suite(tmp_path)
    text = str(caught.value)
    assert text.startswith("5 problems:")
    places = ["a.yml:3: ", "a.yml:4: ", "b.yml:", "c.yml:1: ", "conftest.yml:1: "]
    assert sorted(places, key=text.index) == places


def test_unset_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "t.yml", one_case(steps="\n      - user: '${HOTEL}'\n      - user: at ${HOTEL}"))
    with pytest.raises(DataError, match="HOTEL"):
        load_suite(file)
    monkeypatch.setenv("HOTEL", "Ritz")
    assert [step.text for step in load_suite(file).cases[0].user_steps] == ["${HOTEL}", "at Ritz"]
