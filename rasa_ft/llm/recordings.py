"""Provider ``recorded``: answers written by people, played back by message and place in the conversation.

A recording is a YAML file (or a folder of them)::

    turns:
      - user: can I take my bike along
        context: {flow: book_ticket, slot: passengers}   # optional: what was active and asked when the message came
        commands: [provide info]
        rephrasings:
          - is it ok to bring a bicycle                    # same commands
          - {user: can I add another seat, commands: [set slot passengers 2]}

It answers two kinds of question, told apart by the hint ``purpose``: ``commands`` (the commands of a message, one a
line) and ``rephrase`` (a JSON list of rephrasings). Nothing is guessed: what is not recorded is an error.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError, Location, NotRecorded
from rasa_ft.llm.client import Completion, Request
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

# A context that does not mention the flow (or slot); `flow: null` in a file means that none is active.
_ANY = object()
_TURN_KEYS = ("user", "context", "commands", "rephrasings")


@dataclass(frozen=True)
class Entry:
    """One recorded message; ``rephrasings`` is None for a message that is itself a rephrasing."""

    message: str
    flow: Any
    slot: Any
    commands: str
    rephrasings: tuple[str, ...] | None
    location: Location | None


class RecordedLLM:
    """Answers from recordings; see the module's docstring."""

    def __init__(self, entries: Iterable[Entry], *, model: str, source: Path) -> None:
        self._model = model
        self._source = source
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self._entries[_key(entry.message)].append(entry)

    async def complete(self, request: Request) -> Completion:
        answer = self._rephrasings(request.hints) if request.hints.get("purpose") == "rephrase" else None
        text = answer if answer is not None else self._commands(request.hints)
        return Completion(text=text, model=self._model, latency=0.0)

    def _commands(self, hints: Mapping[str, Any]) -> str:
        return self._look_up(hints, self._candidates(hints), lambda entry: entry.commands).commands

    def _rephrasings(self, hints: Mapping[str, Any]) -> str:
        originals = [entry for entry in self._candidates(hints) if entry.rephrasings is not None]
        entry = self._look_up(hints, originals, lambda entry: entry.rephrasings)
        # A further round has nothing to add; of a round in several parts, ``asked`` were in the earlier ones.
        start, number = hints.get("asked", 0), hints.get("number")
        left = [] if hints.get("round") else list(entry.rephrasings or ())[start:]
        return json.dumps(left[:number], ensure_ascii=False)

    def _candidates(self, hints: Mapping[str, Any]) -> list[Entry]:
        return self._entries.get(_key(str(hints.get("user_message", ""))), [])

    def _look_up(self, hints: Mapping[str, Any], candidates: list[Entry], answer: Callable[[Entry], Any]) -> Entry:
        flow, slot = hints.get("active_flow"), hints.get("requested_slot")
        ranks: tuple[Callable[[Entry], bool], ...] = (
            lambda entry: entry.flow == flow and entry.slot == slot,
            lambda entry: entry.flow == flow and entry.slot is _ANY,
            lambda entry: entry.flow is _ANY and entry.slot == slot,
            lambda entry: entry.flow is _ANY and entry.slot is _ANY,
            lambda entry: entry.flow == flow,
            lambda entry: True,
        )
        for fits in ranks:
            found = [entry for entry in candidates if fits(entry)]
            if found and all(answer(entry) == answer(found[0]) for entry in found):
                return found[0]
        message = str(hints.get("user_message", ""))
        if candidates:
            places = ", ".join(str(entry.location) for entry in candidates[:3])
            raise NotRecorded(
                f"'{message}' is recorded, but not for flow {flow or 'none'} and asked slot {slot or 'none'}.",
                hint=f"Add a turn with that context; see {places}.",
            )
        raise NotRecorded(
            f"'{message}' is not recorded (flow {flow or 'none'}, asked slot {slot or 'none'}).",
            hint=f"Add it to {self._source}, or use a real model in endpoints.yml.",
        )


def load_recordings(path: Path, *, model: str) -> RecordedLLM:
    """The recorded model of a file or of all YAML files below a folder.

    Raises:
        DataError: nothing there, unknown keys, or one message with two answers for one context; with file and line.
    """
    files = sorted(file for suffix in ("*.yml", "*.yaml") for file in path.rglob(suffix)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no recordings (*.yml).")
    errors: list[DataError] = []
    entries: list[Entry] = []
    for file in files:
        for entry in _read(file):
            errors.append(entry) if isinstance(entry, DataError) else entries.append(entry)
    errors.extend(_conflicts(entries))
    if errors:
        raise DataError.collected(errors)
    return RecordedLLM(entries, model=model, source=path)


def _read(file: Path) -> Iterator[Entry | DataError]:
    content = load_yaml(file) or {}
    turns = content.get("turns") if isinstance(content, Mapping) else None
    if not isinstance(turns, list):
        yield DataError("a list under `turns:` is needed.", location=Location(file, 1))
        return
    for index, node in enumerate(turns):
        try:
            yield from _turn(node, location_of(turns, index))
        except DataError as error:
            yield error


def _turn(node: Any, location: Location | None) -> list[Entry]:
    if not isinstance(node, Mapping) or not isinstance(node.get("user"), str):
        raise DataError("a turn needs `user:` with a text (quote yes, no and numbers).", location=location)
    unknown = [key for key in node if key not in _TURN_KEYS]
    if unknown:
        raise DataError(
            f"unknown key '{unknown[0]}'.{did_you_mean(unknown[0], _TURN_KEYS)}", location=location_of(node, unknown[0])
        )
    commands = _command_lines(node, location)
    context = _optional(node, "context", Mapping, "a mapping of flow and slot") or {}
    place = {"flow": context.get("flow", _ANY), "slot": context.get("slot", _ANY)}
    rephrased = [
        _rephrasing(item, commands, place, location_of(node["rephrasings"], index) or location)
        for index, item in enumerate(_optional(node, "rephrasings", list, "a list") or [])
    ]
    original = Entry(
        message=node["user"],
        commands=commands,
        rephrasings=tuple(entry.message for entry in rephrased),
        location=location,
        **place,
    )
    return [original, *rephrased]


def _optional(node: Mapping[str, Any], key: str, kind: type, what: str) -> Any:
    value = node.get(key)
    if value is not None and not isinstance(value, kind):
        raise DataError(f"`{key}:` must be {what}, not {value!r}.", location=location_of(node, key))
    return value


def _rephrasing(item: Any, commands: str, place: Mapping[str, Any], location: Location | None) -> Entry:
    if isinstance(item, Mapping):
        if not isinstance(item.get("user"), str):
            raise DataError("a rephrasing needs `user:` with a text.", location=location)
        return Entry(item["user"], place["flow"], place["slot"], _command_lines(item, location), None, location)
    if not isinstance(item, str):
        raise DataError(f"a rephrasing must be a text, not {item!r}; quote it.", location=location)
    return Entry(item, place["flow"], place["slot"], commands, None, location)


def _command_lines(node: Mapping[str, Any], location: Location | None) -> str:
    commands = node.get("commands")
    if not isinstance(commands, list) or not all(isinstance(line, str) for line in commands):
        raise DataError("`commands:` must be a list of texts.", location=location)
    return "\n".join(commands)


def _conflicts(entries: Iterable[Entry]) -> Iterator[DataError]:
    seen: dict[tuple[str, Any, Any], Entry] = {}
    for entry in entries:
        first = seen.setdefault((_key(entry.message), entry.flow, entry.slot), entry)
        if first.commands != entry.commands:
            yield DataError(
                f"'{entry.message}' is recorded with other commands at {first.location}.",
                location=entry.location,
                hint="Give the two turns different contexts, or make their commands equal.",
            )


def _key(message: str) -> str:
    return " ".join(message.split())
