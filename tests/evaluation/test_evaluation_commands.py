from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, ChitChat, Clarify, Command, SetSlot, StartFlow
from rasa_ft.evaluation.commands import NOTHING, CommandCounts, CommandScores, same_commands, score_commands

COMMANDS = st.one_of(
    st.builds(StartFlow, st.sampled_from(["book", "refund"])),
    st.builds(SetSlot, st.sampled_from(["city", "day"]), st.sampled_from(["York", "york", 2, "2", True])),
    st.builds(Clarify, st.lists(st.sampled_from(["book", "refund"]), max_size=2, unique=True).map(tuple)),
    st.just(CancelFlow()),
)
LISTS = st.lists(COMMANDS, max_size=4)


@pytest.mark.parametrize(
    ("expected", "predicted", "same"),
    [
        ([SetSlot("city", "York")], [SetSlot("city", " YORK ")], True),
        ([SetSlot("n", 2)], [SetSlot("n", "2")], True),
        ([SetSlot("city", "York")], [SetSlot("town", "York")], False),
        ([Clarify()], [Clarify(("a", "b"))], True),
        ([Clarify(("a", "b"))], [Clarify(("b", "a"))], True),
        ([Clarify(("a", "b"))], [Clarify(("a",))], False),
        ([StartFlow("a"), SetSlot("s", 1)], [SetSlot("s", 1), StartFlow("a")], True),
        ([StartFlow("a")], [StartFlow("a"), StartFlow("a")], False),
        ([], [], True),
        # The one that takes any options must not take the place of the one that is particular.
        ([Clarify(), Clarify(("a",))], [Clarify(("a",)), Clarify(("b",))], True),
    ],
)
def test_same_commands(expected: list[Command], predicted: list[Command], same: bool) -> None:
    assert same_commands(expected, predicted) is same


def test_scores_by_hand() -> None:
    scores = score_commands(
        [
            ([StartFlow("book"), SetSlot("city", "York")], [StartFlow("book"), SetSlot("city", "Hull")]),
            ([SetSlot("day", "today")], [SetSlot("day", "today")]),
            ([CancelFlow()], [ChitChat()]),
            ([SetSlot("day", "today")], []),
        ]
    )
    assert scores.commands["set_slot"] == CommandCounts(tp=1, fp=1, fn=2)
    assert scores.commands["start_flow"] == CommandCounts(tp=1)
    assert scores.commands["cancel_flow"] == CommandCounts(fn=1)
    assert scores.commands["chitchat"] == CommandCounts(fp=1)
    assert list(scores.commands) == ["set_slot", "cancel_flow", "start_flow", "chitchat"]
    assert scores.commands["set_slot"].precision == pytest.approx(1 / 2)
    assert scores.commands["set_slot"].recall == pytest.approx(1 / 3)
    assert scores.commands["set_slot"].f1 == pytest.approx(0.4)
    assert scores.micro == pytest.approx(2 * 2 / (2 * 2 + 2 + 3))
    assert scores.macro == pytest.approx((0.4 + 1 + 0 + 0) / 4)
    assert scores.weighted == pytest.approx((3 * 0.4 + 1 * 1 + 1 * 0) / 5)
    assert scores.confusion == {
        ("set_slot", "set_slot"): 1,
        ("cancel_flow", "chitchat"): 1,
        ("set_slot", NOTHING): 1,
    }
    assert (scores.exact, scores.turns, scores.exact_rate) == (1, 4, 0.25)


def test_nothing_scored_is_zero_not_an_error() -> None:
    empty = score_commands([])
    assert empty == CommandScores()
    assert (empty.micro, empty.macro, empty.weighted, empty.exact_rate) == (0, 0, 0, 0)


@given(LISTS)
def test_a_list_agrees_with_itself_in_any_order(commands: list[Command]) -> None:
    scores = score_commands([(commands, commands[::-1])])
    assert scores.exact == 1
    assert not scores.confusion
    assert all(count.fp == count.fn == 0 for count in scores.commands.values())


@given(st.lists(st.tuples(LISTS, LISTS), max_size=6))
def test_counts_add_up(turns: list[tuple[list[Command], list[Command]]]) -> None:
    scores = score_commands(turns)
    counts = scores.commands.values()
    assert sum(count.expected for count in counts) == sum(len(expected) for expected, _ in turns)
    assert sum(count.tp + count.fp for count in counts) == sum(len(predicted) for _, predicted in turns)
    assert 0 <= scores.micro <= 1
    assert scores.exact <= scores.turns == len(turns)
