"""Running dialogue understanding tests: each message is judged in the history that the test says, whatever went wrong
before.

A conversation is first replayed with the expected commands and no model call. Then every message is said for real in
a fork of the conversation as it was just before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.events import BotUttered, Event
from rasa_ft.e2e import model as m
from rasa_ft.e2e.assertions import describe_bot
from rasa_ft.e2e.du_cases import GENERATED, DuUserStep
from rasa_ft.e2e.matching import Exchange, exchanges
from rasa_ft.e2e.runner import Failure
from rasa_ft.e2e.scope import reason_to_skip
from rasa_ft.e2e.transcript import describe_step
from rasa_ft.engine.base import Conversation, Engine, Setup, Turn
from rasa_ft.errors import Location, RasaFtError
from rasa_ft.evaluation.commands import same_commands

Status = Literal["passed", "failed", "error", "skipped"]
# Reads messages that no model is asked about, such as pressed buttons.
PAYLOADS = "CommandPayloadReader"


@dataclass(frozen=True)
class JudgedStep:
    """One message and what it was understood as.

    ``turn`` is that of the real message; ``seconds`` its whole round trip. ``index`` is the step's place in the case.
    """

    step: DuUserStep
    index: int
    predicted: tuple[Command, ...]
    turn: Turn
    seconds: float

    @property
    def passed(self) -> bool:
        return same_commands(self.step.commands, self.predicted)


@dataclass(frozen=True)
class DuResult:
    """How one case ended.

    ``failed``: a message was understood otherwise, or the expected commands do not lead to the bot messages that the
    test lists: then ``broken`` says where, and messages from there on were not judged. ``error``: a model call failed
    or the engine broke (``broken`` tells). ``skipped``: why the case was not judged at all.
    """

    case: m.TestCase
    status: Status
    steps: tuple[JudgedStep, ...] = ()
    broken: Failure | None = None
    skipped: str | None = None

    @property
    def not_judged(self) -> int:
        """User messages of the case that nothing can be said about."""
        return len(self.case.user_steps) - len(self.steps)


@dataclass(frozen=True)
class DuSuiteResult:
    """``results`` in the order of the suite; ``seconds`` of wall time."""

    results: tuple[DuResult, ...]
    seconds: float = 0.0

    def with_status(self, status: Status) -> tuple[DuResult, ...]:
        return tuple(result for result in self.results if result.status == status)

    @property
    def steps(self) -> tuple[JudgedStep, ...]:
        return tuple(step for result in self.results for step in result.steps)

    @property
    def all_passed(self) -> bool:
        """Whether nothing went wrong: skipped cases count neither way, and there is at least one case."""
        return bool(self.results) and all(result.status in ("passed", "skipped") for result in self.results)


async def run_du_suite(
    engine: Engine,
    suite: m.Suite,
    *,
    concurrency: int = 8,
    on_progress: Callable[[DuResult], None] | None = None,
) -> DuSuiteResult:
    """Judge all cases, at most ``concurrency`` at a time; ``on_progress`` gets each result as it comes."""
    started = time.perf_counter()
    free = asyncio.Semaphore(max(1, concurrency))

    async def judge(case: m.TestCase) -> DuResult:
        async with free:
            result = await run_du_case(engine, case, suite.setup(case))
        if on_progress is not None:
            on_progress(result)
        return result

    results = await asyncio.gather(*(judge(case) for case in suite.cases))
    return DuSuiteResult(tuple(results), time.perf_counter() - started)


async def run_du_case(engine: Engine, case: m.TestCase, setup: Setup) -> DuResult:
    """Replay one case, then say each of its messages for real. Whatever the engine raises makes this case an error."""
    reason = reason_to_skip(case, engine.nlu_side)
    if reason is not None:
        return DuResult(case, "skipped", skipped=reason)
    judged: list[JudgedStep] = []
    try:
        moments, broken = await _replay(await engine.start(setup), case)
        for moment in moments:
            judged.append(await _judge(engine.codec, case, moment))
    except _OutOfScope as reached:
        return DuResult(case, "skipped", skipped=str(reached))
    except Exception as error:  # one broken case must not take the others with it
        return DuResult(case, "error", tuple(judged), _error(case, len(judged), error))
    passed = broken is None and all(step.passed for step in judged)
    return DuResult(case, "passed" if passed else "failed", tuple(judged), broken)


class _OutOfScope(Exception):
    """The case needs a part that is not run; ``str`` says which and where."""


class _ModelCallFailed(Exception):
    """`Turn.error` on its way out of a case."""


@dataclass(frozen=True)
class _Moment:
    """The conversation just before a message."""

    conversation: Conversation
    step: DuUserStep


async def _replay(conversation: Conversation, case: m.TestCase) -> tuple[list[_Moment], Failure | None]:
    """The moments before all messages whose bot messages are as the test says, and what ended the replay early."""
    moments: list[_Moment] = []
    done: list[Exchange] = []
    for exchange in exchanges(case.steps):
        if not isinstance(exchange.user, DuUserStep):
            events: Sequence[Event] = conversation.events if exchange.expectations else ()
        else:
            moment = _Moment(conversation.fork(), exchange.user)
            turn = await conversation.say(
                exchange.user.text, metadata=exchange.user.metadata, commands=exchange.user.commands
            )
            _check(turn, exchange.user.location)
            events = turn.events
        said = tuple(event for event in events if isinstance(event, BotUttered))
        if not says(exchange.expectations, said):
            return moments, _mismatch(case, done, exchange, said)
        if isinstance(exchange.user, DuUserStep):
            moments.append(moment)
        done.append(exchange)
    return moments, None


def _check(turn: Turn, location: Location) -> None:
    if turn.error is not None:
        raise _ModelCallFailed(turn.error)
    if turn.out_of_scope is not None:
        raise _OutOfScope(f"{location}: the conversation needs {turn.out_of_scope}.")


async def _judge(codec: Codec, case: m.TestCase, moment: _Moment) -> JudgedStep:
    started = time.perf_counter()
    turn = await moment.conversation.say(moment.step.text, metadata=moment.step.metadata)
    seconds = time.perf_counter() - started
    if turn.error is not None:
        raise _ModelCallFailed(turn.error)
    index = next(index for index, step in enumerate(case.steps) if step is moment.step)
    return JudgedStep(moment.step, index, understood(turn, codec), turn, seconds)


def understood(turn: Turn, codec: Codec) -> tuple[Command, ...]:
    """The commands of a message as a model could have written them, each once.

    They are those of the model's answer; where no model was asked, those that the message itself means.
    """
    commands = turn.parsed if turn.prompt is not None else turn.commands
    return tuple(dict.fromkeys(codec.parse(codec.dump(commands))))


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
    agreed = [f"  {describe_step(step)}" for passed in done for step in _steps(passed)]
    head = [f"  {describe_step(exchange.user)}"] if exchange.user else []
    same = [f"  {describe_step(step)}" for step in expected[:index]]
    happened = [f"- bot: {describe_bot(message)}" for message in said[index:]]
    wanted = [f"+ {describe_step(step)}" for step in expected[index:]]
    reason = f"with the expected commands the bot does not say what is listed: {message}"
    return Failure(reason, location, (*agreed, *head, *same, *happened, *wanted))


def _steps(exchange: Exchange) -> tuple[m.Step, ...]:
    return (*((exchange.user,) if exchange.user else ()), *exchange.expectations)


def _error(case: m.TestCase, finished: int, error: Exception) -> Failure:
    told = isinstance(error, RasaFtError | _ModelCallFailed)
    message = str(error) if told else f"{type(error).__name__}: {error}"
    steps = case.user_steps[finished:]
    return Failure(message, steps[0].location if steps else case.location)
