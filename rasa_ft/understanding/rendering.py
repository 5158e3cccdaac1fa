"""The prompt that asks a model for commands: what a template is given, and how it is rendered.

Templates get the variables of CALM's command generators and nothing else, so that one file works in both runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from rasa_ft.calm.commands import Error
from rasa_ft.calm.events import BotUttered, UserUttered
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import CollectStep, Flow
from rasa_ft.calm.messages import EMPTY, TOO_LONG, asking_step
from rasa_ft.calm.offering import available_flows
from rasa_ft.calm.runtime import Runtime
from rasa_ft.calm.slots import Slot
from rasa_ft.calm.stack import CollectFrame, Frame, FrameKind, UserFrame
from rasa_ft.calm.tracker import Tracker
from rasa_ft.errors import DataError, Location

PROMPTS = Path(__file__).parent / "prompts"
TEACHER = PROMPTS / "teacher.jinja2"
STUDENT = PROMPTS / "student.jinja2"

# Lines of the conversation that a prompt shows, the new message not counted.
HISTORY_LINES = 20
UNSET = "undefined"


def render_prompt(template: Path, variables: Mapping[str, Any]) -> str:
    """Fill a jinja file in a sandbox.

    Raises:
        DataError: the file is missing, or is no valid template for these variables.
    """
    try:
        modified = template.stat().st_mtime_ns
    except OSError:
        raise DataError(
            f"the prompt template {template} does not exist.", hint="Check prompt_template in config.yml."
        ) from None
    try:
        return _template(template, modified).render(variables)
    except UnicodeDecodeError:
        raise DataError(f"{template} is not UTF-8 text.") from None
    except (TemplateError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        line = getattr(error, "lineno", None) or 1
        raise DataError(f"the prompt cannot be rendered: {error}", location=Location(template, line)) from error


@lru_cache(maxsize=64)
def _template(path: Path, modified: int) -> Template:
    environment = SandboxedEnvironment(autoescape=False, loader=FileSystemLoader(path.parent))
    environment.filters["to_json_escaped_string"] = _to_json_escaped_string
    return environment.get_template(path.name)


def _to_json_escaped_string(text: Any) -> str:
    """``text`` as it stands between the quotes of a JSON string."""
    return json.dumps(str(text))[1:-1]


def prompt_variables(text: str, tracker: Tracker, runtime: Runtime, now: datetime | None = None) -> Mapping[str, Any]:
    """What a template is given when the user says ``text`` now.

    Args:
        now: the time to show, with its zone; the slot ``mocked_datetime`` goes before it. None: no time is shown.
    """
    flow_id = current_flow(tracker)
    message = one_line(text)
    variables: dict[str, Any] = {
        "available_flows": [_flow(flow, tracker, runtime) for flow in available_flows(tracker, runtime).values()],
        "current_flow": flow_id,
        "flow_slots": _flow_slots(runtime.flows.get(flow_id or ""), tracker, runtime),
        "current_conversation": transcript(tracker, message),
        "user_message": message,
        **_asked(tracker, runtime),
    }
    if now is not None:
        variables["current_datetime"] = _mocked_time(tracker, now) or now
    return variables


def current_flow(tracker: Tracker) -> str | None:
    """The flow on top, questions and called flows left out of account; it may be a pattern."""
    frame = next((frame for frame in reversed(tracker.stack.frames) if not _is_passed_over(frame)), None)
    return frame.flow_id if frame else None


def current_user_flow(tracker: Tracker) -> str | None:
    """As `current_flow`; None for a pattern."""
    flow_id = current_flow(tracker)
    return None if flow_id is None or flow_id.startswith("pattern_") else flow_id


def _is_passed_over(frame: Frame) -> bool:
    called = isinstance(frame, UserFrame) and frame.kind is FrameKind.CALL
    return called or isinstance(frame, CollectFrame)


def one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _mocked_time(tracker: Tracker, now: datetime) -> datetime | None:
    mocked = tracker.slots.get("mocked_datetime")
    if not mocked:
        return None
    try:
        moment = datetime.fromisoformat(str(mocked))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo or ZoneInfo("UTC"))


# -- slots ----------------------------------------------------------------------------------------------------------


def _flow(flow: Flow, tracker: Tracker, runtime: Runtime) -> dict[str, Any]:
    slots = [
        {"name": slot.name, "description": step.description, "allowed_values": allowed_values(slot)}
        for step, slot in _shown_slots(flow, tracker, runtime, asked=None)
    ]
    return {"name": flow.id, "description": flow.description, "slots": slots}


def _flow_slots(flow: Flow | None, tracker: Tracker, runtime: Runtime) -> list[dict[str, Any]]:
    if flow is None:
        return []
    return [
        {
            "name": slot.name,
            "value": _shown_value(tracker.slots.get(slot.name)),
            "type": slot.type,
            "allowed_values": allowed_values(slot),
            "description": step.description,
        }
        for step, slot in _shown_slots(flow, tracker, runtime, asked=tracker.stack.requested_slot)
    ]


def _shown_slots(
    flow: Flow, tracker: Tracker, runtime: Runtime, asked: str | None
) -> Iterator[tuple[CollectStep, Slot]]:
    """What ``flow`` collects and a message may fill, each pair of slot and description once.

    A slot that is asked for before it is filled is hidden until that has happened once.
    """
    seen: set[tuple[str, str | None]] = set()
    for step in collect_steps(flow, runtime.flows):
        slot = runtime.domain.slots.get(step.slot)
        hidden = step.ask_before_filling and step.slot not in tracker.has_been_set and step.slot != asked
        if slot is not None and not hidden and (step.slot, step.description) not in seen:
            seen.add((step.slot, step.description))
            yield step, slot


def _shown_value(value: Any) -> str:
    return UNSET if value is None else str(value)


def allowed_values(slot: Slot) -> str | None:
    """The values of a bool or categorical slot as the text of a Python list; None for other types."""
    if slot.type == "bool":
        return "[True, False]"
    return str(list(slot.values)) if slot.type == "categorical" else None


def _asked(tracker: Tracker, runtime: Runtime) -> dict[str, Any]:
    name = tracker.stack.requested_slot
    slot = runtime.domain.slots.get(name or "")
    step = asking_step(tracker, runtime)
    return {
        "current_slot": name,
        "current_slot_description": step.description if step else None,
        "current_slot_type": slot.type if slot else None,
        "current_slot_allowed_values": allowed_values(slot) if slot else None,
    }


# -- conversation ---------------------------------------------------------------------------------------------------


def transcript(tracker: Tracker, message: str) -> str:
    """The last `HISTORY_LINES` lines since the session began, and ``message``, which was just said."""
    lines = list(_lines(tracker.session_events))
    return "\n".join((*lines[-HISTORY_LINES:], f"USER: {message}"))


def _lines(events: Iterable[object]) -> Iterator[str]:
    for event in events:
        if isinstance(event, UserUttered):
            yield f"USER: {_said(event)}"
        elif isinstance(event, BotUttered) and (event.text or event.buttons):
            yield f"AI: {_bot_line(event)}"


def _said(event: UserUttered) -> str:
    """The message in one line; one that could not be processed is only mentioned."""
    error = next((command for command in event.commands if isinstance(command, Error)), None)
    if error is None:
        return one_line(event.text)
    return {EMPTY: "", TOO_LONG: "[a message that was too long]"}.get(
        error.error_type, "[a message that led to an error]"
    )


def _bot_line(event: BotUttered) -> str:
    buttons = ", ".join(f'button {index}: "{button.title}"' for index, button in enumerate(event.buttons, start=1))
    return " ".join(part for part in (one_line(event.text or ""), buttons) if part)
