"""Examines one model: its E2E tests, and its answer to every message in the teacher's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rasa_ft.calm.commands import Command, StartFlow
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.model import Suite, TestCase
from rasa_ft.e2e.runner import CaseResult, run_suite
from rasa_ft.engine.base import Engine, Turn
from rasa_ft.errors import LLMError
from rasa_ft.evaluation.commands import same_commands, score_commands
from rasa_ft.evaluation.results import CaseOutcome, SaidTurn, SplitResult, TurnResult
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.recipe.parallel import Progress, in_parallel

# The teacher's commands for each message of a case; None where no model is asked, as with button payloads.
Script = tuple[tuple[Command, ...] | None, ...]
# Case id -> script; a script ends before the first message that the teacher did not get to or could not answer.
Gold = Mapping[str, Script]


@dataclass(frozen=True)
class Answered:
    """A teacher's results together with its commands, the yardstick for the other models."""

    result: SplitResult
    gold: Gold


async def examine_teacher(
    engine: Engine, suite: Suite, split: str, *, concurrency: int, progress: Progress
) -> Answered:
    """Run the teacher through the tests of one split; its commands are right by definition.

    Tests that need a part of the assistant that is not run are left out, here and for the other models.
    """
    played = await _run(engine, suite, split, concurrency, progress)
    results = tuple(result for result in played if result.skipped is None)
    gold = {result.case.id: _script(result) for result in results}
    turns = tuple(turn for result in results for turn in _own_turns(split, result, engine.codec))
    scores = score_commands((commands, commands) for script in gold.values() for commands in script if commands)
    cases = tuple(
        _outcome(split, result, engine.codec, gold[result.case.id], _flows(gold[result.case.id], result.turns))
        for result in results
    )
    return Answered(SplitResult(cases, turns, scores, skipped=len(played) - len(results)), gold)


async def examine_student(
    engine: Engine,
    llm: LLM,
    suite: Suite,
    split: str,
    gold: Gold,
    *,
    concurrency: int,
    progress: Progress,
    messages: bool = True,
) -> SplitResult:
    """Run a model through the tests of one split, then ask it about every message in the teacher's history.

    The second part tells which commands a model gets wrong: in a conversation of its own, one mistake changes
    everything after it. ``llm`` should be the engine's own model and remember its answers, so that a prompt that comes
    up in both parts is asked once. Without ``messages`` the second part is left out. A conversation that the model led
    to a part that is not run has failed: the teacher's did not get there.
    """
    left_out = sum(case.id not in gold for case in suite.cases)
    suite = suite.subset([case for case in suite.cases if case.id in gold])
    results = await _run(engine, suite, split, concurrency, progress)
    asked = await _ask_all(engine, llm, suite, split, gold, concurrency, progress) if messages else []
    turns = tuple(_turn_result(split, question, answer, engine.codec) for question, answer in asked)
    scores = score_commands(
        (question.expected, engine.codec.parse(answer.text))
        for question, answer in asked
        if isinstance(answer, Completion)
    )
    outcomes = tuple(
        _outcome(
            split,
            result,
            engine.codec,
            gold[result.case.id],
            _flows(
                gold[result.case.id], [question.turn for question, _ in asked if question.case.id == result.case.id]
            ),
        )
        for result in results
    )
    return SplitResult(outcomes, turns, scores, skipped=left_out)


@dataclass(frozen=True)
class _Question:
    """A message in the teacher's history, as the model under test is asked about it."""

    case: TestCase
    position: int
    turn: Turn
    expected: tuple[Command, ...]


async def _run(
    engine: Engine, suite: Suite, split: str, concurrency: int, progress: Progress
) -> tuple[CaseResult, ...]:
    stage, done = f"{split} conversations", 0

    def count(result: CaseResult) -> None:
        nonlocal done
        done += 1
        progress(stage, done, len(suite.cases))

    progress(stage, 0, len(suite.cases))
    return (await run_suite(engine, suite, concurrency=concurrency, on_progress=count)).results


async def _ask_all(
    engine: Engine, llm: LLM, suite: Suite, split: str, gold: Gold, concurrency: int, progress: Progress
) -> list[tuple[_Question, Completion | LLMError]]:
    questions = [question for case in suite.cases for question in await _questions(engine, suite, case, gold[case.id])]

    async def ask(question: _Question) -> tuple[_Question, Completion | LLMError]:
        return question, await _ask(llm, question.turn)

    return await in_parallel(f"{split} messages", questions, ask, concurrency=concurrency, progress=progress)


async def _questions(engine: Engine, suite: Suite, case: TestCase, script: Script) -> list[_Question]:
    """Replay the teacher's commands and collect the prompts on the way; no model is asked."""
    conversation = await engine.start(suite.setup(case))
    questions = []
    for position, (step, commands) in enumerate(zip(case.user_steps, script, strict=False), start=1):
        turn = await conversation.say(step.text, metadata=step.metadata, commands=commands)
        # Where the teacher said nothing that could be understood there is no right answer.
        if commands and turn.prompt is not None:
            questions.append(_Question(case, position, turn, commands))
    return questions


async def _ask(llm: LLM, turn: Turn) -> Completion | LLMError:
    question = Request.of_prompt(
        turn.prompt or "",
        purpose="commands",
        user_message=turn.text,
        active_flow=turn.active_flow,
        requested_slot=turn.requested_slot,
    )
    try:
        return await llm.complete(replace(question, parameters=turn.parameters))
    except LLMError as error:
        return error


def _script(result: CaseResult) -> Script:
    """The teacher's commands, up to the first message that it could not answer."""
    commands: list[tuple[Command, ...] | None] = []
    for turn in result.turns:
        if turn.error is not None:
            break
        commands.append(turn.parsed if turn.prompt is not None else None)
    return tuple(commands)


def _own_turns(split: str, result: CaseResult, codec: Codec) -> list[TurnResult]:
    return [
        TurnResult(
            split=split,
            case=result.case.id,
            position=position,
            message=turn.text,
            expected=_lines(codec, turn.parsed),
            predicted=_lines(codec, turn.parsed),
            exact=turn.error is None,
            active_flow=turn.active_flow,
            requested_slot=turn.requested_slot,
            answer=turn.answer,
            error=turn.error,
            latency=turn.latency,
            prompt_tokens=turn.prompt_tokens,
            completion_tokens=turn.completion_tokens,
        )
        for position, turn in enumerate(result.turns, start=1)
        if turn.prompt is not None
    ]


def _turn_result(split: str, question: _Question, answer: Completion | LLMError, codec: Codec) -> TurnResult:
    answered = answer if isinstance(answer, Completion) else None
    predicted = codec.parse(answered.text) if answered else ()
    return TurnResult(
        split=split,
        case=question.case.id,
        position=question.position,
        message=question.turn.text,
        expected=_lines(codec, question.expected),
        predicted=_lines(codec, predicted),
        exact=answered is not None and same_commands(question.expected, predicted),
        active_flow=question.turn.active_flow,
        requested_slot=question.turn.requested_slot,
        answer=answered.text if answered else None,
        error=None if answered else str(answer),
        latency=answered.latency if answered else None,
        prompt_tokens=answered.prompt_tokens if answered else None,
        completion_tokens=answered.completion_tokens if answered else None,
    )


def _flows(script: Script, turns: Sequence[Turn]) -> tuple[str, ...]:
    """The flows that the teacher starts, and those that are active when a message comes in its history."""
    started = [command.flow for commands in script for command in commands or () if isinstance(command, StartFlow)]
    active = [turn.active_flow for turn in turns if turn.active_flow]
    return tuple(dict.fromkeys([*started, *active]))


def _outcome(split: str, result: CaseResult, codec: Codec, script: Script, flows: tuple[str, ...]) -> CaseOutcome:
    failure = result.failure
    return CaseOutcome(
        split=split,
        case=result.case.id,
        passed=result.passed,
        place=str(failure.location if failure else result.case.location),
        failure=failure.message if failure else result.skipped,
        diff=failure.diff if failure else (),
        unanswered=result.status == "error",
        turns=tuple(
            SaidTurn(
                message=turn.text,
                expected=_known_lines(codec, script[index] if index < len(script) else None),
                predicted=_lines(codec, turn.parsed),
            )
            for index, turn in enumerate(result.turns)
        ),
        flows=flows,
    )


def _known_lines(codec: Codec, commands: tuple[Command, ...] | None) -> tuple[str, ...] | None:
    return None if commands is None else _lines(codec, commands)


def _lines(codec: Codec, commands: tuple[Command, ...]) -> tuple[str, ...]:
    return tuple(codec.dump([command]) for command in commands)
