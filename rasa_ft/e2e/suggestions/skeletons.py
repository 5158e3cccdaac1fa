"""Walks as test cases in which only the words of the user are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import Command, SetSlot, StartFlow
from rasa_ft.calm.dialogue.cleanup import PAYLOAD_READER
from rasa_ft.calm.dialogue.payloads import PREFIX
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.flows.model import ActionStep, CallStep, CollectStep, Flow, LinkStep, Step
from rasa_ft.calm.project.domain import Domain
from rasa_ft.e2e import model as m
from rasa_ft.e2e.coverage import Node, relative
from rasa_ft.e2e.scope import UNWRITTEN
from rasa_ft.e2e.suggestions.values import FREE
from rasa_ft.e2e.suggestions.walks import Taken, Visit, Walk
from rasa_ft.errors import Location

_FIXTURE = "at_first"
_PLACE = Location(Path("suggested.yml"), 1)


@dataclass(frozen=True)
class Suggestion:
    """A test case whose messages are still to be written.

    ``group``: the flow that it is about, or what else its file is named after. ``commands``: what each message has to
    be understood as, in order. ``visits``: steps that no test visits and that it leads to. ``remarks``: lines for the
    reader, by the index of the step of ``case`` that they stand before; the index after the last is the end.
    """

    group: str
    case: m.TestCase
    commands: tuple[tuple[Command, ...], ...]
    visits: tuple[Node, ...] = ()
    about: tuple[str, ...] = ()
    remarks: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Skeleton:
    """A case in the making."""

    def __init__(self) -> None:
        self.steps: list[m.Step] = []
        self.commands: list[tuple[Command, ...]] = []
        self.remarks: dict[int, tuple[str, ...]] = {}

    def say(self, wish: str, *commands: Command) -> None:
        """A message that ``wish`` describes to whoever writes it."""
        written = codec_for("v2").dump(commands).replace("\n", ", ")
        self.steps.append(m.UserStep(_PLACE, f"{UNWRITTEN} {wish} ({written})"))
        self.commands.append(commands)

    def press(self, command: SetSlot) -> None:
        """A button whose payload fills a slot."""
        start = f"{UNWRITTEN} " if command.value == FREE else ""
        self.steps.append(m.UserStep(_PLACE, f"{start}{PREFIX}({command.slot}={command.value})"))
        self.commands.append((command,))

    def expect(self, utter: str) -> None:
        self.steps.append(m.UtterStep(_PLACE, utter))

    def expect_slot(self, slot: str, value: Any) -> None:
        has_value = value != FREE
        self.steps.append(m.SlotWasSetStep(_PLACE, slot, value if has_value else None, has_value=has_value))

    def remark(self, line: str) -> None:
        """A line for the reader, before the next step."""
        index = len(self.steps)
        self.remarks[index] = (*self.remarks.get(index, ()), " ".join(line.split()))

    def suggestion(
        self,
        group: str,
        name: str,
        *,
        fixtures: tuple[tuple[str, Any], ...] = (),
        visits: tuple[Node, ...] = (),
        about: tuple[str, ...] = (),
    ) -> Suggestion:
        sets = (m.Fixture(_FIXTURE, fixtures),) if fixtures else ()
        name = " ".join(name.replace("::", ":").split())
        case = m.TestCase(name, _PLACE.file, _PLACE, tuple(self.steps), fixture_sets=sets)
        return Suggestion(group, case, tuple(self.commands), visits, about, self.remarks)


def of_walk(flow: Flow, walk: Walk, new: Iterable[Node], domain: Domain, root: Path | None) -> Suggestion:
    """The case that goes the way of ``walk``, found for ``flow``; ``new`` are the steps that no test visits."""
    new = frozenset(new)
    skeleton = Skeleton()
    follow(skeleton, walk, domain, root)
    visited = tuple(visit for visit in dict.fromkeys(walk.visits) if visit.node in new)
    own = [visit for visit in visited if visit.flow.id == flow.id]
    return skeleton.suggestion(
        flow.id,
        f"{flow.name}: {label(own[-1].step)}",
        fixtures=walk.fixtures,
        visits=tuple(dict.fromkeys(visit.node for visit in visited)),
        about=_about(visited, root),
    )


def follow(skeleton: Skeleton, walk: Walk, domain: Domain, root: Path | None) -> None:
    """Add all that is said on ``walk``, up to a question that has no answer yet."""
    skeleton.say(f"ask for {walk.flow.name}", StartFlow(walk.flow.id))
    for index, item in enumerate(walk.path):
        if isinstance(item, Taken):
            _add_branch(skeleton, item, walk, domain, root)
            continue
        if utter := _utter(item, domain):
            skeleton.expect(utter)
        if isinstance(item.step, CollectStep) and item.asks and index + 1 < len(walk.path):
            add_answer(skeleton, item.step, walk.answer(index), domain)


def label(step: Step) -> str:
    """A step in a few words, such as ``call find_booking``."""
    match step:
        case ActionStep():
            return step.action
        case CollectStep():
            return f"collect {step.slot}"
        case CallStep():
            return f"call {step.flow}"
        case LinkStep():
            return f"link {step.flow}"
    return step.id


def _utter(visit: Visit, domain: Domain) -> str | None:
    """The response that a step says for certain."""
    step = visit.step
    name = step.action if isinstance(step, ActionStep) else None
    if isinstance(step, CollectStep) and visit.asks:
        name = step.utter
    return name if name in domain.responses else None


def add_answer(skeleton: Skeleton, step: CollectStep, value: Any, domain: Domain) -> None:
    """Add the answer to a question: a message, or the button to press where no message can fill the slot."""
    for rejection in step.rejections if value == FREE else ():
        skeleton.remark(f"refused if {rejection.condition}")
    slot = domain.slots.get(step.slot)
    if slot is None or slot.is_llm_fillable:
        skeleton.say(f"give {step.slot.replace('_', ' ')}", SetSlot(step.slot, value))
    else:
        skeleton.press(SetSlot(step.slot, value, PAYLOAD_READER))
    skeleton.expect_slot(step.slot, value)


def _add_branch(skeleton: Skeleton, taken: Taken, walk: Walk, domain: Domain, root: Path | None) -> None:
    place = taken.branch.location or taken.step.location
    refuted = "; ".join(f"not: {condition}" for condition in taken.refuted)
    reason = f"if {taken.branch.condition}" if taken.branch.condition else f"else ({refuted})"
    skeleton.remark(f"{relative(place.file, root)}:{place.line} is taken: {reason}")
    if taken.is_open:
        before = replace(walk, path=walk.path[: walk.path.index(taken)])
        ran = next((action for action in before.actions if action in domain.custom_actions), "the conversation so far")
        skeleton.remark(f"TODO: that is up to {ran}; write messages that lead there.")


def _about(visited: Iterable[Visit], root: Path | None) -> tuple[str, ...]:
    """Where the steps stand, and what they are."""
    places = ((visit.step.location, label(visit.step)) for visit in visited)
    return tuple(f"{relative(place.file, root)}:{place.line} {name}" for place, name in places)
