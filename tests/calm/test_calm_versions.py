"""Behaving like an older version of rasa-pro, and what the routing slot of coexistence assistants does here."""

from __future__ import annotations

import pytest
from small_bot import small_engine, small_talk

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.dialogue.runtime import NEWEST
from rasa_ft.calm.events import RoutingSessionEnded
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.errors import DataError

FLOWS = """
  rent:
    name: rent a boat
    description: rent a boat on the lake
    persisted_slots: [boat, member]
    steps:
      - collect: boat
      - collect: hours
      - set_slots: [{member: true}]
      - action: utter_rented
"""
ROUTED_END = """
  pattern_completed:
    description: what comes after everything
    steps:
      - action: action_reset_routing
      - action: utter_rented
"""
DOMAIN = """
slots:
  boat: {type: text}
  hours: {type: float}
  member: {type: bool, shared_for_coexistence: true, mappings: [{type: controlled}]}
responses:
  utter_ask_boat: [{text: Which boat?}]
  utter_ask_hours: [{text: How long?}]
  utter_rented: [{text: It is yours.}]
"""


def test_an_answer_from_documents_interrupts_since_3_16(tmp_path, monkeypatch):
    assert small_engine(tmp_path, FLOWS, DOMAIN).runtime.version == NEWEST
    asked = {
        "3.14": "utter_ask_boat",
        "3.15.2": "utter_ask_boat",
        "3.16": "utter_ask_continue_interrupted_flow_confirmation",
    }
    for version, question in asked.items():
        monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", version)
        talk = small_talk(tmp_path, FLOWS, DOMAIN)
        talk.say("start flow rent")
        assert talk.say("provide info") == ["utter_no_knowledge_base", question]


def test_the_end_of_a_flow_asks_since_3_16(tmp_path, monkeypatch):
    asked = {"3.15": "utter_can_do_something_else", "3.16": "utter_ask_continue_conversation"}
    for version, last in asked.items():
        monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", version)
        talk = small_talk(tmp_path, FLOWS, DOMAIN)
        assert talk.say("start flow rent; set slot boat canoe; set slot hours 2") == ["utter_rented", last]
    monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", "3.15")
    overriding = FLOWS + ROUTED_END.replace("      - action: action_reset_routing\n", "")
    talk = small_talk(tmp_path, overriding, DOMAIN)
    assert talk.say("start flow rent; set slot boat canoe; set slot hours 2") == ["utter_rented", "utter_rented"]


def test_interrupted_flows_go_on_by_themselves_before_3_14(tmp_path, monkeypatch):
    other = FLOWS + "  ask:\n    description: ask the hours\n    steps: [{action: utter_rented}]\n"
    asked = {
        "3.13.10": ["utter_rented", "utter_flow_continue_interrupted", "utter_ask_boat"],
        "3.14": ["utter_rented", "utter_ask_continue_interrupted_flow_confirmation"],
    }
    for version, said in asked.items():
        monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", version)
        talk = small_talk(tmp_path, other, DOMAIN)
        talk.say("start flow rent")
        assert talk.say("start flow ask") == said


def test_values_end_as_written_before_3_12_14(tmp_path, monkeypatch):
    kept = {"3.12.13": "canoe?", "3.12.14": "canoe", "3.12": "canoe", "3.21": "canoe"}
    for version, value in kept.items():
        monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", version)
        codec = small_engine(tmp_path, FLOWS, DOMAIN).codec
        assert codec.parse("set slot boat 'canoe?'") == (SetSlot("boat", value),)


@pytest.mark.parametrize("version", ["3.11", "4", "new", "3.22.0", "3.12.x"])
def test_versions_that_cannot_be_had(tmp_path, monkeypatch, version):
    monkeypatch.setenv("RASA_FT_RASA_PRO_VERSION", version)
    with pytest.raises(DataError, match=r"RASA_FT_RASA_PRO_VERSION is '.*'\.\n.*from 3\.12 to 3\.21"):
        small_engine(tmp_path, FLOWS, DOMAIN)


def test_resetting_the_routing_keeps_shared_slots_only(tmp_path):
    """It also ends the turn, whatever the flow says next."""
    talk = small_talk(tmp_path, FLOWS + ROUTED_END, DOMAIN)
    talk.say("start flow rent; set slot boat canoe")
    assert talk.say("set slot hours 3") == ["utter_rented"]
    tracker = talk.conversation.tracker
    assert (talk.slot("boat"), talk.slot("member")) == (None, True)
    assert any(isinstance(event, RoutingSessionEnded) for event in tracker.events)
    assert talk.stack == []
    assert "boat" not in tracker.has_been_set
    assert "routing_session_ended" in {event["event"] for event in tracker_document(tracker, channel="c")["events"]}
    talk.say("start flow rent; set slot boat kayak")
    assert talk.slot("boat") == "kayak"  # not a correction: nothing is known of the first boat
