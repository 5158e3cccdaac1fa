"""Conversations in several languages: the slot `language`, names of flows, responses and buttons."""

from __future__ import annotations

import pytest
from small_bot import small_engine, small_talk

from rasa_ft.calm.events import FlowStarted
from rasa_ft.errors import DataError

COMPLETED = "pattern_completed"
LANGUAGES = "language: en\nadditional_languages: [fr, de]\n"
FLOWS = """
  order:
    name: an order
    description: order something
    translation: {fr: {name: une commande}, de: {name: eine Bestellung}}
    steps:
      - collect: what
      - action: utter_ordered
  book:
    name: a booking
    description: book something
    translation: {fr: {name: une réservation}}
    steps:
      - collect: what
  ask:
    description: choose a language
    run_pattern_completed: false
    persisted_slots: [language]
    steps:
      - collect: language
"""
DOMAIN = """
slots:
  what: {type: text}
responses:
  utter_ask_what:
    - text: What?
      translation: {fr: "Quoi ?"}
      buttons:
        - {title: Tea, payload: /SetSlots(what=tea), translation: {fr: {title: Du thé}}}
        - {title: Milk, payload: /SetSlots(what=milk)}
  utter_ordered:
    - {text: "Ordered: {what}", translation: {fr: "Commandé : {what}"}}
  utter_ask_language:
    - text: Which language?
      buttons: [{title: Français, payload: /SetSlots(language=fr)}]
"""


@pytest.fixture
def talk(tmp_path):
    return small_talk(tmp_path, FLOWS, DOMAIN, config=LANGUAGES)


def french(talk):
    talk.say("start flow ask")
    talk.click("/SetSlots(language=fr)")
    return talk


def texts(turn):
    return [message.text for message in turn.bot_messages]


def test_the_slot_is_made_from_the_configuration(talk):
    slot = talk.engine.runtime.domain.slots["language"]
    assert (slot.type, slot.values, slot.initial_value) == ("categorical", ("en", "fr", "de"), "en")
    assert not slot.is_llm_fillable
    assert talk.slot("language") == "en"


def test_the_slot_is_the_runtimes_own(tmp_path):
    with pytest.raises(DataError, match="'language' is made by the runtime"):
        small_engine(tmp_path, FLOWS, DOMAIN.replace("slots:", "slots:\n  language: {type: text}"), config=LANGUAGES)


def test_without_a_language_names_are_as_written(tmp_path):
    flows = FLOWS[: FLOWS.index("  ask:")]
    talk = small_talk(tmp_path, flows, DOMAIN[: DOMAIN.index("  utter_ask_language:")])
    assert texts(talk.turn("start flow order"))[0] == "What?"
    assert "an order" in texts(talk.turn("cancel flow"))[0]


def test_responses_and_buttons(talk):
    assert texts(talk.turn("start flow order")) == ["What?"]
    assert texts(talk.turn("set slot what tea"))[0] == "Ordered: tea"
    french(talk)
    turn = talk.turn("start flow order")
    assert texts(turn) == ["Quoi ?"]
    assert [button.title for button in turn.bot_messages[0].buttons] == ["Du thé", "Milk"]
    assert texts(talk.turn("set slot what tea"))[0] == "Commandé : tea"


def test_the_language_is_spelled_as_configured_and_no_model_sets_it(talk):
    talk.say("start flow ask")
    assert talk.turn("set slot language fr").commands[0].name == "cannot handle"
    talk.click("/SetSlots(language=FR)")
    assert talk.slot("language") == "fr"
    talk.say("start flow ask; cancel flow")
    assert talk.slot("language") == "fr"


def test_names_in_cancellations(talk):
    french(talk).say("start flow order")
    turn = talk.turn("cancel flow")
    assert "une commande" in texts(turn)[0]
    completed = next(event for event in turn.events if isinstance(event, FlowStarted) and event.flow_id == COMPLETED)
    assert completed.context["previous_flow_name"] == "une commande"


def test_names_in_clarifications(talk):
    assert "une réservation or une commande" in _last(french(talk).turn("disambiguate flows order book"))


def _last(turn):
    return texts(turn)[-1]


def test_names_of_interrupted_flows_in_offers_and_choices(talk):
    french(talk).say("start flow order")
    talk.say("start flow book")
    turn = talk.turn("set slot what x")
    assert "une commande" in _last(turn)
    talk.say("set slot continue_interrupted_flow_confirmation true")
    assert talk.stack[0] == "order"


def test_a_name_that_is_not_translated_stays(talk):
    talk.say("start flow ask")
    talk.click("/SetSlots(language=de)")
    assert "eine Bestellung" in _last(talk.turn("disambiguate flows order book"))
    assert "a booking" in _last(talk.turn("disambiguate flows order book"))


def test_flows_and_slots_set_the_language(tmp_path):
    flows = FLOWS + "  go:\n    description: go\n    steps: [{set_slots: [{language: fr}]}, {action: utter_ordered}]\n"
    talk = small_talk(tmp_path, flows, DOMAIN, config=LANGUAGES)
    assert texts(talk.turn("start flow go"))[0] == "Commandé : None"
    assert talk.slot("language") == "en"  # reset at the end of the flow, as every slot it sets


@pytest.mark.parametrize(
    ("translation", "message"),
    [("[fr]", "'translation' must be a mapping"), ("{fr: x}", "'fr' must be a mapping"), ("{fr: {name: 1}}", "'name'")],
)
def test_translations_that_are_none(tmp_path, translation, message):
    flows = FLOWS.replace("{fr: {name: une réservation}}", translation)
    with pytest.raises(DataError, match=message):
        small_engine(tmp_path, flows, DOMAIN, config=LANGUAGES)


def test_the_spare_text_of_a_response_is_translated_too(tmp_path):
    domain = DOMAIN + (
        "  utter_internal_error_rasa: [{text: Oops., translation: {fr: Oups.}}]\n"
        "  utter_never: [{text: x, condition: 'false'}]\n"
    )
    flows = FLOWS + "  n:\n    description: n\n    steps: [{action: utter_never}]\n"
    talk = small_talk(tmp_path, flows, domain, config=LANGUAGES)
    assert texts(french(talk).turn("start flow n"))[0] == "Oups."
