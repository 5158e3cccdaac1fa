"""Reads rows of the data sets that people fine-tune with: one of their rows in, chat messages or a text out.

    commands            what prepare-data writes, see `rows`
    xlam                query, tools, answers: JSON texts, as in Salesforce/xlam-function-calling-60k
    sharegpt            conversations of human, gpt, function_call and observation, and a column of tools
    alpaca, oasst       instruction, input, output, and earlier pairs in history, as LLaMA-Factory stores them
    text                a text in a prompt template's form
    dialogue-summary    dialogue, summary

Every answer of the assistant is learned; of a text, all of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rasa_ft.errors import DataError, Location
from rasa_ft.training.rows import Conversation, Example, PlainText, Row, row_messages
from rasa_ft.training.sections import COLUMNS, Format
from rasa_ft.yaml_source import did_you_mean

XLAM_SYSTEM = (
    "You answer by calling functions. Reply with a JSON list of calls, each with its name and its arguments, "
    "and with [] if none of these functions helps:"
)
SUMMARY_INSTRUCTION = "Summarise the following conversation in a few sentences."

Message = dict[str, Any]


def read_row(
    row: object,
    kind: Format,
    place: Location,
    *,
    columns: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Row:
    """One row of a data set in the format ``kind``.

    Args:
        row: what the file or the hub has; a mapping, or the row is refused.
        kind: one of the formats above.
        place: where the row stands; kept, and named in errors.
        columns: names that the data has for what the format looks for, if they differ.
        system: system message of a conversation without one; for xlam and dialogue-summary the instruction.

    Raises:
        DataError: the row is not what the format asks for; with its place.
    """
    try:
        if kind == "commands":
            return _row_of(_with_system(row_messages(row), system), (), place)
        return _READERS[kind](_values(row, kind, columns or {}), system, place)
    except DataError as problem:
        raise DataError(problem.message, location=place, hint=problem.hint) from None


def _values(row: object, kind: Format, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row's values under the reader's own names."""
    if not isinstance(row, Mapping):
        raise DataError(f"a row of format {kind} is a mapping of columns to values.")
    return {name: row.get(columns.get(name, name)) for name in COLUMNS[kind]}


def _row_of(messages: list[Message], tools: tuple[dict[str, Any], ...], place: Location) -> Row:
    """An `Example` if there is nothing to learn but one text, else a `Conversation`."""
    *prompt, last = messages
    answers = sum(message["role"] == "assistant" for message in messages)
    if tools or answers > 1 or "tool_calls" in last:
        return Conversation(tuple(messages), tools, place)
    return Example(tuple(prompt), last["content"], place)


def _with_system(messages: list[Message], system: str | None) -> list[Message]:
    if system is None or messages[0]["role"] == "system":
        return messages
    return [_message("system", system), *messages]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _text(values: Mapping[str, Any], name: str) -> str:
    """A text that has to be there.

    Raises:
        DataError: it is missing, empty, or no text.
    """
    value = values[name]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{name} has to be a text that is not empty.")
    return value


def _json(value: Any, name: str) -> Any:
    """A value that may be written as JSON text.

    Raises:
        DataError: it is text, but not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DataError(f"{name} is not JSON.") from None


# -- xlam --------------------------------------------------------------------------------------------------------------


def _xlam(values: Mapping[str, Any], system: str | None, place: Location) -> Row:
    query = _text(values, "query")
    tools, answers = (_json_list(values[name], name) for name in ("tools", "answers"))
    for call in answers:
        _call(call)
    instruction = f"{system or XLAM_SYSTEM}\n\n{_written(values['tools'], tools)}"
    return Example(
        (_message("system", instruction), _message("user", query)), _written(values["answers"], answers), place
    )


def _json_list(value: Any, name: str) -> list[Any]:
    found = _json(value, name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{name} has to be a JSON list of objects.")
    return found


def _written(value: Any, parsed: list[Any]) -> str:
    """JSON as the data has it, or written by us."""
    return value if isinstance(value, str) else json.dumps(parsed, ensure_ascii=False)


def _call(value: Any) -> dict[str, Any]:
    """A function call as chat endpoints have it."""
    name = value.get("name") if isinstance(value, dict) else None
    arguments = _json(value.get("arguments") or {}, "arguments") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise DataError('a function call is {"name": …, "arguments": {…}}.')
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


# -- sharegpt ----------------------------------------------------------------------------------------------------------

_ASKING = {"human": "user", "observation": "tool"}
_ANSWERING = ("gpt", "function_call")
_SPEAKERS = ("system", *_ASKING, *_ANSWERING)


def _sharegpt(values: Mapping[str, Any], system: str | None, place: Location) -> Row:
    said = values["conversations"]
    if not isinstance(said, list):
        raise DataError("conversations has to be a list of messages.")
    messages = [_said(one) for one in said]
    if isinstance(values["system"], str) and values["system"].strip():
        messages = _with_system(messages, values["system"]) if messages else []
    talk = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for number, message in enumerate(talk):
        if (message["role"] == "assistant") != bool(number % 2) or message["role"] == "system":
            raise DataError("human (or observation) and gpt (or function_call) have to take turns, human first.")
    if not talk or len(talk) % 2:
        raise DataError("the last message has to be the assistant's.")
    tools = tuple(map(_tool, _json_list(values["tools"] or [], "tools")))
    return _row_of(_with_system(messages, system), tools, place)


def _said(one: Any) -> Message:
    speaker, value = (one.get("from"), one.get("value")) if isinstance(one, Mapping) else (None, None)
    if not isinstance(speaker, str) or not isinstance(value, str):
        raise DataError("every message of conversations needs from and value, both text.")
    if speaker not in _SPEAKERS:
        raise DataError(f"'{speaker}' is no speaker, only {', '.join(_SPEAKERS)}.{did_you_mean(speaker, _SPEAKERS)}")
    if speaker == "function_call":
        found = _json(value, "function_call")
        calls = found if isinstance(found, list) and found else [found]
        return {"role": "assistant", "content": "", "tool_calls": [_call(call) for call in calls]}
    if speaker == "gpt" and not value.strip():
        raise DataError("an answer is empty.")
    return _message(_ASKING.get(speaker, "assistant" if speaker == "gpt" else "system"), value)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as chat endpoints take it, whether it is wrapped in ``function`` or not."""
    inner = tool["function"] if isinstance(tool.get("function"), dict) else tool
    if not isinstance(inner.get("name"), str):
        raise DataError("a tool has no name.")
    return {"type": "function", "function": inner}


# -- alpaca, oasst -----------------------------------------------------------------------------------------------------


def _alpaca(values: Mapping[str, Any], system: str | None, place: Location) -> Row:
    given = values["system"]
    messages = [_message("system", given)] if isinstance(given, str) and given.strip() else []
    for pair in _history(values["history"]):
        messages += [_message("user", pair[0]), _message("assistant", pair[1])]
    asked = [part for part in (values["instruction"], values["input"]) if isinstance(part, str) and part.strip()]
    if not asked:
        raise DataError("instruction has to be a text that is not empty.")
    messages += [_message("user", "\n".join(asked)), _message("assistant", _text(values, "output"))]
    return _row_of(_with_system(messages, system), (), place)


def _history(value: Any) -> list[tuple[str, str]]:
    """Earlier pairs of instruction and answer."""
    if value is None:
        return []
    fine = isinstance(value, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in value
    )
    if not fine:
        raise DataError("history has to be a list of pairs of texts: instruction and answer.")
    return [(pair[0], pair[1]) for pair in value]


# -- texts -------------------------------------------------------------------------------------------------------------


def _plain_text(values: Mapping[str, Any], system: str | None, place: Location) -> Row:
    return PlainText(_text(values, "text"), place)


def _dialogue_summary(values: Mapping[str, Any], system: str | None, place: Location) -> Row:
    asked = f"{system or SUMMARY_INSTRUCTION}\n\n{_text(values, 'dialogue').strip()}"
    return Example((_message("user", asked),), _text(values, "summary").strip(), place)


_READERS: dict[Format, Callable[[Mapping[str, Any], str | None, Location], Row]] = {
    "xlam": _xlam,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "oasst": _alpaca,
    "text": _plain_text,
    "dialogue-summary": _dialogue_summary,
}
