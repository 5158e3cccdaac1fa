from __future__ import annotations

import pytest
from hypothesis import given
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
    Repeat,
    SetSlot,
    SkipQuestion,
    StartFlow,
)
from rasa_ft.calm.dsl import clean_value, codec_for
from rasa_ft.calm.slots import is_nullish

VERSIONS = ("v1", "v2", "v3")

ids = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
# Values as people say them: words, numbers, inner punctuation. Outer punctuation is lost by design (see below).
values = st.from_regex(r"[A-Za-z0-9é](?:[A-Za-z0-9 .,:/@()'+€-]{0,18}[A-Za-z0-9ü])?", fullmatch=True).map(
    lambda text: " ".join(text.split())
)
commands = st.one_of(
    st.builds(SetSlot, ids, values.filter(lambda value: not is_nullish(value)) | st.none()),
    st.builds(StartFlow, ids),
    st.builds(Clarify, st.lists(ids, max_size=4).map(tuple)),
    st.sampled_from([CancelFlow(), ChitChat(), Knowledge(), SkipQuestion(), Repeat(), HumanHandoff(), CannotHandle()]),
)


@pytest.mark.parametrize("version", VERSIONS)
@given(st.lists(commands, max_size=6).map(tuple))
def test_what_is_dumped_is_parsed_back(version: str, original: tuple[Command, ...]) -> None:
    codec = codec_for(version)
    text = codec.dump(original)
    assert codec.parse(text) == original
    assert len(text.splitlines()) == len(original)


@pytest.mark.parametrize("version", VERSIONS)
@given(st.text(max_size=200))
def test_no_text_breaks_the_parser_and_parsing_is_stable(version: str, text: str) -> None:
    codec = codec_for(version)
    once = codec.dump(codec.parse(text))
    assert codec.dump(codec.parse(once)) == once or version == "v1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("- start flow book_desk please", (StartFlow("book_desk"),)),
        ('3. `start flow "book-desk"`', (StartFlow("book-desk"),)),
        ("Start flow book_desk", ()),
        ("start  flow book_desk", ()),
        ("I would start flow book_desk", ()),
        ("set slot share 50%", (SetSlot("share", "50"),)),
        ("set slot language C++", (SetSlot("language", "C"),)),
        ("set slot city New York.", (SetSlot("city", "New York"),)),
        ('set slot "city" "New York"', (SetSlot("city", "New York"),)),
        ("set slot city", ()),
        ("set slot city undefined", (SetSlot("city", None),)),
        ("set slot city [missing information]", (SetSlot("city", "[missing information"),)),
        ("cancel flow", (CancelFlow(),)),
        ("* cancel flow`", (CancelFlow(),)),
        ("cancel flow.", ()),
        ("cancel flows", ()),
        ("disambiguate flows b, a.", (Clarify(("b", "a")),)),
        ("disambiguate flows `a` 'b'", (Clarify(("a", "b")),)),
        ("disambiguate flows", (Clarify(),)),
        ("disambiguate flowsy a", ()),
        ("hand over", (HumanHandoff(),)),
        ("cannot handle", (CannotHandle(),)),
    ],
)
def test_v2_lines(line: str, expected: tuple[Command, ...]) -> None:
    assert codec_for("v2").parse(line) == expected


def test_v3_has_its_own_word_for_knowledge() -> None:
    assert codec_for("v3").parse("search and reply\nprovide info\nofftopic reply\nskip question") == (
        Knowledge(),
        ChitChat(),
        SkipQuestion(),
    )
    assert codec_for("v2").parse("search and reply") == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("I think StartFlow(a) and then StartFlow(b)", (StartFlow("a"),)),
        ("StartFlow('a') SetSlot(\"n\", 'v')", (SetSlot("n", "v"), StartFlow("a"))),
        ("SetSlot(a, 1) SetSlot(b, 2)", (SetSlot("a", "1) SetSlot(b, 2"),)),
        ("SetSlot(name, J. (Jo) Doe)", (SetSlot("name", "J. (Jo) Doe"),)),
        ("Clarify('b', a)", (Clarify(("b", "a")),)),
        ("SearchAndReply() ChitChat()", (ChitChat(), Knowledge())),
        ("setslot(a, b) CancelFlow", ()),
    ],
)
def test_v1_lines(line: str, expected: tuple[Command, ...]) -> None:
    assert codec_for("v1").parse(line) == expected


def test_commands_without_a_written_form() -> None:
    correction = CorrectSlots((CorrectedSlot("day", "Friday"), CorrectedSlot("desk", None)))
    assert codec_for("v2").dump([correction, Error()]) == "set slot day Friday\nset slot desk None"


def test_a_value_never_spans_lines() -> None:
    assert codec_for("v2").dump([SetSlot("note", "one\n two")]) == "set slot note one two"


@given(st.text(max_size=20))
def test_cleaning_a_value_is_idempotent(text: str) -> None:
    once = clean_value(text)
    assert clean_value(once) == once
    assert once is None or not is_nullish(once)


def test_values_that_are_not_text_are_kept() -> None:
    assert clean_value(5) == 5
    assert codec_for("v1").dump([SetSlot("n", 5), SetSlot("b", True)]) == "SetSlot(n, 5)\nSetSlot(b, True)"


def test_unknown_version() -> None:
    with pytest.raises(ValueError, match="v4"):
        codec_for("v4")
