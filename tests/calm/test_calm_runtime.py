"""Less common ways through the runtime, on assistants of a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from rasa_ft.calm.commands import ChitChat, Command, CorrectedSlot, CorrectSlots, Knowledge, SetSlot, StartFlow
from rasa_ft.calm.dialogue.runtime import MAX_ACTIONS, ActionResult, Runtime
from rasa_ft.calm.dialogue.stack import CancelFrame, PatternFrame, UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dialogue.turn import begin, take_turn
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.events import BotUttered, FlowStarted, Restarted, SessionEnded, SessionStarted, SlotSet
from rasa_ft.calm.flows.loading import parse_flows
from rasa_ft.calm.project.assistant import builtin_domain, builtin_flows
from rasa_ft.calm.project.domain import load_domain, with_builtin_slots

DOMAIN = """
slots:
  a: {type: text}
  b: {type: text}
  n: {type: float}
  c: {type: text, mappings: [{type: controlled}]}
actions: [action_own]
responses:
  utter_ask_a: [{text: A?}]
  utter_ask_b: [{text: B?}]
  utter_ask_n: [{text: N?}]
  utter_done: [{text: "{a} {b}"}]
  utter_bad: [{text: Bad.}]
  utter_low: [{text: "{value} is low."}]
  utter_restart: [{text: From the start.}]
  utter_ask_confirm_correction: [{text: Really?}]
"""


class Prepared:
    """Answers every custom action with the same result."""

    def __init__(
        self, events: tuple[Mapping[str, Any], ...] = (), responses: tuple[Mapping[str, Any], ...] = ()
    ) -> None:
        self.result = ActionResult(events, responses)

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        return self.result


class Bot:
    """A conversation with an assistant made of flow steps."""

    def __init__(self, folder: Path, flows: str, *events: Mapping[str, Any], responses: tuple[Any, ...] = ()) -> None:
        file = folder / "domain.yml"
        file.write_text(DOMAIN)
        domain = with_builtin_slots(load_domain(file).over(builtin_domain()))
        own = parse_flows(f"flows:\n{flows}", folder / "flows.yml")
        self.runtime = Runtime(domain, MappingProxyType({**builtin_flows(), **own}), Prepared(events, responses))
        self.tracker = begin(self.runtime)

    def say(self, *commands: Command | str) -> list[str]:
        """What is said to ``commands``: names of responses, or texts where there is none."""
        parsed = [item for command in commands for item in _parsed(command)]
        before = len(self.tracker.events)
        self.tracker = asyncio.run(take_turn(self.tracker, "…", parsed, self.runtime))
        self.new = self.tracker.events[before:]
        return [event.utter_action or event.text or "" for event in self.new if isinstance(event, BotUttered)]

    @property
    def stack(self) -> list[str]:
        return [frame.flow_id for frame in self.tracker.stack.frames]


def _parsed(command: Command | str) -> tuple[Command, ...]:
    return (command,) if isinstance(command, Command) else codec_for("v2").parse(command)


def one_flow(*steps: str) -> str:
    return "  f:\n    description: d\n    run_pattern_completed: false\n    steps:\n" + "".join(
        f"      - {step}\n" for step in steps
    )


QUESTIONS = one_flow("collect: a", "collect: b", "action: utter_done")
PATTERN = "    description: d\n    steps:\n"


# -- what custom actions may answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"event": "restart"}, Restarted),
        ({"event": "session_started"}, SessionStarted),
        ({"event": "session_ended"}, SessionEnded),
    ],
)
def test_events_that_change_the_session(tmp_path, event, kind):
    bot = Bot(tmp_path, one_flow("collect: a", "action: action_own", "action: utter_done"), event)
    assert bot.say("start flow f", "set slot a x") == []
    assert any(isinstance(item, kind) for item in bot.new)
    assert bot.tracker.ended == (kind is SessionEnded)


def test_events_without_a_session_change(tmp_path):
    events = ({"event": "bot", "text": "hi", "data": {"image": "i"}}, {"event": "rewind"}, {"event": "reset_slots"})
    bot = Bot(tmp_path, one_flow("collect: a", "action: action_own", "action: utter_done"), *events)
    assert bot.say("start flow f", "set slot a x") == ["hi", "utter_done"]
    message = next(event for event in bot.new if isinstance(event, BotUttered))
    assert (message.image, message.source, message.flow_id) == ("i", "action", "f")
    assert bot.tracker.slots["a"] is None


def test_messages_of_custom_actions(tmp_path):
    responses = (
        {"response": "utter_done", "a": "given", "b": "here"},
        {"response": "utter_nowhere"},
        {"text": "plain", "custom": {"k": 1}},
    )
    bot = Bot(tmp_path, one_flow("action: action_own"), responses=responses)
    bot.say("start flow f")
    messages = [event for event in bot.new if isinstance(event, BotUttered)]
    assert [message.text for message in messages] == ["given here", "plain"]
    assert messages[1].custom == {"k": 1}


# -- steps ----------------------------------------------------------------------------------------------------------


def test_set_slots_steps_and_their_reset(tmp_path):
    bot = Bot(tmp_path, one_flow("set_slots: [{a: x}, {c: y}]", "action: utter_done"))
    bot.say("start flow f")
    assert next(event.text for event in bot.new if isinstance(event, BotUttered)) == "x None"
    assert (bot.tracker.slots["a"], bot.tracker.slots["c"]) == (None, None)


def test_an_action_may_start_a_flow(tmp_path):
    bot = Bot(tmp_path, one_flow("collect: a") + "  g:\n" + PATTERN + "      - action: flow_f\n")
    assert bot.say("start flow g") == ["utter_ask_a"]
    assert bot.stack == ["g", "f", "pattern_collect_information"]


def test_unknown_actions_are_passed_over(tmp_path, caplog):
    bot = Bot(tmp_path, one_flow("action: utter_nowhere", "action: utter_done"))
    assert bot.say("start flow f") == ["utter_done"]
    assert "utter_nowhere" in caplog.text


def test_nothing_to_ask_with(tmp_path):
    bot = Bot(tmp_path, one_flow("collect: c", "action: utter_done"))
    assert bot.say("start flow f") == ["utter_internal_error_rasa", "utter_flow_cancelled_rasa"]


def test_linking_to_a_person(tmp_path):
    bot = Bot(tmp_path, one_flow("action: utter_done", "link: pattern_human_handoff"))
    assert bot.say("start flow f") == ["utter_done", "utter_human_handoff_not_available"]
    assert bot.stack == []


@pytest.mark.parametrize(
    ("version", "question"), [((3, 21), "utter_ask_continue_interrupted_flow_confirmation"), ((3, 15), "utter_ask_a")]
)
def test_after_an_answer_from_documents(tmp_path, version, question):
    bot = Bot(tmp_path, one_flow("collect: a"))
    bot.runtime = replace(bot.runtime, version=version)
    bot.say("start flow f")
    assert bot.say(Knowledge()) == ["utter_no_knowledge_base", question]


def test_a_linked_flow_goes_before_the_way_back(tmp_path):
    linking = "  g:\n" + PATTERN + "      - action: utter_done\n      - link: h\n"
    linked = "  h:\n" + PATTERN + "      - collect: b\n"
    bot = Bot(tmp_path, one_flow("collect: a", "action: utter_done") + linking + linked)
    bot.say("start flow f")
    assert bot.say("start flow g") == ["utter_done", "utter_ask_b"]
    question = "pattern_collect_information"
    assert bot.stack == ["f", question, "pattern_continue_interrupted", "h", question]
    assert bot.say("set slot b x") == ["utter_ask_continue_interrupted_flow_confirmation"]


def test_a_rejection_that_cannot_be_evaluated(tmp_path):
    comparing = one_flow("{collect: a, rejections: [{if: slots.a > 3, utter: utter_bad}]}")
    assert Bot(tmp_path, comparing).say("start flow f", "set slot a x") == ["utter_internal_error_rasa", "utter_ask_a"]
    broken = one_flow("{collect: a, rejections: [{if: slots.a >, utter: utter_bad}]}", "action: utter_done")
    assert Bot(tmp_path, broken).say("start flow f", "set slot a x") == ["utter_internal_error_rasa", "utter_ask_a"]


def test_a_refused_value_is_gone_before_it_is_answered(tmp_path):
    """The log has the empty slot first; the answer's text is made while the slot still has the value."""
    bot = Bot(tmp_path, one_flow("{collect: a, rejections: [{if: slots.a is 'x', utter: utter_done}]}"))
    assert bot.say("start flow f", "set slot a x") == ["utter_done", "utter_ask_a"]
    first, second, refusal = [event for event in bot.new if isinstance(event, SlotSet | BotUttered)][:3]
    assert (first.value, second.value) == ("x", None)
    assert refusal.text == "x None"


def test_a_refusal_shows_the_value_as_it_was_given(tmp_path):
    asking = "{collect: n, rejections: [{if: slots.n < 3, utter: utter_low}]}"
    bot = Bot(tmp_path, one_flow(asking, "collect: b"))
    bot.say("start flow f", "set slot n 5")
    bot.say("set slot n 2")  # a correction: its value is kept as it was written until it is checked
    assert [event.text for event in bot.new if isinstance(event, BotUttered)][-2:] == ["2 is low.", "N?"]


def test_values_are_coerced_when_they_are_checked(tmp_path):
    bot = Bot(tmp_path, one_flow("collect: n", "collect: a"))
    bot.say("start flow f", "set slot n 1")
    bot.say("set slot n 2")
    assert bot.tracker.slots["n"] == 2.0
    events = [event.value for event in bot.new if isinstance(event, SlotSet) and event.slot == "n"]
    assert events == ["2", 2.0]


# -- corrections ----------------------------------------------------------------------------------------------------

CONFIRMED = (
    "  pattern_correction:\n"
    + PATTERN
    + "      - collect: confirm_correction\n"
    + "        ask_before_filling: true\n"
    + "        next:\n"
    + "          - if: slots.confirm_correction\n"
    + "            then: [{action: action_correct_flow_slot, next: END}]\n"
    + "          - else: END\n"
)


def test_a_correction_may_be_confirmed_first(tmp_path):
    bot = Bot(tmp_path, QUESTIONS + CONFIRMED)
    bot.say("start flow f", "set slot a x")
    assert bot.say("set slot a y") == ["utter_ask_confirm_correction"]
    assert bot.say("set slot confirm_correction true") == ["utter_ask_b"]
    assert bot.tracker.slots["a"] == "y"


def test_a_second_correction_replaces_the_first(tmp_path):
    bot = Bot(tmp_path, QUESTIONS + CONFIRMED)
    bot.say("start flow f", "set slot a x")
    bot.say("set slot a y")
    bot.say("set slot a y")  # the same again
    assert bot.stack.count("pattern_correction") == 1
    assert bot.say("set slot a z") == ["utter_ask_confirm_correction"]
    assert bot.say("set slot confirm_correction true") == ["utter_ask_b"]
    assert bot.tracker.slots["a"] == "z"


def test_corrections_of_slots_that_no_flow_asks_are_dropped(tmp_path):
    bot = Bot(tmp_path, QUESTIONS)
    bot.say("start flow f")
    assert bot.say(CorrectSlots((CorrectedSlot("c", "x"),))) == ["utter_ask_a"]
    assert bot.tracker.slots["c"] is None


def test_a_persisted_slot_given_with_the_start_is_a_correction(tmp_path):
    flows = QUESTIONS.replace("    steps:", "    persisted_slots: [a]\n    steps:")
    bot = Bot(tmp_path, flows)
    bot.say("start flow f", "set slot a x", "set slot b y")
    said = bot.say("start flow f", "set slot a z")
    assert said == ["utter_corrected_previous_input", "utter_ask_b"]
    assert bot.tracker.slots["a"] == "z"
    assert [event.flow_id for event in bot.new if isinstance(event, FlowStarted)].count("f") == 1


# -- patterns of the assistant's own --------------------------------------------------------------------------------


def test_chat_without_anything_that_chats(tmp_path):
    bot = Bot(tmp_path, QUESTIONS + "  pattern_chitchat:\n" + PATTERN + "      - action: action_trigger_chitchat\n")
    assert bot.say(ChitChat()) == ["utter_cannot_handle"]


def test_search_without_documents(tmp_path):
    bot = Bot(tmp_path, QUESTIONS + "  pattern_search:\n" + PATTERN + "      - action: action_trigger_search\n")
    assert bot.say(Knowledge())[0] == "utter_no_relevant_answer_found"


def test_cleaning_the_stack(tmp_path):
    bot = Bot(tmp_path, QUESTIONS + "  pattern_chitchat:\n" + PATTERN + "      - action: action_clean_stack\n")
    bot.say("start flow f")
    assert bot.say(ChitChat()) == []
    assert bot.stack == []


@pytest.mark.parametrize(
    "action",
    [
        "action_cancel_flow",
        "action_clarify_flows",
        "action_correct_flow_slot",
        "action_continue_interrupted_flow",
        "action_cancel_interrupted_flows",
        "action_run_slot_rejections",
        "action_trigger_chitchat",
        "action_default_fallback",
        "action_send_text",
    ],
)
def test_actions_out_of_place_do_nothing(tmp_path, action):
    bot = Bot(tmp_path, one_flow(f"action: {action}", "action: utter_done"))
    assert bot.say("start flow f") == ["utter_done"]
    assert bot.stack == []


def test_restarting_says_so_where_there_is_a_response(tmp_path):
    bot = Bot(tmp_path, one_flow("action: action_restart"))
    assert bot.say("start flow f") == ["utter_restart"]


def test_a_second_clarification_is_dropped(tmp_path):
    bot = Bot(tmp_path, QUESTIONS)
    assert bot.say("disambiguate flows\ndisambiguate flows f") == ["utter_clarification_no_options_rasa"]


# -- limits and faults ----------------------------------------------------------------------------------------------


def test_a_turn_without_end_is_ended(tmp_path):
    bot = Bot(tmp_path, one_flow("{id: again, action: utter_done, next: again}"))
    assert bot.runtime.max_actions == MAX_ACTIONS == 1000
    bot.runtime = replace(bot.runtime, max_actions=7)
    assert bot.say("start flow f") == ["utter_done"] * 7


def test_a_failure_in_the_failure_pattern_empties_the_stack(tmp_path):
    turning = "      - {id: x, noop: true, next: [{if: false, then: END}, {else: x}]}\n"
    bot = Bot(tmp_path, "  f:\n" + PATTERN + turning + "  pattern_internal_error:\n" + PATTERN + turning)
    assert bot.say("start flow f") == []
    assert bot.stack == []


def test_a_broken_template_in_a_step(tmp_path):
    bot = Bot(tmp_path, one_flow('action: "{{ context.flow_id.x.y }}"'))
    assert bot.say("start flow f")[0] == "utter_internal_error_rasa"


def test_frames_of_flows_or_steps_that_are_gone(tmp_path):
    bot = Bot(tmp_path, QUESTIONS)
    bot.tracker = bot.tracker.push(UserFrame("vanished"))
    assert bot.say() == []
    assert bot.stack == []
    bot.tracker = bot.tracker.push(UserFrame("f", step_id="vanished"))
    assert bot.say() == []
    bot.tracker = bot.tracker.push(UserFrame("f", step_id="NEXT:vanished"))
    assert bot.say() == []
    assert bot.stack == []


def test_commands_that_name_nothing(tmp_path):
    bot = Bot(tmp_path, QUESTIONS)
    assert bot.say(StartFlow("vanished")) == []
    assert bot.say(SetSlot("vanished", 1)) == ["utter_ask_rephrase"]
    bot.tracker = bot.tracker.push(CancelFrame(canceled_name="x")).push(PatternFrame("pattern_skip_question"))
    assert bot.say("skip question") == ["utter_skip_question_answer", "utter_flow_cancelled_rasa"]
