"""The grammar of answers: whatever the teacher says is in it, and nonsense is not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.grammar import command_grammar
from rasa_ft.e2e.cases import load_suite
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine

BOT = Path(__file__).parents[2] / "examples" / "bot"


@pytest.fixture(scope="module")
def engine() -> EmbeddedEngine:
    return load_engine(BOT)


@pytest.fixture(scope="module")
def accepts() -> Callable[[str, str], bool]:
    xgrammar = pytest.importorskip("xgrammar.testing", reason="xgrammar comes with vLLM, which is not installed")
    return xgrammar._is_grammar_accept_string


def grammar_after(engine: EmbeddedEngine, *messages: str, syntax: str = "v2") -> str:
    async def play() -> str:
        conversation = await engine.start()
        for message in messages:
            await conversation.say(message)
        return command_grammar(conversation.tracker, engine.runtime, syntax)

    return asyncio.run(play())


def test_idle_only_flows_that_may_start_and_their_slots(
    engine: EmbeddedEngine, accepts: Callable[[str, str], bool]
) -> None:
    grammar = grammar_after(engine)
    for answer in (
        "start flow book_ticket\nset slot origin New York\nset slot destination Leeds",
        "start flow reserve_bike\nset slot bikes 2\nset slot booking_code NR1",
        "disambiguate flows cancel_booking change_booking",
        "offtopic reply",
        "start flow train_status\nstart flow buy_railcard\nset slot railcard student",
        "start flow train_status\nstart flow buy_railcard\nset slot train_number 615",
    ):
        assert accepts(grammar, answer), answer
    for answer in (
        "start flow lost_item",  # no such flow
        "start flow group_travel",  # guarded
        "start flow find_booking",  # only called by other flows
        "set slot origin York",  # nothing collects it now
        "start flow change_booking\nset slot travel_date 9 may",  # another flow's slot
        "start flow buy_railcard\nset slot railcard gold",  # no such value
        "start flow reserve_bike\nset slot bikes two",  # not a number
        "cancel flow.",
        "Sure! start flow book_ticket",
        "",
    ):
        assert not accepts(grammar, answer), answer


def test_a_flow_under_way_opens_its_slots(engine: EmbeddedEngine, accepts: Callable[[str, str], bool]) -> None:
    grammar = grammar_after(engine, "I want to book a train to Stirling")
    assert accepts(grammar, "set slot origin York")
    assert accepts(grammar, "set slot destination Leeds\nofftopic reply")
    assert not accepts(grammar, "set slot bikes 2")


@pytest.mark.parametrize(
    ("syntax", "answer"), [("v1", "StartFlow(book_ticket)\nSetSlot(origin, York)"), ("v3", "search and reply")]
)
def test_other_syntaxes(engine: EmbeddedEngine, accepts: Callable[[str, str], bool], syntax: str, answer: str) -> None:
    assert accepts(grammar_after(engine, syntax=syntax), answer)


def test_everything_that_the_teacher_says_is_in_the_grammar(
    engine: EmbeddedEngine, accepts: Callable[[str, str], bool]
) -> None:
    suite = load_suite(BOT / "e2e_tests" / "happy_paths")

    async def outside() -> list[str]:
        missing = []
        for case in suite.cases:
            conversation = await engine.start(suite.setup(case))
            for step in case.user_steps:
                grammar = command_grammar(conversation.tracker, engine.runtime, "v2")
                turn = await conversation.say(step.text, metadata=step.metadata)
                answer = engine.codec.dump(turn.parsed)
                # A refused value need not fit its slot's type: the flow says so to the user.
                if turn.prompt and not accepts(grammar, answer):
                    missing.append(f"{step.text}: {answer}")
        return missing

    assert asyncio.run(outside()) == []


def test_numbers_and_categories_are_spelt_out(engine: EmbeddedEngine) -> None:
    grammar = grammar_after(engine)
    assert '"set slot bikes " number' in grammar
    assert engine.codec.dump([SetSlot("payout", "card")]) in grammar
