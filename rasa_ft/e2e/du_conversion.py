"""Passing E2E tests as dialogue understanding tests, with the commands that were observed: for a person to review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.events import BotUttered
from rasa_ft.e2e import model as m
from rasa_ft.e2e.du_cases import GENERATED, DuUserStep
from rasa_ft.e2e.du_runner import understood
from rasa_ft.e2e.runner import CaseResult


def du_case(result: CaseResult, codec: Codec) -> m.TestCase:
    """The conversation that a passed case had: each message with its commands, then all that the bot said."""
    return replace(result.case, steps=tuple(_steps(result, codec)))


def _steps(result: CaseResult, codec: Codec) -> Iterator[m.Step]:
    for step, turn in zip(result.case.user_steps, result.turns, strict=True):
        yield DuUserStep(
            step.location,
            step.text,
            step.metadata,
            own_metadata=step.own_metadata,
            commands=understood(turn, codec),
        )
        for message in turn.bot_messages:
            yield _bot_step(step, message)


def _bot_step(step: m.UserStep, message: BotUttered) -> m.Step:
    if message.utter_action is not None:
        return m.UtterStep(step.location, message.utter_action)
    text = (message.text or "").strip()
    if message.source == "search" or not text:  # worded by a model, or no words at all
        return m.UtterStep(step.location, GENERATED)
    return m.BotStep(step.location, text)
