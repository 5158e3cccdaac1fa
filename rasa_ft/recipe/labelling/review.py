"""The review queue: labels that a person has to decide about, and what was decided.

``review.yml`` in the output folder has an entry for each doubt. Whoever fills in ``decision`` answers one question:
what does ``message`` mean at this place? ``accept`` (what ``commands`` say), ``reject`` (leave it out of the data), or
a list of commands. Decisions are found again by test, turn and message, whatever becomes of the rest of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rasa_ft.calm.commands import Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.problems import Problems
from rasa_ft.engine.base import Engine
from rasa_ft.errors import DataError
from rasa_ft.files import write_text
from rasa_ft.recipe.conversations import AnnotatedConversation, AnnotatedTurn, Doubt, RephrasedConversation
from rasa_ft.yaml_source import did_you_mean, dump_yaml, load_yaml

REVIEW = "review.yml"
ACCEPT: Literal["accept"] = "accept"
REJECT: Literal["reject"] = "reject"
Decision = Literal["accept", "reject"] | tuple[Command, ...]
# (test, number of the turn, message).
Key = tuple[str, int, str]

# The lines of the conversation that an entry shows.
_SHOWN = 8
_KEYS = ("test", "turn", "history", "message", "rephrases", "commands", "other", "reason", "decision")
_NEEDED = ("test", "turn", "message", "commands")
_HEAD = """\
# What does each message mean at its place? Fill in `decision`:
#   accept             what `commands` say
#   reject             leave it out of the data
#   [some commands]    what it means, one entry for each command
# Then run prepare-data again. Decisions are kept.

"""


@dataclass(frozen=True)
class Entry:
    """A message whose label is in doubt.

    ``turn`` counts the user's messages from 1. ``original`` is the test's own message there, which ``message`` may be
    too. ``commands`` are the teacher's (or a gold test's own), ``other`` what somebody else understands.
    """

    test: str
    turn: int
    message: str
    original: str
    history: tuple[str, ...]
    commands: tuple[Command, ...]
    reason: str = ""
    other: tuple[Command, ...] | None = None
    decision: Decision | None = None

    @property
    def key(self) -> Key:
        return (self.test, self.turn, self.message)

    @property
    def decided(self) -> tuple[Command, ...]:
        """The commands that a person gives the message; empty if it is rejected, or nothing is decided."""
        if self.decision == ACCEPT:
            return self.commands
        return self.decision if isinstance(self.decision, tuple) else ()


@dataclass(frozen=True)
class Review:
    """Entries with decisions, in the order in which they were read."""

    entries: tuple[Entry, ...] = ()

    def at(self, test: str, index: int, original: str) -> Mapping[str, Entry]:
        """Decisions about the message number ``index`` (from 0) of a test and about its rephrasings, by message.

        Those that were made while the test had another message there do not count.
        """
        place = (test, index + 1, original)
        return {entry.message: entry for entry in self.entries if (entry.test, entry.turn, entry.original) == place}

    def outdated(self, conversations: Iterable[AnnotatedConversation]) -> tuple[Entry, ...]:
        """Decisions about messages that are not there any more."""
        there = {
            (conversation.key, number, turn.text)
            for conversation in conversations
            for number, turn in enumerate(conversation.turns, start=1)
        }
        return tuple(entry for entry in self.entries if (entry.test, entry.turn, entry.original) not in there)

    def as_data(self, codec: Codec) -> list[Any]:
        """All that decides anything, in an order that does not depend on the file's."""
        return sorted([*entry.key, entry.original, _decision(entry, codec)] for entry in self.entries)


# --- reading ---------------------------------------------------------------------------------------------------------


def load_review(files: Iterable[Path], engine: Engine) -> Review:
    """The decisions of all ``files``; the first one about a message counts. Entries without one are left out.

    Raises:
        DataError: a file is broken, or names a command, flow or slot that the assistant does not have; every problem
            of every file, with file and line.
    """
    found: dict[Key, Entry] = {}
    errors: list[DataError] = []
    for file in files:
        problems = Problems(file)
        for entry in _read(problems, engine):
            found.setdefault(entry.key, entry)
        errors += problems.errors
    if errors:
        raise DataError.collected(errors)
    return Review(tuple(found.values()))


def _read(problems: Problems, engine: Engine) -> Iterator[Entry]:
    data = load_yaml(problems.file) or {}
    if not isinstance(data, Mapping) or "review" not in data:
        problems.add("a mapping with the key `review` is needed.", data)
        return
    problems.keys(data, ("review",), "a review file")
    entries = problems.items(data, "review", "`review`", empty=True)
    seen: dict[Key, Entry] = {}
    for index in range(len(entries)):
        entry = _entry(problems, entries, index, engine)
        if entry is None:
            continue
        first = seen.setdefault(entry.key, entry)
        if first.decision != entry.decision:
            problems.add("another entry decides otherwise about the same message.", entries, index)
        yield entry


def _entry(problems: Problems, entries: Any, index: int, engine: Engine) -> Entry | None:
    """None: nothing is decided, or the entry is broken."""
    node = problems.mapping(entries, index, "an entry")
    if node is None:
        return None
    problems.keys(node, _KEYS, "an entry")
    missing = [key for key in _NEEDED if key not in node]
    if missing:
        problems.add(f"an entry needs `{missing[0]}`.", entries, index)
    if missing or node.get("decision") is None:
        return None
    test, message = problems.text(node, "test", "`test`"), problems.text(node, "message", "`message`")
    original = problems.text(node, "rephrases", "`rephrases`") if "rephrases" in node else message
    turn = node["turn"]
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 1:
        problems.add("`turn` must be a number from 1 on.", node, "turn")
    decision = _read_decision(problems, node, engine)
    commands = _commands(problems, node, "commands", engine) if decision == ACCEPT else _shown(node, "commands", engine)
    if test is None or message is None or original is None or decision is None:
        return None
    other = _shown(node, "other", engine) if "other" in node else None
    history = tuple(map(str, node.get("history") or ()))
    return Entry(test, turn, message, original, history, commands, str(node.get("reason") or ""), other, decision)


def _read_decision(problems: Problems, node: Mapping[str, Any], engine: Engine) -> Decision | None:
    written = node["decision"]
    if isinstance(written, list):
        commands = _commands(problems, node, "decision", engine)
        if not written:
            problems.add("`decision` is empty.", node, "decision", f"Write `{REJECT}` to leave the message out.")
        return commands
    if written == ACCEPT:
        return ACCEPT
    if written == REJECT:
        return REJECT
    hint = did_you_mean(str(written), (ACCEPT, REJECT))
    problems.add(f"`decision` must be {ACCEPT}, {REJECT} or a list of commands.{hint}", node, "decision")
    return None


def _commands(problems: Problems, node: Mapping[str, Any], key: str, engine: Engine) -> tuple[Command, ...]:
    found: list[Command] = []
    lines = problems.items(node, key, f"`{key}`", empty=True)
    for index in range(len(lines)):
        line = problems.text(lines, index, f"an entry of `{key}`")
        commands = engine.codec.parse(line) if line else ()
        unknown = next(filter(None, (_unknown(command, engine) for command in commands)), None)
        if line and (len(commands) != 1 or unknown):
            problems.add(unknown or f"'{line}' is not a command.", lines, index)
        found += commands
    return tuple(found)


def _shown(node: Mapping[str, Any], key: str, engine: Engine) -> tuple[Command, ...]:
    """Commands that decide nothing: they may be of an earlier version of the assistant."""
    lines = node[key]
    return engine.codec.parse("\n".join(map(str, lines))) if isinstance(lines, list) else ()


def _unknown(command: Command, engine: Engine) -> str | None:
    """What the assistant does not have of the things that a command names."""
    if isinstance(command, SetSlot) and command.slot not in engine.slots:
        return f"there is no slot '{command.slot}'.{did_you_mean(command.slot, engine.slots)}"
    flows = (
        [command.flow] if isinstance(command, StartFlow) else command.options if isinstance(command, Clarify) else []
    )
    flow = next((flow for flow in flows if flow not in engine.flows), None)
    return f"there is no flow '{flow}'.{did_you_mean(flow, engine.flows)}" if flow else None


# --- writing ---------------------------------------------------------------------------------------------------------


def open_entries(conversations: Iterable[RephrasedConversation]) -> tuple[Entry, ...]:
    """An entry for each doubt, in the order of the conversations."""
    return tuple(
        _entry_of(conversation.key, number, turn.turn, doubt)
        for conversation in conversations
        for number, turn in enumerate(conversation.turns, start=1)
        for doubt in (turn.turn.doubt, *turn.doubts)
        if doubt is not None
    )


def _entry_of(test: str, number: int, turn: AnnotatedTurn, doubt: Doubt) -> Entry:
    history = tuple(turn.before.splitlines()[-_SHOWN:])
    return Entry(test, number, doubt.text, turn.text, history, doubt.commands, doubt.reason, doubt.other)


def write_review(file: Path, entries: Sequence[Entry], review: Review, codec: Codec) -> None:
    """Write ``entries`` and, behind them, everything that is decided already; no file if there is neither."""
    if not entries and not review.entries:
        return
    content = {"review": [_as_yaml(entry, codec) for entry in (*entries, *review.entries)]}
    write_text(file, _HEAD + dump_yaml(content))


def _as_yaml(entry: Entry, codec: Codec) -> dict[str, Any]:
    content: dict[str, Any] = {"test": entry.test, "turn": entry.turn}
    if entry.history:
        content["history"] = list(entry.history)
    if entry.original != entry.message:
        content["rephrases"] = entry.original
    content["message"] = entry.message
    content["commands"] = codec.dump(entry.commands).splitlines()
    if entry.other is not None:
        content["other"] = codec.dump(entry.other).splitlines()
    return {**content, "reason": entry.reason, "decision": _decision(entry, codec)}


def _decision(entry: Entry, codec: Codec) -> str | list[str] | None:
    return codec.dump(entry.decision).splitlines() if isinstance(entry.decision, tuple) else entry.decision


# --- deciding --------------------------------------------------------------------------------------------------------


def with_decisions(conversation: AnnotatedConversation, review: Review) -> AnnotatedConversation:
    """The conversation with the labels of its own messages as they were decided."""
    turns = [
        _decided(turn, review.at(conversation.key, index, turn.text).get(turn.text))
        for index, turn in enumerate(conversation.turns)
    ]
    return replace(conversation, turns=tuple(turns))


def _decided(turn: AnnotatedTurn, entry: Entry | None) -> AnnotatedTurn:
    if entry is None or not turn.annotated:
        return turn
    if entry.decision == REJECT:
        return replace(turn, annotated=False, rephrase=False)
    return turn if entry.decided == turn.turn.parsed else replace(turn, written=entry.decided)
