"""Scripted command sequences through the whole runtime, on tests/assistants/desk."""

from __future__ import annotations

from rasa_ft.calm.commands import CannotHandle, Clarify, CorrectSlots, SetSlot, StartFlow
from rasa_ft.calm.events import (
    ActionExecuted,
    ActionExecutionRejected,
    FlowCancelled,
    FlowCompleted,
    FlowInterrupted,
    FlowResumed,
    FlowStarted,
    Restarted,
    SlotSet,
    UserUttered,
)

ASK_MORE = "utter_ask_continue_conversation"


def started(turn):
    return [event.flow_id for event in turn.events if isinstance(event, FlowStarted)]


def completed(turn):
    return [event.flow_id for event in turn.events if isinstance(event, FlowCompleted)]


# -- collecting and branching ---------------------------------------------------------------------------------------


def test_slots_given_with_the_start_are_not_asked(talk):
    assert talk.say("start flow book_desk; set slot day friday; set slot kind sitting") == ["utter_ask_confirm"]
    assert talk.slot("day") == "friday"


def test_slots_before_the_start_count_too_when_idle(talk):
    assert talk.say("set slot day friday; start flow book_desk") == ["utter_ask_kind"]


def test_a_slot_that_is_asked_before_filling_is_not_taken_ahead(talk):
    talk.say("start flow book_desk; set slot day friday; set slot kind sitting; set slot confirm true")
    assert talk.slot("confirm") is None


def test_each_branch(talk, new_talk):
    assert talk.say("start flow book_desk; set slot day friday; set slot kind standing") == ["utter_ask_height"]
    other = new_talk()
    assert other.say("start flow book_desk; set slot day sunday; set slot kind sitting") == ["utter_no_desk", ASK_MORE]


def test_the_whole_way_with_reset_and_completion(talk):
    talk.say("start flow book_desk; set slot day friday; set slot kind SITTING")
    assert talk.slot("kind") == "sitting"
    turn = talk.turn("set slot confirm yes")
    assert next(message.text for message in turn.bot_messages) == "Booked for friday."
    assert completed(turn)[-1] == "book_desk"
    assert talk.slot("day") is None
    assert talk.slot("desk_found") is True  # only set by an action: stays
    resets = [event for event in turn.events if isinstance(event, SlotSet) and event.reset]
    assert [event.slot for event in resets] == ["day", "kind", "height", "confirm"]
    order = [event for event in turn.events if event in resets or isinstance(event, FlowCompleted)]
    assert order[-1] == FlowCompleted(flow_id="book_desk", step_id=order[-1].step_id)
    assert talk.stack == ["pattern_completed", "pattern_collect_information"]


def test_a_rejected_value_is_answered_cleared_and_asked_again(talk):
    turn = talk.turn("start flow book_desk; set slot day yesterday")
    assert [message.text for message in turn.bot_messages] == ["yesterday is over.", "Which day?"]
    assert talk.slot("day") is None


def test_values_of_the_wrong_type_are_refused(talk):
    talk.say("start flow book_desk; set slot day friday")
    assert talk.say("set slot kind lying") == ["utter_categorical_slot_rejection", "utter_ask_kind"]
    talk.say("set slot kind standing")
    assert talk.say("set slot height tall") == ["utter_float_slot_rejection", "utter_ask_height"]
    assert talk.say("set slot height 20") == ["utter_float_slot_rejection", "utter_ask_height"]
    assert talk.say("set slot height 75") == ["utter_ask_confirm"]
    assert talk.slot("height") == 75.0
    assert talk.say("set slot confirm maybe") == ["utter_boolean_slot_rejection", "utter_ask_confirm"]


def test_a_validating_action_may_refuse_and_add_buttons(talk):
    talk.say("start flow meeting; set slot name Ann")
    turn = talk.turn("set slot topic nothing")
    refusal, question = turn.bot_messages
    assert refusal.utter_action == "utter_topic_refused"
    assert [button.title for button in refusal.buttons] == ["Desks"]
    assert question.utter_action == "utter_ask_topic"


def test_a_followup_action_runs_next(talk):
    talk.say("start flow meeting; set slot name Ann")
    assert talk.say("set slot topic more")[:2] == ["followed", "utter_met"]


def test_a_slot_with_validation_is_checked_at_once(talk):
    turn = talk.turn("start flow get_badge; set slot badge abc")
    assert [message.text for message in turn.bot_messages] == ["abc is no badge.", "Which badge?"]
    assert talk.say("set slot badge 12") == ["utter_ask_day"]
    assert talk.slot("badge") == "12"


def test_unlisted_slots_of_other_flows_are_lost(talk):
    talk.say("start flow book_desk")
    assert talk.say("set slot plate X1") == ["utter_ask_day"]
    assert talk.slot("plate") is None


# -- corrections ----------------------------------------------------------------------------------------------------


def test_a_correction_mid_flow_takes_the_other_branch(talk):
    talk.say("start flow book_desk; set slot day friday; set slot kind standing")
    turn = talk.turn("set slot kind sitting")
    assert turn.commands[0] == CorrectSlots(turn.commands[0].corrected_slots)
    assert [message.utter_action for message in turn.bot_messages] == [
        "utter_corrected_previous_input",
        "utter_ask_confirm",
    ]
    assert talk.slot("kind") == "sitting"
    assert talk.stack == ["book_desk", "pattern_collect_information"]


def test_actions_between_run_again_after_a_correction(talk):
    talk.say("start flow book_desk; set slot day friday; set slot kind sitting")
    assert talk.say("set slot day sunday") == ["utter_corrected_previous_input", "utter_no_desk", ASK_MORE]


def test_several_corrections_are_one(talk):
    talk.say("start flow book_desk; set slot day friday; set slot kind standing; set slot height 80")
    turn = talk.turn("set slot day monday; set slot kind sitting")
    assert len(turn.commands) == 1
    assert turn.bot_messages[0].text == "Noted, I changed that to monday and sitting."


def test_a_corrected_value_is_still_checked(talk):
    talk.say("start flow book_desk; set slot day friday")
    turn = talk.turn("set slot day yesterday")
    assert [message.utter_action for message in turn.bot_messages] == [
        "utter_corrected_previous_input",
        "utter_day_is_past",
        "utter_ask_day",
    ]


def test_an_answer_to_the_question_is_no_correction(talk):
    talk.say("start flow book_desk; set slot day yesterday")
    assert talk.turn("set slot day monday").commands == (SetSlot("day", "monday"),)


def test_the_same_value_again_changes_nothing(talk):
    talk.say("start flow book_desk; set slot day friday")
    turn = talk.turn("set slot day friday")
    assert turn.commands == ()
    assert [message.utter_action for message in turn.bot_messages] == ["utter_ask_kind"]


def test_a_correction_inside_a_called_flow_returns_into_it(talk):
    talk.say("start flow meeting; set slot name Ann")
    assert talk.stack == ["meeting", "pattern_collect_information"]
    assert talk.say("set slot name Bob") == ["utter_corrected_previous_input", "utter_ask_topic"]
    assert talk.stack == ["meeting", "pattern_collect_information"]
    assert talk.slot("name") == "Bob"


def test_a_corrected_slot_with_validation_is_checked(talk):
    talk.say("start flow get_badge; set slot badge 12")
    assert talk.say("set slot badge x") == ["utter_corrected_previous_input", "utter_bad_badge", "utter_ask_badge"]


# -- several flows --------------------------------------------------------------------------------------------------


def test_an_interruption_and_the_way_back(talk):
    talk.say("start flow book_desk; set slot day friday")
    turn = talk.turn("start flow park_car")
    assert FlowInterrupted(flow_id="book_desk", step_id="book_desk_1_collect_kind") in turn.events
    assert talk.say("set slot plate X1") == ["utter_ask_floor"]
    assert talk.click("/SetSlots(floor=1)") == ["utter_parked", "utter_ask_continue_interrupted_flow_confirmation"]
    turn = talk.turn("set slot continue_interrupted_flow_confirmation true")
    assert [event.flow_id for event in turn.events if isinstance(event, FlowResumed)] == ["book_desk"]
    assert [message.utter_action for message in turn.bot_messages] == ["utter_ask_kind"]
    assert talk.slot("day") == "friday"


def test_an_interrupted_flow_may_be_dropped(talk):
    talk.say("start flow book_desk")
    talk.say("start flow park_car; set slot plate X1")
    talk.click("/SetSlots(floor=1)")
    turn = talk.turn("set slot continue_interrupted_flow_confirmation no")
    assert [event.flow_id for event in turn.events if isinstance(event, FlowCancelled)] == ["book_desk"]
    assert [message.utter_action for message in turn.bot_messages] == ["utter_flow_cancelled_rasa", ASK_MORE]


def test_two_interrupted_flows_are_chosen_from_by_name(talk):
    talk.say("start flow book_desk")
    talk.say("start flow meeting")
    talk.say("start flow park_car; set slot plate X1")
    turn = talk.turn(text="/SetSlots(floor=1)")
    assert turn.bot_messages[-1].text.startswith("These are still open: desk booking and meeting.")
    assert talk.say("set slot interrupted_flow_to_continue desk booking") == ["utter_ask_day"]
    assert talk.stack == [
        "meeting",
        "identify",
        "pattern_collect_information",
        "book_desk",
        "pattern_collect_information",
    ]


def test_all_interrupted_flows_may_be_dropped(talk):
    talk.say("start flow book_desk")
    talk.say("start flow meeting")
    talk.say("start flow park_car; set slot plate X1")
    talk.click("/SetSlots(floor=1)")
    said = talk.say("set slot interrupted_flow_to_continue none")
    assert said == ["utter_flow_cancelled_rasa", "utter_flow_cancelled_rasa", ASK_MORE]
    assert talk.stack == ["pattern_completed", "pattern_collect_information"]


def test_a_choice_that_does_not_exist_is_answered(talk):
    talk.say("start flow book_desk")
    talk.say("start flow meeting")
    talk.say("start flow park_car; set slot plate X1")
    talk.click("/SetSlots(floor=1)")
    hint, question = talk.say("set slot interrupted_flow_to_continue lunch")
    assert "desk booking and meeting" in hint
    assert question == "utter_ask_name"


def test_starting_an_interrupted_flow_takes_it_up_again(talk):
    talk.say("start flow book_desk; set slot day friday")
    talk.say("start flow park_car")
    turn = talk.turn("start flow book_desk")
    assert [message.utter_action for message in turn.bot_messages] == ["utter_ask_kind"]
    assert FlowResumed(flow_id="book_desk", step_id="book_desk_1_collect_kind") in turn.events
    assert talk.stack[:2] == ["park_car", "pattern_collect_information"]


def test_starting_the_flow_that_is_offered_resumes_it(talk):
    talk.say("start flow book_desk")
    talk.say("start flow park_car; set slot plate X1")
    talk.click("/SetSlots(floor=1)")
    assert talk.say("start flow book_desk") == ["utter_ask_day"]
    assert talk.stack == ["book_desk", "pattern_collect_information"]


def test_two_flows_started_at_once_run_one_after_the_other(talk):
    turn = talk.turn("start flow park_car; start flow book_desk; set slot plate X1; set slot day friday")
    assert talk.stack == ["book_desk", "park_car", "pattern_collect_information"]
    assert not [event for event in turn.events if isinstance(event, FlowInterrupted)]
    assert talk.click("/SetSlots(floor=1)") == ["utter_parked", "utter_ask_kind"]


def test_the_active_flow_is_not_started_again(talk):
    talk.say("start flow book_desk")
    turn = talk.turn("start flow book_desk")
    assert turn.commands == ()
    assert [message.utter_action for message in turn.bot_messages] == ["utter_ask_day"]


def test_a_flow_started_twice_in_one_turn_starts_once(talk):
    assert started(talk.turn("start flow book_desk; start flow book_desk"))[:2] == [
        "book_desk",
        "pattern_collect_information",
    ]


def test_linking_resets_all_but_persisted_slots(talk):
    talk.say("start flow plan_visit; set slot guest Zoe")
    turn = talk.turn("set slot day friday")
    assert [message.utter_action for message in turn.bot_messages] == ["utter_ask_kind"]
    assert talk.slot("day") == "friday"
    assert talk.slot("guest") is None
    assert (
        FlowStarted(
            flow_id="book_desk",
            parent_flow_id="plan_visit",
            parent_step_id="plan_visit_2_link_book_desk",
            context=next(
                event.context
                for event in turn.events
                if isinstance(event, FlowStarted) and event.flow_id == "book_desk"
            ),
        )
        in turn.events
    )


def test_called_flows_keep_their_slots_until_the_caller_ends(talk):
    turn = talk.turn("start flow meeting; set slot name Ann")
    assert "identify" in completed(turn)
    assert talk.slot("name") == "Ann"
    turn = talk.turn("set slot topic desks")
    assert turn.bot_messages[0].text == "Met by Ann about desks."
    assert talk.slot("name") is None


# -- cancelling -----------------------------------------------------------------------------------------------------


def test_cancelling(talk):
    talk.say("start flow book_desk; set slot day friday")
    turn = talk.turn("cancel flow")
    assert turn.bot_messages[0].text == "All right, I stopped this: desk booking."
    assert [event.flow_id for event in turn.events if isinstance(event, FlowCancelled)] == ["book_desk"]
    assert "book_desk" in completed(turn)
    assert talk.slot("day") is None


def test_cancelling_inside_a_called_flow_cancels_the_caller(talk):
    talk.say("start flow meeting")
    turn = talk.turn("cancel flow")
    assert turn.bot_messages[0].text == "All right, I stopped this: meeting."
    assert talk.stack == ["pattern_completed", "pattern_collect_information"]


def test_cancelling_one_flow_and_starting_another(talk):
    talk.say("start flow book_desk; set slot day friday")
    said = talk.say("cancel flow; start flow park_car; set slot plate X1")
    assert said == ["utter_flow_cancelled_rasa", "utter_ask_floor"]
    assert talk.click("/SetSlots(floor=1)") == ["utter_parked", ASK_MORE]


def test_nothing_to_cancel(talk):
    assert talk.turn("cancel flow").commands == (CannotHandle(),)


# -- not understood, small talk -------------------------------------------------------------------------------------


def test_clarification(talk, new_talk):
    turn = talk.turn("disambiguate flows park_car book_desk")
    assert turn.commands == (Clarify(("book_desk", "park_car")),)
    assert turn.bot_messages[0].text == "What would you like: desk booking or parking?"
    event = next(event for event in turn.events if isinstance(event, FlowStarted))
    assert event.context["names"] == ["desk booking", "parking"]
    assert talk.stack == []

    assert new_talk().turn("disambiguate flows nonsense, book_desk").commands == (StartFlow("book_desk"),)
    assert new_talk().say("disambiguate flows nonsense") == ["utter_clarification_no_options_rasa"]
    many = new_talk().turn("disambiguate flows meeting book_desk park_car leave_note get_badge")
    assert many.bot_messages[0].text == "What would you like: desk booking, get badge or leave note?"


def test_clarification_gives_way_to_other_commands(talk):
    assert talk.turn("start flow park_car; disambiguate flows book_desk meeting").commands == (StartFlow("park_car"),)


def test_chitchat_is_answered_before_the_question_is_asked_again(talk):
    talk.say("start flow book_desk")
    assert talk.say("offtopic reply") == ["utter_cannot_handle", "utter_ask_day"]
    assert talk.say("set slot day friday; offtopic reply") == ["utter_cannot_handle", "utter_ask_kind"]


def test_a_general_question_offers_the_way_back(talk):
    talk.say("start flow book_desk")
    assert talk.say("provide info") == ["utter_no_knowledge_base", "utter_ask_continue_interrupted_flow_confirmation"]


def test_a_general_question_alone_is_a_topic_that_ends(talk):
    assert talk.say("provide info") == ["utter_no_knowledge_base", ASK_MORE]


def test_skipping_asks_again(talk):
    talk.say("start flow book_desk")
    assert talk.say("skip question") == ["utter_skip_question_answer", "utter_ask_day"]


def test_repeating_does_not_ask_twice(talk):
    talk.say("start flow book_desk; set slot day yesterday")
    assert talk.say("repeat message") == ["utter_day_is_past", "utter_ask_day"]


def test_repeating_when_idle(talk):
    talk.say("disambiguate flows nonsense")
    assert talk.say("repeat message") == ["utter_clarification_no_options_rasa"]


def test_handing_over(talk):
    assert talk.say("hand over") == ["utter_human_handoff_not_available"]


def test_nothing_understood(talk):
    assert talk.say("") == ["utter_ask_rephrase"]
    assert talk.turn("start flow nonsense").commands == (CannotHandle(),)
    assert talk.turn("start flow members_only").commands == (CannotHandle(),)
    assert talk.turn("set slot floor 1").commands[0] == CannotHandle("The slot 'floor' is not filled from messages.")
    assert talk.turn("set slot nowhere 1").commands == (CannotHandle("The slot 'nowhere' does not exist."),)


def test_what_cannot_be_handled_is_dropped_beside_other_commands(talk):
    assert talk.turn("cannot handle; set slot floor 2; start flow park_car").commands == (StartFlow("park_car"),)


def test_guards_open_flows(new_talk):
    talk = new_talk(fixtures=(("member", True),))
    assert talk.say("start flow members_only")[0] == "utter_secret"


def test_mapping_conditions(talk):
    assert talk.turn("start flow count_visits; set slot visits 3").commands == (StartFlow("count_visits"),)


def test_the_end_of_the_conversation(talk):
    talk.say("provide info")
    assert talk.say("set slot continue_conversation false") == ["utter_closing_words", "utter_ask_csat_score"]
    assert talk.click("/SetSlots(csat_score=satisfied)") == ["utter_csat_thank_you_satisfied"]
    assert talk.stack == []


def test_a_new_topic_instead_of_an_answer_ends_the_completion_pattern(talk):
    talk.say("provide info")
    assert talk.stack == ["pattern_completed", "pattern_collect_information"]
    talk.say("start flow book_desk")
    assert talk.stack == ["book_desk", "pattern_collect_information"]


# -- messages that need no model ------------------------------------------------------------------------------------


def test_a_button_fills_a_controlled_slot(talk):
    talk.say("start flow park_car; set slot plate X1")
    assert talk.click("/SetSlots(floor=1)")[0] == "utter_parked"


def test_a_button_value_of_nothing(talk):
    talk.say("start flow park_car; set slot plate X1")
    assert talk.click("/SetSlots(floor=None)") == ["utter_ask_floor"]


def test_an_intent_starts_its_flow(talk):
    assert talk.click("/book") == ["utter_ask_day"]


def test_known_intents_without_a_flow(talk):
    assert talk.click("/thanks") == []
    assert talk.click("/back") == ["utter_ask_rephrase"]


def test_raw_text_is_taken_as_it_is(talk):
    talk.say("start flow leave_note")
    assert talk.click("/SetSlots(day=x)")[0] == "utter_noted"


def test_restart(talk):
    talk.say("start flow book_desk; set slot day friday")
    turn = talk.turn(text="/restart")
    assert any(isinstance(event, Restarted) for event in turn.events)
    assert talk.stack == []
    assert talk.slot("day") is None
    assert "friday" not in talk.prompt("hello")


def test_session_start_keeps_slots_in_a_later_session(talk):
    assert talk.click("/session_start") == []
    talk.say("start flow book_desk; set slot day friday")
    talk.click("/session_start")
    assert talk.stack == []
    assert talk.slot("day") == "friday"


def test_session_end_ends_everything(talk):
    talk.click("/session_end")
    turn = talk.turn("start flow book_desk")
    assert [type(event) for event in turn.events] == [UserUttered]


def test_size_limits(talk):
    assert talk.click("  ") == ["utter_user_input_empty_error_rasa"]
    turn = talk.turn(text="x" * 61)
    assert turn.bot_messages[0].text.endswith("below 60 characters.")
    assert turn.prompt is None
    assert "xxx" not in talk.prompt("hello")


# -- failures -------------------------------------------------------------------------------------------------------


def test_a_failing_action_cancels_the_flow(talk):
    talk.say("start flow broken")
    assert talk.say("set slot plate X1") == ["utter_internal_error_rasa", "utter_flow_cancelled_rasa", ASK_MORE]


def test_a_refusing_action_ends_the_turn(talk):
    turn = talk.turn("start flow refused")
    assert [type(event) for event in turn.events][-2:] == [ActionExecutionRejected, ActionExecuted]
    assert turn.bot_messages == ()


def test_a_flow_that_goes_round_is_stopped(talk):
    assert talk.say("start flow turning")[0] == "utter_internal_error_rasa"
    assert "turning" not in talk.stack


def test_actions_that_run_every_turn(talk):
    talk.say("start flow book_desk")
    talk.say("offtopic reply")
    assert talk.slot("messages_seen") == 2


def test_events_know_where_they_come_from(talk):
    turn = talk.turn("start flow book_desk; set slot day friday")
    question = turn.bot_messages[0]
    assert (question.flow_id, question.step_id) == ("book_desk", "book_desk_1_collect_kind")
    assert SlotSet("day", "friday", "LLM", flow_id="book_desk") in turn.events
