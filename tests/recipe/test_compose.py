from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import REPHRASINGS, FakeConversation, FakeEngine, annotated, teach

from rasa_ft.calm.commands import ChitChat, Clarify, SetSlot, StartFlow
from rasa_ft.calm.events import FlowCompleted, FlowStarted
from rasa_ft.e2e.cases import Suite
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation, RephrasedTurn, Wording
from rasa_ft.recipe.parallel import in_parallel, seeded
from rasa_ft.recipe.rows.compose import Composed, compose
from rasa_ft.recipe.rows.exchange import exchange, exchanged_trace, value_pool
from rasa_ft.recipe.rows.histories import histories_of
from rasa_ft.recipe.rows.points import Augmentation, Plan, not_offered
from rasa_ft.recipe.rows.transplants import donors_of, open_flows

TEMPLATE = Path("student.jinja2")


@pytest.fixture
def conversations(engine: FakeEngine, suite: Suite) -> list[RephrasedConversation]:
    """All rephrasings of the fake rephraser that start no other slot than the original, unchecked."""
    annotation = annotated(engine, suite)

    def rephrased(turn: object) -> RephrasedTurn:
        texts = REPHRASINGS.get(turn.text, []) if turn.rephrase else []  # type: ignore[attr-defined]
        wordings = [Wording(text, teach(text, turn.turn.requested_slot)) for text in texts]  # type: ignore[attr-defined]
        kinds = [type(command) for command in turn.turn.parsed]  # type: ignore[attr-defined]
        same = [wording for wording in wordings if [type(command) for command in wording.commands] == kinds]
        return RephrasedTurn(turn, tuple(same))  # type: ignore[arg-type]

    return [
        RephrasedConversation(done, tuple(rephrased(turn) for turn in done.turns)) for done in annotation.conversations
    ]


def plan(**changes: object) -> Plan:
    return replace(Plan(TEMPLATE, seed=1, histories=None, wordings_per_turn=2), **changes)  # type: ignore[arg-type]


def composed(engine: FakeEngine, conversation: RephrasedConversation, made: Plan) -> Composed:
    return asyncio.run(compose(engine, conversation, made))


def test_histories_cycle_and_fall_back_to_the_original(conversations: list[RephrasedConversation]) -> None:
    happy = conversations[0]
    assert [len(turn.passing) for turn in happy.turns] == [3, 3, 0]
    histories = histories_of(happy, limit=2, wordings_per_turn=2)
    assert [[wording.text for wording in history.spoken] for history in histories] == [
        ["I need a ticket", "to Rome", "/SetSlots(seats=2)"],
        ["one ticket please", "I am going to Rome", "/SetSlots(seats=2)"],
        ["ticket, please!", "it should go to Rome", "/SetSlots(seats=2)"],
    ]
    first, second, third = histories
    assert [[wording.text for wording in turn] for turn in first.current] == [
        ["I need a ticket", "one ticket please"],
        ["to Rome", "I am going to Rome"],
        [],
    ]
    assert [wording.text for wording in second.current[0]] == ["one ticket please", "ticket, please!"]
    assert [wording.text for wording in third.current[0]] == ["I need a ticket.", "one ticket please"]
    assert len(histories_of(happy, limit=None, wordings_per_turn=1)) == 4
    assert len(histories_of(happy, limit=0, wordings_per_turn=1)) == 1


def test_rows_have_the_students_prompt_in_the_rephrased_history(
    engine: FakeEngine, conversations: list[RephrasedConversation]
) -> None:
    happy = replace(
        conversations[0],
        turns=(
            conversations[0].turns[0],
            replace(conversations[0].turns[1], passing=conversations[0].turns[1].passing[:2]),
            conversations[0].turns[2],
        ),
    )
    result = composed(engine, happy, plan(histories=1))
    assert not result.dropped
    row = next(point for point in result.points if point.history == 1 and point.turn == 1)
    assert row.prompt.splitlines() == [
        "[student.jinja2] flows: book",
        "home=London",
        "USER: one ticket please",
        "AI: Where to?",
        "USER: I am going to Rome",
    ]
    assert (row.completion, row.kind, row.original) == ("set slot city Rome", "rephrased", "to Rome")
    assert {point.kind for point in result.points} == {"original", "rephrased"}
    assert all("/SetSlots" not in point.message for point in result.points)


def test_rows_of_one_prefix_stand_together(engine: FakeEngine, conversations: list[RephrasedConversation]) -> None:
    augmentation = Augmentation(transplants=2, donors=donors_of(conversations))
    points = [
        point
        for conversation in conversations
        for point in composed(engine, conversation, plan(augmentation=augmentation)).points
    ]
    order = [point.prefix for point in points]
    assert len(set(order)) == sum(1 for i, prefix in enumerate(order) if i == 0 or order[i - 1] != prefix)

    def before_message(point: DataPoint) -> str:
        return point.prompt.removesuffix(point.message)

    by_prefix = {point.prefix: before_message(point) for point in points}
    assert all(before_message(point) == by_prefix[point.prefix] for point in points)
    assert any(point.kind == "transplant" for point in points)


def test_divergence_is_dropped_with_its_reason(engine: FakeEngine, conversations: list[RephrasedConversation]) -> None:
    result = composed(engine, conversations[0], plan())
    (dropped,) = result.dropped
    assert dropped.history == 3
    assert dropped.reason == "turn 2 ('to Genoa'): city = genoa instead of city = rome"
    assert all(point.history != 3 for point in result.points)


def test_replay_starts_from_the_tests_own_setup_and_asks_nobody(
    engine: FakeEngine, conversations: list[RephrasedConversation]
) -> None:
    engine.asked.clear()
    engine.started.clear()
    composed(engine, conversations[0], plan(histories=1))
    assert engine.asked == []
    assert [setup.fixtures for setup in engine.started if setup] == [(("home", "London"),)] * 2


# --- value exchange --------------------------------------------------------------------------------------------------


def test_pool_has_literal_values_of_free_text_slots(conversations: list[RephrasedConversation]) -> None:
    assert value_pool(conversations, {"city"}) == {"city": ["Genoa", "Oslo", "Paris", "Rome"]}


def test_values_are_exchanged_everywhere(engine: FakeEngine, conversations: list[RephrasedConversation]) -> None:
    augmentation = Augmentation(exchange_fraction=1.0, pool={"city": ["Lima", "Rome"]})
    result = composed(engine, conversations[0], plan(histories=1, augmentation=augmentation))
    new = [point for point in result.points if point.history == 1]
    assert {point.kind for point in new} == {"exchanged"}
    told = [point for point in new if point.turn == 1]
    assert {(point.message, point.completion) for point in told} == {
        ("I am going to Lima", "set slot city Lima"),
        ("it should go to Lima", "set slot city Lima"),
    }
    assert all("Rome" not in point.prompt for point in new)
    assert all("Lima" not in point.prompt for point in result.points if point.history == 0), "originals stay"


def test_a_value_that_the_assistant_treats_otherwise_is_not_used(
    engine: FakeEngine, conversations: list[RephrasedConversation]
) -> None:
    engine.cities = frozenset({"Rome", "Paris", "Oslo", "Genoa"})
    augmentation = Augmentation(exchange_fraction=1.0, pool={"city": ["Atlantis", "Rome"]})
    result = composed(engine, conversations[0], plan(histories=1, augmentation=augmentation))
    assert not result.dropped
    assert {point.kind for point in result.points} == {"original", "rephrased"}


def test_values_from_elsewhere_stay(conversations: list[RephrasedConversation]) -> None:
    happy = conversations[0]
    history = histories_of(happy, limit=1, wordings_per_turn=1)[1]
    pool = {"city": ["Lima"]}
    rng = seeded("x")
    assert exchange(history, happy.conversation, pool, rng) is not None
    offered_by_bot = replace(happy.conversation.turns[1], before="USER: hi\nAI: Rome or Paris?")
    turns = (happy.conversation.turns[0], offered_by_bot, happy.conversation.turns[2])
    assert exchange(history, replace(happy.conversation, turns=turns), pool, rng) is None
    setup = replace(happy.conversation.setup, fixtures=(("home", "Rome"),))
    assert exchange(history, replace(happy.conversation, setup=setup), pool, rng) is None
    paraphrased = (history.spoken[0], Wording("the eternal city", (SetSlot("city", "Rome"),)), history.spoken[2])
    assert exchange(replace(history, spoken=paraphrased), happy.conversation, pool, rng) is None
    assert exchange(history, happy.conversation, {"city": ["rome"]}, rng) is None, "no other value"
    assert exchange(history, happy.conversation, {}, rng) is None


def test_wordings_without_the_literal_value_are_left_out(conversations: list[RephrasedConversation]) -> None:
    happy = conversations[0]
    history = histories_of(happy, limit=1, wordings_per_turn=1)[1]
    vague = Wording("the eternal city", (SetSlot("city", "Rome"),))
    history = replace(history, current=(history.current[0], (*history.current[1], vague), ()))
    changed = exchange(history, happy.conversation, {"city": ["Lima"]}, seeded("x"))
    assert changed is not None
    assert [wording.text for wording in changed.current[1]] == ["I am going to Lima"]
    assert changed.exchanged == (("Rome", "Lima"),)


def test_expected_trace_is_exchanged_too() -> None:
    trace = (("slot", "city", "rome"), ("slot", "seats", "2"), ("bot", "rome", ""))
    assert exchanged_trace(trace, [("Rome", "Lima")]) == (("slot", "city", "lima"), *trace[1:])


# --- transplants -----------------------------------------------------------------------------------------------------


def test_donors_mean_the_same_anywhere(conversations: list[RephrasedConversation]) -> None:
    texts = [donor.wordings[0].text for donor in donors_of(conversations)]
    assert texts == [
        "I need a ticket",
        "book 3 seats to Paris",
        "what a lovely weather",
        "I want to travel",
        "how much luggage may I take",
        "can you book me something",
    ]


def test_transplants_come_from_other_conversations_and_start_no_open_flow(
    engine: FakeEngine, conversations: list[RephrasedConversation]
) -> None:
    augmentation = Augmentation(transplants=3, donors=donors_of(conversations))
    points = composed(engine, conversations[0], plan(histories=1, augmentation=augmentation)).points
    guests = [point for point in points if point.kind == "transplant"]
    assert guests
    for guest in guests:
        assert guest.conversation == conversations[0].key != guest.source
        assert guest.prompt.endswith(f"USER: {guest.message}")
        assert guest.turn == 0 or "start flow book" not in guest.completion


def test_a_flow_that_is_not_offered_is_no_label() -> None:
    starts = Wording("book", (SetSlot("city", "x"), StartFlow("book")))
    assert not_offered(starts, "flows: book") is None
    assert not_offered(starts, "flows: book_ticket, re-book") == "book"
    assert not_offered(Wording("which?", (Clarify(("pay", "book")),)), "flows: book") == "pay"
    assert not_offered(Wording("hi", (ChitChat(),)), "") is None


def test_rows_whose_flow_is_not_in_the_prompt_are_dropped(
    engine: FakeEngine, conversations: list[RephrasedConversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_flows(self: FakeConversation, text: str, template: Path | None = None) -> str:
        return f"USER: {text}"

    monkeypatch.setattr(FakeConversation, "prompt", without_flows)
    found = composed(engine, conversations[0], plan())
    assert all("start flow" not in point.completion for point in found.points)
    assert found.points
    reasons = {drop.reason.partition(": ")[2] for drop in found.dropped if drop.is_row}
    assert reasons == {"flow book is not among those in the prompt"}


def test_new_rows_are_confirmed_in_their_own_history(
    engine: FakeEngine, conversations: list[RephrasedConversation]
) -> None:
    engine.asked.clear()
    found = composed(engine, conversations[0], plan(recheck=1.0))
    new = [point for point in found.points if point.history]
    assert sorted(engine.asked) == sorted(point.message for point in new)
    wrong = conversations[0].turns[1]
    wrong = replace(wrong, passing=(Wording("to Genoa", (SetSlot("city", "Rome"),)),))
    refuted = replace(conversations[0], turns=(conversations[0].turns[0], wrong, conversations[0].turns[2]))
    (drop, *_) = composed(engine, refuted, plan(recheck=1.0)).dropped
    assert "missing: set slot city Rome; not in the original: set slot city Genoa" in drop.reason
    engine.broken = frozenset({"to Genoa"})
    assert any(drop.is_error for drop in composed(engine, refuted, plan(recheck=1.0)).dropped)


def test_open_flows() -> None:
    events = [FlowStarted(flow_id="a"), FlowStarted(flow_id="b"), FlowCompleted(flow_id="b")]
    assert open_flows(events) == {"a"}


# --- parallel --------------------------------------------------------------------------------------------------------


def test_results_in_order_and_bounded() -> None:
    running = 0
    most = 0
    seen: list[tuple[str, int, int]] = []

    async def job(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002 * (5 - number))
        running -= 1
        return number

    def progress(*state: object) -> None:
        seen.append(state)  # type: ignore[arg-type]

    results = asyncio.run(in_parallel("s", range(5), job, concurrency=2, progress=progress))
    assert results == [0, 1, 2, 3, 4]
    assert most == 2
    assert seen == [("s", done, 5) for done in range(6)]


def test_the_first_failure_ends_the_rest() -> None:
    started: list[int] = []

    async def job(number: int) -> None:
        started.append(number)
        await asyncio.sleep(0)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        asyncio.run(in_parallel("s", range(50), job, concurrency=1))
    assert len(started) < 5
