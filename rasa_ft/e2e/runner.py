"""Running end-to-end tests on a dialogue engine, many conversations at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rasa_ft.calm.events import Event
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.e2e import transcript
from rasa_ft.e2e.assertions import Assertion
from rasa_ft.e2e.in_order import is_cancelled, run_in_order
from rasa_ft.e2e.judging import Judge, NoVerdict, check_assertions
from rasa_ft.e2e.matching import Exchange, exchanges, is_met
from rasa_ft.e2e.model import Suite, TestCase
from rasa_ft.e2e.scope import reason_to_excuse, reason_to_skip
from rasa_ft.engine.base import Conversation, Engine, Setup, Turn
from rasa_ft.errors import BudgetExceeded, Location, RasaFtError

Status = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True)
class Failure:
    """Why a case did not pass.

    ``diff`` lines begin with ``+`` (expected), ``-`` (happened instead), a blank (agreed) or ``?`` (points at what
    differs between the line above it and the one that it is compared with). ``assertion`` is the one that failed, in
    the assertion style, or on which a judge gave no verdict.
    """

    message: str
    location: Location
    diff: tuple[str, ...] = ()
    assertion: Assertion | None = None


@dataclass(frozen=True)
class CaseResult:
    """``error``: the case could not be judged (a model call failed, the engine broke); it says nothing about the bot.

    ``turns`` are those played, ``start_events`` what happened before the first message; ``before[i]`` is the
    conversation as it was when message i came. ``skipped`` is why the case was not judged at all: it needs a part of
    the assistant that is not run. ``before`` and ``seconds`` of wall time are no part of what makes two results equal.
    """

    case: TestCase
    status: Status
    failure: Failure | None = None
    turns: tuple[Turn, ...] = ()
    start_events: tuple[Event, ...] = ()
    skipped: str | None = None
    seconds: float = field(default=0.0, compare=False)
    before: tuple[Conversation, ...] = field(default=(), compare=False, repr=False)

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
# Who judges what a model worded in a case.
Judges = Callable[[TestCase], Judge]


async def run_suite(
    engine: Engine,
    suite: Suite,
    *,
    concurrency: int = 8,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    judges: Judges | None = None,
) -> SuiteResult:
    """Play all cases, at most ``concurrency`` at a time.

    Args:
        on_progress: called with each result as it comes, in no particular order.
        fail_fast: the result ends with the first case, in the suite's order, that did not pass; the same at any
            concurrency. A skipped case does not end it.
        judges: None: cases that a language model would have to judge are skipped.
    """
    started = time.perf_counter()

    async def run(case: TestCase) -> CaseResult:
        judge = judges(case) if judges is not None and case.judged_assertions else None
        return await run_case(engine, case, suite.setup(case), judge)

    def is_last(result: CaseResult) -> bool:
        return fail_fast and result.status in ("failed", "error")

    kept = await run_in_order(suite.cases, run, concurrency=concurrency, is_last=is_last, on_progress=on_progress)
    return SuiteResult(kept, time.perf_counter() - started, suite.cases[len(kept) :])


async def run_case(engine: Engine, case: TestCase, setup: Setup, judge: Judge | None = None) -> CaseResult:
    """Play one case until it ends, an expectation fails, or a part is needed that is not run.

    Whatever the engine raises makes this case an error, an action that ends the program too; so does a failing judge.

    Raises:
        BudgetExceeded: no model may be asked any more.
    """
    started = time.perf_counter()
    result = await _case_result(engine, case, setup, judge)
    return replace(result, seconds=time.perf_counter() - started)


async def _case_result(engine: Engine, case: TestCase, setup: Setup, judge: Judge | None) -> CaseResult:
    reason = reason_to_skip(case, engine.nlu_side, has_judge=judge is not None)
    if reason is not None:
        return CaseResult(case, "skipped", skipped=reason)
    turns: list[Turn] = []
    before: list[Conversation] = []
    start: tuple[Event, ...] = ()
    try:
        conversation = await engine.start(setup)
        start = conversation.events
        failure = await _play(conversation, case, start, turns, before, engine.nlu_side, judge)
    except BudgetExceeded:
        raise
    except _OutOfScope as reached:
        return CaseResult(case, "skipped", None, tuple(turns), start, str(reached))
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # a broken case must not take others with it
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            raise
        return CaseResult(case, "error", _error(case, turns, error), tuple(turns), start)
    status: Status = "failed" if failure else "passed"
    return CaseResult(case, status, failure, tuple(turns), start, before=tuple(before))


class _OutOfScope(Exception):
    """The case needs a part that is not run; ``str`` says which and where."""


class _ModelCallFailed(Exception):
    """`Turn.error` on its way out of a case."""


async def _play(
    conversation: Conversation,
    case: TestCase,
    start: tuple[Event, ...],
    turns: list[Turn],
    before: list[Conversation],
    side: NluSide,
    judge: Judge | None,
) -> Failure | None:
    """The first failure; ``turns`` and ``before`` get what was played until then, whatever ends it."""
    done: list[Exchange] = []
    for exchange in exchanges(case.steps):
        turn: Turn | None = None
        events: Sequence[Event] = start
        if exchange.user is not None:
            before.append(conversation.fork())
            turn = await conversation.say(exchange.user.text, metadata=exchange.user.metadata)
            turns.append(turn)
            if turn.error is not None:
                _excuse(exchange, side)
                raise _ModelCallFailed(turn.error)
            if turn.out_of_scope is not None:
                raise _OutOfScope(f"{exchange.user.location}: the conversation needs {turn.out_of_scope}.")
            events = turn.events
        if case.uses_assertions:
            failure = await _judge_assertions(exchange, turns, events, start if len(turns) == 1 else (), judge)
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


async def _judge_assertions(
    exchange: Exchange,
    turns: Sequence[Turn],
    events: Sequence[Event],
    session_start: Sequence[Event],
    judge: Judge | None,
) -> Failure | None:
    if exchange.user is None:
        return None
    ordered = exchange.user.assertion_order_enabled
    found = await check_assertions(
        exchange.user.assertions, events, session_start=session_start, ordered=ordered, judge=judge
    )
    if found is None:
        return None
    assertion, mismatch = found
    diff = transcript.assertion_diff(turns[:-1], exchange, turns[-1], events, assertion)
    return Failure(mismatch.message, mismatch.location, tuple(diff), assertion)


def _error(case: TestCase, turns: Sequence[Turn], error: BaseException) -> Failure:
    if isinstance(error, NoVerdict):
        return Failure(str(error), error.assertion.location, assertion=error.assertion)
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
    last = result.failure.assertion if result.failure else None
    judged = len(result.turns) - (result.status == "error" and _last_turn_failed(result))
    for step in result.case.user_steps[:judged]:
        for assertion in step.assertions:
            if assertion is last and result.status == "error":
                return
            yield assertion.key, assertion is not last
            if assertion is last:
                return


def _last_turn_failed(result: CaseResult) -> bool:
    return bool(result.turns) and result.turns[-1].error is not None
