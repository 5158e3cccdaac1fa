"""Stage 4b: the files that data preparation leaves behind (layout: the fine-tuning recipe of rasa-pro)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.cases import BotStep, Step, UserStep, UtterStep
from rasa_ft.files import write_jsonl, write_text
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn, DataPoint, RephrasedConversation
from rasa_ft.recipe.settings import OutputFormat
from rasa_ft.yaml_source import dump_yaml

ANNOTATIONS = "1_command_annotations"
REPHRASINGS = "2_rephrasings"
DATA_POINTS = "3_llm_finetune_data/llm_ft_data.jsonl"
SPLITS = "4_train_test_split/ft_splits"
E2E_TESTS = "4_train_test_split/e2e_tests"
STUDENT_PROMPT = "student_prompt.jinja2"
PARAMS = "params.yaml"
SUMMARY = "result_summary.yaml"


def formatted(point: DataPoint, output_format: OutputFormat) -> dict[str, Any]:
    """A row as trainers read it."""
    if output_format == "instruction":
        return {"prompt": point.prompt, "completion": point.completion}
    return {
        "messages": [
            {"role": "user", "content": point.prompt},
            {"role": "assistant", "content": point.completion},
        ]
    }


def internal_row(point: DataPoint, *, part: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """A row with everything that is known about it."""
    rephrased = point.message if point.message != point.original else None
    row = {
        "prompt": point.prompt,
        "completion": point.completion,
        "original_test_name": point.conversation,
        "original_user_utterance": point.original,
        "rephrased_user_utterance": rephrased,
        "kind": point.kind,
        "turn": point.turn,
        "history": point.history,
        "prefix": point.prefix,
        "group": groups[point.conversation],
        "split": part,
    }
    return {**row, "taken_from": point.source} if point.source else row


def write_rows(
    out: Path, parts: Mapping[str, Sequence[DataPoint]], groups: Mapping[str, str], output_format: OutputFormat
) -> None:
    """The internal file with all rows, and one file for each part (``train``, ``val``)."""
    rows = (internal_row(point, part=part, groups=groups) for part, points in parts.items() for point in points)
    write_jsonl(out / DATA_POINTS, rows)
    for part, points in parts.items():
        write_jsonl(out / SPLITS / f"{part}.jsonl", (formatted(point, output_format) for point in points))


def write_annotations(out: Path, conversations: Iterable[AnnotatedConversation], codec: Codec) -> None:
    """Stage 1 for people: every conversation with its commands, one file for each test file."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for conversation in conversations:
        users = iter(conversation.turns)
        steps = [step for found in conversation.case.steps if (step := _step(found, users, codec))]
        _add(by_file, conversation, steps)
    _write_conversations(out / ANNOTATIONS, by_file)


def write_rephrasings(out: Path, conversations: Iterable[RephrasedConversation], codec: Codec) -> None:
    """Stage 2 for people: every message with the rephrasings that passed and those that did not, and why."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    for conversation in conversations:
        steps = []
        for turn in conversation.turns:
            step = _user(turn.turn, codec)
            if turn.turn.rephrase:
                step["passing_rephrasings"] = [wording.text for wording in turn.passing]
                step["failing_rephrasings"] = [{"user": bad.text, "reason": bad.reason} for bad in turn.failing]
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
        step["llm_commands"] = codec.dump(turn.turn.parsed).splitlines()
    return step


def _add(
    by_file: dict[str, list[dict[str, Any]]], conversation: AnnotatedConversation, steps: list[dict[str, Any]]
) -> None:
    file = conversation.case.source or conversation.case.file.name
    by_file.setdefault(file, []).append({"original_test_case": conversation.key, "steps": steps})


def _write_conversations(folder: Path, by_file: Mapping[str, list[dict[str, Any]]]) -> None:
    for file, conversations in by_file.items():
        write_text(folder / file, dump_yaml({"conversations": conversations}))
