"""The history of a dialogue understanding test: the conversation played with the expected commands, no model asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rasa_ft.calm.events import BotUttered
from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import describe_bot
from rasa_ft.e2e.du_cases import GENERATED, DuUserStep
from rasa_ft.e2e.matching import Exchange, exchanges
from rasa_ft.e2e.runner import Failure
from rasa_ft.e2e.transcript import describe_step
from rasa_ft.engine.base import Conversation, Turn


class OutOfScope(Exception):
    """The case needs a part that is not run; ``str`` says which and where."""


class ModelCallFailed(Exception):
    """`Turn.error` on its way out of a case."""


@dataclass(frozen=True)
class Moment:
    """The conversation just before a message; ``turn`` is what the expected commands make of it."""

    conversation: Conversation
    step: DuUserStep
    turn: Turn


async def replay(conversation: Conversation, case: m.TestCase) -> tuple[list[Moment], Failure | None]:
    """Play the case up to the first turn in which the bot does not say what the test lists.

    Bot messages before the first message of the user are looked at only if the test lists some.

    Returns:
        The moments before all messages up to there, and why it ended early.

    Raises:
        OutOfScope: a part of the assistant is needed that is not run.
        ModelCallFailed: a model that the flows need gave no answer.
    """
    moments: list[Moment] = []
    done: list[Exchange] = []
    for exchange in exchanges(case.steps):
        if isinstance(exchange.user, DuUserStep):
            moment = await _moment(conversation, exchange.user)
            said = moment.turn.bot_messages
        else:
            events = conversation.events if exchange.expectations else ()
            said = tuple(event for event in events if isinstance(event, BotUttered))
        if not says(exchange.expectations, said):
            return moments, _mismatch(case, done, exchange, said)
        if isinstance(exchange.user, DuUserStep):
            moments.append(moment)
        done.append(exchange)
    return moments, None


async def _moment(conversation: Conversation, step: DuUserStep) -> Moment:
    before = conversation.fork()
    turn = await conversation.say(step.text, metadata=step.metadata, commands=step.commands)
    if turn.error is not None:
        raise ModelCallFailed(turn.error)
    if turn.out_of_scope is not None:
        raise OutOfScope(f"{step.location}: the conversation needs {turn.out_of_scope}.")
    return Moment(before, step, turn)


# --- bot messages ----------------------------------------------------------------------------------------------------


def says(expected: Sequence[m.Step], said: Sequence[BotUttered]) -> bool:
    """Whether the bot's messages of a turn are those that the test lists, one by one."""
    return len(expected) == len(said) and all(map(_is, expected, said))


def _is(step: m.Step, message: BotUttered) -> bool:
    """A message that was made from no response satisfies any ``utter``."""
    if isinstance(step, m.BotStep):
        return (message.text or "").strip() == step.text
    if not isinstance(step, m.UtterStep):
        return False
    if message.utter_action is None or message.utter_action == step.utter:
        return True
    return step.utter == GENERATED and message.source != "template"


def _mismatch(case: m.TestCase, done: Sequence[Exchange], exchange: Exchange, said: Sequence[BotUttered]) -> Failure:
    expected = exchange.expectations
    first = next((i for i, pair in enumerate(zip(expected, said, strict=False)) if not _is(*pair)), None)
    index = min(len(expected), len(said)) if first is None else first
    if index < len(expected):
        message, location = f"expected {describe_step(expected[index])}", expected[index].location
    else:
        message = f"the test does not list bot: {describe_bot(said[index])}"
        location = exchange.user.location if exchange.user else case.location
    before = [step for passed in done for step in _steps(passed)]
    same = [*before, *([exchange.user] if exchange.user else []), *expected[:index]]
    lines = [
        *(line for step in same for line in _marked(" ", describe_step(step))),
        *(line for message in said[index:] for line in _marked("-", f"bot: {describe_bot(message)}")),
        *(line for step in expected[index:] for line in _marked("+", describe_step(step))),
    ]
    reason = f"with the expected commands the bot does not say what is listed: {message}"
    return Failure(reason, location, tuple(lines))


def _marked(mark: str, text: str) -> Iterator[str]:
    return (f"{mark} {line}" for line in text.split("\n"))


def _steps(exchange: Exchange) -> tuple[m.Step, ...]:
    return (*((exchange.user,) if exchange.user else ()), *exchange.expectations)
