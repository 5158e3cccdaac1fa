"""The grammar of exactly the commands that make sense now: known flows, slots that can be filled, allowed values.

A server that decodes by it (vLLM's ``structured_outputs``) can emit nothing else, however small the model. The notation
is that of GBNF, as xgrammar and llama.cpp read it: ``rule ::= "literal" | other-rule``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

from rasa_ft.calm.commands import (
    CancelFlow,
    CannotHandle,
    ChitChat,
    Clarify,
    Command,
    Knowledge,
    Repeat,
    SetSlot,
    SkipQuestion,
    StartFlow,
)
from rasa_ft.calm.dialogue.offering import offered_flows
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.slots import Slot

_WITHOUT_ARGUMENTS = (CancelFlow, ChitChat, Knowledge, SkipQuestion, Repeat, CannotHandle)
_PLACE, _OTHER_PLACE = "\x00", "\x01"

# A slot that can be filled, with the values it may take: None is any text on one line.
Choice = tuple[str, tuple[str, ...] | None]
_NUMBER = ("number",)


def command_grammar(tracker: Tracker, runtime: Runtime, syntax: str, retrieved: Sequence[str] | None = None) -> str:
    """The grammar for an answer to the next message, in command syntax ``syntax`` (v1, v2, v3).

    Flows are those that the prompt lists (`rasa_ft.calm.dialogue.offering.offered_flows`).

    An answer is lines of commands. A slot may be set if a flow under way collects it, if it is being asked, or after
    the start of a flow that collects it; after the starts of several flows, any slot that a flow collects.
    """
    flows = offered_flows(tracker, runtime, retrieved)
    offered = tuple((flow_id, _of_flow(flow_id, runtime)) for flow_id in flows)
    return _grammar(offered, tuple(_settable(tracker, runtime)), syntax)


def _settable(tracker: Tracker, runtime: Runtime) -> dict[Choice, None]:
    """Slots of the flows under way, and the one being asked, as an ordered set."""
    frames = (frame for frame in tracker.stack.frames if isinstance(frame, UserFrame))
    choices = {choice: None for frame in frames for choice in _of_flow(frame.flow_id, runtime)}
    asked = runtime.domain.slots.get(tracker.stack.requested_slot or "")
    return choices | ({_choice(asked): None} if asked else {})


def _of_flow(flow_id: str, runtime: Runtime) -> tuple[Choice, ...]:
    flow = runtime.flows.get(flow_id)
    steps = collect_steps(flow, runtime.flows) if flow else ()
    names = dict.fromkeys(step.slot for step in steps if not step.ask_before_filling)
    slots = (runtime.domain.slots.get(name) for name in names)
    return tuple(_choice(slot) for slot in slots if slot is not None and slot.is_llm_fillable)


def _choice(slot: Slot) -> Choice:
    if slot.type == "bool":
        return slot.name, ("true", "false")
    if slot.type == "categorical":
        return slot.name, tuple(slot.values)
    return slot.name, _NUMBER if slot.type == "float" else None


@lru_cache(maxsize=256)
def _grammar(offered: tuple[tuple[str, tuple[Choice, ...]], ...], settable: tuple[Choice, ...], syntax: str) -> str:
    rules = _Rules(syntax)
    lines = [rules.fixed(kind()) for kind in _WITHOUT_ARGUMENTS]
    lines += [rules.start(flow_id, choices) for flow_id, choices in offered]
    if len(offered) > 1:
        lines.append(rules.clarify([flow_id for flow_id, _ in offered]))
        lines.append(rules.several_starts(offered))
    if settable:
        lines.append(rules.set_slot("now", settable))
    return rules.text(f'line ("\\n" line)*\nline ::= {" | ".join(lines)}')


class _Rules:
    """Collects named rules; every method gives what stands for a line in another rule."""

    def __init__(self, syntax: str) -> None:
        self._codec = codec_for(syntax)
        self._rules: dict[str, str] = {}

    def fixed(self, command: Command) -> str:
        return _literal(self._codec.dump([command]))

    def start(self, flow_id: str, choices: Sequence[Choice]) -> str:
        """A flow's start, and its slots on the lines after it."""
        literal = self.fixed(StartFlow(flow_id))
        if not choices:
            return literal
        return self._rule(f"start-{flow_id}", f'{literal} ("\\n" {self.set_slot(flow_id, choices)})*')

    def several_starts(self, offered: Sequence[tuple[str, tuple[Choice, ...]]]) -> str:
        """Starts of several flows with the slots of all of them at the end."""
        starts = self._rule("any-start", " | ".join(self.fixed(StartFlow(flow_id)) for flow_id, _ in offered))
        choices = list(dict.fromkeys(choice for _, choices in offered for choice in choices))
        slots = f' ("\\n" {self.set_slot("any", choices)})*' if choices else ""
        return f'{starts} ("\\n" {starts})+{slots}'

    def set_slot(self, owner: str, choices: Sequence[Choice]) -> str:
        return self._rule(f"set-{owner}", " | ".join(line for choice in choices for line in self._set(choice)))

    def clarify(self, flow_ids: Sequence[str]) -> str:
        before, between, after = _split(self._codec.dump([Clarify((_PLACE, _OTHER_PLACE))]))
        flow = self._rule("flow", " | ".join(map(_literal, flow_ids)))
        return f"{_literal(before)} {flow} ({_literal(between)} {flow})+ {_literal(after)}".removesuffix(' ""')

    def text(self, root: str) -> str:
        rules = {"root": root, **self._rules, "text": "[^\\n]+", "number": '"-"? [0-9]+ ("." [0-9]+)?'}
        return "\n".join(f"{name} ::= {rule}" for name, rule in rules.items()) + "\n"

    def _set(self, choice: Choice) -> Iterator[str]:
        slot, values = choice
        if values is not None and values is not _NUMBER:
            yield from (self.fixed(SetSlot(slot, value)) for value in values)
            return
        before, _, after = self._codec.dump([SetSlot(slot, _OTHER_PLACE)]).partition(_OTHER_PLACE)
        yield f"{_literal(before)} {'number' if values else 'text'} {_literal(after)}".removesuffix(' ""')

    def _rule(self, name: str, body: str) -> str:
        name = name.replace("_", "-")
        self._rules[name] = body
        return name


def _split(dumped: str) -> tuple[str, str, str]:
    before, _, rest = dumped.partition(_PLACE)
    between, _, after = rest.partition(_OTHER_PLACE)
    return before, between, after


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
