"""Reads fine-tuning rows: JSON lines in any of the formats whose answers are text.

    {"messages": […, assistant]}                      conversational, OpenAI
    {"prompt", "completion"}                          as text, or both as messages
    {"conversations": [{"from", "value"}, …, gpt]}    ShareGPT
    {"instruction", "input", "output"}                Alpaca

The last two may have a "system" text. A prompt that is one text is one user message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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


@dataclass(frozen=True)
class Conversation:
    """Chat messages, of which every one of the assistant's is learned; it may call ``tools`` instead of talking.

    Messages and tools are as an OpenAI-style chat endpoint takes them: a call is in ``tool_calls``, with its arguments
    as a mapping, and its result in a message of role ``tool``.
    """

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    location: Location


@dataclass(frozen=True)
class PlainText:
    """A text that already is in a prompt template's form; all of it is learned."""

    text: str
    location: Location


Row = Example | Conversation | PlainText


def read_examples(path: Path) -> list[Example]:
    """All rows of a file, in any of the formats above.

    Raises:
        DataError: the file is missing or empty, or rows are broken; all of them, with their lines.
    """
    try:
        # Not splitlines: text may hold other characters that end a line, which JSON leaves as they are.
        lines = path.read_text(encoding="utf-8").split("\n")
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


def row_messages(row: object) -> list[Message]:
    """The chat messages of a row, the assistant's answer last.

    Raises:
        DataError: the row is in no known format, or its answer is not text.
    """
    if not isinstance(row, dict):
        raise DataError(_UNKNOWN)
    if row.get("tools"):
        raise DataError(
            "the answer is to be function calls, which are not trained here.",
            hint="Run prepare-data with another --output-format than tools.",
        )
    read = next((read for keys, read in _FORMATS if keys <= row.keys()), None)
    if read is None or row.get("history"):
        raise DataError(_UNKNOWN)
    return _checked(read(row))


def _example(line: str, place: Location) -> Example:
    try:
        *prompt, answer = row_messages(json.loads(line))
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}.", location=place) from None
    except DataError as problem:
        raise DataError(problem.message, location=place, hint=problem.hint) from None
    return Example(tuple(prompt), answer["content"], place)


def _checked(messages: list[Any]) -> list[Message]:
    fine = all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in messages
    )
    if not fine or len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise DataError("messages must be pairs of role and content, and the last one the assistant's.")
    if not messages[-1]["content"].strip():
        raise DataError("the answer is empty.")
    return [_message(message["role"], message["content"]) for message in messages]


def _message(role: Any, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


# -- formats: each reader gives what `_checked` takes ------------------------------------------------------------------


def _messages(row: dict[str, Any]) -> list[Any]:
    return row["messages"] if isinstance(row["messages"], list) else []


def _prompt_and_completion(row: dict[str, Any]) -> list[Any]:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return [*prompt, *completion]
    return [_message("user", prompt), _message("assistant", completion)]


def _sharegpt(row: dict[str, Any]) -> list[Any]:
    said = row["conversations"] if isinstance(row["conversations"], list) else []
    pairs = [(one.get("from"), one.get("value")) if isinstance(one, dict) else (None, None) for one in said]
    return [*_system(row), *(_message(_SPEAKERS.get(str(speaker), speaker), text) for speaker, text in pairs)]


def _alpaca(row: dict[str, Any]) -> list[Any]:
    asked, more = row["instruction"], row.get("input")
    text = f"{asked}\n{more}" if asked and more else asked or more
    return [*_system(row), _message("user", text), _message("assistant", row["output"])]


def _system(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [_message("system", row["system"])] if row.get("system") else []


_SPEAKERS = {"human": "user", "gpt": "assistant"}
_FORMATS: tuple[tuple[set[str], Callable[[dict[str, Any]], list[Any]]], ...] = (
    ({"prompt", "completion"}, _prompt_and_completion),
    ({"messages"}, _messages),
    ({"conversations"}, _sharegpt),
    ({"instruction", "output"}, _alpaca),
)
_UNKNOWN = 'a row needs "messages", "prompt" and "completion", "conversations", or "instruction" and "output".'
