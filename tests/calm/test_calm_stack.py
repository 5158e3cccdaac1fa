from __future__ import annotations

from rasa_ft.calm.dialogue.stack import AT_END, CollectFrame, CorrectionFrame, FrameKind, PatternFrame, Stack, UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import AllSlotsReset, Restarted, SlotSet, UserUttered
from rasa_ft.calm.flows.model import Rejection


def stack_of(*frames):
    stack = Stack()
    for frame in frames:
        stack = stack.push(frame)
    return stack


def ids(frames):
    return [frame.flow_id for frame in frames]


CALLING = stack_of(
    UserFrame("a"),
    CollectFrame(collect="x"),
    UserFrame("b", kind=FrameKind.INTERRUPT),
    UserFrame("c", kind=FrameKind.CALL),
    CollectFrame(collect="y"),
)


def test_frames_get_ids_that_are_never_used_twice():
    stack = stack_of(PatternFrame("p"), PatternFrame("q")).pop().push(PatternFrame("r"))
    assert [frame.frame_id for frame in stack.frames] == ["00000001", "00000003"]


def test_changing_a_stack_leaves_the_old_one_alone():
    before = stack_of(PatternFrame("p"))
    after = before.end([before.top.frame_id])
    assert after.top.step_id == AT_END
    assert before.top.step_id == "START"
    assert not Stack()
    assert before.without(before.frames) == Stack(created=1)


def test_the_flows_of_a_stack():
    assert CALLING.top_user_frame.flow_id == "c"
    assert CALLING.top_caller_frame.flow_id == "b"
    assert CALLING.top_root_frame.flow_id == "b"
    assert CALLING.requested_slot == "y"
    assert CALLING.top_pattern is None
    assert CALLING.push(PatternFrame("p")).top_pattern.flow_id == "p"
    assert Stack().requested_slot is None


def test_the_frames_that_belong_to_a_flow():
    assert ids(CALLING.group("a")) == ["a", "pattern_collect_information"]
    assert ids(CALLING.group("c")) == ids(CALLING.group("b")) == ["b", "c", "pattern_collect_information"]
    assert CALLING.group("z") == ()


def test_the_context_of_a_question_is_that_of_the_flow_that_asks():
    frame = CollectFrame(collect="x", utter="utter_ask_x", rejections=(Rejection("slots.x = 1", "utter_no"),))
    context = stack_of(UserFrame("a", step_id="s"), frame).context()
    assert context["flow_id"] == "a"
    assert context["step_id"] == "s"
    assert context["collect"] == "x"
    assert context["rejections"] == [{"if": "slots.x = 1", "utter": "utter_no"}]
    assert Stack().context() == {}
    assert "reset_frames" not in stack_of(CorrectionFrame()).context()


def test_a_tracker_is_a_value():
    empty = Tracker.new({"a": 1, "b": None})
    filled = empty.apply(SlotSet("b", 2), UserUttered("hi"))
    assert (dict(empty.slots), empty.events) == ({"a": 1, "b": None}, ())
    assert dict(filled.slots) == {"a": 1, "b": 2}
    assert filled.has_been_set == {"b"}
    assert dict(filled.apply(AllSlotsReset()).slots) == {"a": 1, "b": None}
    assert not filled.apply(AllSlotsReset()).has_been_set


def test_a_restart_forgets_all_but_the_log():
    tracker = Tracker.new({"a": None}).apply(SlotSet("a", 1)).push(PatternFrame("p")).visit().apply(Restarted())
    assert (tracker.slots["a"], tracker.has_been_set, tracker.visited) == (None, frozenset(), ())
    assert not tracker.stack
    assert len(tracker.events) == 2
    assert tracker.session_events == ()


def test_commands_are_written_into_the_last_message():
    tracker = Tracker.new({}).apply(UserUttered("one"), UserUttered("two"), SlotSet("x", 1)).with_commands(())
    assert [type(event).__name__ for event in tracker.events] == ["UserUttered", "UserUttered", "SlotSet"]
    assert tracker.latest_user.text == "two"
