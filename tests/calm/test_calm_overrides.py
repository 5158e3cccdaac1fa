"""What an assistant puts in place of what is built in: actions, patterns, texts, slots; and what older ones need."""

from __future__ import annotations

import pytest
from desk_assistant import said
from small_bot import small_engine, small_talk

from rasa_ft.calm.commands import Clarify, HumanHandoff, StartFlow
from rasa_ft.calm.dialogue.runtime import MAX_ACTIONS, ActionResult
from rasa_ft.calm.events import ActionExecuted, FlowCompleted, FlowStarted
from rasa_ft.calm.project.domain import BUILTIN_ACTIONS
from rasa_ft.errors import DataError

FLOWS = """
  f:
    name: first
    description: one thing
    steps:
      - collect: a
      - action: utter_done
  g:
    name: second
    description: another thing
    steps:
      - collect: b
      - action: utter_done
"""
DOMAIN = """
slots:
  a: {type: text}
  b: {type: text}
responses:
  utter_ask_a: [{text: A?}]
  utter_ask_b: [{text: B?}]
  utter_done: [{text: Done.}]
  utter_other: [{text: Other.}]
"""
ASK_MORE = "utter_ask_continue_conversation"


def pattern(name: str, *steps: str) -> str:
    return f"  {name}:\n    description: own\n    steps:\n" + "".join(f"      - {step}\n" for step in steps)


# -- built-in actions -----------------------------------------------------------------------------------------------


def test_a_custom_action_takes_the_place_of_a_built_in_one(tmp_path):
    answer = ActionResult(responses=({"text": "again?"},))
    domain = DOMAIN + "actions: [action_repeat_bot_messages]\n"
    talk = small_talk(tmp_path, FLOWS, domain, actions={"action_repeat_bot_messages": answer})
    talk.say("start flow f")
    assert talk.say("repeat message") == ["again?", "utter_ask_a"]
    assert talk.engine.custom_actions == {"action_repeat_bot_messages"}


def test_an_own_restart_replaces_all_of_it(tmp_path):
    answer = ActionResult(responses=({"text": "no"},))
    talk = small_talk(tmp_path, FLOWS, DOMAIN + "actions: [action_restart]\n", actions={"action_restart": answer})
    talk.say("start flow f; set slot a x")
    talk.say("start flow g")
    assert talk.click("/restart") == ["no", "utter_ask_b"]


def test_listening_is_nobodys(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN + "actions: [action_listen]\n")
    assert talk.say("start flow f") == ["utter_ask_a"]
    assert talk.engine.custom_actions == frozenset()


def test_a_response_is_no_custom_action_though_it_is_listed(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN + "actions: [utter_done, utter_ask_a]\n")
    talk.say("start flow f")
    assert talk.say("set slot a x") == ["utter_done", ASK_MORE]


# All but those that end, search or chat.
RESERVED = sorted(
    BUILTIN_ACTIONS
    - {"action_listen", "action_restart", "action_session_start", "action_hangup", "action_trigger_search"}
    - {"action_trigger_chitchat", "action_reset_routing"}
)


@pytest.mark.parametrize("action", RESERVED)
def test_reserved_names_do_nothing_harmful_inside_a_flow(tmp_path, action):
    flow = f"  h:\n    description: more\n    steps: [{{collect: a}}, {{action: {action}}}, {{action: utter_other}}]\n"
    talk = small_talk(tmp_path, FLOWS + flow, DOMAIN)
    talk.say("start flow h")
    turn = talk.turn("set slot a x")
    assert ActionExecuted(action, flow_id="h", step_id=f"h_1_{action}") in turn.events
    spoken = said(turn)
    if action == "action_clean_stack":  # ends the flow where it stands
        assert spoken == [ASK_MORE]
    else:
        assert [name for name in spoken if name != "utter_ask_a"] == ["utter_other", ASK_MORE]


def test_ending_the_session_inside_a_flow(tmp_path):
    flow = pattern("h", "action: utter_done", "action: action_hangup", "action: utter_other")
    talk = small_talk(tmp_path, FLOWS + flow, DOMAIN)
    assert talk.say("start flow h") == ["utter_done"]
    assert talk.conversation.tracker.ended


def test_an_action_named_after_a_flow_starts_it(tmp_path):
    flow = "  h:\n    description: more\n    if: false\n    steps: [{action: flow_f}, {action: utter_other}]\n"
    go = "  go:\n    description: go\n    steps: [{link: h}]\n"
    talk = small_talk(tmp_path, FLOWS + flow + go, DOMAIN)
    assert talk.say("start flow go") == ["utter_ask_a"]
    assert talk.stack == ["h", "f", "pattern_collect_information"]


# -- patterns, responses and slots ----------------------------------------------------------------------------------


def test_own_patterns_replace_built_in_ones_entirely(tmp_path):
    talk = small_talk(tmp_path, FLOWS + pattern("pattern_cannot_handle", "action: utter_other"), DOMAIN)
    assert talk.say("cannot handle") == ["utter_other"]


def test_own_texts_replace_built_in_ones_entirely(tmp_path):
    domain = DOMAIN + (
        "  utter_flow_cancelled_rasa:\n"
        '    - {text: "Gone: {{ context.canceled_name }}", metadata: {template: jinja}}\n'
        '  utter_corrected_previous_input: [{text: "{{context}} now {a}"}]\n'
    )
    talk = small_talk(tmp_path, FLOWS, domain)
    talk.say("start flow f")
    assert talk.turn("cancel flow").bot_messages[0].text == "Gone: first"


def test_own_slots_replace_built_in_ones(tmp_path):
    domain = DOMAIN.replace("slots:", "slots:\n  max_clarification_options: {type: float, initial_value: 1}")
    talk = small_talk(tmp_path, FLOWS, domain)
    assert talk.turn("disambiguate flows f g").bot_messages[0].text == "What would you like: first?"


def test_an_own_pattern_may_ask_and_link(tmp_path):
    own = pattern("pattern_cancel_flow", "action: action_cancel_flow", "action: utter_other", "link: g")
    talk = small_talk(tmp_path, FLOWS + own, DOMAIN)
    talk.say("start flow f")
    assert talk.say("cancel flow")[:2] == ["utter_other", "utter_ask_b"]


@pytest.mark.parametrize(
    ("name", "intent", "text"),
    [
        ("pattern_cancel_flow", "stop", "/stop"),
        ("pattern_chitchat", "chat", "/chat"),
        ("pattern_search", "ask", "/ask"),
        ("pattern_skip_question", "skip", "/skip"),
        ("pattern_cannot_handle", "what", "/what"),
        ("pattern_session_end", "bye", "/bye"),
    ],
)
def test_an_intent_may_trigger_a_pattern(tmp_path, name, intent, text):
    own = pattern(name, "action: utter_other").replace("steps:", f"nlu_trigger: [{{intent: {intent}}}]\n    steps:")
    talk = small_talk(tmp_path, FLOWS + own, DOMAIN)
    talk.say("start flow f")
    assert talk.click(text)[0] == "utter_other"


# -- what older assistants rely on ----------------------------------------------------------------------------------


def test_older_resumption_is_automatic(tmp_path):
    """Up to 3.13 the interrupted flow went on by itself: an override of the pattern without a question does that."""
    own = pattern("pattern_continue_interrupted", "action: utter_flow_continue_interrupted")
    talk = small_talk(tmp_path, FLOWS + own, DOMAIN)
    talk.say("start flow f")
    talk.say("start flow g")
    turn = talk.turn("set slot b y")
    assert said(turn) == ["utter_done", "utter_flow_continue_interrupted", "utter_ask_a"]
    assert turn.bot_messages[1].text == "Now back to first."
    assert talk.say("set slot a x") == ["utter_done", ASK_MORE]


def test_older_resumption_with_several_flows(tmp_path):
    own = pattern("pattern_continue_interrupted", "action: utter_flow_continue_interrupted")
    third = "  h:\n    description: a third thing\n    steps: [{collect: c}]\n"
    domain = DOMAIN.replace("slots:", "slots:\n  c: {type: text}") + "  utter_ask_c: [{text: C?}]\n"
    talk = small_talk(tmp_path, FLOWS + third + own, domain)
    for flow in "fgh":
        talk.say(f"start flow {flow}")
    assert talk.say("set slot c z") == ["utter_flow_continue_interrupted", "utter_ask_b"]
    assert talk.say("set slot b y") == ["utter_done", "utter_flow_continue_interrupted", "utter_ask_a"]


def test_older_completion_asks_nothing(tmp_path):
    talk = small_talk(tmp_path, FLOWS + pattern("pattern_completed", "action: utter_can_do_something_else"), DOMAIN)
    talk.say("start flow f")
    assert talk.say("set slot a x") == ["utter_done", "utter_can_do_something_else"]
    assert talk.stack == []


def test_completion_may_be_silent(tmp_path):
    talk = small_talk(tmp_path, FLOWS + pattern("pattern_completed", "{noop: true, next: END}"), DOMAIN)
    talk.say("start flow f")
    assert talk.say("set slot a x") == ["utter_done"]


def test_completion_may_listen(tmp_path):
    talk = small_talk(tmp_path, FLOWS + pattern("pattern_completed", "action: action_listen"), DOMAIN)
    talk.say("start flow f")
    assert talk.say("set slot a x") == ["utter_done"]
    assert talk.say("start flow g") == ["utter_ask_b"]
    assert talk.stack == ["g", "pattern_collect_information"]


@pytest.mark.parametrize(
    ("generator", "line"),
    [
        ("SingleStepLLMCommandGenerator", "HumanHandoff()"),
        ("LLMCommandGenerator", "HumanHandoff()"),
        ("CompactLLMCommandGenerator", "hand over"),
        ("SearchReadyLLMCommandGenerator", "hand over"),
    ],
)
def test_handing_over_in_every_syntax(tmp_path, generator, line):
    talk = small_talk(tmp_path, FLOWS, DOMAIN, generator=generator)
    turn = talk.turn(line)
    assert turn.commands == (HumanHandoff(),)
    assert said(turn) == ["utter_human_handoff_not_available"]


def test_older_names_in_files(tmp_path):
    flows = FLOWS.replace("collect: a\n", "collect: a\n        reset_after_flow_ends: false\n") + (
        "  h:\n    description: more\n    metadata: {x: 1}\n    file_path: somewhere\n    on_activate: []\n"
        "    nlu_trigger: [{intent: {name: old, confidence_threshold: 0.5}}]\n"
        "    steps:\n"
        "      - {noop: , next: [{if: false, then: END}, {if: true, then: 1_utter_other}, {else: END}]}\n"
        "      - {action: utter_other, metadata: {y: 2}}\n"
    )
    domain = DOMAIN.replace("a: {type: text}", "a: {type: text, mappings: [{type: custom, action: action_count}]}")
    answers = {"action_count": [{"event": "slot", "name": "a", "value": "counted"}]}
    talk = small_talk(tmp_path, flows, domain + "actions: [action_count]\n", actions=answers)
    assert talk.say("start flow f")[0] == "utter_done"
    assert talk.slot("a") == "counted"
    assert talk.click("/old")[0] == "utter_other"


# -- the environment ------------------------------------------------------------------------------------------------


def test_several_flows_to_start_may_be_asked_back(tmp_path, monkeypatch):
    monkeypatch.setenv("CLARIFY_ON_MULTIPLE_START_FLOWS", "True")
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    turn = talk.turn("set slot a x; start flow g; start flow f; start flow g")
    assert Clarify(("g", "f")) in turn.commands
    assert not any(isinstance(command, StartFlow) for command in turn.commands)
    assert said(turn) == ["utter_clarification_options_rasa"]
    assert talk.turn("start flow f; start flow f").commands[0] == StartFlow("f")
    assert talk.turn("start flow g; start flow g").commands[0] == StartFlow("g")  # something is under way: no question


def test_several_flows_start_otherwise(tmp_path):
    turn = small_talk(tmp_path, FLOWS, DOMAIN).turn("start flow g; start flow f")
    assert next(event.flow_id for event in turn.events if isinstance(event, FlowStarted)) == "g"


def test_the_most_actions_of_a_turn(tmp_path, monkeypatch):
    assert small_engine(tmp_path, FLOWS, DOMAIN).runtime.max_actions == MAX_ACTIONS
    monkeypatch.setenv("MAX_NUMBER_OF_PREDICTIONS_CALM", "2")
    again = "  h:\n    description: more\n    steps: [{id: x, action: utter_done, next: x}]\n"
    talk = small_talk(tmp_path, FLOWS + again, DOMAIN)
    assert talk.say("start flow h") == ["utter_done"] * 2
    assert talk.say("cancel flow")[:1] == ["utter_flow_cancelled_rasa"]
    monkeypatch.setenv("MAX_NUMBER_OF_PREDICTIONS_CALM", "many")
    with pytest.raises(DataError, match="MAX_NUMBER_OF_PREDICTIONS_CALM is 'many'"):
        small_engine(tmp_path, FLOWS, DOMAIN)


def test_a_correction_gives_a_turn_more_actions(tmp_path):
    steps = ("collect: a", "collect: b", "{id: x, action: utter_done, next: x}")
    again = pattern("h", *steps).replace("own", "more")
    talk = small_talk(tmp_path, FLOWS + again, DOMAIN, max_actions=8)
    talk.say("start flow h; set slot a x")
    assert talk.say("set slot a y; set slot b z").count("utter_done") > 8
    assert FlowCompleted not in [type(event) for event in talk.conversation.events[-3:]]
