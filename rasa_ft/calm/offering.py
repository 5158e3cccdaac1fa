"""Which flows a message may start: those whose guard holds, and those that are under way."""

from __future__ import annotations

from rasa_ft.calm.flows.conditions import holds
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.runtime import Runtime
from rasa_ft.calm.stack import UserFrame
from rasa_ft.calm.tracker import Tracker


def startable_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """User flows whose guard lets them start now, in the order of their files."""
    document = tracker.document()
    active = document["context"].get("flow_id")
    return {
        flow.id: flow
        for flow in runtime.flows.values()
        if not flow.is_pattern and (flow.guard is None or flow.id == active or holds(flow.guard, document))
    }


def active_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """The top user flow and, where it was called, the flows that called it."""
    caller = tracker.stack.top_caller_frame
    frames = tracker.stack.from_frame(caller) if caller else ()
    flows = (runtime.flows.get(frame.flow_id) for frame in frames if isinstance(frame, UserFrame))
    return {flow.id: flow for flow in flows if flow is not None and not flow.is_pattern}


def available_flows(tracker: Tracker, runtime: Runtime) -> dict[str, Flow]:
    """What a model may name this turn: `startable_flows` and `active_flows`."""
    offered = startable_flows(tracker, runtime) | active_flows(tracker, runtime)
    return {flow.id: flow for flow in runtime.flows.values() if flow.id in offered}
