"""Every text and every slot value of a test case, in one place: to read them all, or to write them all anew.

Names of slots, flows, actions, responses and files are none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from rasa_ft.calm.commands import Command, SetSlot
from rasa_ft.calm.events import Button
from rasa_ft.e2e.assertions import Assertion, BotDidNotUtterAssertion, BotUtteredAssertion, ExpectedSlot
from rasa_ft.e2e.assertions import SlotWasNotSetAssertion as NotSet
from rasa_ft.e2e.assertions import SlotWasSetAssertion as WasSet
from rasa_ft.e2e.cases import BotStep, Fixture, Metadata, SlotWasNotSetStep, SlotWasSetStep, Step, TestCase, UserStep
from rasa_ft.e2e.du_cases import DuUserStep
from rasa_ft.e2e.judging import GroundedAssertion
from rasa_ft.engine.base import Stub

AnyUserStep = TypeVar("AnyUserStep", bound=UserStep)
# Keys of an action server's events and responses whose values are names, not data.
_NAMES = frozenset({"event", "name", "type", "template", "response"})


class Writer(Protocol):
    """Gives the new text for each old one."""

    def text(self, text: str) -> str:
        """What somebody says, or what the test's author wrote."""

    def pattern(self, pattern: str) -> str:
        """A regular expression for what the bot says."""

    def value(self, value: str | int, slot: str | None) -> str | int:
        """A value of ``slot``, or of anything else where that is None; bool is left out."""


def rewritten(case: TestCase, writer: Writer) -> TestCase:
    """``case`` with everything that is said, set or expected in it written anew; an equal one if nothing changes.

    Its name and the names of its fixtures and metadata are texts too, and so is ``source``, which names output files.
    """
    return replace(
        case,
        name=writer.text(case.name),
        source=writer.text(case.source),
        steps=tuple(_step(step, writer) for step in case.steps),
        fixture_sets=tuple(
            Fixture(writer.text(found.name), tuple((slot, _deep(value, slot, writer)) for slot, value in found.slots))
            for found in case.fixture_sets
        ),
        case_metadata=_metadata(case.case_metadata, writer),
        stubs=None if case.stubs is None else {action: _stub(stub, writer) for action, stub in case.stubs.items()},
    )


def rewritten_command(command: Command, writer: Writer) -> Command:
    """``command`` with its value written anew, if it sets a slot."""
    if isinstance(command, SetSlot):
        return replace(command, value=_deep(command.value, command.slot, writer))
    return command


def _step(step: Step, writer: Writer) -> Step:
    match step:
        case DuUserStep():
            commands = tuple(rewritten_command(command, writer) for command in step.commands)
            return replace(_user_step(step, writer), commands=commands)
        case UserStep():
            return _user_step(step, writer)
        case BotStep():
            return replace(step, text=writer.text(step.text))
        case SlotWasSetStep() | SlotWasNotSetStep():
            return replace(step, value=_deep(step.value, step.slot, writer))
    return step


def _user_step(step: AnyUserStep, writer: Writer) -> AnyUserStep:
    return replace(
        step,
        text=writer.text(step.text),
        metadata=_deep(step.metadata, None, writer),
        assertions=tuple(_assertion(assertion, writer) for assertion in step.assertions),
        own_metadata=_metadata(step.own_metadata, writer),
    )


def _metadata(metadata: Metadata | None, writer: Writer) -> Metadata | None:
    if metadata is None:
        return None
    return Metadata(writer.text(metadata.name), _deep(metadata.values, None, writer))


def _deep(value: Any, slot: str | None, writer: Writer) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return writer.value(value, slot)
    if isinstance(value, Mapping):
        return {key: _deep(entry, slot, writer) for key, entry in value.items()}
    if isinstance(value, list):
        return [_deep(entry, slot, writer) for entry in value]
    return value


# --- stubs -----------------------------------------------------------------------------------------------------------


def _stub(stub: Stub, writer: Writer) -> Stub:
    return replace(
        stub,
        events=tuple(_answer(event, writer) for event in stub.events),
        responses=tuple(_answer(response, writer) for response in stub.responses),
    )


def _answer(answer: Mapping[str, Any], writer: Writer) -> Mapping[str, Any]:
    slot = answer.get("name") if answer.get("event") == "slot" else None
    return {key: value if key in _NAMES else _deep(value, slot, writer) for key, value in answer.items()}


# --- assertions ------------------------------------------------------------------------------------------------------


def _assertion(assertion: Assertion, writer: Writer) -> Assertion:
    match assertion:
        case WasSet() | NotSet():
            slots = tuple(replace(slot, value=_deep(slot.value, slot.name, writer)) for slot in assertion.slots)
            new: Assertion = replace(assertion, slots=slots, written=_slots_as_written(assertion.written, slots))
            return assertion if slots == assertion.slots else new
        case BotUtteredAssertion() | BotDidNotUtterAssertion():
            return _bot_assertion(assertion, writer)
        case GroundedAssertion(ground_truth=str(old)):
            truth = writer.text(old)
            new = replace(assertion, ground_truth=truth, written={**assertion.written, "ground_truth": truth})
            return assertion if truth == old else new
    return assertion


def _slots_as_written(written: Any, slots: tuple[ExpectedSlot, ...]) -> list[dict[str, Any]]:
    pairs = zip(written, slots, strict=True)
    return [{key: slot.value if key == "value" else entry[key] for key in entry} for entry, slot in pairs]


def _bot_assertion(
    assertion: BotUtteredAssertion | BotDidNotUtterAssertion, writer: Writer
) -> BotUtteredAssertion | BotDidNotUtterAssertion:
    pattern = None if assertion.text_matches is None else writer.pattern(assertion.text_matches)
    buttons = tuple(Button(writer.text(button.title), writer.text(button.payload)) for button in assertion.buttons)
    if (pattern, buttons) == (assertion.text_matches, assertion.buttons):
        return assertion
    new = {
        "text_matches": pattern,
        "buttons": [{"title": button.title, "payload": button.payload} for button in buttons],
    }
    written = {key: new.get(key, value) for key, value in assertion.written.items()}
    return replace(assertion, text_matches=pattern, buttons=buttons, written=written)
