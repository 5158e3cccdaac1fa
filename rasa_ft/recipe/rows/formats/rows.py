"""A row as trainers read it, in the formats that they know, and back.

instruction        {"prompt", "completion"} as text                          rasa-pro, TRL (no chat template applied)
conversational     {"messages": [user, assistant]}                           rasa-pro, TRL, most trainers
prompt-completion  {"prompt": [user], "completion": [assistant]}             TRL; only the answer is learned
openai             {"messages": [user, assistant]}, at least ten rows        OpenAI and services like it
tools              {"messages": [user, assistant's tool_calls], "tools"}     OpenAI and services like it
sharegpt           {"conversations": [human, gpt]}, with dataset_info.json   LLaMA-Factory
alpaca             {"instruction", "input", "output"}, likewise              LLaMA-Factory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.rows.function_calling import commands_of, tool_calls
from rasa_ft.training.rows import row_messages

OutputFormat = Literal["instruction", "conversational", "prompt-completion", "openai", "tools", "sharegpt", "alpaca"]
# What OpenAI takes as a training file.
_OPENAI_ROWS = 10
_OPENAI = ("openai", "tools")


@dataclass(frozen=True)
class FunctionCalling:
    """What the format ``tools`` needs besides the rows: how answers are read, and `function_calling.command_tools`."""

    codec: Codec
    tools: Sequence[Mapping[str, Any]]


def formatted(point: DataPoint, output_format: OutputFormat, calling: FunctionCalling | None = None) -> dict[str, Any]:
    """A row as trainers read it; ``calling`` is needed for ``tools`` only.

    Raises:
        DataError: format ``tools``, and the answer has no command.
    """
    if output_format == "tools":
        if calling is None:
            raise ValueError("the format 'tools' needs the assistant's tools")
        return _with_tools(point, calling)
    return _WRITERS[output_format](point.prompt, point.completion)


def _with_tools(point: DataPoint, calling: FunctionCalling) -> dict[str, Any]:
    calls = tool_calls(calling.codec.parse(point.completion))
    if not calls:
        raise DataError(f"test '{point.conversation}', turn {point.turn + 1}: the answer has no command to call.")
    answer = {"role": "assistant", "tool_calls": calls}
    return {"messages": [_message("user", point.prompt), answer], "tools": list(calling.tools)}


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _conversational(prompt: str, completion: str) -> dict[str, Any]:
    return {"messages": [_message("user", prompt), _message("assistant", completion)]}


_WRITERS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "instruction": lambda prompt, completion: {"prompt": prompt, "completion": completion},
    "conversational": _conversational,
    "openai": _conversational,
    "prompt-completion": lambda prompt, completion: {
        "prompt": [_message("user", prompt)],
        "completion": [_message("assistant", completion)],
    },
    "sharegpt": lambda prompt, completion: {
        "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": completion}]
    },
    "alpaca": lambda prompt, completion: {"instruction": prompt, "input": "", "output": completion},
}

# How LLaMA-Factory finds the columns.
_COLUMNS: dict[str, dict[str, Any]] = {
    "sharegpt": {"formatting": "sharegpt", "columns": {"messages": "conversations"}},
    "alpaca": {
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    },
}


def dataset_info(parts: Mapping[str, Sequence[DataPoint]], output_format: OutputFormat) -> dict[str, Any] | None:
    """The content of LLaMA-Factory's dataset_info.json with ``commands_train`` and ``commands_val``.

    None: another format. Empty parts are left out, since they cannot be loaded.
    """
    columns = _COLUMNS.get(output_format)
    if columns is None:
        return None
    return {f"commands_{part}": {"file_name": f"{part}.jsonl", **columns} for part, points in parts.items() if points}


def check_size(train: Sequence[DataPoint], output_format: OutputFormat) -> None:
    """Raise unless there are as many training rows as the format's readers ask for.

    Raises:
        DataError: fewer than ten rows for OpenAI.
    """
    if output_format in _OPENAI and len(train) < _OPENAI_ROWS:
        raise DataError(
            f"OpenAI takes training files of at least {_OPENAI_ROWS} rows, and there are only {len(train)}.",
            hint="Write more tests, ask for more rephrasings, or choose another --output-format.",
        )


def read_row(row: Mapping[str, Any], codec: Codec) -> tuple[str, tuple[Command, ...]]:
    """Prompt and commands of a row in any of the formats.

    Raises:
        DataError: it is in none of them.
    """
    calls = _calls(row)
    if calls is not None:
        return str(row["messages"][0]["content"]), commands_of(calls)
    *asked, answer = row_messages(row)
    return "\n".join(message["content"] for message in asked), codec.parse(answer["content"])


def _calls(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and len(messages) > 1 else None
    return last.get("tool_calls") if isinstance(last, Mapping) else None
