"""What people read of the data: every conversation with its commands, and the rephrasings with their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.cases import BotStep, Step, UserStep, UtterStep
from rasa_ft.files import write_text
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn, RephrasedConversation
from rasa_ft.yaml_source import dump_yaml

ANNOTATIONS = "1_command_annotations"
REPHRASINGS = "2_rephrasings"


def write_annotations(out: Path, conversations: Iterable[AnnotatedConversation], codec: Codec) -> None:
    """Stage 1 for people: every conversation with its commands, one file for each test file."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for conversation in conversations:
        users = iter(conversation.turns)
        steps = [step for found in conversation.case.steps if (step := _step(found, users, codec))]
        _add(by_file, conversation, steps)
    _write_conversations(out / ANNOTATIONS, by_file)


def write_rephrasings(out: Path, conversations: Iterable[RephrasedConversation], codec: Codec) -> None:
    """Stage 2 for people: every message with the rephrasings that passed, failed, are in doubt or could not be checked,
    and why."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for conversation in conversations:
        steps = []
        for turn in conversation.turns:
            step = _user(turn.turn, codec)
            if turn.turn.rephrase:
                step["passing_rephrasings"] = [wording.text for wording in turn.passing]
                step["failing_rephrasings"] = [{"user": bad.text, "reason": bad.reason} for bad in turn.failing]
                if turn.doubts:
                    step["in_doubt"] = [{"user": doubt.text, "reason": doubt.reason} for doubt in turn.doubts]
                errors = [{"user": bad.text, "reason": bad.reason} for bad in turn.rejected if bad.is_error]
                if errors:
                    step["not_checked"] = errors
                if turn.error:
                    step["error"] = turn.error
            steps.append(step)
        _add(by_file, conversation.conversation, steps)
    _write_conversations(out / REPHRASINGS, by_file)


def _step(step: Step, users: Iterable[AnnotatedTurn], codec: Codec) -> dict[str, Any] | None:
    if isinstance(step, UserStep):
        turn = next(iter(users), None)
        return _user(turn, codec) if turn is not None else None
    if isinstance(step, UtterStep):
        return {"utter": step.utter}
    return {"bot": step.text} if isinstance(step, BotStep) else None


def _user(turn: AnnotatedTurn, codec: Codec) -> dict[str, Any]:
    step: dict[str, Any] = {"user": turn.text}
    if turn.annotated:
        step["llm_commands"] = codec.dump(turn.commands).splitlines()
    return step


def _add(
    by_file: dict[str, list[dict[str, Any]]], conversation: AnnotatedConversation, steps: list[dict[str, Any]]
) -> None:
    file = conversation.case.source or conversation.case.file.name
    by_file.setdefault(file, []).append({"original_test_case": conversation.key, "steps": steps})


def _write_conversations(folder: Path, by_file: Mapping[str, list[dict[str, Any]]]) -> None:
    for file, conversations in by_file.items():
        write_text(folder / file, dump_yaml({"conversations": conversations}))
