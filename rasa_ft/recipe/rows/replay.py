"""Playing a conversation again with the commands given, so that no model is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.engine.base import Conversation, Engine, Setup, Turn
from rasa_ft.recipe.conversations import AnnotatedConversation, Trace, trace_of


@dataclass(frozen=True)
class ScriptedTurn:
    """A message with the commands that stand in for the model's answer; None lets the message speak for itself."""

    text: str
    commands: tuple[Command, ...] | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """``before[i]`` is the conversation as it was when message i came; both end at the first divergence."""

    before: tuple[Conversation, ...]
    turns: tuple[Turn, ...]
    divergence: str | None = None


async def replay(
    engine: Engine,
    setup: Setup,
    script: Sequence[ScriptedTurn],
    expected: Sequence[Trace],
    *,
    values_of: Collection[str] | None = None,
) -> Replay:
    """Play ``script``; each turn must do what its ``expected`` trace says.

    With ``values_of`` only these slots must have the expected values; the others must be set at the expected points.
    """
    conversation = await engine.start(setup)
    before: list[Conversation] = []
    turns: list[Turn] = []
    for number, (scripted, trace) in enumerate(zip(script, expected, strict=True), start=1):
        before.append(conversation.fork())
        turn = await conversation.say(scripted.text, metadata=scripted.metadata, commands=scripted.commands)
        turns.append(turn)
        difference = first_difference(_masked(trace, values_of), _masked(trace_of(turn.events), values_of))
        if difference:
            return Replay(tuple(before), tuple(turns), f"turn {number} ('{scripted.text}'): {difference}")
    return Replay(tuple(before), tuple(turns))


async def replay_original(engine: Engine, conversation: AnnotatedConversation) -> Replay:
    """The conversation as its test says it."""
    script = [ScriptedTurn(turn.text, turn.forced, turn.metadata) for turn in conversation.turns]
    return await replay(engine, conversation.setup, script, [turn.trace for turn in conversation.turns])


def first_difference(expected: Trace, actual: Trace) -> str | None:
    """Where two traces part, in words; None if they are equal."""
    for wanted, found in zip(expected, actual, strict=False):
        if wanted != found:
            return f"{_in_words(found)} instead of {_in_words(wanted)}"
    if len(expected) > len(actual):
        return f"{_in_words(expected[len(actual)])} is missing"
    if len(actual) > len(expected):
        return f"{_in_words(actual[len(expected)])} is new"
    return None


def _masked(trace: Trace, values_of: Collection[str] | None) -> Trace:
    if values_of is None:
        return trace
    return tuple(
        (kind, name, "some value" if kind == "slot" and name not in values_of else value) for kind, name, value in trace
    )


def _in_words(entry: tuple[str, str, str]) -> str:
    kind, name, value = entry
    if kind == "slot":
        return f"{name} = {value}"
    return f"flow {name} {value}" if kind == "flow" else f"bot message {name or 'without a response name'}"
