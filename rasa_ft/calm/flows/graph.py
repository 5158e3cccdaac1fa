"""Questions about the shape of flows: what follows a step, what a flow can reach, which slots it collects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rasa_ft.calm.flows.model import CallStep, CollectStep, Flow, LinkStep, SetSlotsStep, Step


def successors(step: Step) -> tuple[str, ...]:
    """Ids of the steps that may follow in the same flow, each once; `END` may be among them."""
    return tuple(dict.fromkeys(branch.target for branch in step.next))


def reachable_steps(flow: Flow) -> frozenset[str]:
    """Ids of all steps that some path from the first step visits."""
    steps = {step.id: step for step in flow.steps}
    seen: set[str] = set()
    waiting = [flow.steps[0].id] if flow.steps else []
    while waiting:
        step_id = waiting.pop()
        if step_id in seen or step_id not in steps:
            continue
        seen.add(step_id)
        waiting.extend(successors(steps[step_id]))
    return frozenset(seen)


def called_flows(flow: Flow) -> tuple[str, ...]:
    """Ids of the flows that ``flow`` calls itself, in order, each once."""
    return tuple(dict.fromkeys(step.flow for step in flow.steps if isinstance(step, CallStep)))


def linked_flows(flow: Flow) -> tuple[str, ...]:
    """Ids of the flows that ``flow`` links to, in order, each once."""
    return tuple(dict.fromkeys(step.flow for step in flow.steps if isinstance(step, LinkStep)))


def with_called_flows(flow: Flow, flows: Mapping[str, Flow]) -> tuple[Flow, ...]:
    """``flow`` and every flow that runs as a part of it, calls of calls included, each once."""
    return tuple(_with_called(flow, flows, set()))


def _with_called(flow: Flow, flows: Mapping[str, Flow], seen: set[str]) -> Iterator[Flow]:
    seen.add(flow.id)
    yield flow
    for called in called_flows(flow):
        if called in flows and called not in seen:
            yield from _with_called(flows[called], flows, seen)


def collect_steps(flow: Flow, flows: Mapping[str, Flow], resolve_calls: bool = True) -> tuple[CollectStep, ...]:
    """All collect steps in source order; those of a called flow stand where it is first called."""
    if not resolve_calls or not flow.has_calls:
        return flow.own_collect_steps
    return tuple(step for step in _steps(flow, flows, resolve_calls) if isinstance(step, CollectStep))


def set_slots_steps(flow: Flow, flows: Mapping[str, Flow], resolve_calls: bool = True) -> tuple[SetSlotsStep, ...]:
    """As `collect_steps`, for steps that assign slots."""
    return tuple(step for step in _steps(flow, flows, resolve_calls) if isinstance(step, SetSlotsStep))


def _steps(flow: Flow, flows: Mapping[str, Flow], resolve_calls: bool) -> Iterator[Step]:
    yield from _steps_in_order(flow, flows if resolve_calls else {}, {flow.id})


def _steps_in_order(flow: Flow, flows: Mapping[str, Flow], seen: set[str]) -> Iterator[Step]:
    for step in flow.steps:
        yield step
        if isinstance(step, CallStep) and step.flow in flows and step.flow not in seen:
            seen.add(step.flow)
            yield from _steps_in_order(flows[step.flow], flows, seen)


def resettable_slots(flow: Flow, flows: Mapping[str, Flow]) -> tuple[str, ...]:
    """Names of the slots that return to their initial value when ``flow`` ends.

    Those that it or a called flow collects or assigns, except persisted ones.
    """
    collected = collect_steps(flow, flows)
    kept = {slot for part in with_called_flows(flow, flows) for slot in part.persisted_slots}
    kept |= {step.slot for step in collected if not step.reset_after_flow_ends}
    assigned = (slot for step in set_slots_steps(flow, flows) for slot, _ in step.assignments)
    names = dict.fromkeys((*(step.slot for step in collected), *assigned))
    return tuple(name for name in names if name not in kept)


def recursive_calls(flows: Mapping[str, Flow]) -> tuple[tuple[str, ...], ...]:
    """Circles of calls, such as ``("a", "b", "a")``; each circle once, from its alphabetically first flow."""
    circles = {
        circle for flow in flows.values() for circle in _circles(flow.id, flows, (flow.id,)) if circle[0] == min(circle)
    }
    return tuple(sorted(circles))


def _circles(start: str, flows: Mapping[str, Flow], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for called in called_flows(flows[path[-1]]):
        if called == start:
            yield (*path, called)
        elif called in flows and called not in path:
            yield from _circles(start, flows, (*path, called))
