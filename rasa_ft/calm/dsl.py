"""The three surface syntaxes in which models write commands, one command a line.

    v1  StartFlow(book_desk)   SetSlot(day, Friday)   Clarify(a, b)             SingleStepLLMCommandGenerator
    v2  start flow book_desk   set slot day Friday    disambiguate flows a b    CompactLLMCommandGenerator
    v3  as v2, but `search and reply` for `provide info`                        SearchReadyLLMCommandGenerator

Reading is as tolerant as the CALM reference (v1 anywhere in a line, v2 and v3 after blanks, punctuation and digits),
and as strict: keywords are case-sensitive and a full stop after `cancel flow` makes the line unreadable. Values come
back as text, or as None where the model wrote that there is none (`slots.is_nullish`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

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
from rasa_ft.calm.slots import is_nullish

_QUOTES = "\"'`"
_ID = r"[\w-]+"

Reader = Callable[[str], Command | None]


class Codec(Protocol):
    """Commands as text and back."""

    @property
    def version(self) -> str:
        """``v1``, ``v2`` or ``v3``."""

    def dump(self, commands: Iterable[Command]) -> str:
        """One command a line, without a final newline; commands that no model can write are left out.

        A correction is written as the `SetSlot` commands that lead to it.
        """

    def parse(self, text: str) -> tuple[Command, ...]:
        """All commands found, line by line; nothing is checked against an assistant."""


def codec_for(version: str, *, keeps_punctuation: bool = False) -> Codec:
    """The codec of ``v1``, ``v2`` or ``v3``.

    ``keeps_punctuation``: v2 and v3 as they were at first, where a value ends as it was written (``York?``).

    Raises:
        ValueError: another version.
    """
    if version not in _CODECS:
        raise ValueError(f"unknown command syntax {version!r}; known are {', '.join(_CODECS)}")
    return _AT_FIRST.get(version, _CODECS[version]) if keeps_punctuation else _CODECS[version]


def clean_value(value: Any) -> Any:
    """A slot value as models write it: outer blanks and quotes removed, nullish text turned into None."""
    if not isinstance(value, str):
        return value
    stripped = value.strip(_QUOTES + " \t\r\n")
    return None if is_nullish(stripped) else stripped


@dataclass(frozen=True)
class _LineCodec:
    """``readers`` in the order in which commands of one line are listed; each reads at most one per line."""

    version: str
    readers: tuple[Reader, ...]
    writer: Callable[[Command], str | None]

    def dump(self, commands: Iterable[Command]) -> str:
        lines = (self.writer(command) for command in _written(commands))
        return "\n".join(line for line in lines if line is not None)

    def parse(self, text: str) -> tuple[Command, ...]:
        lines = (line.strip() for line in text.splitlines())
        found = (read(line) for line in lines if line for read in self.readers)
        return tuple(command for command in found if command is not None)


def _written(commands: Iterable[Command]) -> Iterable[Command]:
    for command in commands:
        if isinstance(command, CorrectSlots):
            yield from (SetSlot(fix.slot, fix.value) for fix in command.corrected_slots)
        else:
            yield command


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())


# -- v1 -------------------------------------------------------------------------------------------------------------

_FUNCTIONS: dict[type[Command], str] = {
    CancelFlow: "CancelFlow",
    ChitChat: "ChitChat",
    SkipQuestion: "SkipQuestion",
    Knowledge: "SearchAndReply",
    Repeat: "RepeatLastBotMessages",
    HumanHandoff: "HumanHandoff",
    CannotHandle: "CannotHandle",
}
_V1_SET = re.compile(rf"SetSlot\(\s*[\"'`]?({_ID})[\"'`]?\s*,(.*)\)")
_V1_START = re.compile(rf"StartFlow\(\s*[\"'`]?({_ID})[\"'`]?\s*\)")
_V1_CLARIFY = re.compile(r"Clarify\(([^()]*)\)")


def _v1_write(command: Command) -> str | None:
    if isinstance(command, SetSlot):
        return f"SetSlot({command.slot}, {_one_line(command.value)})"
    if isinstance(command, StartFlow):
        return f"StartFlow({command.flow})"
    if isinstance(command, Clarify):
        return f"Clarify({', '.join(command.options)})"
    function = _FUNCTIONS.get(type(command))
    return f"{function}()" if function else None


def _v1_set(line: str) -> Command | None:
    match = _V1_SET.search(line)
    return SetSlot(match[1], clean_value(match[2])) if match else None


def _v1_start(line: str) -> Command | None:
    match = _V1_START.search(line)
    return StartFlow(match[1]) if match else None


def _v1_clarify(line: str) -> Command | None:
    match = _V1_CLARIFY.search(line)
    return Clarify(_options(match[1])) if match else None


def _v1_plain(kind: type[Command]) -> Reader:
    form = f"{_FUNCTIONS[kind]}()"
    return lambda line: kind() if form in line else None


# -- v2 and v3 ------------------------------------------------------------------------------------------------------

_LEAD = r"^[\W\d]*"
_V2_SET = re.compile(rf"{_LEAD}set slot [\"'`]?({_ID})[\"'`]? (.+)$")
_V2_START = re.compile(rf"{_LEAD}start flow [\"'`]?({_ID})")
_V2_CLARIFY = re.compile(rf"{_LEAD}disambiguate flows(?![\w-])(.*)$")
_V2_PHRASES: dict[type[Command], str] = {
    CancelFlow: "cancel flow",
    ChitChat: "offtopic reply",
    SkipQuestion: "skip question",
    Knowledge: "provide info",
    Repeat: "repeat message",
    HumanHandoff: "hand over",
    CannotHandle: "cannot handle",
}
_V3_PHRASES = _V2_PHRASES | {Knowledge: "search and reply"}


def _v2_writer(phrases: dict[type[Command], str]) -> Callable[[Command], str | None]:
    def write(command: Command) -> str | None:
        if isinstance(command, SetSlot):
            return f"set slot {command.slot} {_one_line(command.value) or None}"
        if isinstance(command, StartFlow):
            return f"start flow {command.flow}"
        if isinstance(command, Clarify):
            return " ".join(("disambiguate flows", *command.options))
        return phrases.get(type(command))

    return write


def _v2_set(line: str) -> Command | None:
    match = _V2_SET.search(line)
    return SetSlot(match[1], clean_value(_without_last_symbols(match[2]))) if match else None


def _v2_set_as_written(line: str) -> Command | None:
    match = _V2_SET.search(line)
    return SetSlot(match[1], clean_value(match[2])) if match else None


def _without_last_symbols(text: str) -> str:
    """``text`` up to its last letter, digit or underscore, but at least one character; a pattern would be quadratic."""
    end = len(text)
    while end > 1 and not (text[end - 1].isalnum() or text[end - 1] == "_"):
        end -= 1
    return text[:end]


def _v2_start(line: str) -> Command | None:
    match = _V2_START.search(line)
    return StartFlow(match[1]) if match else None


def _v2_clarify(line: str) -> Command | None:
    match = _V2_CLARIFY.search(line)
    return Clarify(_options(match[1])) if match else None


def _v2_plain(kind: type[Command], phrase: str) -> Reader:
    form = re.compile(rf"{_LEAD}{phrase}[{_QUOTES}]*$")
    return lambda line: kind() if form.search(line) else None


def _options(text: str) -> tuple[str, ...]:
    """Flow ids between commas or blanks; what is no id (punctuation, quotes) is cut off at both ends."""
    words = (re.sub(r"^[^\w-]+|[^\w-]+$", "", word) for word in re.split(r"[,\s]+", text))
    return tuple(word for word in words if word)


def _readers(
    set_slot: Reader, start: Reader, clarify: Reader, plain: Callable[[type[Command]], Reader]
) -> tuple[Reader, ...]:
    before = (CancelFlow, ChitChat, SkipQuestion, Knowledge)
    after = (Repeat, HumanHandoff, CannotHandle)
    return (set_slot, start, *map(plain, before), clarify, *map(plain, after))


def _v2_codec(version: str, phrases: dict[type[Command], str], set_slot: Reader = _v2_set) -> _LineCodec:
    plain = _readers(set_slot, _v2_start, _v2_clarify, lambda kind: _v2_plain(kind, phrases[kind]))
    return _LineCodec(version, plain, _v2_writer(phrases))


_CODECS: dict[str, Codec] = {
    "v1": _LineCodec("v1", _readers(_v1_set, _v1_start, _v1_clarify, _v1_plain), _v1_write),
    "v2": _v2_codec("v2", _V2_PHRASES),
    "v3": _v2_codec("v3", _V3_PHRASES),
}
_AT_FIRST: dict[str, Codec] = {
    "v2": _v2_codec("v2", _V2_PHRASES, _v2_set_as_written),
    "v3": _v2_codec("v3", _V3_PHRASES, _v2_set_as_written),
}
