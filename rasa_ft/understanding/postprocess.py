"""From what a model wrote to commands that fit the assistant and the moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rasa_ft.calm.commands import CannotHandle, Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.dialogue.messages import asking_step
from rasa_ft.calm.dialogue.offering import available_flows
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.understanding.rendering import current_user_flow

# A slot name under which some models announce the flow to start.
_FLOW_SLOT = "flow_name"


def fitting(parsed: Sequence[Command], tracker: Tracker, runtime: Runtime) -> tuple[Command, ...]:
    """``parsed`` without flows that cannot be meant and slots that are not open.

    If nothing can be meant the result is one `CannotHandle`; it is empty if no slot that was meant is open.
    """
    known = available_flows(tracker, runtime)
    commands = [command for item in parsed if (command := _with_known_flows(item, known)) is not None]
    commands = [command for command in commands or [CannotHandle()] if _is_open(command, tracker, runtime)]
    return tuple(_forced(commands, tracker, runtime))


def startable_only(commands: Iterable[Command], tracker: Tracker, runtime: Runtime) -> tuple[Command, ...]:
    """``commands`` without starts of flows that are not available; for messages that no model has read."""
    known = available_flows(tracker, runtime)
    return tuple(command for command in commands if not isinstance(command, StartFlow) or command.flow in known)


def _with_known_flows(command: Command, known: Iterable[str]) -> Command | None:
    if isinstance(command, SetSlot) and command.slot == _FLOW_SLOT:
        command = StartFlow(str(command.value))
    if isinstance(command, StartFlow):
        return command if command.flow in known else None
    if isinstance(command, Clarify):
        options = tuple(sorted({option for option in command.options if option in known}))
        return StartFlow(options[0]) if len(options) == 1 else Clarify(options)
    return command


def _is_open(command: Command, tracker: Tracker, runtime: Runtime) -> bool:
    """Whether the conditions of the slot's mappings let it be filled now."""
    slot = runtime.domain.slots.get(command.slot) if isinstance(command, SetSlot) else None
    return slot is None or slot.mapping_allowed(current_user_flow(tracker), tracker.stack.requested_slot)


def _forced(commands: list[Command], tracker: Tracker, runtime: Runtime) -> list[Command]:
    """Only values for the slot being asked for, if its question insists on an answer."""
    step = asking_step(tracker, runtime)
    if step is None or not step.force_slot_filling:
        return commands
    answers = [command for command in commands if isinstance(command, SetSlot) and command.slot == step.slot]
    return [*answers] or [CannotHandle()]
