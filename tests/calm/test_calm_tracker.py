"""A tracker is the fold of its events, and nothing changes it.

Slots and session follow from every event; the dialogue stack from the last event of each turn. Whole conversations are
folded again in `test_calm_turn_properties`.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.dialogue.stack import UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker, events_since
from rasa_ft.calm.events import (
    ActionExecuted,
    AllSlotsReset,
    BotUttered,
    ConversationPaused,
    ConversationResumed,
    Event,
    FlowStarted,
    Restarted,
    SessionEnded,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.calm.slots import Slot

INITIAL = {"a": None, "n": 1.0, "k": None, "l": None}
TYPES = {
    "a": Slot("a", "text"),
    "n": Slot("n", "float"),
    "k": Slot("k", "categorical", values=("Big",)),
    "l": Slot("l", "list"),
}

events = st.one_of(
    st.builds(SlotSet, st.sampled_from(sorted(INITIAL)), st.sampled_from([None, "x", "big", 3, ["y"]])),
    st.sampled_from(
        [
            *(
                AllSlotsReset(),
                Restarted(),
                SessionStarted(),
                SessionEnded(),
                ConversationPaused(),
                ConversationResumed(),
            ),
            *(UserUttered("hi"), BotUttered("hello"), ActionExecuted("action_x"), FlowStarted(flow_id="f")),
        ]
    ),
)


def fold(happened: list[Event]) -> dict[str, Any]:
    """The same as a tracker's, written down in another way: what the last word on each slot was."""
    slots: dict[str, Any] = dict(INITIAL)
    been_set: set[str] = set()
    for event in happened:
        if isinstance(event, SlotSet):
            been_set.add(event.slot)
            slots[event.slot] = _stored(event)
        elif isinstance(event, AllSlotsReset | Restarted | SessionStarted):
            slots, been_set = dict(INITIAL), set()
    return {"slots": slots, "has_been_set": been_set, "ended": SessionEnded() in happened}


def _stored(event: SlotSet) -> Any:
    if event.value is None:
        return None
    if event.slot == "l":
        return event.value if isinstance(event.value, list) else [event.value]
    return "Big" if event.slot == "k" and event.value == "big" else event.value


@given(happened=st.lists(events, max_size=12))
def test_the_state_follows_from_the_events(happened: list[Event]) -> None:
    tracker = Tracker.new(INITIAL, TYPES).apply(*happened)
    state = {
        "slots": dict(tracker.slots),
        "has_been_set": set(tracker.has_been_set),
        "ended": tracker.ended,
    }
    assert state == fold(happened)
    assert tracker.events == tuple(happened)


@given(happened=st.lists(events, max_size=12), cut=st.integers(0, 12))
def test_events_may_come_one_by_one_or_all_at_once(happened: list[Event], cut: int) -> None:
    start = Tracker.new(INITIAL, TYPES)
    whole = start.apply(*happened)
    assert start.apply(*happened[:cut]).apply(*happened[cut:]) == whole
    assert start == Tracker.new(INITIAL, TYPES)
    assert whole.session_events == events_since(whole.events, (Restarted, SessionStarted))
    assert tuple(reversed(list(whole.session_backwards()))) == whole.session_events


def test_the_last_event_of_a_turn_tells_where_the_flows_stand() -> None:
    tracker = Tracker.new(INITIAL, TYPES).push(UserFrame("f")).visit().with_followup("action_x")
    unmarked = tracker.apply(ActionExecuted("action_listen"))
    marked = unmarked.listening()
    again = Tracker.new(INITIAL, TYPES).apply(*marked.events)
    assert (again.stack, again.visited, again.followup) == (tracker.stack, tracker.visited, "action_x")
    assert marked.events == unmarked.events
    assert "standing" not in repr(marked.events)
    said = tracker.apply(BotUttered("hi"))
    assert said.listening() is said


def test_nothing_changes_a_tracker() -> None:
    tracker = Tracker.new(INITIAL, TYPES).apply(SlotSet("a", "x"))
    with pytest.raises(TypeError):
        tracker.slots["a"] = "y"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        tracker.ended = True  # type: ignore[misc]
    given_slots = {"a": None}
    other = Tracker.new(given_slots)
    given_slots["a"] = "changed"
    assert other.slots == other.initial_slots == {"a": None}


def test_all_events_count_where_no_session_began() -> None:
    happened = (UserUttered("a"), BotUttered("b"))
    assert events_since(happened, (SessionStarted,)) == happened
    assert events_since((*happened, SessionStarted(), *happened), (SessionStarted,)) == happened
