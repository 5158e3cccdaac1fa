"""Running end-to-end tests on a dialogue engine, many conversations at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rasa_ft.calm.events import Event
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.e2e import transcript
from rasa_ft.e2e.assertions import Assertion, check_assertions
from rasa_ft.e2e.matching import Exchange, exchanges, is_met
from rasa_ft.e2e.model import Suite, TestCase
from rasa_ft.e2e.scope import reason_to_excuse, reason_to_skip
from rasa_ft.engine.base import Conversation, Engine, Setup, Turn
from rasa_ft.errors import Location, RasaFtError

Status = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True)
class Failure:
    """Why a case did not pass.

    ``diff`` lines begin with ``+`` (expected), ``-`` (happened instead) or a blank (agreed). ``assertion`` is the one
    that failed, in the assertion style.
    """

    message: str
    location: Location
    diff: tuple[str, ...] = ()
    assertion: Assertion | None = None


@dataclass(frozen=True)
class CaseResult:
    """``error``: the case could not be judged (a model call failed, the engine broke); it says nothing about the bot.

    ``turns`` are those played, ``start_events`` what happened before the first message. ``skipped`` is why the case was
    not judged at all: it needs a part of the assistant that is not run. ``seconds`` of wall time is no part of what
    makes two results equal.
    """

    case: TestCase
    status: Status
    failure: Failure | None = None
    turns: tuple[Turn, ...] = ()
    start_events: tuple[Event, ...] = ()
    skipped: str | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that happened, from the session start on."""
        return (*self.start_events, *(event for turn in self.turns for event in turn.events))


@dataclass(frozen=True)
class SuiteResult:
    """``results`` in the order of the suite; ``seconds`` of wall time. ``left_out``: not run after a fail-fast stop."""

    results: tuple[CaseResult, ...]
    seconds: float = 0.0
    left_out: tuple[TestCase, ...] = ()

    @property
    def not_run(self) -> int:
        return len(self.left_out)

    def with_status(self, status: Status) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if result.status == status)

    @property
    def all_passed(self) -> bool:
        """Whether nothing went wrong: skipped cases count neither way, and there is at least one case."""
        return bool(self.results) and all(result.status in ("passed", "skipped") for result in self.results)


OnProgress = Callable[[CaseResult], None]


async def run_suite(
    engine: Engine,
    suite: Suite,
    *,
    concurrency: int = 8,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
) -> SuiteResult:
    """Play all cases, at most ``concurrency`` at a time.

    Args:
        on_progress: called with each result as it comes, in no particular order.
        fail_fast: the result ends with the first case, in the suite's order, that did not pass; the same at any
            concurrency. A skipped case does not end it.
    """
    started = time.perf_counter()
    results: dict[int, CaseResult] = {}
    queue = iter(enumerate(suite.cases))
    stop_after = math.inf

    async def work() -> None:
        nonlocal stop_after
        for index, case in queue:
            if index > stop_after:
                return
            result = await run_case(engine, case, suite.setup(case))
            results[index] = result
            if fail_fast and result.status in ("failed", "error"):
                stop_after = min(stop_after, index)
            if on_progress is not None:
                on_progress(result)

    workers = [asyncio.create_task(work()) for _ in range(max(1, min(concurrency, len(suite.cases))))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    kept = tuple(results[index] for index in sorted(results) if index <= stop_after)
    return SuiteResult(kept, time.perf_counter() - started, suite.cases[len(kept) :])


async def run_case(engine: Engine, case: TestCase, setup: Setup) -> CaseResult:
    """Play one case until it ends, an expectation fails, or a part is needed that is not run.

    Whatever the engine raises makes this case an error, an action that ends the program too.
    """
    started = time.perf_counter()
    result = await _case_result(engine, case, setup)
    return replace(result, seconds=time.perf_counter() - started)


async def _case_result(engine: Engine, case: TestCase, setup: Setup) -> CaseResult:
    reason = reason_to_skip(case, engine.nlu_side)
    if reason is not None:
        return CaseResult(case, "skipped", skipped=reason)
    turns: list[Turn] = []
    start: tuple[Event, ...] = ()
    try:
        conversation = await engine.start(setup)
        start = conversation.events
        failure = await _play(conversation, case, start, turns, engine.nlu_side)
    except _OutOfScope as reached:
        return CaseResult(case, "skipped", None, tuple(turns), start, str(reached))
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # a broken case must not take others with it
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        return CaseResult(case, "error", _error(case, turns, error), tuple(turns), start)
    return CaseResult(case, "failed" if failure else "passed", failure, tuple(turns), start)


def _is_cancelled() -> bool:
    """Whether somebody cancelled the running task; else the case itself raised the error."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _OutOfScope(Exception):
    """The case needs a part that is not run; ``str`` says which and where."""


class _ModelCallFailed(Exception):
    """`Turn.error` on its way out of a case."""


async def _play(
    conversation: Conversation, case: TestCase, start: tuple[Event, ...], turns: list[Turn], side: NluSide
) -> Failure | None:
    done: list[Exchange] = []
    for exchange in exchanges(case.steps):
        turn: Turn | None = None
        events: Sequence[Event] = start
        if exchange.user is not None:
            turn = await conversation.say(exchange.user.text, metadata=exchange.user.metadata)
            turns.append(turn)
            if turn.error is not None:
                _excuse(exchange, side)
                raise _ModelCallFailed(turn.error)
            if turn.out_of_scope is not None:
                raise _OutOfScope(f"{exchange.user.location}: the conversation needs {turn.out_of_scope}.")
            events = turn.events
        if case.uses_assertions:
            failure = _judge_assertions(exchange, turn, events, start if len(turns) == 1 else ())
        else:
            failure = _judge_classic(done, exchange, turn, events)
        if failure is not None:
            _excuse(exchange, side)
            return failure
        done.append(exchange)
    return None


def _excuse(exchange: Exchange, side: NluSide) -> None:
    """
    Raises:
        _OutOfScope: the turn is not as expected because a part is not run.
    """
    reason = reason_to_excuse(exchange, side)
    if reason is not None:
        steps = [step for step in (exchange.user, *exchange.expectations) if step is not None]
        raise _OutOfScope(f"{steps[0].location}: {reason}")


def _judge_classic(
    done: Sequence[Exchange], exchange: Exchange, turn: Turn | None, events: Sequence[Event]
) -> Failure | None:
    missed = [step for step in exchange.expectations if not is_met(step, events)]
    if not missed:
        return None
    message = f"expected {transcript.describe_step(missed[0])}"
    return Failure(message, missed[0].location, tuple(transcript.classic_diff(done, exchange, turn, events)))


def _judge_assertions(
    exchange: Exchange, turn: Turn | None, events: Sequence[Event], session_start: Sequence[Event]
) -> Failure | None:
    if exchange.user is None:
        return None
    found = check_assertions(
        exchange.user.assertions, events, session_start=session_start, ordered=exchange.user.assertion_order_enabled
    )
    if found is None:
        return None
    assertion, mismatch = found
    diff = transcript.assertion_diff(exchange, turn, events, assertion)
    return Failure(mismatch.message, mismatch.location, tuple(diff), assertion)


def _error(case: TestCase, turns: Sequence[Turn], error: BaseException) -> Failure:
    told = isinstance(error, RasaFtError | _ModelCallFailed)
    message = str(error) if told else f"{type(error).__name__}: {error}"
    finished = len(turns) - isinstance(error, _ModelCallFailed)
    steps = case.user_steps[finished:]
    return Failure(message, steps[0].location if steps else case.location)


def assertion_counts(results: Sequence[CaseResult]) -> dict[str, tuple[int, int]]:
    """How many assertions of each kind passed and failed; what comes after a case's first failure was not looked at."""
    counts: dict[str, tuple[int, int]] = {}
    for kind, held in (outcome for result in results for outcome in _assertion_outcomes(result)):
        passed, failed = counts.get(kind, (0, 0))
        counts[kind] = (passed + held, failed + (not held))
    return dict(sorted(counts.items()))


def _assertion_outcomes(result: CaseResult) -> Iterator[tuple[str, bool]]:
    failed = result.failure.assertion if result.failure else None
    judged = len(result.turns) - (result.status == "error" and _last_turn_failed(result))
    for step in result.case.user_steps[:judged]:
        for assertion in step.assertions:
            yield assertion.key, assertion is not failed
            if assertion is failed:
                return


def _last_turn_failed(result: CaseResult) -> bool:
    return bool(result.turns) and result.turns[-1].error is not None
