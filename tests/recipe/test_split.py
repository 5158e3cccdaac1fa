from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.events import FlowStarted
from rasa_ft.e2e.cases import TestCase
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.errors import DataError, Location
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    DataPoint,
    RephrasedConversation,
    RephrasedTurn,
)
from rasa_ft.recipe.splitting.near_duplicates import near_duplicate_groups
from rasa_ft.recipe.splitting.overlap import measured_overlap, without_leaks
from rasa_ft.recipe.splitting.split import NEEDED, NO_ROOM, ONE_GROUP, ONE_TEST, answer_of, in_words, skills_of, split
from rasa_ft.recipe.splitting.stratify import Group, choose_judges
from rasa_ft.recipe.wording import jaccard

Said = tuple[str, tuple[Command, ...], str | None]


def conversation(name: str, *said: Said) -> RephrasedConversation:
    case = TestCase(name, Path("t.yml"), Location(Path("t.yml"), 1), ())
    turns = [AnnotatedTurn(_turn(*turn), annotated=True, rephrase=True, before="") for turn in said]
    return RephrasedConversation(
        AnnotatedConversation(case, Setup(), tuple(turns)), tuple(RephrasedTurn(turn) for turn in turns)
    )


def _turn(text: str, commands: tuple[Command, ...], flow: str | None) -> Turn:
    return Turn(text, "prompt", None, commands, commands, (), active_flow=flow)


def suite(number: int, flows: Sequence[str] = ("a", "b")) -> list[RephrasedConversation]:
    return [
        conversation(
            f"c{i}",
            (f"start number {i} please {i * i}", (StartFlow(flows[i % len(flows)]),), None),
            (f"value {i} it is {i * 7}", (SetSlot("s", i),), flows[i % len(flows)]),
        )
        for i in range(number)
    ]


def keys(conversations: Sequence[RephrasedConversation]) -> list[str]:
    return [done.conversation.case.name for done in conversations]


def test_skills_belong_to_the_flow_that_the_message_starts() -> None:
    done = conversation("x", ("m", (StartFlow("a"), SetSlot("s", 1)), "old"), ("n", (CancelFlow(),), None))
    assert skills_of(done.conversation) == {("start flow", "a", ""), ("set slot", "a", "s"), ("cancel flow", "", "")}


@pytest.mark.parametrize("fraction", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fraction_of_examples_and_skills_on_both_sides(fraction: float, seed: int) -> None:
    parts = split(suite(40), train_frac=fraction, seed=seed)
    assert abs(len(parts.train) / 40 - fraction) <= 0.05
    assert parts.only_in_validation == ()
    assert parts.not_in_validation == {}
    assert sorted([*keys(parts.train), *keys(parts.validation)]) == sorted(keys(suite(40)))


def test_same_seed_same_split_and_another_seed_another() -> None:
    first, again, other = (split(suite(40), train_frac=0.8, seed=seed) for seed in (1, 1, 2))
    assert keys(first.validation) == keys(again.validation) != keys(other.validation)
    assert keys(first.train) == sorted(keys(first.train), key=lambda name: int(name[1:])), "the suite's order"


def test_a_skill_that_only_one_conversation_shows_is_trained() -> None:
    rare = conversation("rare", ("something else entirely", (StartFlow("rare"),), None))
    for seed in range(5):
        parts = split([*suite(10), rare], train_frac=0.8, seed=seed)
        assert "rare" in keys(parts.train)
        assert parts.not_in_validation == {("start flow", "rare", ""): ONE_TEST}


def test_near_duplicates_stay_together() -> None:
    twins = [
        conversation(f"twin{i}", ("Hello there!", (StartFlow("a"),), None), ("to Rome.", (SetSlot("s", 1),), "a"))
        for i in range(4)
    ]
    for seed in range(5):
        parts = split([*suite(8), *twins], train_frac=0.7, seed=seed)
        sides = {name in keys(parts.train) for name in keys(twins)}
        assert len(sides) == 1
        assert {parts.groups[twin.key] for twin in twins} == {twins[0].key}


def test_everything_for_training_only_if_asked_for() -> None:
    parts = split(suite(3), train_frac=1.0, seed=1)
    assert (len(parts.train), parts.validation, parts.not_in_validation) == (3, (), {})
    with pytest.raises(DataError, match="too few to set some aside"):
        split(suite(1), train_frac=0.8, seed=1)
    assert len(split(suite(2), train_frac=0.99, seed=1).validation) == 1


def point(message: str, conversation_: str = "c", kind: str = "rephrased") -> DataPoint:
    return DataPoint("p", "c", conversation_, 0, 0, kind, message, message)


def test_leaks_are_dropped_and_counted() -> None:
    judges = [conversation("v", ("Yes, please!", (CancelFlow(),), "a"), ("nope", (CancelFlow(),), "a")).conversation]
    train = [point("yes please"), point("YES please."), point("sure")]
    validation = [point("Yes, please!", "v"), point("Sure!", "v"), point("of course", "v")]
    kept, judged, leakage = without_leaks(train, validation, judges)
    assert [row.message for row in kept] == ["sure"]
    assert [row.message for row in judged] == ["Yes, please!", "of course"]
    assert (leakage.validation_messages, leakage.seen_in_training) == (2, 1)
    assert (leakage.train_rows_dropped, leakage.validation_rows_dropped) == (2, 1)


def test_overlap_is_measured_in_the_rows_as_they_are() -> None:
    train = [point("I need a ticket to Rome please"), point("yes"), point("Yes!")]
    validation = [point("i need a ticket to Roma please"), point("yes."), point("something else")]
    found = measured_overlap(train, validation)
    assert (found.messages, found.exact) == (3, 1)
    assert found.near == pytest.approx(2 / 3)
    assert found.trigrams == pytest.approx(3 / 5), "of five sequences of three words, three stand in training"
    assert measured_overlap(train, []).trigrams is None


# --- what cannot be on both sides ------------------------------------------------------------------------------------


def test_reasons_why_a_skill_is_not_judged() -> None:
    said = ("hello there", (CancelFlow(),), "twin")
    twins = [conversation(f"twin{i}", said) for i in range(2)]
    needed = [conversation(f"n{i}", (f"need {i}", (StartFlow("shared"), StartFlow(f"own{i}")), None)) for i in range(2)]
    parts = split([*suite(12), *twins, *needed], train_frac=0.8, seed=1)
    assert parts.not_in_validation == {
        ("cancel flow", "twin", ""): ONE_GROUP,
        ("start flow", "own0", ""): ONE_TEST,
        ("start flow", "own1", ""): ONE_TEST,
        ("start flow", "shared", ""): NEEDED,
    }
    many = [conversation(f"m{i}", (f"message {i}", (StartFlow(f"f{i % 20}"),), None)) for i in range(40)]
    found = split(many, train_frac=0.9, seed=1)
    assert Counter(found.not_in_validation.values()) == {NO_ROOM: 16}
    assert split(many, train_frac=0.5, seed=1).not_in_validation == {}


def test_a_command_is_judged_though_only_one_test_shows_it_in_each_flow() -> None:
    """Kept for training wherever it is rare, it would never be judged at all."""
    flows = [f"f{i}" for i in range(6)]
    stops = [conversation(f"stop{i}", (f"stop {i}", (CancelFlow(),), flow)) for i, flow in enumerate(flows)]
    starts = [conversation(f"start{i}", (f"message {i}", (StartFlow(flows[i % 6]),), None)) for i in range(24)]
    for seed in range(5):
        parts = split([*stops, *starts], train_frac=0.7, seed=seed)
        stopped = {name.startswith("stop") for name in keys(parts.validation)}
        assert stopped == {True, False}
        assert any(name.startswith("stop") for name in keys(parts.train))
        assert parts.only_in_validation == ()
        assert set(parts.not_in_validation.values()) == {ONE_TEST}


def test_an_answer_that_only_one_test_has_is_trained() -> None:
    one = conversation("one", ("it is red", (SetSlot("colour", "red"),), "a"))
    flow_free = conversation("free", ("no idea", (CancelFlow(),), "a"))
    for seed in range(5):
        parts = split([*suite(10), one, flow_free], train_frac=0.6, seed=seed)
        assert {"one", "free"} <= set(keys(parts.train))
    assert answer_of(("cancel flow", "a", "")) == ("cancel flow", "", "")
    assert answer_of(("set slot", "a", "colour")) == ("set slot", "", "colour")
    assert answer_of(("start flow", "a", "")) == ("start flow", "a", "")


def test_skills_in_words() -> None:
    skills = [("start flow", "book", ""), ("set slot", "book", "city"), ("cancel flow", "", ""), ("clarify", "a", "")]
    assert list(map(in_words, skills)) == ["start flow book", "set slot city in book", "cancel flow", "clarify in a"]


groups_of_skills = st.lists(
    st.builds(lambda skills, weight: Group(frozenset(skills), weight), st.sets(st.sampled_from("abcdef"), min_size=1),
              st.integers(1, 9)),
    min_size=2,
    max_size=8,
)  # fmt: skip


def judged_at_most(groups: Sequence[Group], limit: float) -> int | None:
    """By trying all choices: how many skills can be judged while all are trained; None if nothing can be spared."""
    counts = [
        len(frozenset().union(*(groups[index].skills for index in chosen)))
        for size in range(1, len(groups))
        for chosen in combinations(range(len(groups)), size)
        if (sum(groups[index].weight for index in chosen) <= limit) and all_trained(groups, chosen)
    ]
    return max(counts, default=None)


def all_trained(groups: Sequence[Group], chosen: Sequence[int]) -> bool:
    trained = frozenset().union(*(group.skills for index, group in enumerate(groups) if index not in chosen))
    return all(group.skills <= trained for group in groups)


@given(groups_of_skills, st.sampled_from([0.1, 0.2, 0.4, 0.6]))
def test_as_many_skills_are_judged_as_can_be(groups: list[Group], share: float) -> None:
    limit = share * sum(group.weight for group in groups)
    chosen = choose_judges(groups, limit=limit)
    assert 0 < len(chosen) < len(groups)
    weight = sum(groups[index].weight for index in chosen)
    possible = judged_at_most(groups, limit)
    if possible is not None:
        assert weight <= limit
    elif all_trained(groups, chosen):
        assert len(chosen) == 1 or weight <= max(groups[index].weight for index in chosen), "too heavy, so the lightest"
        possible = judged_at_most(groups, weight)
    if possible is not None:
        assert all_trained(groups, chosen)
        assert len(frozenset().union(*(groups[index].skills for index in chosen))) == possible


def test_a_thousand_groups_are_no_trouble() -> None:
    groups = [Group(frozenset({f"a{i % 97}", f"b{i % 61}", f"c{i % 7}"}), 1 + i % 13) for i in range(1000)]
    limit = 0.2 * sum(group.weight for group in groups)
    chosen = choose_judges(groups, limit=limit)
    assert len(frozenset().union(*(groups[index].skills for index in chosen))) == 97 + 61 + 7
    assert 0.97 * limit < sum(groups[index].weight for index in chosen) <= limit


def test_every_skill_has_about_the_same_share_in_validation() -> None:
    groups = [Group(frozenset({"ab"[i % 2], "common"}), 1) for i in range(100)]
    chosen = choose_judges(groups, limit=20)
    assert Counter(index % 2 for index in chosen) == {0: 10, 1: 10}


# --- flows that are held out -----------------------------------------------------------------------------------------


def test_held_out_flows_are_judged_only() -> None:
    made = suite(20, flows=("a", "b", "c", "d"))
    offer = conversation("offer", ("the thing", (Clarify(("a", "b")),), None), ("that", (SetSlot("t", 1),), "d"))
    parts = split([*made, offer], train_frac=0.5, seed=3, holdout_flows=("a",))
    assert {"c0", "c4", "c8", "c12", "c16", "offer"} == {key.partition("::")[2] for key in parts.held_out}
    assert set(parts.held_out) <= {done.key for done in parts.validation}
    assert not any("a" in skill for done in parts.train for skill in skills_of(done.conversation))
    assert parts.only_in_validation == (), "they are meant to be judged only"
    # The rest of the share judges the others.
    assert len(parts.validation) == 11
    assert not any(flow in ("b", "c", "d") for _, flow, _ in parts.not_in_validation)


def test_flows_that_are_called_are_held_out_too() -> None:
    called = conversation("caller", ("pay it", (StartFlow("c"),), None))
    turn = called.conversation.turns[0]
    turn = replace(
        turn, turn=replace(turn.turn, events=(FlowStarted(flow_id="c"), FlowStarted(flow_id="authenticate")))
    )
    called = replace(called, conversation=replace(called.conversation, turns=(turn,)))
    parts = split([*suite(10), called], train_frac=1.0, seed=1, holdout_flows=("authenticate",))
    assert keys(parts.validation) == ["caller"]


def test_near_duplicates_of_held_out_conversations_go_with_them() -> None:
    twin = conversation("twin", ("start number 0 please 0", (StartFlow("z"),), None), ("value 0 it is 0", (), "a"))
    parts = split([*suite(10), twin], train_frac=0.8, seed=1, holdout_flows=("z",))
    assert {"twin", "c0"} <= set(keys(parts.validation))


def test_holding_out_nothing_or_everything_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing is left to train on: all 4 groups"):
        split(suite(4), train_frac=0.8, seed=1, holdout_flows=("a", "b"))
    with pytest.raises(DataError, match="flow c cannot be held out: no conversation starts it"):
        split(suite(4), train_frac=0.8, seed=1, holdout_flows=("a", "c"))


# --- near-duplicates -------------------------------------------------------------------------------------------------


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=8), max_size=14))
def test_groups_are_those_of_all_pairs(sets: list[frozenset[str]]) -> None:
    near = {(i, j) for i, j in combinations(range(len(sets)), 2) if jaccard(sets[i], sets[j]) >= 0.7}
    expected = [{index} for index in range(len(sets))]
    for i, j in near:
        one, other = (next(group for group in expected if index in group) for index in (i, j))
        if one is not other:
            expected.remove(other)
            one |= other
    groups = near_duplicate_groups(sets)
    assert sorted(map(sorted, expected)) == sorted(groups)
    assert groups == sorted(groups), "in order of their first members"


def test_what_everybody_says_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[None] = []
    real = near_duplicate_groups.__globals__["_are_near"]
    monkeypatch.setitem(
        near_duplicate_groups.__globals__, "_are_near", lambda *pair: compared.append(None) or real(*pair)
    )
    sets = [frozenset({"yes", "no", f"own {i}", f"pair {i // 2}"}) for i in range(2000)]
    assert len(near_duplicate_groups(sets)) == 2000
    assert len(compared) <= 1000, "not all two million pairs"


# --- properties ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4), min_size=3, max_size=12),
    st.integers(0, 5),
    st.sampled_from([0.3, 0.5, 0.8]),
)
def test_no_conversation_is_lost_and_no_group_is_cut(texts: list[list[str]], seed: int, fraction: float) -> None:
    made = [conversation(f"c{i}", *((text, (SetSlot(text, 1),), "f") for text in said)) for i, said in enumerate(texts)]
    try:
        parts = split(made, train_frac=fraction, seed=seed)
    except DataError:
        return
    assert sorted([*keys(parts.train), *keys(parts.validation)]) == sorted(keys(made))
    assert parts.validation
    train_groups = {parts.groups[done.key] for done in parts.train}
    assert not train_groups & {parts.groups[done.key] for done in parts.validation}
