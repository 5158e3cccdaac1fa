"""Stage 1: play a test on the teacher and keep what it said if the test passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rasa_ft.calm.events import BotUttered, Event, UserUttered
from rasa_ft.e2e.cases import TestCase, UserStep
from rasa_ft.e2e.runner import run_case
from rasa_ft.engine.base import Engine, Setup, Turn
from rasa_ft.engine.remembered_actions import ActionMemory
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn


@dataclass(frozen=True)
class Skipped:
    """A case that gives no data; ``is_error``: it could not be judged, since a model call failed."""

    case: str
    reason: str
    is_error: bool = False


async def annotate(engine: Engine, case: TestCase, setup: Setup) -> AnnotatedConversation | Skipped:
    """Play a case: a conversation if it passes and has at least one label.

    Raises:
        BudgetExceeded: the teacher may not be asked any more.
    """
    setup = replace(setup, memory=ActionMemory())
    result = await run_case(engine, case, setup)
    if result.skipped is not None:
        return Skipped(case.key, result.skipped)
    reason = result.failure.message if result.failure else "no reason given"
    if not result.passed:
        is_error = result.status == "error"
        return Skipped(case.key, reason if is_error else f"the test fails: {reason}", is_error)
    checked = _last_checked(case)
    turns = annotated_turns(result.turns[:checked])
    conversation = AnnotatedConversation(case, setup, turns, result.before[:checked])
    if not conversation.num_annotated:
        return Skipped(case.key, "no message of it was understood by the model")
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
