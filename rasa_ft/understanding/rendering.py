"""The prompt that asks a model for commands: what a template is given, and how it is rendered.

Templates get the variables of CALM's command generators and nothing else, so that one file works in both runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, Template

from rasa_ft.calm.commands import Error
from rasa_ft.calm.dialogue.messages import EMPTY, TOO_LONG, asking_step
from rasa_ft.calm.dialogue.offering import offered_flows
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import CollectFrame, Frame, FrameKind, UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, UserUttered
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import CollectStep, Flow
from rasa_ft.calm.shown import Shown, ShownList
from rasa_ft.calm.slots import Slot
from rasa_ft.calm.templates import TemplateFailure, failure, render
from rasa_ft.errors import DataError, Location
from rasa_ft.understanding.shared_loops import SharedLoops

PROMPTS = Path(__file__).parent / "prompts"
TEACHER = PROMPTS / "teacher.jinja2"
STUDENT = PROMPTS / "student.jinja2"

# Lines of the conversation that a prompt shows, the new message not counted.
HISTORY_LINES = 20
UNSET = "undefined"
# Lists of flows whose text in prompts is kept.
_RECENT_LISTS = 32


def render_prompt(template: Path, variables: Mapping[str, Any]) -> str:
    """Fill a jinja file in a sandbox; it may include other files of its folder, and no others.

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
        return render(_template(template, modified), variables)
    except TemplateFailure as error:
        raise DataError(f"the prompt cannot be rendered: {error}", location=Location(template, error.line)) from error


@lru_cache(maxsize=64)
def _template(path: Path, modified: int) -> Template:
    try:
        return _environment(FileSystemLoader(path.parent)).get_template(path.name)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text.") from None
    except Exception as error:  # jinja's own errors, and what compiling a strange template raises
        raise failure(error) from error


def render_prompt_text(text: str, variables: Mapping[str, Any]) -> str:
    """As `render_prompt`, for a template that stands in the domain itself.

    Raises:
        DataError: it is no valid template for these variables.
    """
    try:
        return render(_template_of(text), variables)
    except TemplateFailure as error:
        raise DataError(f"the prompt cannot be rendered: line {error.line}: {error}") from error


@lru_cache(maxsize=64)
def _template_of(text: str) -> Template:
    try:
        return _environment().from_string(text)
    except Exception as error:  # as for files
        raise failure(error) from error


def _environment(loader: FileSystemLoader | None = None) -> SharedLoops:
    environment = SharedLoops(loader)
    environment.filters["to_json_escaped_string"] = _to_json_escaped_string
    return environment


def _to_json_escaped_string(text: Any) -> str:
    """``text`` as it stands between the quotes of a JSON string."""
    return json.dumps(str(text))[1:-1]


def prompt_variables(
    text: str,
    tracker: Tracker,
    runtime: Runtime,
    now: datetime | None = None,
    retrieved: Sequence[str] | None = None,
) -> Mapping[str, Any]:
    """What a template is given when the user says ``text`` now.

    Args:
        now: the time to show, with its zone; the slot ``mocked_datetime`` goes before it. None: no time is shown.
        retrieved: ids of the flows that retrieval chose, in their order; None: all flows.
    """
    flow_id = current_flow(tracker)
    message = one_line(text)
    flows = offered_flows(tracker, runtime, retrieved)
    variables: dict[str, Any] = {
        "available_flows": _shown_flows(flows.values(), tracker, runtime),
        "current_flow": flow_id,
        "flow_slots": _flow_slots(runtime.flows.get(flow_id or ""), tracker, runtime),
        "current_conversation": transcript(tracker, message),
        "user_message": message,
        **_asked(tracker, runtime),
    }
    if now is not None:
        variables["current_datetime"] = shown_time(tracker, now)
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


def shown_time(tracker: Tracker, now: datetime) -> datetime:
    """``now``, or the time that the slot ``mocked_datetime`` pretends it is."""
    return _mocked_time(tracker, now) or now


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


def _shown_flows(flows: Iterable[Flow], tracker: Tracker, runtime: Runtime) -> ShownList:
    """The same list, with what was made of it, for the same flows with the same slots."""
    shown = tuple(_flow(flow, tracker, runtime) for flow in flows)
    recent: dict[tuple[int, ...], ShownList] = runtime.memo.setdefault(_shown_flows, {})
    key = tuple(map(id, shown))  # all are kept in the memo
    found = recent.pop(key, None) or ShownList(shown)
    recent[key] = found
    if len(recent) > _RECENT_LISTS:
        del recent[next(iter(recent))]
    return found


def _flow(flow: Flow, tracker: Tracker, runtime: Runtime) -> Shown:
    """Shared between turns and conversations in which the same slots are hidden."""
    asked_first, variants = runtime.memo.get(flow.id) or _nothing_shown(flow, runtime)
    key = tuple(slot for slot in asked_first if slot in tracker.has_been_set) if asked_first else ()
    if key not in variants:
        variants[key] = _new_flow(flow, tracker, runtime)
    return variants[key]


def _nothing_shown(flow: Flow, runtime: Runtime) -> tuple[tuple[str, ...], dict[tuple[str, ...], Shown]]:
    """The slots that are hidden until they have been asked for once, and no forms of the flow yet."""
    steps = collect_steps(flow, runtime.flows)
    found = tuple(step.slot for step in steps if step.ask_before_filling)
    return runtime.memo.setdefault(flow.id, (found, {}))  # type: ignore[no-any-return]


def _new_flow(flow: Flow, tracker: Tracker, runtime: Runtime) -> Shown:
    slots = ShownList(
        Shown({"name": slot.name, "description": step.description, "allowed_values": allowed_values(slot)})
        for step, slot in _shown_slots(flow, tracker, runtime, asked=None)
    )
    return Shown({"name": flow.id, "description": flow.description, "slots": slots})


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


def transcript(tracker: Tracker, message: str, lines: int = HISTORY_LINES) -> str:
    """The last ``lines`` lines since the session began, and ``message``, which was just said.

    Where nothing was said before, the first line is empty, as in prompts that rasa-pro has recorded.
    """
    return "\n".join(history(tracker, lines)) + f"\nUSER: {message}"


def history(tracker: Tracker, lines: int = HISTORY_LINES) -> list[str]:
    """The last ``lines`` lines since the session began."""
    latest = list(islice(_lines(tracker.session_backwards()), max(lines, 0)))
    return latest[::-1]


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
