"""What survives being written and read again, exactly, in each of the three syntaxes.

Names come back as they are. A value comes back as text on one line, without outer quotes and blanks, and as None if
what is left says that there is none. The newer syntaxes also lose the symbols at the end of a value.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Clarify,
    Command,
    CorrectedSlot,
    CorrectSlots,
    Error,
    HumanHandoff,
    Knowledge,
    Noop,
    Repeat,
    SessionStart,
    SetSlot,
    SkipQuestion,
    StartFlow,
)
from rasa_ft.calm.dsl import clean_value, codec_for

VERSIONS = ("v1", "v2", "v3")

slot_ids = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)
flow_ids = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,12}", fullmatch=True)
# Anything that a user may say or an action may set.
_ODD = (
    *("", " ", "\n", "\t", "'", '"', "`", "None", "null", "undefined", "[missing]", "[missing information]", "none"),
    *(
        "New York.",
        "C++",
        "50%",
        "€ 5,00",
        "(a)",
        "a)",
        "(",
        "a, b",
        "don't",
        '"quoted"',
        "`x`",
        "x\ny",
        "\u2028",
        "\x85",
    ),
    *(
        "start flow x",
        "set slot a b",
        "cancel flow",
        "\nstart flow x",
        "- start flow x",
        "<|im_end|>",
        "[INST]",
        "{{ x }}",
    ),
    *(
        "/SetSlots(a=1)",
        "'None'",
        '" null "',
        "e\u0301",
        "हिन्दी",
        "\ud800",
        "\x1b[31m",
        "🙂",
        "...",
        "_",
        "-",
        "=",
        "#",
    ),
)
values = st.one_of(
    st.sampled_from(_ODD),
    st.text(max_size=20),
    st.lists(st.sampled_from(_ODD), max_size=4).map("".join),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.lists(st.text(max_size=3), max_size=2),
)
plain_commands = st.sampled_from(
    [CancelFlow(), ChitChat(), Knowledge(), SkipQuestion(), Repeat(), HumanHandoff(), CannotHandle()]
)
set_slots = st.builds(SetSlot, slot_ids, values)
unwritten = st.sampled_from([Error(), SessionStart(), Noop()])
corrections = st.builds(CorrectSlots, st.lists(st.builds(CorrectedSlot, slot_ids, values), max_size=3).map(tuple))
commands = st.one_of(
    set_slots,
    st.builds(StartFlow, flow_ids),
    st.builds(Clarify, st.lists(flow_ids, max_size=4).map(tuple)),
    plain_commands,
    corrections,
    unwritten,
)


def normalised_value(value: Any, version: str) -> str | None:
    text = " ".join(str(value).split())
    if version != "v1":
        while len(text) > 1 and not (text[-1].isalnum() or text[-1] == "_"):
            text = text[:-1]
    cleaned = clean_value(text)
    assert cleaned is None or isinstance(cleaned, str)
    return cleaned


def normalised(command: Command, version: str) -> tuple[Command, ...]:
    match command:
        case SetSlot():
            return (SetSlot(command.slot, normalised_value(command.value, version)),)
        case CorrectSlots():
            fixes = command.corrected_slots
            return tuple(SetSlot(fix.slot, normalised_value(fix.value, version)) for fix in fixes)
        case Error() | SessionStart() | Noop():
            return ()
        case _:
            return (command,)


def holds_command(value: Any) -> bool:
    """Whether the value may be read as another command: in v1 one may stand anywhere in a line, so also in a value."""
    return re.search(r"[A-Za-z]\(", str(value)) is not None


@pytest.mark.parametrize("version", VERSIONS)
@given(original=st.lists(commands, max_size=6).map(tuple))
@example(original=(SetSlot("a", ")"), SetSlot("b", "'"), SetSlot("c", "!"), Clarify()))
def test_reading_what_was_written_gives_the_normal_form(version: str, original: tuple[Command, ...]) -> None:
    codec = codec_for(version)
    expected = tuple(part for command in original for part in normalised(command, version))
    text = codec.dump(original)
    assert codec.parse(text) == expected
    assert len(text.splitlines()) == len(expected)


@pytest.mark.parametrize("version", VERSIONS)
@given(original=st.lists(commands, max_size=6).map(tuple))
def test_the_normal_form_is_final(version: str, original: tuple[Command, ...]) -> None:
    codec = codec_for(version)
    once = codec.parse(codec.dump(original))
    assert codec.parse(codec.dump(once)) == once


texts_near_commands = st.lists(
    st.sampled_from(
        [
            *("start flow", "set slot", "disambiguate flows", "cancel flow", "offtopic reply", "search and reply"),
            *(
                "StartFlow(",
                "SetSlot(",
                "Clarify(",
                "CancelFlow()",
                ")",
                ",",
                " ",
                "  ",
                "a",
                "b_c",
                "9",
                "-",
                "*",
                "1. ",
            ),
            *("`", "'", '"', "\n", "\r\n", "\u2028", ".", "!", "é", "\x00", "```", "None"),
        ]
    ),
    max_size=14,
).map("".join)


@pytest.mark.parametrize("version", VERSIONS)
@given(text=st.text(max_size=200) | texts_near_commands)
@example(text="set slot a one  two")
def test_any_answer_is_read_and_its_normal_form_is_final(version: str, text: str) -> None:
    codec = codec_for(version)
    found = codec.parse(text)
    again = codec.parse(codec.dump(found))
    if version != "v1" or not any(holds_command(command.value) for command in found if isinstance(command, SetSlot)):
        assert again == tuple(part for command in found for part in normalised(command, version))
        assert codec.parse(codec.dump(again)) == again


@pytest.mark.parametrize("version", ["v2", "v3"])
@given(value=st.text(max_size=30) | texts_near_commands)
def test_a_value_cannot_hold_a_command(version: str, value: str) -> None:
    assert len(codec_for(version).parse(codec_for(version).dump([SetSlot("note", value)]))) == 1


def test_in_the_oldest_syntax_a_value_can_hold_a_command() -> None:
    codec = codec_for("v1")
    found = codec.parse(codec.dump([SetSlot("note", "StartFlow(pay) please")]))
    assert found == (SetSlot("note", "StartFlow(pay) please"), StartFlow("pay"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "text",
    [
        "set slot note " + "! " * 20_000 + "a!",
        "disambiguate flows " + "!" * 20_000 + "a",
        "- " * 20_000 + "start flow",
        "SetSlot(a," * 2_000,
        "SetSlot(" + " " * 20_000,
        "Clarify(" * 4_000,
    ],
    ids=lambda text: text[:12],
)
def test_long_answers_are_read_at_once(version: str, text: str) -> None:
    before = time.process_time()
    codec_for(version).parse(text)
    assert time.process_time() - before < 2
