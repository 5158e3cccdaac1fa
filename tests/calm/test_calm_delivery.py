"""What users get to see of the bot's messages: parts, pieces of a channel, responses inside conversations."""

from __future__ import annotations

import pytest
from desk_assistant import said
from small_bot import small_talk

from rasa_ft.calm.dialogue.delivery import channel_messages
from rasa_ft.calm.dialogue.runtime import ActionResult
from rasa_ft.calm.events import BotUttered, Button

FLOWS = """
  f:
    description: one thing
    run_pattern_completed: false
    steps:
      - collect: a
      - action: utter_it
"""
DOMAIN = """
slots:
  a: {type: text}
  big: {type: bool}
actions: [action_own]
responses:
  utter_ask_a: [{text: A?}]
"""


def talk_with(folder, variations: str, **options):
    talk = small_talk(folder, FLOWS, DOMAIN + f"  utter_it: {variations}\n", **options)
    talk.say("start flow f")
    return talk


# -- pieces of a channel --------------------------------------------------------------------------------------------

YES = {"title": "Yes", "payload": "/yes"}


@pytest.mark.parametrize(
    ("message", "pieces"),
    [
        (BotUttered("one"), ({"text": "one"},)),
        (BotUttered("one\n\ntwo\nlines\n\nthree\n\n"), ({"text": "one"}, {"text": "two\nlines"}, {"text": "three"})),
        (BotUttered("one\n\ntwo", (Button("Yes", "/yes"),)), ({"text": "one\n\ntwo", "buttons": [YES]},)),
        (BotUttered(None, (Button("Yes", "/yes"),)), ({"text": "", "buttons": [YES]},)),
        (BotUttered("one\n\ntwo", quick_replies=(YES,)), ({"text": "one\n\ntwo", "quick_replies": [YES]},)),
        (BotUttered(None), ()),
        (BotUttered("", image="i"), ({"image": "i"},)),
        (
            BotUttered("t", custom={"c": 1}, image="i", attachment={"a": 1}, elements=[{"e": 1}]),
            ({"text": "t"}, {"custom": {"c": 1}}, {"image": "i"}, {"attachment": {"a": 1}}, {"elements": [{"e": 1}]}),
        ),
    ],
)
def test_what_a_channel_sends(message, pieces):
    assert channel_messages(message) == pieces


# -- in conversations -----------------------------------------------------------------------------------------------


def test_images_payloads_and_the_like(tmp_path):
    parts = (
        "[{text: 'Hi {a}', image: 'http://x/{a}.png', attachment: {url: '{a}'}, custom: {k: ['{a}', 1]}, "
        "elements: [{title: '{a}'}], quick_replies: [{title: '{a}', payload: /x}]}]"
    )
    (message,) = talk_with(tmp_path, parts).turn("set slot a x").bot_messages
    assert (message.text, message.image, message.attachment) == ("Hi x", "http://x/x.png", {"url": "x"})
    assert (message.custom, message.elements) == ({"k": ["x", 1]}, [{"title": "x"}])
    assert message.quick_replies == ({"title": "x", "payload": "/x"},)


def test_a_response_without_text(tmp_path):
    (message,) = talk_with(tmp_path, "[{custom: {k: 1}}]").turn("set slot a x").bot_messages
    assert (message.text, message.custom) == (None, {"k": 1})


def test_a_custom_payload_is_filled_by_jinja_too(tmp_path):
    text = "[{custom: {k: '{{ a | upper }} in {{ context.flow_id }}'}, metadata: {template: jinja}}]"
    assert talk_with(tmp_path, text).turn("set slot a x").bot_messages[0].custom == {"k": "X in f"}


def test_one_unknown_name_leaves_the_text_unfilled(tmp_path, caplog):
    turn = talk_with(tmp_path, "[{text: '{a} and {ghost}'}]").turn("set slot a x")
    assert turn.bot_messages[0].text == "{a} and {ghost}"
    assert "unfilled" in caplog.text


def test_conditions_see_slots(tmp_path):
    talk = talk_with(
        tmp_path,
        "[{text: big, condition: slots.big}, {text: is x, condition: 'slots.a = \"x\"'},"
        " {text: old, condition: [{type: slot, name: a, value: Y}]}, {text: plain}]",
    )
    assert talk.turn("set slot a x").bot_messages[0].text == "is x"
    talk.say("start flow f")
    assert talk.turn("set slot a y").bot_messages[0].text == "old"
    talk.say("start flow f")
    assert talk.turn("set slot a z").bot_messages[0].text == "plain"


def test_a_response_whose_conditions_all_fail_tells_of_an_internal_error(tmp_path, caplog):
    turn = talk_with(tmp_path, "[{text: never, condition: slots.big}]").turn("set slot a x")
    (message,) = turn.bot_messages
    assert message.utter_action == "utter_it"
    assert message.text.startswith("Something went wrong")
    assert "no variation of response utter_it applies" in caplog.text


def test_the_channels_own_wording_goes_first(tmp_path):
    texts = "[{text: for all}, {text: for voice, channel: browser_audio}, {text: for tests, channel: collector}]"
    assert talk_with(tmp_path, texts).turn("set slot a x").bot_messages[0].text == "for tests"
    folder = tmp_path / "voice"
    folder.mkdir()
    assert talk_with(folder, texts, channel="browser_audio").turn("set slot a x").bot_messages[0].text == "for voice"


def test_free_text_buttons_say_what_they_send(tmp_path):
    talk = talk_with(tmp_path, "[{text: x, buttons: [{title: T, payload: what else}]}]")
    (button,) = talk.turn("set slot a x").bot_messages[0].buttons
    assert button.payload == "what else"
    assert talk.turn("start flow f", text=button.payload).prompt is not None


# -- what custom actions answer -------------------------------------------------------------------------------------

OWN = "  g:\n    description: own\n    run_pattern_completed: false\n    steps: [{action: action_own}, {collect: a}]\n"


def own(folder, *events, responses=()):
    domain = DOMAIN + "  utter_it: [{text: 'It is {a}.', buttons: [{title: One, payload: /one}]}]\n"
    answer = ActionResult(tuple(events), tuple(responses))
    return small_talk(folder, FLOWS + OWN, domain, actions={"action_own": answer})


def test_messages_come_before_events(tmp_path):
    talk = own(tmp_path, {"event": "slot", "name": "a", "value": "set"}, responses=[{"response": "utter_it"}])
    turn = talk.turn("start flow g")
    assert turn.bot_messages[0].text == "It is None."
    assert [type(event).__name__ for event in turn.events if type(event).__name__ in ("BotUttered", "SlotSet")][:2] == [
        "BotUttered",
        "SlotSet",
    ]


def test_arguments_and_buttons_of_a_response(tmp_path):
    responses = [{"template": "utter_it", "a": "given", "buttons": [{"title": "Two", "payload": "/two"}]}]
    message = own(tmp_path, responses=responses).turn("start flow g").bot_messages[0]
    assert message.text == "It is given."
    assert [button.title for button in message.buttons] == ["One", "Two"]


def test_parts_of_a_message(tmp_path):
    parts = {"image": "i", "attachment": "a", "elements": [{"e": 1}], "custom": {"c": 1}, "quick_replies": [YES]}
    message = own(tmp_path, responses=[{"text": "t", **parts}]).turn("start flow g").bot_messages[0]
    assert (message.image, message.attachment, message.elements) == ("i", "a", [{"e": 1}])
    assert (message.custom, message.quick_replies, message.source) == ({"c": 1}, (YES,), "action")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"event": "action", "name": "action_x"}, "ActionExecuted"),
        ({"event": "action_execution_rejected", "name": "action_x"}, "ActionExecutionRejected"),
        ({"event": "flow_started", "flow_id": "z"}, "FlowStarted"),
        ({"event": "flow_completed", "flow_id": "z", "step_id": "s"}, "FlowCompleted"),
        ({"event": "flow_cancelled", "flow_id": "z", "step_id": "s"}, "FlowCancelled"),
        ({"event": "flow_interrupted", "flow_id": "z", "step_id": "s"}, "FlowInterrupted"),
        ({"event": "flow_resumed", "flow_id": "z", "step_id": "s"}, "FlowResumed"),
        ({"event": "bot", "text": "t", "data": {"elements": [1]}}, "BotUttered"),
        ({"event": "reset_slots"}, "AllSlotsReset"),
        ({"event": "resume"}, "ConversationResumed"),
    ],
)
def test_events_that_are_logged(tmp_path, event, name):
    turn = own(tmp_path, event).turn("start flow g")
    assert name in [type(item).__name__ for item in turn.events]
    assert said(turn)[-1] == "utter_ask_a"


KINDS = ("user", "rewind", "undo", "reminder", "cancel_reminder", "active_loop", "loop_interrupted", "export", "agent")


@pytest.mark.parametrize("kind", [*KINDS, "entities", "stack", "nonsense", None])
def test_events_without_effect(tmp_path, kind, caplog):
    caplog.set_level("INFO")
    assert own(tmp_path, {"event": kind, "text": "t"}).say("start flow g") == ["utter_ask_a"]
    assert f"the event {kind!r}" in caplog.text


def test_a_followup_goes_ahead_of_the_flow(tmp_path):
    assert own(tmp_path, {"event": "followup", "name": "utter_it"}).say("start flow g") == ["utter_it", "utter_ask_a"]


def test_an_unknown_slot_is_passed_over(tmp_path, caplog):
    talk = own(tmp_path, {"event": "slot", "name": "ghost", "value": 1})
    assert talk.say("start flow g") == ["utter_ask_a"]
    assert "ghost" in caplog.text
    assert "ghost" not in talk.conversation.tracker.slots


def test_a_response_that_does_not_exist_says_nothing(tmp_path):
    assert own(tmp_path, responses=[{"response": "utter_ghost"}]).say("start flow g") == ["utter_ask_a"]


def test_an_action_that_fails_inside_a_pattern_only_tells_so(tmp_path):
    pattern = "  pattern_chitchat:\n    description: own\n    steps: [{action: action_own}]\n"
    domain = DOMAIN + "  utter_it: [{text: It.}]\n"
    talk = small_talk(tmp_path, FLOWS + pattern, domain)
    assert talk.say("offtopic reply") == ["utter_internal_error_rasa"]
