"""Running dialogue understanding tests: each message is judged in the history that the test says, whatever went wrong
before.

A conversation is first replayed with the expected commands and no model call. Then the model reads every message in the
conversation as it was just before; what would follow from its answer is not played, so that no action runs twice, or
because of a mistake.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e import model as m
from rasa_ft.e2e.du_cases import DuUserStep
from rasa_ft.e2e.du_replay import ModelCallFailed, Moment, OutOfScope, replay
from rasa_ft.e2e.in_order import is_cancelled, run_in_order
from rasa_ft.e2e.runner import Failure
from rasa_ft.e2e.scope import reason_to_skip
from rasa_ft.engine.base import Engine, Setup, Turn
from rasa_ft.errors import BudgetExceeded, RasaFtError
from rasa_ft.evaluation.commands import same_commands

Status = Literal["passed", "failed", "error", "skipped"]
# Reads messages that no model is asked about, such as pressed buttons.
PAYLOADS = "CommandPayloadReader"


@dataclass(frozen=True)
class JudgedStep:
    """One message and what it was understood as.

    ``turn`` holds the model's answer, and ``seconds`` is the whole time that it took; None where no model was asked.
    ``index`` is the step's place in the case.
    """

    step: DuUserStep
    index: int
    predicted: tuple[Command, ...]
    turn: Turn
    seconds: float | None

    @property
    def passed(self) -> bool:
        return same_commands(self.step.commands, self.predicted)


@dataclass(frozen=True)
class DuResult:
    """How one case ended.

    ``failed``: a message was understood otherwise, or the expected commands do not lead to the bot messages that the
    test lists: then ``broken`` says where, and messages from there on were not judged. ``error``: a model call failed
    or the engine broke (``broken`` tells). ``skipped``: why the case was not judged at all. ``seconds`` of wall time is
    no part of what makes two results equal.
    """

    case: m.TestCase
    status: Status
    steps: tuple[JudgedStep, ...] = ()
    broken: Failure | None = None
    skipped: str | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def not_judged(self) -> int:
        """User messages of the case that nothing can be said about."""
        return len(self.case.user_steps) - len(self.steps)


@dataclass(frozen=True)
class DuSuiteResult:
    """``results`` in the order of the suite; ``seconds`` of wall time. ``left_out``: not run after a fail-fast stop."""

    results: tuple[DuResult, ...]
    seconds: float = 0.0
    left_out: tuple[m.TestCase, ...] = ()

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
    codec: Codec | None = None,
    concurrency: int = 8,
    fail_fast: bool = False,
    on_progress: Callable[[DuResult], None] | None = None,
) -> DuSuiteResult:
    """Judge all cases, at most ``concurrency`` at a time.

    Args:
        codec: what the suite was read with; only its commands count as predicted. Default: the engine's own.
        fail_fast: the result ends with the first case, in the suite's order, that did not pass; the same at any
            concurrency. A skipped case does not end it.
        on_progress: called with each result as it comes, in no particular order.
    """
    started = time.perf_counter()

    async def run(case: m.TestCase) -> DuResult:
        return await run_du_case(engine, case, suite.setup(case), codec or engine.codec)

    def is_last(result: DuResult) -> bool:
        return fail_fast and result.status in ("failed", "error")

    kept = await run_in_order(suite.cases, run, concurrency=concurrency, is_last=is_last, on_progress=on_progress)
    return DuSuiteResult(kept, time.perf_counter() - started, suite.cases[len(kept) :])


async def run_du_case(engine: Engine, case: m.TestCase, setup: Setup, codec: Codec) -> DuResult:
    """Replay one case, then have each of its messages read.

    Whatever the engine raises makes this case an error, an action that ends the program too.

    Raises:
        BudgetExceeded: the model may not be asked any more.
    """
    started = time.perf_counter()
    result = await _case_result(engine, case, setup, codec)
    return replace(result, seconds=time.perf_counter() - started)


async def _case_result(engine: Engine, case: m.TestCase, setup: Setup, codec: Codec) -> DuResult:
    reason = reason_to_skip(case, engine.nlu_side)
    if reason is not None:
        return DuResult(case, "skipped", skipped=reason)
    judged: list[JudgedStep] = []
    try:
        moments, broken = await replay(await engine.start(setup), case)
        for moment in moments:
            judged.append(await _judge(codec, case, moment))
    except OutOfScope as reached:
        return DuResult(case, "skipped", skipped=str(reached))
    except BudgetExceeded:
        raise
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # a broken case must not take others with it
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            raise
        return DuResult(case, "error", tuple(judged), _error(case, len(judged), error))
    passed = broken is None and all(step.passed for step in judged)
    return DuResult(case, "passed" if passed else "failed", tuple(judged), broken)


async def _judge(codec: Codec, case: m.TestCase, moment: Moment) -> JudgedStep:
    step, turn, seconds = moment.step, moment.turn, None
    if turn.prompt is not None:
        started = time.perf_counter()
        turn = await moment.conversation.understand(step.text, metadata=step.metadata)
        seconds = time.perf_counter() - started
    if turn.error is not None:
        raise ModelCallFailed(turn.error)
    index = next(index for index, other in enumerate(case.steps) if other is step)
    return JudgedStep(step, index, understood(turn, codec), turn, seconds)


def understood(turn: Turn, codec: Codec) -> tuple[Command, ...]:
    """The commands of a message as a model could have written them, each once.

    They are those of the model's answer; where no model was asked, those that the message itself means.
    """
    commands = turn.parsed if turn.prompt is not None else turn.commands
    return tuple(dict.fromkeys(codec.parse(codec.dump(commands))))


def _error(case: m.TestCase, finished: int, error: BaseException) -> Failure:
    told = isinstance(error, RasaFtError | ModelCallFailed)
    message = str(error) if told else f"{type(error).__name__}: {error}"
    steps = case.user_steps[finished:]
    return Failure(message, steps[0].location if steps else case.location)
