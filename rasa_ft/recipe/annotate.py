"""Stage 1: run the tests on the teacher and keep what it said in those that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rasa_ft.calm.events import BotUttered, Event, UserUttered
from rasa_ft.e2e.cases import Suite, TestCase, UserStep
from rasa_ft.e2e.runner import CaseResult, run_suite
from rasa_ft.engine.base import Engine, Turn
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn
from rasa_ft.recipe.parallel import Progress, silent


@dataclass(frozen=True)
class Skipped:
    """A case that gives no data; ``is_error``: it could not be judged, since a model call failed."""

    case: str
    reason: str
    is_error: bool = False


@dataclass(frozen=True)
class Annotation:
    """The result of stage 1."""

    conversations: tuple[AnnotatedConversation, ...]
    skipped: tuple[Skipped, ...]


async def annotate(engine: Engine, suite: Suite, *, concurrency: int, progress: Progress = silent) -> Annotation:
    """Run all cases; the passing ones with at least one label become conversations, in the suite's order."""
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        progress("annotate", done, len(suite.cases))

    progress("annotate", 0, len(suite.cases))
    result = await run_suite(engine, suite, concurrency=concurrency, on_progress=count)
    outcomes = [_outcome(suite, case_result) for case_result in result.results]
    return Annotation(
        conversations=tuple(outcome for outcome in outcomes if isinstance(outcome, AnnotatedConversation)),
        skipped=tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped)),
    )


def _outcome(suite: Suite, result: CaseResult) -> AnnotatedConversation | Skipped:
    reason = result.failure.message if result.failure else "no reason given"
    if result.skipped is not None:
        return Skipped(result.case.key, result.skipped)
    if result.status == "error":
        return Skipped(result.case.key, reason, is_error=True)
    if not result.passed:
        return Skipped(result.case.key, f"the test fails: {reason}")
    turns = annotated_turns(result.turns[: _last_checked(result.case)])
    conversation = AnnotatedConversation(result.case, suite.setup(result.case), turns)
    if not conversation.num_annotated:
        return Skipped(result.case.key, "no message of it was understood by the model")
    return conversation


def _last_checked(case: TestCase) -> int:
    """How many user turns a case checks: what comes after the last expectation has no verdict.

    Cases with assertions, and those that check nothing at all, are taken whole.
    """
    users = 0
    checked = 0
    for step in case.steps:
        if isinstance(step, UserStep):
            users += 1
        else:
            checked = users
    return checked if checked and not case.uses_assertions else users


def annotated_turns(turns: Sequence[Turn]) -> tuple[AnnotatedTurn, ...]:
    """The turns of one conversation with what data preparation needs to know about each."""
    return tuple(_annotated(turns))


def _annotated(turns: Sequence[Turn]) -> Iterator[AnnotatedTurn]:
    lines: list[str] = []
    payloads: frozenset[str] = frozenset()
    for turn in turns:
        annotated = turn.prompt is not None and bool(turn.parsed)
        yield AnnotatedTurn(
            turn=turn,
            annotated=annotated,
            rephrase=annotated and turn.text.strip().casefold() not in payloads,
            before="\n".join(lines),
        )
        lines.extend([f"USER: {turn.text}", *transcript_lines(turn.events)])
        payloads = _payloads(turn)


def transcript_lines(events: Sequence[Event], *, users: bool = False) -> Iterator[str]:
    """``AI: …`` for what the bot said (buttons by title) and, if wanted, ``USER: …`` for what the user did."""
    for event in events:
        if isinstance(event, BotUttered):
            titles = ", ".join(f'"{button.title}"' for button in event.buttons)
            text = " ".join((event.text or "").split())
            if text or titles:
                yield f"AI: {text}{f' [{titles}]' if titles else ''}"
        elif users and isinstance(event, UserUttered):
            yield f"USER: {event.text}"


def _payloads(turn: Turn) -> frozenset[str]:
    """Payloads of the buttons on offer after a turn: a message equal to one is a click, and clicks have one wording."""
    messages = turn.bot_messages
    return frozenset(button.payload.strip().casefold() for message in messages for button in message.buttons)
