"""Files of tests that hold something else than they should, and what is said about single steps and events."""

from pathlib import Path

import pytest

from rasa_ft.calm.events import (
    ActionExecuted,
    BotUttered,
    FlowCancelled,
    FlowCompleted,
    FlowStarted,
    SessionStarted,
    SlotSet,
)
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.matching import is_met
from rasa_ft.e2e.model import SlotWasSetStep, Step
from rasa_ft.e2e.transcript import describe_event, describe_step
from rasa_ft.e2e.writing import step_as_yaml
from rasa_ft.errors import DataError, Location

CASE = "test_cases:\n  - {test_case: one, steps: [{user: hi}]}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a\n# test_cases:\ntest_cases:", "not valid YAML"),
        ("'test_cases:'", "must be a mapping with keys such as"),
        (f"fixtures: [{{f: [{{'a b': 1}}]}}]\n{CASE}", "'a b' cannot be the name of a slot"),
        (f"fixtures: [{{f: [3]}}]\n{CASE}", "an entry of fixture 'f' must be a mapping"),
        (f"fixtures: [3]\n{CASE}", "must be one `name: value` pair"),
        (f"fixtures: [{{null: []}}]\n{CASE}", "must be one `name: value` pair"),
        (f"stub_custom_actions: {{action_a: 3}}\n{CASE}", "stub 'action_a' must be a mapping"),
        (f"stub_custom_actions: {{action_a: {{events: [3]}}}}\n{CASE}", "an entry of `events` must be a mapping"),
        (f"stub_custom_actions: 3\n{CASE}", "`stub_custom_actions` must be a mapping"),
        ("test_cases:\n  - 3\n", "a test case must be a mapping"),
        ("test_cases:\n  - {test_case: one, steps: [3]}\n", "a step must be a mapping"),
        (
            "test_cases:\n  - {test_case: one, steps: [{user: hi, assertion_order_enabled: 3, "
            "assertions: [{flow_started: f}]}]}\n",
            "`assertion_order_enabled` must be true or false",
        ),
        (
            "test_cases:\n  - {test_case: one, steps: [{user: hi, assertions: [{bot_uttered: {buttons: [3]}}]}]}\n",
            "a button must be a mapping",
        ),
        ("test_cases:\n  - {test_case: one, steps: [{user: hi, assertions: [{3: f}]}]}\n", "`name: value` pair"),
    ],
)
def test_what_does_not_belong_there_is_named_with_its_place(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        load_suite(file)
    assert complaint in str(caught.value)
    assert f"{file}:" in str(caught.value)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (BotUttered("hi"), 'bot: "hi"'),
        (SlotSet("a", "x"), "slot: a = 'x' (str)"),
        (SlotSet("a", None, reset=True), "slot: a = null (reset)"),
        (ActionExecuted("action_x"), "action: action_x"),
        (ActionExecuted("action_listen"), None),
        (FlowStarted(flow_id="f"), "flow started: f"),
        (FlowCompleted(flow_id="f", step_id="s"), "flow completed: f at s"),
        (FlowCancelled(flow_id="f"), "flow cancelled: f"),
        (SessionStarted(), None),
    ],
)
def test_events_in_a_line(event: object, line: str | None) -> None:
    assert describe_event(event) == line  # type: ignore[arg-type]


def test_what_is_no_step_is_refused() -> None:
    class Other(Step):
        pass

    other = Other(Location(Path("x.yml"), 1))
    for use in (describe_step, step_as_yaml, lambda step: is_met(step, ())):
        with pytest.raises(TypeError, match="not a"):
            use(other)
    assert describe_step(SlotWasSetStep(Location(Path("x.yml"), 1), "a")) == "slot: a set"
