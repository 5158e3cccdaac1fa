from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, Command, SetSlot, StartFlow
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
from rasa_ft.recipe.split import skills_of, split, without_leaks

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
    assert parts.not_in_validation == ()
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
        assert ("start flow", "rare", "") in parts.not_in_validation


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
    assert (len(parts.train), parts.validation, parts.not_in_validation) == (3, (), ())
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
