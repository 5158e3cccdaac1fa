"""Commands as function calls: one tool for each kind of command, with the assistant's flows, slots and values.

The shapes are those of OpenAI's chat API: tools as JSON schemas, calls with an id and their arguments as JSON text. All
values are text, as in the command syntaxes (``"true"``, ``"2"``), and null where there is none. The schemas keep to
what strict structured outputs allow: no alternatives at the top, every property required, no further ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Clarify,
    Command,
    CorrectSlots,
    HumanHandoff,
    Knowledge,
    Repeat,
    SetSlot,
    SkipQuestion,
    StartFlow,
)
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.slots import Slot
from rasa_ft.errors import DataError

START, SET, CLARIFY = "start_flow", "set_slot", "disambiguate_flows"
# Tools without arguments and what they are for.
_PLAIN: dict[str, tuple[type[Command], str]] = {
    "cancel_flow": (CancelFlow, "Stop the flow under way."),
    "offtopic_reply": (ChitChat, "Answer small talk."),
    "provide_info": (Knowledge, "Answer a question from the knowledge base."),
    "skip_question": (SkipQuestion, "Leave the question just asked unanswered."),
    "repeat_message": (Repeat, "Say the last message again."),
    "hand_over": (HumanHandoff, "Hand over to a human."),
    "cannot_handle": (CannotHandle, "Nothing else fits."),
}
_NAMES = {kind: name for name, (kind, _) in _PLAIN.items()}
_BOOL = ("true", "false")


def command_tools(flows: Mapping[str, Flow], slots: Mapping[str, Slot]) -> list[dict[str, Any]]:
    """A tool for each kind of command; flows that can never be started and slots that no flow asks for are left out.

    Args:
        flows: all flows of the assistant by id.
        slots: all its slots by name.
    """
    startable = [flow for flow in flows.values() if not flow.is_pattern and flow.guard is not False]
    fillable = _fillable(startable, flows, slots)
    names = [flow.id for flow in startable]
    tools = [_tool(name, description) for name, (_, description) in _PLAIN.items()]
    if fillable:
        tools.insert(0, _tool(SET, "Give a slot a value.", slot={"anyOf": [*_assignments(fillable)]}))
    if len(names) > 1:
        options = {"type": "array", "items": _one_of(names)}
        tools.insert(0, _tool(CLARIFY, "Ask which of several flows is meant.", flows=options))
    if names:
        tools.insert(0, _tool(START, "Start a flow.", flow=_one_of(names)))
    return tools


def _fillable(startable: Sequence[Flow], flows: Mapping[str, Flow], slots: Mapping[str, Slot]) -> list[Slot]:
    """What these flows collect and a model may fill, in their order."""
    names = dict.fromkeys(step.slot for flow in startable for step in collect_steps(flow, flows))
    return [slots[name] for name in names if name in slots and slots[name].is_llm_fillable]


def _assignments(fillable: Iterable[Slot]) -> Iterator[dict[str, Any]]:
    """A schema of name and value for the slots that take any text, and one for each set of allowed values."""
    by_values: dict[tuple[str, ...] | None, list[str]] = {}
    for slot in fillable:
        by_values.setdefault(_allowed(slot), []).append(slot.name)
    for values, names in by_values.items():
        value: dict[str, Any] = {"type": ["string", "null"]}
        yield _object(name=_one_of(names), value=value | ({"enum": [*values, None]} if values else {}))


def _allowed(slot: Slot) -> tuple[str, ...] | None:
    if slot.type == "bool":
        return _BOOL
    return tuple(slot.values) if slot.type == "categorical" else None


def _tool(name: str, description: str, **arguments: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": _object(**arguments)},
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _one_of(names: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def tool_calls(commands: Iterable[Command]) -> list[dict[str, Any]]:
    """The ``tool_calls`` of an assistant's message; commands that no model can write are left out.

    A correction is written as the `SetSlot` commands that lead to it. Ids have nine characters: some chat templates
    (Mistral's) take no others.
    """
    calls = [call for command in _written(commands) if (call := _call(command)) is not None]
    return [
        {
            "id": f"command{number:02}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for number, (name, arguments) in enumerate(calls)
    ]


def _written(commands: Iterable[Command]) -> Iterator[Command]:
    for command in commands:
        if isinstance(command, CorrectSlots):
            yield from (SetSlot(fix.slot, fix.value) for fix in command.corrected_slots)
        else:
            yield command


def _call(command: Command) -> tuple[str, dict[str, Any]] | None:
    if isinstance(command, SetSlot):
        return SET, {"slot": {"name": command.slot, "value": command.value}}
    if isinstance(command, StartFlow):
        return START, {"flow": command.flow}
    if isinstance(command, Clarify):
        return CLARIFY, {"flows": list(command.options)}
    name = _NAMES.get(type(command))
    return (name, {}) if name else None


def commands_of(calls: Iterable[Mapping[str, Any]]) -> tuple[Command, ...]:
    """The commands that ``tool_calls`` stand for; arguments may be JSON text or an object already.

    Raises:
        DataError: a call is not one of ours.
    """
    return tuple(_command(call) for call in calls)


def _command(call: Mapping[str, Any]) -> Command:
    try:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        match name:
            case "start_flow":
                return StartFlow(str(given["flow"]))
            case "set_slot":
                return SetSlot(str(given["slot"]["name"]), given["slot"]["value"])
            case "disambiguate_flows":
                return Clarify(tuple(map(str, given["flows"])))
            case _:
                return _PLAIN[name][0]()
    except (KeyError, TypeError, ValueError):
        raise DataError(f"this is no call of a command's tool: {json.dumps(call, ensure_ascii=False)}") from None
