from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_bot import small_engine

from rasa_ft.calm.commands import CancelFlow, Clarify, Command, CorrectedSlot, CorrectSlots, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.errors import DataError
from rasa_ft.recipe.rows.function_calling import command_tools, commands_of, tool_calls

jsonschema = pytest.importorskip("jsonschema")

FLOWS = """
  book:
    description: Book a desk.
    steps:
      - collect: day
      - collect: floor
      - collect: confirm
      - call: pay
  pay:
    if: False
    description: Pay for it.
    steps:
      - collect: amount
      - collect: receipt
  leave:
    description: Give a desk back.
    steps:
      - collect: confirm
      - collect: secret
"""
DOMAIN = """
slots:
  day: {type: text}
  floor: {type: categorical, values: [ground, first]}
  confirm: {type: bool}
  amount: {type: float}
  receipt: {type: bool}
  secret: {type: text, mappings: [{type: controlled}]}
  unused: {type: text}
responses:
  utter_ask_day: [{text: "Which day?"}]
  utter_ask_floor: [{text: "Which floor?"}]
  utter_ask_confirm: [{text: "Sure?"}]
  utter_ask_amount: [{text: "How much?"}]
  utter_ask_receipt: [{text: "A receipt?"}]
  utter_ask_secret: [{text: "?"}]
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    engine = small_engine(tmp_path_factory.mktemp("bot"), FLOWS, DOMAIN)
    return command_tools(engine.flows, engine.assistant.domain.slots)


def schemas(tools: list[dict[str, Any]]) -> dict[str, Any]:
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}


def fits(tools: list[dict[str, Any]], command: Command) -> bool:
    [call] = tool_calls([command])
    schema = schemas(tools)[call["function"]["name"]]
    return bool(jsonschema.Draft202012Validator(schema).is_valid(json.loads(call["function"]["arguments"])))


def test_one_tool_for_each_kind_of_command(tools: list[dict[str, Any]]) -> None:
    assert [tool["function"]["name"] for tool in tools] == [
        "start_flow",
        "disambiguate_flows",
        "set_slot",
        "cancel_flow",
        "offtopic_reply",
        "provide_info",
        "skip_question",
        "repeat_message",
        "hand_over",
        "cannot_handle",
    ]
    for schema in schemas(tools).values():
        jsonschema.Draft202012Validator.check_schema(schema)
        # What strict structured outputs ask for.
        assert schema["required"] == list(schema["properties"])
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("command", "fine"),
    [
        (StartFlow("book"), True),
        (StartFlow("pay"), False),  # never started by a user
        (StartFlow("pattern_chitchat"), False),
        (Clarify(("book", "leave")), True),
        (Clarify(("book", "other")), False),
        (SetSlot("day", "next Friday"), True),
        (SetSlot("day", None), True),
        (SetSlot("day", 3), False),
        (SetSlot("amount", "2.50"), True),  # of a called flow
        (SetSlot("floor", "ground"), True),
        (SetSlot("floor", None), True),
        (SetSlot("floor", "roof"), False),
        (SetSlot("confirm", "true"), True),
        (SetSlot("receipt", "false"), True),
        (SetSlot("confirm", "maybe"), False),
        (SetSlot("secret", "x"), False),  # no model may fill it
        (SetSlot("unused", "x"), False),
        (CancelFlow(), True),
    ],
)
def test_schemas_allow_what_the_assistant_allows(tools: list[dict[str, Any]], command: Command, fine: bool) -> None:
    assert fits(tools, command) == fine


def test_slots_with_the_same_values_share_a_schema(tools: list[dict[str, Any]]) -> None:
    choices = schemas(tools)["set_slot"]["properties"]["slot"]["anyOf"]
    assert [choice["properties"]["name"]["enum"] for choice in choices] == [
        ["day", "amount"],
        ["floor"],
        ["confirm", "receipt"],
    ]


def test_tools_without_choices_are_left_out() -> None:
    assert {tool["function"]["name"] for tool in command_tools({}, {})}.isdisjoint(
        {"start_flow", "set_slot", "disambiguate_flows"}
    )


# --- commands -> calls -> commands -----------------------------------------------------------------------------------

EXAMPLES: list[Command] = [
    StartFlow("book") if kind is StartFlow else SetSlot("day", "Friday") if kind is SetSlot else kind()
    for kind in Command.__subclasses__()
]
names = st.text(min_size=1, max_size=8)
values = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.text(max_size=3), max_size=2)
any_command = st.one_of(
    st.sampled_from([command for command in EXAMPLES if codec_for("v2").dump([command])]),
    st.builds(SetSlot, names, values),
    st.builds(StartFlow, names),
    st.builds(Clarify, st.lists(names, max_size=3).map(tuple)),
)


@given(st.lists(any_command, max_size=5))
def test_commands_come_back(commands: list[Command]) -> None:
    calls = json.loads(json.dumps(tool_calls(commands)))
    assert commands_of(calls) == tuple(commands)
    for call in calls:  # some chat templates are given objects
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    assert commands_of(calls) == tuple(commands)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: command.name)
def test_what_models_can_write_they_can_call(command: Command, tools: list[dict[str, Any]]) -> None:
    written = [version for version in ("v1", "v2", "v3") if codec_for(version).dump([command])]
    if written:
        [call] = tool_calls([command])
        assert call["function"]["name"] in schemas(tools)
    else:
        assert tool_calls([command]) == []


def test_a_correction_is_what_leads_to_it() -> None:
    correction = CorrectSlots((CorrectedSlot("day", "Friday"), CorrectedSlot("floor", "first")))
    assert commands_of(tool_calls([correction])) == (SetSlot("day", "Friday"), SetSlot("floor", "first"))


def test_ids_are_different_and_suit_every_template() -> None:
    ids = [call["id"] for call in tool_calls([CancelFlow()] * 12)]
    assert len(set(ids)) == 12
    assert all(len(one) == 9 and one.isalnum() for one in ids)


@pytest.mark.parametrize(
    "function",
    [
        {"name": "open_door", "arguments": "{}"},
        {"name": "start_flow", "arguments": "{}"},
        {"name": "start_flow", "arguments": "{"},
        {"name": "set_slot", "arguments": '{"slot": "day"}'},
        {"name": "disambiguate_flows", "arguments": '{"flows": null}'},
        {"arguments": "{}"},
        None,
    ],
)
def test_other_calls_are_named(function: object) -> None:
    with pytest.raises(DataError, match="no call of a command's tool"):
        commands_of([{"function": function}])
