from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.flows.graph import reachable_steps, successors
from rasa_ft.calm.flows.loading import load_flows, parse_flows, read_flows
from rasa_ft.calm.flows.model import (
    END,
    ActionStep,
    Branch,
    CallStep,
    CollectStep,
    LinkStep,
    NluTrigger,
    NoopStep,
    Rejection,
    SetSlotsStep,
)
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import dump_yaml

FILE = Path("flows.yml")

BOOK = """\
flows:
  book-desk_1:
    description: >
      Reserve a desk
      for one day.
    if: slots.logged_in
    always_include_in_prompt: true
    nlu_trigger:
      - intent: book
      - intent: {name: reserve, confidence_threshold: 0.9}
    persisted_slots: [day]
    run_pattern_completed: false
    metadata: {anything: 1}
    steps:
      - collect: day
        description: " which day "
        ask_before_filling: true
        reset_after_flow_ends: false
        force_slot_filling: true
        silence_timeout: 7
        rejections:
          - if: slots.day is "never"
            utter: utter_no_day
      - action: action_find
        next:
          - if: slots.found
            then:
              - action: utter_found
              - noop: true
                next:
                  - if: true
                    then: 5_set_slots
                  - else:
                      - call: pay
                        next: END
          - else: none_left
      - set_slots:
          - found: null
          - day: {a: [1]}
        next: END
      - id: none_left
        action: utter_none
      - collect: other
        utter: utter_which_other
      - link: search
"""


def problems(text):
    with pytest.raises(DataError) as caught:
        parse_flows(text, FILE)
    return str(caught.value)


def flow_of(steps, **keys):
    return dump_yaml({"flows": {"f": {"description": "a flow", "steps": steps, **keys}}})


def test_a_flow_with_everything():
    (flow,) = parse_flows(BOOK, FILE).values()
    assert flow.id == "book-desk_1"
    assert flow.name == "book desk 1"
    assert flow.description == "Reserve a desk for one day."
    assert flow.guard == "slots.logged_in"
    assert flow.always_include_in_prompt
    assert flow.nlu_triggers == (NluTrigger("book"), NluTrigger("reserve", 0.9))
    assert flow.persisted_slots == ("day",)
    assert not flow.run_pattern_completed
    assert not flow.is_pattern
    assert flow.location.line == 2


def test_nested_steps_are_numbered_depth_first():
    (flow,) = parse_flows(BOOK, FILE).values()
    # (kind, id, conditions and targets)
    expected = [
        (CollectStep, "book-desk_1_0_collect_day", [(None, "book-desk_1_1_action_find")]),
        (
            ActionStep,
            "book-desk_1_1_action_find",
            [("slots.found", "book-desk_1_2_utter_found"), (None, "none_left")],
        ),
        (ActionStep, "book-desk_1_2_utter_found", [(None, "book-desk_1_3_noop")]),
        (NoopStep, "book-desk_1_3_noop", [("true", "book-desk_1_5_set_slots"), (None, "book-desk_1_4_call_pay")]),
        (CallStep, "book-desk_1_4_call_pay", [(None, END)]),
        (SetSlotsStep, "book-desk_1_5_set_slots", [(None, END)]),
        (ActionStep, "none_left", [(None, "book-desk_1_7_collect_other")]),
        (CollectStep, "book-desk_1_7_collect_other", [(None, "book-desk_1_8_link_search")]),
        (LinkStep, "book-desk_1_8_link_search", []),
    ]
    found = [(type(step), step.id, [(branch.condition, branch.target) for branch in step.next]) for step in flow.steps]
    assert found == expected


def test_contents_of_steps():
    (flow,) = parse_flows(BOOK, FILE).values()
    collect, find = flow.steps[:2]
    assert collect == CollectStep(
        "book-desk_1_0_collect_day",
        (Branch(None, "book-desk_1_1_action_find"),),
        Location(FILE, 15, 23),
        slot="day",
        utter="utter_ask_day",
        description="which day",
        ask_before_filling=True,
        reset_after_flow_ends=False,
        force_slot_filling=True,
        rejections=(Rejection('slots.day is "never"', "utter_no_day"),),
    )
    assert collect.ask_action == "action_ask_day"
    assert [branch.location.line for branch in find.next] == [26, 36]
    assert flow.step("book-desk_1_5_set_slots").assignments == (("found", None), ("day", {"a": [1]}))
    assert flow.step("book-desk_1_7_collect_other").utter == "utter_which_other"
    assert flow.step("book-desk_1_8_link_search").flow == "search"


def test_a_loop_back_by_id():
    flows = parse_flows(
        flow_of([{"id": "a", "action": "x"}, {"action": "y", "next": [{"if": "slots.b", "then": "a"}, {"else": END}]}]),
        FILE,
    )
    assert successors(flows["f"].steps[1]) == ("a", END)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("flows: [a]", "'flows' must be a mapping"),
        ("flows:\n  f: x", "flows.yml:2: flow 'f' must be a mapping"),
        ("flows:\n  -f: {description: a, steps: [{action: b}]}", "'-f' cannot be the id"),
        ("flows:\n  a b: {description: a, steps: [{action: b}]}", "'a b' cannot be the id"),
        ("flows:\n  END: {description: a, steps: [{action: b}]}", "'END' cannot be the id"),
        ("flows:\n  f: {steps: [{action: b}]}", "flows.yml:2: flow 'f' has no description"),
        ("flows:\n  f: {description: ' ', steps: [{action: b}]}", "has no description"),
        ("flows:\n  f: {description: [a], steps: [{action: b}]}", "'description' must be text, not a list"),
        ("flows:\n  f: {description: a}", "flow 'f' has no steps"),
        ("flows:\n  f: {description: a, steps: []}", "flow 'f' has no steps"),
        ("flows:\n  f: {description: a, steps: {action: b}}", "'steps' must be a list, not a mapping"),
        ("flows:\n  f: {descripton: a, steps: [{action: b}]}", "Did you mean 'description'?"),
        ("flows:\n  f: {description: a, if: 3, steps: [{action: b}]}", "'if' of flow 'f' must be"),
        ("flows:\n  f: {description: a, nlu_trigger: [{}], steps: [{action: b}]}", "needs an 'intent'"),
        ("flows:\n  f: {description: a, persisted_slots: [1], steps: [{action: b}]}", "must list names, not 1"),
        ("flows:\n  f: {description: a, run_pattern_completed: 'no', steps: [{action: b}]}", "must be true or false"),
        (flow_of(["x"]), "flows.yml:5: a step of flow 'f' must be a mapping, not 'x'."),
        (flow_of([{"acton": "x"}]), "Did you mean 'action'?"),
        (flow_of([{"next": END}]), "needs one of: action, collect"),
        (flow_of([{"action": "x", "collect": "y"}]), "several kinds at once: action, collect"),
        (flow_of([{"action": "x", "utter": "y"}]), "'utter' is not a key of a step of kind 'action'"),
        (flow_of([{"action": 3}]), "'action' must be a name, not 3."),
        (flow_of([{"collect": "a", "utterr": "y"}]), "Did you mean 'utter'?"),
        (flow_of([{"collect": "a b"}]), "'a b' cannot name a slot"),
        (flow_of([{"collect": "a", "rejections": [{"if": "x"}]}]), "a rejection of the step that collects 'a'"),
        (flow_of([{"noop": True}]), "a 'noop' step of flow 'f' needs a 'next'"),
        (flow_of([{"noop": "x", "next": END}]), "'noop' must be true"),
        (flow_of([{"set_slots": []}]), "'set_slots' sets nothing"),
        (flow_of([{"set_slots": {"a": 1}}]), "'set_slots' must be a list"),
        (flow_of([{"set_slots": [{"a": 1, "b": 2}]}]), "lists one 'slot: value' each"),
        (flow_of([{"link": "g", "next": END}]), "'link' ends flow 'f' and cannot have a 'next'"),
        (flow_of([{"action": "a", "id": "END"}]), "step id 'END' is reserved"),
        (flow_of([{"action": "a", "id": "NEXT:b"}]), "is reserved"),
        (flow_of([{"action": "a", "id": "a b"}]), "cannot be a step's id"),
        (
            flow_of([{"action": "a", "id": "x"}, {"action": "b", "id": "x"}]),
            "has two steps 'x'; the other is in flows.yml:6",
        ),
        (
            flow_of([{"action": "a", "next": "ned"}, {"action": "b", "id": "end"}]),
            "has no step 'ned'. Did you mean 'end'?",
        ),
        (flow_of([{"action": "a", "next": 3}]), "'next' must be a step's id"),
        (flow_of([{"action": "a", "next": []}]), "'next' must be a step's id"),
        (flow_of([{"action": "a", "next": ["b"]}]), "a branch must be 'if' with 'then'"),
        (flow_of([{"action": "a", "next": [{"if": "x"}]}]), "a branch must have 'if' and 'then'"),
        (flow_of([{"action": "a", "next": [{"if": "x", "then": END}]}]), "have no 'else'"),
        (
            flow_of([{"action": "a", "next": [{"else": END}, {"if": "x", "then": END}]}]),
            "'else' must be the last branch",
        ),
        (flow_of([{"action": "a", "next": [{"if": 3, "then": END}, {"else": END}]}]), "must be text, not 3"),
        (flow_of([{"action": "a", "next": [{"if": "x", "then": 3}, {"else": END}]}]), "'then' must be a step's id"),
        (flow_of([{"action": "a", "next": [{"if": "x", "then": []}, {"else": END}]}]), "'then' has an empty list"),
        (flow_of([{"action": "a", "next": [{"if": "x", "then": ["y"]}, {"else": END}]}]), "must be a mapping, not 'y'"),
        (
            flow_of([{"action": "a", "next": [{"if": "x", "then": [{"action": "b"}]}, {"else": END}]}]),
            "the last step of a nested list in flow 'f' needs a 'next'",
        ),
        (flow_of([{"action": "a", "next": END}, {"action": "b"}]), "step 'f_1_b' of flow 'f' can never be reached"),
        (
            "flows:\n  f: {description: a, steps: [{action: b}]}\n  f: {}",
            "flows.yml:3: not valid YAML: found duplicate key",
        ),
    ],
)
def test_bad_flows(text, complaint):
    assert complaint in problems(text)


def test_a_fault_is_told_once():
    text = flow_of([{"action": "a", "next": "ghost"}, {"action": "b"}])
    assert "problems" not in problems(text)


def test_a_link_may_end_a_nested_list():
    text = flow_of([{"action": "a", "next": [{"if": "x", "then": [{"link": "g"}]}, {"else": END}]}])
    assert len(parse_flows(text, FILE)["f"].steps) == 2


def test_all_problems_of_all_files_at_once(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yml").write_text(flow_of([{"acton": "a"}]))
    (tmp_path / "sub" / "b.yaml").write_text(flow_of([{"action": "a"}]))
    (tmp_path / "broken.yml").write_text("flows: [")
    with pytest.raises(DataError) as caught:
        load_flows(tmp_path)
    text = str(caught.value)
    assert "a.yml:5" in text
    assert "broken.yml:1: not valid YAML" in text
    assert f"b.yaml:2: flow 'f' is already defined in {tmp_path}/a.yml:2." in text


def test_order_of_files_is_the_order_of_flows(tmp_path):
    for name in ("b", "a"):
        text = flow_of([{"action": "a"}]).replace("  f:", f"  from_{name}:")
        (tmp_path / f"{name}.yml").write_text(text)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty.yml").write_text("")
    (tmp_path / "nlu.yml").write_text("nlu: []")
    report = Report()
    assert list(read_flows(tmp_path, report)) == ["from_a", "from_b"]
    assert report.set_aside == [(tmp_path / "nlu.yml", {"nlu": []})]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("- a", "flows.yml:1: this is not a flow file: it has no 'flows'.\n  It is not read."),
        ("flow: {}", "Did you mean the key `flows`?"),
        ("flows: {}\nflowz: []", "flows.yml:2: 'flowz' is not a key of a flow file. Did you mean 'flows'?"),
        (
            flow_of([{"action": "a", "next": [{"if": "x", "then": END, "or": 1}, {"else": END}]}]),
            "'or' is not a key of an 'if' branch.",
        ),
        (
            flow_of([{"action": "a", "next": [{"if": "x", "then": END}, {"else": END, "next": END}]}]),
            "'next' is not a key of an 'else' branch.",
        ),
    ],
)
def test_what_is_not_read_is_a_warning(tmp_path, text, warning):
    (tmp_path / "flows.yml").write_text(text)
    report = Report()
    read_flows(tmp_path, report)
    assert report.errors == ()
    assert [warning in str(found) for found in report.warnings] == [True]


def test_rejections_may_be_constant():
    text = flow_of([{"collect": "a", "rejections": [{"if": True, "utter": "utter_no"}]}])
    assert parse_flows(text, FILE)["f"].steps[0].rejections == (Rejection("true", "utter_no"),)


@st.composite
def step_lists(draw, depth=2, nested=False):
    """Lists of action steps; a branching step leads into a nested list or, by the mark "@", to its next sibling."""
    steps = [{"action": f"a{number}"} for number in range(draw(st.integers(1, 3)))]
    if nested:
        steps[-1]["next"] = END
    for step in steps:
        if depth and draw(st.booleans()):
            other = "@" if step is not steps[-1] else draw(step_lists(depth=depth - 1, nested=True))
            step["next"] = [
                {"if": "slots.x", "then": draw(step_lists(depth=depth - 1, nested=True))},
                {"else": other},
            ]
    return steps


def name_steps(steps, numbers):
    """Give every step an id and let "@" point at the next sibling."""
    for step in steps:
        step["id"] = f"s{next(numbers)}"
        for nested in nested_lists(step):
            name_steps(nested, numbers)
    for step, following in pairwise(steps):
        if isinstance(step.get("next"), list) and step["next"][1]["else"] == "@":
            step["next"][1]["else"] = following["id"]


def nested_lists(step):
    entries = step["next"] if isinstance(step.get("next"), list) else []
    return [value for entry in entries for value in entry.values() if isinstance(value, list)]


@settings(deadline=None, max_examples=40)
@given(step_lists())
def test_any_nesting_is_flattened_in_source_order(steps):
    name_steps(steps, count())
    flow = parse_flows(flow_of(steps), FILE)["f"]
    assert [step.id for step in flow.steps] == [f"s{number}" for number in range(len(flow.steps))]
    assert reachable_steps(flow) == {step.id for step in flow.steps}
    known = {END, *(step.id for step in flow.steps)}
    for step in flow.steps:
        assert step.next[-1].condition is None
        assert set(successors(step)) <= known
