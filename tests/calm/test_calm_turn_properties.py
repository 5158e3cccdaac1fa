"""Whatever commands come, in whatever order: every turn ends, and what a tracker says stays true.

The assistants are small and malicious: flows that go round, link each other, call each other, actions that undo what
the user says, patterns in place of the built-in ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from desk_assistant import SilentLLM
from hypothesis import example, given
from hypothesis import strategies as st

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChangeFlow,
    ChitChat,
    Clarify,
    Command,
    CorrectedSlot,
    CorrectSlots,
    Error,
    HandleCodeChange,
    HumanHandoff,
    Knowledge,
    Noop,
    Repeat,
    Restart,
    SessionEnd,
    SessionStart,
    SetSlot,
    SkipQuestion,
    StartFlow,
    UserSilence,
)
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, ActionResult, Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dialogue.turn import begin, take_turn
from rasa_ft.calm.events import ActionExecuted, Event, UserUttered
from rasa_ft.calm.flows.loading import parse_flows
from rasa_ft.calm.flows.model import END, NEXT_PREFIX, START, Flow
from rasa_ft.calm.project.assistant import builtin_domain, builtin_flows
from rasa_ft.calm.project.config import Generator
from rasa_ft.calm.project.domain import load_domain, with_builtin_slots
from rasa_ft.understanding.generator import CommandGenerator

DOMAIN = """
slots:
  a: {type: text}
  b: {type: bool}
  n: {type: float, min_value: 0, max_value: 9, initial_value: 3}
  k: {type: categorical, values: [x, y]}
  tags: {type: list}
  c: {type: text, mappings: [{type: controlled, run_action_every_turn: action_every_turn}]}
  v:
    type: text
    validation: {rejections: [{if: slots.v is "bad", utter: utter_bad}]}
  raw: {type: text, mappings: [{type: from_text}, {type: from_llm}]}
actions: [action_own, action_fails, action_refuses, action_every_turn, validate_a, action_ask_k]
session_config: {carry_over_slots_to_new_session: true}
responses:
  utter_ask_a: [{text: "A, {a}?"}]
  utter_ask_b: [{text: B?, buttons: [{title: "yes", payload: /SetSlots(b=true)}]}]
  utter_ask_n: [{text: "{{ slots }} {{ n }}?", metadata: {template: jinja}}]
  utter_ask_v: [{text: V?}]
  utter_ask_raw: [{text: raw?}]
  utter_bad: [{text: "bad: {value}"}]
  utter_said: [{text: "{a}{b}{n}", condition: slots.b}, {text: one}, {text: two}]
"""


def flow(name: str, *steps: str, more: str = "") -> str:
    return f"  {name}:\n    description: {name} it is\n{more}    steps:\n" + "".join(
        f"      - {step}\n" for step in steps
    )


ASKING = (
    flow("asks", "collect: a", "{collect: b, ask_before_filling: true}", "collect: n", "action: utter_said")
    + flow("checks", "{collect: v, rejections: [{if: slots.v contains 'x', utter: utter_bad}]}", "collect: k")
    + flow("insists", "{collect: raw, force_slot_filling: true}", "collect: a", more="    persisted_slots: [a]\n")
    + flow("guarded", "action: utter_said", more="    if: slots.b\n")
    + flow(
        "sets",
        "set_slots: [{a: x}, {n: 99}, {tags: [1]}]",
        "action: action_own",
        more="    run_pattern_completed: false\n",
    )
)
LOOPING = (
    flow("round", "{id: here, noop: true, next: [{if: slots.b, then: END}, {else: here}]}")
    + flow("acting", "{id: here, action: utter_said, next: [{if: slots.b, then: END}, {else: here}]}")
    + flow("asking", "{id: ask, collect: a}", "{set_slots: [{a: null}], next: ask}")
    + flow("failing", "action: action_fails")
    + flow("refusing", "action: action_refuses", "collect: a")
)
LINKED = (
    flow("left", "action: utter_said", "link: right")
    + flow("right", "set_slots: [{b: true}]", "link: left")
    + flow("quiet_left", "link: quiet_right")
    + flow("quiet_right", "link: quiet_left")
    + flow("one", "collect: a", "call: two", "call: two", "action: utter_said")
    + flow("two", "call: three", "{collect: n, ask_before_filling: true}")
    + flow("three", "collect: v", "action: flow_one")
    + flow("ends", "collect: a", "link: pattern_human_handoff")
    + flow("searches", "link: pattern_search")
)
_OVERRIDES = (
    flow("pattern_completed", "collect: b", "link: asks")
    + flow("pattern_chitchat", "collect: a", "link: asks")
    + flow(
        "pattern_correction",
        "{collect: confirm_correction, ask_before_filling: true}",
        "action: action_correct_flow_slot",
    )
    + flow("pattern_cannot_handle", "{id: again, action: utter_said, next: again}")
    + flow("pattern_cancel_flow", "action: action_cancel_flow", "collect: b")
    + flow("pattern_clarification", "action: action_clarify_flows", "collect: k", "link: asks")
    + flow("pattern_search", "action: action_trigger_search", "action: utter_said")
    + flow(
        "pattern_continue_interrupted",
        "action: action_continue_interrupted_flow",
        "action: action_cancel_interrupted_flows",
    )
    + flow("pattern_internal_error", "action: action_fails")
    + flow("pattern_session_start", "action: action_session_start", "action: flow_asks")
    + flow("pattern_skip_question", "action: action_clean_stack")
)
_OTHER_OVERRIDES = (
    flow(
        "pattern_collect_information",
        "{id: s, action: '{{ context.utter }}', next: s2}",
        "{id: s2, action: action_listen}",
    )
    + flow("pattern_completed", "action: action_repeat_bot_messages", "action: flow_asks")
    + flow("pattern_internal_error", "{id: here, noop: true, next: here}")
    + flow("pattern_correction", "action: action_correct_flow_slot", "action: action_restart")
    + flow("pattern_validate_slot", "action: action_run_slot_rejections", "action: utter_said")
    + flow("pattern_repeat_bot_messages", "action: action_hangup")
)
FLOWS = {
    "asking": ASKING,
    "looping": ASKING + LOOPING,
    "linked": ASKING + LINKED,
    "overridden": ASKING + _OVERRIDES,
    "overridden otherwise": ASKING + LOOPING + _OTHER_OVERRIDES,
}
SLOTS = ("a", "b", "n", "k", "tags", "c", "v", "raw", "confirm_correction", "interrupted_flow_to_continue", "ghost")
_FLOW_NAMES = (
    "asks",
    "checks",
    "insists",
    "guarded",
    "sets",
    "round",
    "acting",
    "asking",
    "failing",
    "refusing",
    "left",
)
_FLOW_NAMES += ("right", "quiet_left", "one", "two", "three", "ends", "searches", "pattern_search", "gone")

# What custom actions answer, as well-behaved code would and as no code should.
_EVENTS: tuple[Mapping[Any, Any], ...] = (
    {"event": "slot", "name": "a", "value": "new"},
    {"event": "slot", "name": "a", "value": None},
    {"event": "slot", "name": "b", "value": False},
    {"event": "slot", "name": "n", "value": ["no number"]},
    {"event": "slot", "name": "ghost", "value": 1},
    {"event": "slot", "name": "max_clarification_options", "value": "many"},
    {"event": "followup", "name": "action_own"},
    {"event": "followup", "name": "flow_asks"},
    {"event": "followup", "name": "nothing"},
    {"event": "followup"},
    {"event": "reset_slots"},
    {"event": "restart"},
    {"event": "session_started"},
    {"event": "session_ended"},
    {"event": "pause"},
    {"event": "resume"},
    {"event": "bot", "text": "hi", "data": {"buttons": [{"title": "t", "payload": "p"}]}},
    {"event": "action", "name": "action_listen"},
    {"event": "flow_completed", "flow_id": "asks"},
    {"event": "rewind"},
    # nonsense
    {},
    {"event": None},
    {"event": ["slot"]},
    {"event": {"a": 1}},
    {"event": "slot"},
    {"event": "slot", "name": ["a"], "value": 1},
    {"event": "slot", "name": None, "value": 1},
    {"event": "bot", "data": "text"},
    {"event": "bot", "data": {"buttons": 3}},
    {"event": "bot", "text": {"a": 1}, "data": {"buttons": ["b"], "quick_replies": 7}},
    {"event": "followup", "name": ["action_own"]},
    {"event": "action", "name": {}},
    {3: 4},
)
_RESPONSES: tuple[Mapping[Any, Any], ...] = (
    {"text": "said"},
    {"response": "utter_said", "a": 1, "buttons": [{"title": "t", "payload": "p"}]},
    {"response": "utter_nowhere"},
    {"custom": {"k": [1]}, "image": "i"},
    # nonsense
    {},
    {"response": ["utter_said"]},
    {"response": "utter_said", 3: 4},
    {"response": "utter_said", "tracker": 1, "self": 2},
    {"text": ["x"], "buttons": "b"},
    {"buttons": [3]},
    {"quick_replies": 5},
)
results = st.builds(
    ActionResult,
    st.lists(st.sampled_from(_EVENTS), max_size=3).map(tuple),
    st.lists(st.sampled_from(_RESPONSES), max_size=2).map(tuple),
)


class Scripted:
    """Custom actions that always answer the same: replays need the same answers."""

    def __init__(self, answers: Mapping[str, ActionResult]) -> None:
        self.answers = answers

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        if action == "action_fails":
            raise ActionFailed("it does")
        if action == "action_refuses":
            raise ActionRejected("it does")
        return self.answers.get(action, ActionResult())


values = st.sampled_from(
    [
        "x",
        "y",
        "bad",
        "true",
        "false",
        "7",
        "99",
        "asks",
        "none",
        "{a}",
        "{{ a }}",
        "/SetSlots(a=1)",
        "start flow asks",
        "",
    ]
) | st.sampled_from([None, True, False, 3, 2.5, float("nan"), ["l"], {"m": 1}])
set_slots = st.builds(SetSlot, st.sampled_from(SLOTS), values, st.sampled_from(["LLM", "CommandPayloadReader"]))
flow_names = st.sampled_from(_FLOW_NAMES)
corrections = st.builds(
    CorrectSlots, st.lists(st.builds(CorrectedSlot, st.sampled_from(SLOTS), values), max_size=2).map(tuple)
)
others = st.sampled_from(
    [
        *(CancelFlow(), ChitChat(), Knowledge(), SkipQuestion(), Repeat(), HumanHandoff(), CannotHandle(), Error()),
        *(CannotHandle("cannot_handle_chitchat"), HandleCodeChange(), SessionStart(), Restart(), UserSilence(), Noop()),
        *(
            ChangeFlow(),
            Clarify(),
            Clarify(("asks",)),
            Error("rasa_internal_error_user_input_too_long"),
            Clarify(("gone", "one")),
        ),
    ]
)
commands = st.one_of(
    set_slots,
    set_slots,
    st.builds(StartFlow, flow_names),
    st.builds(StartFlow, flow_names),
    corrections,
    st.builds(Clarify, st.lists(flow_names, max_size=3).map(tuple)),
    others,
    others,
)
# The end of a conversation is rare, or there would be nothing to see after it.
turns = st.lists(
    st.lists(commands, max_size=4).map(tuple) | st.just((SessionEnd(),)).filter(lambda _: True), min_size=1, max_size=6
)
answers = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("action_own", "action_every_turn", "validate_a", "action_ask_k"), results)
)
names = st.sampled_from(sorted(FLOWS))
# A tenth of what CALM allows: the turns that only this limit ends are those that take time.
_MAX_ACTIONS = 60


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runtime]:
    folder = tmp_path_factory.mktemp("turns")
    file = folder / "domain.yml"
    file.write_text(DOMAIN)
    domain = with_builtin_slots(load_domain(file).over(builtin_domain()))
    return {
        name: Runtime(
            domain,
            MappingProxyType({**builtin_flows(), **parse_flows(f"flows:\n{text}", folder / "flows.yml")}),
            Scripted({}),
            max_actions=_MAX_ACTIONS,
        )
        for name, text in FLOWS.items()
    }


def with_answers(runtime: Runtime, given_answers: Mapping[str, ActionResult]) -> Runtime:
    from dataclasses import replace

    return replace(runtime, custom=Scripted(given_answers))


def play(tracker: Tracker, script: Sequence[Sequence[Command]], runtime: Runtime) -> list[Tracker]:
    """The conversation after each turn."""

    async def run() -> list[Tracker]:
        states, now = [], tracker
        for given_commands in script:
            now = await take_turn(now, "…", given_commands, runtime)
            states.append(now)
        return states

    return asyncio.run(run())


def check_stack(tracker: Tracker, flows: Mapping[str, Flow]) -> None:
    ids = [frame.frame_id for frame in tracker.stack.frames]
    assert len(ids) == len(set(ids))
    assert all(int(frame_id) <= tracker.stack.created for frame_id in ids)
    for frame in tracker.stack.frames:
        step_id = frame.step_id.removeprefix(NEXT_PREFIX)
        assert step_id in (START, END) or flows[frame.flow_id].step(step_id) is not None


def refolded(events: Sequence[Event], like: Tracker) -> Tracker:
    return Tracker.new(like.initial_slots, like.types).apply(*events)


def check_fold(tracker: Tracker) -> None:
    again = refolded(tracker.events, tracker)
    # repr: nan is not equal to itself
    assert repr(dict(again.slots)) == repr(dict(tracker.slots))
    assert again.has_been_set == tracker.has_been_set
    assert (again.ended, again.paused, again.followup) == (tracker.ended, tracker.paused, tracker.followup)
    assert repr((again.stack, again.visited)) == repr((tracker.stack, tracker.visited))


def check_length(before: Tracker, after: Tracker, runtime: Runtime) -> None:
    actions = [event for event in after.events[len(before.events) :] if isinstance(event, ActionExecuted)]
    assert len(actions) <= 5 * runtime.max_actions + 10


@given(name=names, script=turns, given_answers=answers)
@example(name="looping", script=[[StartFlow("round")], [StartFlow("acting")], [StartFlow("asking")]], given_answers={})
@example(
    name="linked",
    script=[[StartFlow("left")], [StartFlow("quiet_left")], [StartFlow("one")], [SetSlot("v", "x")]],
    given_answers={},
)
def test_every_turn_ends_and_the_tracker_stays_true(
    name: str, script: list[tuple[Command, ...]], given_answers: dict[str, ActionResult], runtimes: dict[str, Runtime]
) -> None:
    runtime = with_answers(runtimes[name], given_answers)
    before = begin(runtime)
    for after in play(before, script, runtime):
        check_stack(after, runtime.flows)
        check_fold(after)
        check_length(before, after, runtime)
        # What has happened stays.
        assert after.events[: len(before.events)] == before.events
        if before.ended:
            assert after.stack == before.stack
            assert isinstance(after.events[-1], UserUttered)
        before = after


@given(name=names, script=turns, one=turns, other=turns, given_answers=answers)
def test_forks_do_not_see_each_other(
    name: str,
    script: list[tuple[Command, ...]],
    one: list[tuple[Command, ...]],
    other: list[tuple[Command, ...]],
    given_answers: dict[str, ActionResult],
    runtimes: dict[str, Runtime],
) -> None:
    runtime = with_answers(runtimes[name], given_answers)
    fork = play(begin(runtime), script, runtime)[-1]
    before = repr(fork)
    first = repr(play(fork, one, runtime)[-1])
    play(fork, other, runtime)
    assert repr(fork) == before
    assert repr(play(fork, one, runtime)[-1]) == first


@given(name=names, script=turns, given_answers=answers)
def test_a_replay_is_the_same_conversation(
    name: str, script: list[tuple[Command, ...]], given_answers: dict[str, ActionResult], runtimes: dict[str, Runtime]
) -> None:
    runtime = with_answers(runtimes[name], given_answers)
    assert repr(play(begin(runtime), script, runtime)) == repr(play(begin(runtime), script, runtime))


@given(name=names, script=turns, text=st.text(max_size=30), given_answers=answers)
def test_a_prompt_can_be_written_at_any_time(
    name: str,
    script: list[tuple[Command, ...]],
    text: str,
    given_answers: dict[str, ActionResult],
    runtimes: dict[str, Runtime],
) -> None:
    runtime = with_answers(runtimes[name], given_answers)
    tracker = play(begin(runtime), script, runtime)[-1]
    generator = CommandGenerator(Generator("CompactLLMCommandGenerator", "v2"), SilentLLM())
    prompt = asyncio.run(generator.prompt(text, tracker, runtime))
    assert " ".join(text.splitlines()) in " ".join(prompt.splitlines())


def test_the_limits_are_those_of_calm(runtimes: dict[str, Runtime], tmp_path: Path) -> None:
    from dataclasses import replace

    runtime = replace(runtimes["looping"], max_actions=Runtime.max_actions)
    (after,) = play(begin(runtime), [[StartFlow("acting")]], runtime)
    said = [event for event in after.events if event == ActionExecuted("utter_said", flow_id="acting", step_id="here")]
    assert len(said) == runtime.max_actions == 1000
