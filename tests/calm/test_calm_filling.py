"""How slots are filled: who may, when, what is stored; values checked at once; what is reset when a flow ends."""

from __future__ import annotations

import pytest
from desk_assistant import said
from small_bot import small_talk

from rasa_ft.calm.commands import CannotHandle, CorrectSlots, SetSlot, StartFlow
from rasa_ft.calm.events import ActionExecuted, SlotSet

FLOWS = """
  f:
    description: one thing
    run_pattern_completed: false
    steps:
      - collect: a
      - collect: b
      - collect: kind
      - collect: tags
        utter: utter_ask_a
      - action: utter_done
  g:
    description: another thing
    run_pattern_completed: false
    steps:
      - collect: b
      - action: utter_done
"""
DOMAIN = """
slots:
  a: {type: text}
  b: {type: text}
  kind: {type: categorical, values: [Big, small]}
  tags: {type: any}
actions: [action_own]
responses:
  utter_ask_a: [{text: A?}]
  utter_ask_b: [{text: B?}]
  utter_ask_kind: [{text: Kind?}]
  utter_done: [{text: "{a} {b}"}]
  utter_bad: [{text: "Not {value}."}]
  utter_again: [{text: Again?}]
"""


def with_slot(name: str, definition: str) -> str:
    """`DOMAIN` with another definition of one slot."""
    lines = [f"  {name}: {definition}" if line.startswith(f"  {name}: ") else line for line in DOMAIN.split("\n")]
    return "\n".join(lines)


# -- conditions of mappings -----------------------------------------------------------------------------------------

ONLY_IN_F = "{type: text, mappings: [{type: from_llm, conditions: [{active_flow: f}]}]}"
ONLY_ASKED = "{type: text, mappings: [{type: from_llm, conditions: [{requested_slot: b}]}]}"


def test_a_slot_that_is_open_in_one_flow_only(tmp_path):
    talk = small_talk(tmp_path, FLOWS, with_slot("b", ONLY_IN_F))
    talk.say("start flow g")
    turn = talk.turn("set slot b x")
    assert turn.commands == ()  # dropped, not misunderstood: the question is simply asked again
    assert said(turn) == ["utter_ask_b"]
    talk.say("start flow f")
    talk.say("set slot b x")
    assert talk.slot("b") == "x"


def test_a_slot_that_is_open_only_while_it_is_asked(tmp_path):
    talk = small_talk(tmp_path, FLOWS, with_slot("b", ONLY_ASKED))
    talk.say("start flow f; set slot b early")
    assert talk.slot("b") is None
    talk.say("set slot a x")
    talk.say("set slot b y")
    assert talk.slot("b") == "y"


def test_one_open_mapping_is_enough(tmp_path):
    both = ONLY_ASKED.replace("]}]}", "]}, {type: from_llm, conditions: [{active_flow: f}]}]}")
    talk = small_talk(tmp_path, FLOWS, with_slot("b", both))
    talk.say("start flow f")
    talk.say("set slot b y")
    assert talk.slot("b") == "y"


def test_a_button_passes_all_mappings(tmp_path):
    talk = small_talk(tmp_path, FLOWS, with_slot("b", "{type: text, mappings: [{type: controlled}]}"))
    talk.say("start flow g")
    assert talk.turn("set slot b x").commands[0].name == "cannot handle"
    assert talk.click("/SetSlots(b=x)") == ["utter_done"]


def test_a_slot_with_several_mappings_is_the_models_if_one_is(tmp_path):
    mixed = "{type: text, mappings: [{type: controlled}, {type: from_llm}]}"
    talk = small_talk(tmp_path, FLOWS, with_slot("b", mixed))
    assert talk.say("start flow g; set slot b x") == ["utter_done"]


# -- forced answers -------------------------------------------------------------------------------------------------


def test_a_question_that_insists_on_an_answer(tmp_path):
    flows = FLOWS.replace("collect: a\n", "collect: a\n        force_slot_filling: true\n")
    talk = small_talk(tmp_path, flows, DOMAIN)
    talk.say("start flow f")
    assert talk.turn("start flow g; set slot b x").commands == (CannotHandle(),)
    turn = talk.turn("start flow g; set slot a x")
    assert turn.commands == (SetSlot("a", "x"),)


def test_a_question_that_takes_the_raw_text(tmp_path):
    flows = FLOWS.replace("collect: a\n", "collect: a\n        force_slot_filling: true\n")
    talk = small_talk(tmp_path, flows, with_slot("a", "{type: text, mappings: [{type: from_text}]}"))
    talk.say("start flow f")
    turn = talk.turn("cancel flow", text="/restart please, " + "long " * 200)
    assert turn.prompt is None  # no model is asked, and nothing is too long
    assert str(talk.slot("a")).startswith("/restart please")
    assert said(turn) == ["utter_ask_b"]


def test_raw_text_needs_a_question_that_insists(tmp_path):
    mappings = "{type: text, mappings: [{type: from_text}, {type: from_llm}]}"
    talk = small_talk(tmp_path, FLOWS, with_slot("a", mappings))
    talk.say("start flow f")
    assert talk.turn("set slot a x", text="it is x, really").prompt is not None
    assert talk.slot("a") == "x"


# -- controlled slots that are filled every turn --------------------------------------------------------------------

EVERY_TURN = "{type: text, mappings: [{type: controlled, run_action_every_turn: action_own}]}"


def test_an_action_that_runs_every_turn_does_so_before_the_commands(tmp_path):
    seen = []

    def own(tracker):
        seen.append([frame.flow_id for frame in tracker.stack.frames])
        return [{"event": "slot", "name": "tags", "value": len(seen)}]

    talk = small_talk(tmp_path, FLOWS, with_slot("tags", EVERY_TURN), actions={"action_own": own})
    turn = talk.turn("start flow f")
    talk.turn("set slot a x")
    assert seen == [[], ["f", "pattern_collect_information"]]
    assert talk.slot("tags") == 2
    assert ActionExecuted("action_own") in turn.events


def test_one_that_fails_does_no_harm(tmp_path, caplog):
    talk = small_talk(tmp_path, FLOWS, with_slot("tags", EVERY_TURN))  # the action has no answer
    assert talk.say("start flow f") == ["utter_ask_a"]
    assert "action_own" in caplog.text


# -- what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["None", "null", "undefined", "[missing]", "[missing information]", "''"])
def test_no_value_is_no_answer(tmp_path, value):
    talk = small_talk(tmp_path, FLOWS, DOMAIN, generator="SingleStepLLMCommandGenerator")
    talk.say("StartFlow(f)")
    turn = talk.turn(f"SetSlot(a, {value})")
    assert turn.commands == (SetSlot("a", None),)
    assert said(turn) == ["utter_ask_a"]


def test_no_value_unsets_nothing_that_is_not_asked(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f; set slot a x")
    talk.say("set slot a null")
    assert talk.conversation.tracker.has_been_set == {"a"}


def test_whoever_fills_a_categorical_slot_it_is_spelled_as_in_the_domain(tmp_path):
    flows = "  h:\n    description: more\n    steps: [{action: action_own}, {collect: a}]\n"
    answer = [{"event": "slot", "name": "kind", "value": "BIG"}]
    talk = small_talk(tmp_path, FLOWS + flows, DOMAIN, actions={"action_own": answer})
    turn = talk.turn("start flow h")
    assert SlotSet("kind", "BIG", "CUSTOM", flow_id="h", step_id="h_0_action_own") in turn.events
    assert talk.slot("kind") == "Big"


def test_a_list_slot_always_holds_a_list(tmp_path):
    flows = "  h:\n    description: more\n    steps: [{action: action_own}, {collect: a}]\n"
    domain = DOMAIN.replace("slots:", "slots:\n  many: {type: list}")
    answer = [{"event": "slot", "name": "many", "value": "one"}]
    talk = small_talk(tmp_path, FLOWS + flows, domain, actions={"action_own": answer})
    talk.say("start flow h")
    assert talk.slot("many") == ["one"]


def test_set_slots_steps_take_any_value(tmp_path):
    flows = (
        "  h:\n    description: more\n    steps: [{set_slots: [{a: 5}, {tags: [x]}, {kind: SMALL}]}, {collect: b}]\n"
    )
    talk = small_talk(tmp_path, FLOWS + flows, DOMAIN)
    talk.say("start flow h")
    assert (talk.slot("a"), talk.slot("tags"), talk.slot("kind")) == (5, ["x"], "small")


def test_other_is_no_category_to_choose(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f; set slot a x; set slot b y")
    assert talk.say("set slot kind __other__") == ["utter_categorical_slot_rejection", "utter_ask_kind"]
    assert talk.engine.runtime.domain.slots["kind"].values == ("Big", "small")


# -- initial values and slots that have been set --------------------------------------------------------------------


def test_an_initial_value_is_neither_asked_nor_checked_nor_corrected(tmp_path):
    flows = FLOWS.replace(
        "collect: a\n", "collect: a\n        rejections: [{if: 'slots.a = \"start\"', utter: utter_bad}]\n"
    )
    talk = small_talk(tmp_path, flows, with_slot("a", "{type: text, initial_value: start}"))
    assert talk.say("start flow f") == ["utter_ask_b"]
    turn = talk.turn("set slot a other")
    assert turn.commands == (SetSlot("a", "other"),)
    assert isinstance(talk.turn("set slot a third").commands[0], CorrectSlots)


def test_a_slot_that_was_reset_counts_as_set(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow g; set slot b x")
    assert "b" in talk.conversation.tracker.has_been_set
    assert talk.turn("start flow g; set slot b y").commands == (StartFlow("g"), SetSlot("b", "y"))


# -- validation of a slot -------------------------------------------------------------------------------------------

CHECKED = (
    '{type: text, validation: {rejections: [{if: "slots.b = \\"bad\\"", utter: utter_bad}], refill_utter: utter_again}}'
)


def test_a_value_given_ahead_is_checked_before_the_question_at_hand(tmp_path):
    talk = small_talk(tmp_path, FLOWS, with_slot("b", CHECKED))
    talk.say("start flow f")
    turn = talk.turn("set slot b bad")
    assert [message.text for message in turn.bot_messages] == ["Not bad.", "Again?"]
    assert talk.stack[-1] == "pattern_validate_slot"
    assert talk.say("set slot b good") == ["utter_ask_a"]
    assert talk.slot("b") == "good"


def test_a_corrected_value_is_checked_when_the_correction_is_done(tmp_path):
    talk = small_talk(tmp_path, FLOWS, with_slot("b", CHECKED))
    talk.say("start flow f; set slot a x; set slot b good")
    assert talk.say("set slot b bad") == ["utter_corrected_previous_input", "utter_bad", "utter_again"]


def test_actions_and_steps_fill_such_a_slot_unchecked(tmp_path):
    flows = "  h:\n    description: more\n    steps: [{set_slots: [{b: bad}]}, {action: action_own}, {collect: a}]\n"
    answer = [{"event": "slot", "name": "b", "value": "bad"}]
    talk = small_talk(tmp_path, FLOWS + flows, with_slot("b", CHECKED), actions={"action_own": answer})
    assert talk.say("start flow h") == ["utter_ask_a"]


def test_an_action_may_ask_again(tmp_path):
    domain = with_slot("b", CHECKED.replace(", refill_utter: utter_again", "")).replace(
        "actions: [action_own]", "actions: [action_ask_b]"
    )
    domain = domain.replace("  utter_ask_b: [{text: B?}]\n", "")
    answer = [{"event": "bot", "text": "which b?"}]
    talk = small_talk(tmp_path, FLOWS, domain, actions={"action_ask_b": answer})
    talk.say("start flow f")
    assert talk.say("set slot b bad") == ["utter_bad", "which b?"]


# -- rejections -----------------------------------------------------------------------------------------------------


def test_rejections_see_their_own_slot_only(tmp_path):
    own = "{if: 'slots.a = \"x\" and slots.b', utter: utter_bad}, {if: 'context.flow_id = \"f\"', utter: utter_bad}"
    flows = FLOWS.replace("collect: a\n", f"collect: a\n        rejections: [{own}]\n")
    talk = small_talk(tmp_path, flows, DOMAIN)
    assert talk.say("start flow f; set slot a x; set slot b y") == ["utter_ask_kind"]


def test_a_validating_action_runs_on_every_pass_even_without_a_value(tmp_path):
    domain = DOMAIN.replace("actions: [action_own]", "actions: [validate_a]")
    talk = small_talk(tmp_path, FLOWS, domain, actions={"validate_a": []})
    talk.say("start flow f")
    talk.say("offtopic reply")
    talk.say("set slot a x")
    assert talk.engine.runtime.custom.ran == ["validate_a"] * 3


# -- the end of a flow ----------------------------------------------------------------------------------------------


def test_persisted_slots_skip_the_question_next_time(tmp_path):
    talk = small_talk(tmp_path, FLOWS.replace("  g:\n", "  g:\n    persisted_slots: [b]\n"), DOMAIN)
    talk.say("start flow g; set slot b x")
    assert talk.say("start flow g") == ["utter_done"]
    assert talk.slot("b") == "x"


def test_the_older_way_to_persist(tmp_path):
    head, _, tail = FLOWS.rpartition("collect: b\n")
    talk = small_talk(tmp_path, head + "collect: b\n        reset_after_flow_ends: false\n" + tail, DOMAIN)
    talk.say("start flow g; set slot b x")
    assert talk.slot("b") == "x"


def test_a_flow_called_twice_finds_its_slots_filled(tmp_path):
    flows = "  h:\n    description: more\n    steps: [{call: g}, {call: g}, {action: utter_done}]\n"
    talk = small_talk(tmp_path, FLOWS + flows, DOMAIN)
    talk.say("start flow h")
    assert talk.say("set slot b x")[:3] == ["utter_done"] * 3
    assert talk.slot("b") is None  # reset when the caller has ended


def test_a_called_flow_asks_anew_if_it_asks_before_filling(tmp_path):
    head, _, tail = FLOWS.rpartition("collect: b\n")
    called = head + "collect: b\n        ask_before_filling: true\n" + tail
    flows = "  h:\n    description: more\n    steps: [{call: g}, {call: g}]\n"
    talk = small_talk(tmp_path, called + flows, DOMAIN)
    talk.say("start flow h")
    assert talk.say("set slot b x") == ["utter_done", "utter_ask_b"]


def test_cancelling_resets_and_completes(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f; set slot a x")
    turn = talk.turn("cancel flow")
    names = [type(event).__name__ for event in turn.events if getattr(event, "flow_id", None) == "f"]
    assert names.index("FlowCancelled") < names.index("FlowCompleted")
    assert talk.slot("a") is None


def test_a_value_that_the_new_flow_does_not_ask_for_is_lost(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f")
    talk.say("set slot kind Big; start flow g")
    assert talk.slot("kind") is None
    talk.say("cancel flow")
    talk.say("start flow g; set slot a x")  # asked by the flow below: it counts
    assert talk.slot("a") == "x"


def test_starting_a_flow_over_a_linked_one(tmp_path):
    flows = "  h:\n    description: more\n    steps: [{link: f}]\n"
    talk = small_talk(tmp_path, FLOWS + flows, DOMAIN)
    talk.say("start flow h")
    assert talk.say("start flow g; set slot b y")[0] == "utter_done"
    assert talk.stack[0] == "f"
