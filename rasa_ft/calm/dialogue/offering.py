"""Which flows a message may start: those whose guard holds, and those that are under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.stack import UserFrame
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.flows.conditions import holds
from rasa_ft.calm.flows.model import Flow


def startable_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """User flows whose guard lets them start now, in the order of their files."""
    latest, flows = runtime.memo.get(startable_flows, (None, {}))
    if latest is not tracker:  # a turn asks for them several times
        flows = _startable(tracker, runtime)
        runtime.memo[startable_flows] = (tracker, flows)
    return dict(flows)


def _startable(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    document = tracker.document()
    active = document["context"].get("flow_id")
    lets_start = _Guards(document)
    return {
        flow.id: flow
        for flow in runtime.user_flows
        if flow.guard is None or flow.id == active or lets_start[flow.guard]
    }


class _Guards(dict[Any, bool]):
    """Whether a guard holds now; many flows have the same one, which is evaluated once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__()
        self._document = document

    def __missing__(self, guard: str | bool) -> bool:
        self[guard] = holds(guard, self._document)
        return self[guard]


def active_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """The top user flow and, where it was called, the flows that called it."""
    caller = tracker.stack.top_caller_frame
    frames = tracker.stack.from_frame(caller) if caller else ()
    flows = (runtime.flows.get(frame.flow_id) for frame in frames if isinstance(frame, UserFrame))
    return {flow.id: flow for flow in flows if flow is not None and not flow.is_pattern}


def offered_flows(tracker: Tracker, runtime: Runtime, retrieved: Sequence[str] | None = None) -> dict[str, Flow]:
    """What a prompt lists: `startable_flows`; with ``retrieved`` flow ids only those of them, in their order."""
    startable = startable_flows(tracker, runtime)
    if retrieved is None:
        return startable
    return {flow_id: startable[flow_id] for flow_id in retrieved if flow_id in startable}


def available_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """What a model may name this turn, in the prompt or not: `startable_flows` and `active_flows`."""
    startable = startable_flows(tracker, runtime)
    offered = startable | active_flows(tracker, runtime)
    if len(offered) == len(startable):
        return startable
    return {flow.id: flow for flow in runtime.flows.values() if flow.id in offered}
