"""Reads fine-tuning rows: JSON lines in the conversational or the instruction format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location

Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A prompt as chat messages, the answer to learn, and where it was read."""

    messages: tuple[Message, ...]
    completion: str
    location: Location

    @property
    def turn(self) -> str:
        """Equal for the wordings of one user turn.

        All our prompts end with the user's message on their last line, so what stands above it is the turn.
        """
        *earlier, last = (message["role"] + "\n" + message["content"] for message in self.messages)
        return "\n".join([*earlier, last.rstrip("\n").rpartition("\n")[0]])


def read_examples(path: Path) -> list[Example]:
    """All rows of a file: ``{"messages": […, assistant]}`` or ``{"prompt", "completion"}``.

    Raises:
        DataError: the file is missing or empty, or rows are broken; all of them, with their lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", hint="Run `rasa llm finetune prepare-data` first.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}.") from None
    examples: list[Example] = []
    problems: list[DataError] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                examples.append(_example(line, Location(path, number)))
            except DataError as problem:
                problems.append(problem)
    if problems:
        raise DataError.collected(problems)
    if not examples:
        raise DataError(f"{path} has no rows.", hint="See result_summary.yaml of prepare-data for the reason.")
    return examples


def _example(line: str, place: Location) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}.", location=place) from None
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return _checked([{"role": "user", "content": row["prompt"]}], row["completion"], place)
    if isinstance(row, dict) and isinstance(row.get("messages"), list):
        return _conversation(row["messages"], place)
    raise DataError('a row needs "messages", or "prompt" and "completion".', location=place)


def _conversation(messages: list[Any], place: Location) -> Example:
    fine = all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in messages
    )
    if not fine or len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise DataError("messages must be pairs of role and content, and the last one the assistant's.", location=place)
    prompt = [{"role": message["role"], "content": message["content"]} for message in messages[:-1]]
    return _checked(prompt, messages[-1]["content"], place)


def _checked(messages: list[Message], completion: str, place: Location) -> Example:
    if not completion.strip():
        raise DataError("the answer is empty.", location=place)
    return Example(tuple(messages), completion, place)
