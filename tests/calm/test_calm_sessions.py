"""Sessions: expiry, what is carried over, restart, end, pause, and assistants that change meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from desk_assistant import Talk, said
from small_bot import small_engine, small_talk

from rasa_ft.calm.commands import CannotHandle, HandleCodeChange
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionResult
from rasa_ft.calm.dialogue.sessions import begin_conversation
from rasa_ft.calm.events import (
    ActionExecuted,
    BotUttered,
    FlowCompleted,
    Restarted,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.engine.tracker_document import tracker_document

FLOWS = """
  f:
    description: something to do
    run_pattern_completed: false
    steps:
      - collect: a
      - collect: b
      - action: utter_done
"""
DOMAIN = """
slots:
  a: {type: text}
  b: {type: text}
  tier: {type: text, mappings: [{type: controlled}]}
responses:
  utter_ask_a: [{text: A?}]
  utter_ask_b: [{text: B?}]
  utter_done: [{text: "{a} {b}"}]
"""
HOUR = 3600.0
LISTEN = ActionExecuted("action_listen")


def session(**keys: object) -> str:
    return DOMAIN + "session_config:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def at(talk: Talk, time: float | None, commands: str = "", **options: object) -> Turn:
    parsed = talk.engine.codec.parse(commands.replace("; ", "\n"))
    return asyncio.run(talk.conversation.say("…", commands=parsed, time=time, **options))


def kinds(turn: Turn) -> list[type]:
    return [type(event) for event in turn.events]


# -- expiry ---------------------------------------------------------------------------------------------------------


def test_a_message_after_an_hour_starts_a_new_session_with_the_slots_of_the_old_one(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    at(talk, 0.0, "start flow f; set slot a x")
    turn = at(talk, HOUR + 1)
    assert turn.events[:4] == (
        ActionExecuted("action_session_start"),
        SessionStarted(),
        SlotSet("a", "x"),
        LISTEN,
    )
    assert turn.commands == (CannotHandle(),)
    assert (turn.active_flow, turn.requested_slot) == (None, None)
    assert talk.stack == []
    assert talk.slot("a") == "x"
    assert "utter_ask_b" not in talk.prompt("hello")


def test_a_message_within_the_hour_goes_on(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    at(talk, 1000.0, "start flow f")
    assert said(at(talk, 1000.0 + HOUR, "set slot a x")) == ["utter_ask_b"]


def test_it_is_the_last_message_that_counts(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    for hour in range(4):
        at(talk, hour * HOUR, "start flow f")
    assert talk.stack == ["f", "pattern_collect_information"]


def test_slots_that_were_reset_are_carried_over_as_asked_before(tmp_path):
    flows = FLOWS.replace("collect: a", "collect: a\n        ask_before_filling: true")
    talk = small_talk(tmp_path, flows, DOMAIN)
    at(talk, 0.0, "start flow f")
    at(talk, 9 * HOUR, "cannot handle")
    assert "a" in talk.conversation.tracker.has_been_set


@pytest.mark.parametrize(
    ("config", "expires", "kept"),
    [
        ({"session_expiration_time": 10}, True, "x"),
        ({"session_expiration_time": 10, "carry_over_slots_to_new_session": "false"}, True, None),
        ({"session_expiration_time": 0}, False, "x"),
        ({"session_expiration_time": 100}, False, "x"),
        ({"start_session_after_expiry": "false"}, False, "x"),
    ],
)
def test_session_config(tmp_path, config, expires, kept):
    talk = small_talk(tmp_path, FLOWS, session(**config))
    at(talk, 0.0, "start flow f; set slot a x")
    assert (SessionStarted in kinds(at(talk, 1.2 * HOUR if len(config) > 1 else 5000.0))) == expires
    assert talk.slot("a") == kept


def test_without_times_nothing_expires(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    at(talk, None, "start flow f")
    assert SessionStarted not in kinds(at(talk, 1e9))
    assert SessionStarted not in kinds(at(talk, None))


def test_the_clock_of_the_engine_counts_for_messages_without_a_time(tmp_path):
    times = iter([0.0, 2 * HOUR])
    talk = small_talk(tmp_path, FLOWS, DOMAIN, clock=lambda: next(times))
    talk.say("start flow f")
    turn = talk.turn()
    assert SessionStarted in kinds(turn)
    assert next(event.time for event in turn.events if isinstance(event, UserUttered)) == 2 * HOUR


def test_custom_actions_see_the_times(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    counted = tracker_document(talk.conversation.tracker, channel="c")
    assert counted["latest_event_time"] == 2.0
    at(talk, 77.5, "start flow f")
    document = tracker_document(talk.conversation.tracker, channel="c")
    assert document["latest_event_time"] == 77.5
    assert [event["timestamp"] for event in document["events"][:4]] == [0.0, 1.0, 2.0, 77.5]


# -- the first message ----------------------------------------------------------------------------------------------


def test_metadata_of_the_first_message_is_kept_in_a_slot(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    turn = at(talk, 0.0, metadata={"who": "Ann"})
    assert turn.events[0] == SlotSet("session_started_metadata", {"who": "Ann"})
    at(talk, 1.0, metadata={"who": "Bob"})
    assert talk.slot("session_started_metadata") == {"who": "Ann"}
    at(talk, 2 * HOUR, metadata={"who": "Zoe"})
    assert talk.slot("session_started_metadata") == {"who": "Zoe"}
    at(talk, 4 * HOUR)
    assert talk.slot("session_started_metadata") == {"who": "Zoe"}


def test_metadata_survives_a_session_that_carries_nothing_over(tmp_path):
    talk = small_talk(tmp_path, FLOWS, session(carry_over_slots_to_new_session="false"))
    at(talk, 0.0, metadata={"who": "Ann"})
    at(talk, 2 * HOUR, metadata={"who": "Zoe"})
    assert talk.slot("session_started_metadata") == {"who": "Zoe"}


# -- the assistant's own start --------------------------------------------------------------------------------------

OWN = DOMAIN + "actions: [action_session_start]\n"


def own_start(tracker):
    greeting = [] if tracker.slots["session_started_metadata"] is None else [{"event": "bot", "text": "hello"}]
    slot = {"event": "slot", "name": "tier", "value": "gold"}
    return [{"event": "session_started"}, slot, *greeting, {"event": "action", "name": "action_listen"}]


def test_an_own_action_session_start_replaces_the_built_in_one(tmp_path):
    talk = small_talk(tmp_path, FLOWS, OWN, actions={"action_session_start": own_start})
    assert talk.conversation.events == (
        ActionExecuted("action_session_start"),
        SessionStarted(),
        SlotSet("tier", "gold", "CUSTOM"),
        LISTEN,
    )
    at(talk, 0.0, "start flow f; set slot a x")
    turn = at(talk, 2 * HOUR, metadata={"channel": "web"})
    assert said(turn)[0] == "hello"
    assert (talk.slot("a"), talk.slot("tier")) == (None, "gold")


def test_fixtures_come_after_an_own_session_start(tmp_path):
    setup = Setup(fixtures=(("tier", "silver"),))
    talk = small_talk(tmp_path, FLOWS, OWN, actions={"action_session_start": own_start}, setup=setup)
    assert talk.slot("tier") == "silver"


def test_an_own_start_that_fails_gives_way_to_the_built_in_one(tmp_path, caplog):
    engine = small_engine(tmp_path, FLOWS, OWN, actions={"action_session_start": ActionFailed("no server")})
    tracker = asyncio.run(begin_conversation(engine.runtime))
    assert [type(event) for event in tracker.events] == [ActionExecuted, SessionStarted, ActionExecuted]
    assert "no server" in caplog.text


# -- session messages -----------------------------------------------------------------------------------------------

GREETING = """
  pattern_session_start:
    description: Say hello.
    nlu_trigger: [{intent: session_start}]
    steps:
      - action: action_session_start
      - action: utter_hello
"""
HELLO = DOMAIN + "  utter_hello: [{text: Hello.}]\n"


def test_the_first_message_may_be_a_session_start(tmp_path):
    talk = small_talk(tmp_path, FLOWS + GREETING, HELLO)
    turn = talk.turn(text="/session_start")
    assert said(turn) == ["utter_hello"]
    assert SessionStarted not in kinds(turn)  # the session that has just begun is not begun again


def test_a_later_session_start_empties_the_stack(tmp_path):
    talk = small_talk(tmp_path, FLOWS + GREETING, HELLO)
    talk.say("start flow f; set slot a x")
    turn = talk.turn(text="/session_start")
    assert said(turn) == []  # the pattern itself is gone with the old session
    assert SessionStarted in kinds(turn)
    assert (talk.stack, talk.slot("a")) == ([], "x")


def test_an_own_start_runs_for_a_later_session_start_only(tmp_path):
    domain = HELLO + "actions: [action_session_start]\n"
    talk = small_talk(tmp_path, FLOWS + GREETING, domain, actions={"action_session_start": own_start})
    actions = talk.engine.runtime.custom
    assert talk.click("/session_start") == ["utter_hello"]
    assert actions.ran == ["action_session_start"]
    talk.click("/session_start")
    assert actions.ran == ["action_session_start"] * 2


def test_a_session_start_pattern_may_set_slots_and_link_on(tmp_path):
    flows = """
  pattern_session_start:
    description: Begin.
    nlu_trigger: [{intent: session_start}]
    persisted_slots: [tier]
    steps:
      - set_slots: [{tier: new}]
      - link: f
"""
    talk = small_talk(tmp_path, FLOWS + flows, DOMAIN)
    assert talk.click("/session_start") == ["utter_ask_a"]
    assert (talk.slot("tier"), talk.stack) == ("new", ["f", "pattern_collect_information"])


def test_restart_forgets_everything_and_begins_a_session(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN + "  utter_restart: [{text: From the start.}]\n")
    talk.say("start flow f; set slot a x")
    turn = talk.turn(text="/restart")
    assert said(turn) == ["utter_restart"]
    assert kinds(turn)[-5:] == [BotUttered, Restarted, ActionExecuted, SessionStarted, ActionExecuted]
    assert (talk.stack, talk.slot("a")) == ([], None)
    assert talk.conversation.tracker.has_been_set == frozenset()
    assert "x" not in talk.prompt("hello").split()
    assert talk.say("start flow f") == ["utter_ask_a"]


def test_a_restart_by_a_custom_action_begins_a_session_too(tmp_path):
    flows = FLOWS + "  g:\n    description: other\n    steps: [{action: action_own}]\n"
    domain = DOMAIN + "actions: [action_own, action_session_start]\n"
    answers = {"action_own": [{"event": "restart"}], "action_session_start": own_start}
    talk = small_talk(tmp_path, flows, domain, actions=answers)
    turn = talk.turn("start flow g")
    assert talk.engine.runtime.custom.ran == ["action_session_start", "action_own", "action_session_start"]
    assert SessionStarted in kinds(turn)
    assert talk.slot("tier") == "gold"


def test_after_its_end_a_conversation_only_keeps_messages(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    at(talk, 0.0, "start flow f")
    assert SessionEnded in kinds(talk.turn(text="/session_end"))
    for time in (1.0, 9 * HOUR):
        turn = at(talk, time, "set slot a x", metadata={"k": 1})
        assert kinds(turn) == [UserUttered]
        assert (turn.prompt, turn.commands) == (None, ())


def test_a_paused_conversation_waits_for_a_restart(tmp_path):
    flows = FLOWS + "  g:\n    description: other\n    steps: [{action: action_own}]\n"
    talk = small_talk(tmp_path, flows, DOMAIN + "actions: [action_own]\n", actions={"action_own": [{"event": "pause"}]})
    talk.say("start flow g")
    assert tracker_document(talk.conversation.tracker, channel="c")["paused"] is True
    assert kinds(talk.turn("start flow f")) == [UserUttered]
    talk.click("/restart")
    assert talk.say("start flow f") == ["utter_ask_a"]


def test_a_paused_conversation_may_be_resumed(tmp_path):
    flows = (
        FLOWS + "  g:\n    description: other\n    run_pattern_completed: false\n    steps: [{action: action_own}]\n"
    )
    answer = [{"event": "pause"}, {"event": "resume"}]
    talk = small_talk(tmp_path, flows, DOMAIN + "actions: [action_own]\n", actions={"action_own": answer})
    talk.say("start flow g")
    assert talk.say("start flow f") == ["utter_ask_a"]


# -- a changed assistant --------------------------------------------------------------------------------------------


def changed(talk: Talk, folder, flows: str, domain: str = DOMAIN) -> None:
    folder.mkdir()
    talk.engine = small_engine(folder, flows, domain)
    talk.conversation = talk.engine.resume(talk.conversation)


def test_a_flow_that_changed_while_it_was_under_way(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f; set slot a x")
    changed(talk, tmp_path / "new", FLOWS.replace("collect: b", "collect: b\n        description: new"))
    turn = talk.turn("set slot b y")
    assert turn.commands == (HandleCodeChange(),)
    assert said(turn) == ["utter_inform_code_change"]
    assert FlowCompleted(flow_id="f", step_id="END") in turn.events
    assert (talk.stack, talk.slot("a")) == ([], None)
    assert talk.say("start flow f") == ["utter_ask_a"]


def test_a_flow_that_is_gone(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f")
    changed(talk, tmp_path / "new", FLOWS.replace("  f:", "  g:"))
    assert talk.say("set slot a x") == ["utter_inform_code_change"]
    assert talk.stack == []


def test_changes_elsewhere_do_not_matter(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f")
    other = "\n  other:\n    description: another\n    steps: [{action: utter_done}]\n"
    domain = DOMAIN.replace("slots:\n", "slots:\n  fresh: {type: text, initial_value: new}\n").replace(
        "  tier: {type: text, mappings: [{type: controlled}]}\n", ""
    )
    changed(talk, tmp_path / "new", other + FLOWS, domain)  # the flow stands on other lines now
    assert talk.say("set slot a x") == ["utter_ask_b"]
    assert talk.slot("fresh") == "new"
    assert "tier" not in talk.conversation.tracker.slots


def test_an_idle_conversation_goes_on_with_the_new_flows(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("cannot handle")
    changed(talk, tmp_path / "new", FLOWS.replace("collect: a", "collect: b\n      - collect: a"))
    assert talk.say("start flow f") == ["utter_ask_b"]


# -- silence --------------------------------------------------------------------------------------------------------


def test_silences_are_counted_until_something_is_said(tmp_path):
    talk = small_talk(tmp_path, FLOWS, DOMAIN)
    talk.say("start flow f")
    assert talk.click("/silence_timeout") == ["utter_ask_a"]
    assert talk.slot("consecutive_silence_timeouts") == 1.0
    assert talk.click("/silence_timeout") == ["utter_ask_still_there", "utter_ask_a"]
    turn = talk.turn("set slot a x")
    assert turn.events[0] == SlotSet("consecutive_silence_timeouts", 0.0)
    assert talk.click("/silence_timeout") == ["utter_ask_b"]
    talk.click("/silence_timeout")
    assert talk.click("/silence_timeout") == ["utter_inform_hangup"]
    assert talk.conversation.tracker.ended


def test_results_of_an_action_may_come_as_a_whole(tmp_path):
    result = ActionResult(({"event": "session_started"},), ({"text": "hi"},))
    talk = small_talk(tmp_path, FLOWS, OWN, actions={"action_session_start": result})
    assert [type(event) for event in talk.conversation.events] == [
        ActionExecuted,
        BotUttered,
        SessionStarted,
        ActionExecuted,
    ]
