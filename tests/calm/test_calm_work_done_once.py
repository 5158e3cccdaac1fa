"""What a turn or a load need not do again: parse the same predicate, build a lexer, look through all flows."""

from __future__ import annotations

from pathlib import Path

import pypred.parser
import pytest
from desk_assistant import Talk

from rasa_ft.calm import templates
from rasa_ft.calm.dialogue import offering
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import ActionExecuted, Restarted, SessionStarted, UserUttered
from rasa_ft.calm.flows import conditions
from rasa_ft.calm.flows.conditions import holds, parse_errors
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.loading import parse_flows
from rasa_ft.calm.templates import fill


def test_a_predicate_is_parsed_once_and_its_lexer_never_built_again(monkeypatch: pytest.MonkeyPatch):
    parsed: list[str] = []
    run = conditions._run_parser
    holds("slots.a is 1", {"slots": {"a": 1}})
    monkeypatch.setattr(conditions, "_run_parser", lambda text: parsed.append(text) or run(text))
    monkeypatch.setattr(pypred.parser, "get_lexer", lambda: pytest.fail("a lexer was built"))
    predicate = "slots.only_here is 5 and slots.b is 'x'"
    for value in (5, 6):
        assert holds(predicate, {"slots": {"only_here": value, "b": "x"}}) is (value == 5)
    assert parsed == [predicate]


def test_errors_of_one_predicate_do_not_stay_in_the_lexer():
    assert parse_errors("slots.a is ~")
    assert parse_errors("slots.another is 1") == ()
    assert parse_errors("slots.a is ~ 1")


def test_a_template_is_given_copies_of_what_it_uses_only(monkeypatch: pytest.MonkeyPatch):
    copied: list[object] = []
    monkeypatch.setattr(templates, "plain", lambda value: copied.append(value) or value)
    assert fill("{{ used }}{% set own = 1 %}{{ own }}{{ missing }}", {"used": 2, "unused": 3}) == "21"
    assert copied == [2]


def test_a_guard_that_many_flows_have_is_evaluated_once_a_turn(monkeypatch: pytest.MonkeyPatch, talk: Talk):
    evaluated: list[object] = []
    monkeypatch.setattr(offering, "holds", lambda guard, document: evaluated.append(guard) or True)
    runtime = talk.engine.runtime
    tracker = talk.conversation.tracker
    offered = offering.startable_flows(tracker, runtime)
    offered.clear()
    offered = offering.startable_flows(tracker, runtime)
    assert list(offered) == [flow.id for flow in runtime.user_flows]
    assert len(evaluated) == len({flow.guard for flow in runtime.user_flows if flow.guard is not None})
    offering.startable_flows(tracker.apply(ActionExecuted("a")), runtime)
    assert len(evaluated) == 2 * len(set(evaluated))


def test_steps_of_called_flows_are_still_found_where_they_are_called():
    text = (
        "flows:\n"
        "  a: {description: A, steps: [{collect: x}, {call: b}, {collect: y}]}\n"
        "  b: {description: B, steps: [{collect: z}]}\n"
    )
    flows = parse_flows(text, Path("flows.yml"))
    assert [step.slot for step in collect_steps(flows["a"], flows)] == ["x", "z", "y"]
    assert [step.slot for step in collect_steps(flows["a"], flows, resolve_calls=False)] == ["x", "y"]
    assert collect_steps(flows["b"], flows) is flows["b"].own_collect_steps


def test_the_context_of_a_stack_is_made_once_and_cannot_be_changed(talk: Talk):
    talk.turn("start flow meeting")
    stack = talk.conversation.tracker.stack
    context = stack.context()
    assert context is stack.context()
    assert stack.pop().context() != context
    with pytest.raises(TypeError):
        context["flow_id"] = "other"  # type: ignore[index]


def test_the_session_is_read_backwards_to_its_beginning():
    tracker = Tracker.new({}).apply(UserUttered("a"), SessionStarted(), UserUttered("b"), ActionExecuted("c"))
    assert tuple(tracker.session_backwards()) == tracker.session_events[::-1]
    assert len(tracker.session_events) == 2
    assert list(tracker.apply(Restarted()).session_backwards()) == []
    assert len(list(Tracker.new({}).apply(UserUttered("a")).session_backwards())) == 1
