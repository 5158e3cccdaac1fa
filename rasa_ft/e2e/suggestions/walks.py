"""Ways through the flows of an assistant, step by step, that come to the steps that no test has visited.

A walk goes where a conversation would go: through branches whose conditions the values given so far allow, into called
flows and back, on to linked flows. The value of an answer stays open until a branch asks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rasa_ft.calm.flows.graph import resettable_slots, with_called_flows
from rasa_ft.calm.flows.model import END, ActionStep, Branch, CallStep, CollectStep, Flow, LinkStep, SetSlotsStep, Step
from rasa_ft.calm.project.domain import Domain
from rasa_ft.e2e.coverage import Node
from rasa_ft.e2e.suggestions.choices import FLOW, USER, Choices, Known
from rasa_ft.e2e.suggestions.values import Values

# Twice round a loop, and no search for ever.
_MOST_VISITS = 2
_MOST_STATES = 3_000
_MOST_STEPS = 200


@dataclass(frozen=True)
class Visit:
    """A walk comes to a step. ``asks``: a collect step whose slot has no value yet, so that the user is asked."""

    flow: Flow
    step: Step
    asks: bool = False

    @property
    def node(self) -> Node:
        return (self.flow.id, self.step.id)


@dataclass(frozen=True)
class Taken:
    """A walk leaves ``step`` by ``branch``, since the conditions ``refuted`` do not hold and the branch's own does.

    ``is_open``: whether that is so cannot be known; it is up to an action or to a condition that is not understood.
    """

    flow: Flow
    step: Step
    branch: Branch
    refuted: tuple[str, ...] = ()
    is_open: bool = False


@dataclass(frozen=True)
class Walk:
    """Where a walk stands.

    ``frames``: flow and step, the innermost flow last; empty when the flow has ended. ``known``: what the slots hold.
    Of slots that have changed again since, ``answers`` are what the user answered, by index into ``path``, and
    ``began`` what they held when the conversation began.
    """

    flow: Flow
    frames: tuple[Node, ...] = ()
    known: Mapping[str, Known] = field(default_factory=dict)
    path: tuple[Visit | Taken, ...] = ()
    answers: Mapping[int, Any] = field(default_factory=dict)
    began: tuple[tuple[str, Any], ...] = ()

    @property
    def visits(self) -> tuple[Visit, ...]:
        return tuple(item for item in self.path if isinstance(item, Visit))

    @property
    def nodes(self) -> frozenset[Node]:
        return frozenset(visit.node for visit in self.visits)

    @property
    def listens(self) -> bool:
        """Whether the conversation waits for the user, or has come to its end."""
        last = self.path[-1] if self.path else None
        return not self.frames or (isinstance(last, Visit) and last.asks)

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that it has run, responses too, the latest first."""
        names = (visit.step.action for visit in reversed(self.visits) if isinstance(visit.step, ActionStep))
        return tuple(dict.fromkeys(names))

    @property
    def fixtures(self) -> tuple[tuple[str, Any], ...]:
        """The slots that have to hold something when the conversation begins."""
        return (*self.began, *((slot, known.value) for slot, known in self.known.items() if known.is_fixture))

    def answer(self, index: int) -> Any:
        """The value that the user gives when asked at ``path[index]``."""
        given = (known.value for known in self.known.values() if known.asked_at == index)
        return self.answers[index] if index in self.answers else next(given, None)

    def entered(self, visit: Visit, frames: tuple[Node, ...]) -> Walk:
        return replace(self, frames=frames, path=(*self.path, visit))

    def setting(self, slot: str, known: Known) -> Walk:
        """With another value of ``slot``; what the user had answered before is settled."""
        old = self.known.get(slot)
        answers, began = self.answers, self.began
        if old is not None and old.asked_at is not None:
            answers = {**answers, old.asked_at: old.value}
        if old is not None and old.is_fixture:
            began = (*began, (slot, old.value))
        return replace(self, known={**self.known, slot: known}, answers=answers, began=began)


class Explorer:
    """Finds walks through the flows of one assistant."""

    def __init__(self, flows: Mapping[str, Flow], domain: Domain, values: Values) -> None:
        self.flows = flows
        self._values = values
        self._custom_actions = domain.custom_actions
        self._choices = Choices(flows, values)

    def begin(self, flow: Flow) -> Walk | None:
        """At the first step of ``flow``, started by a message; None if its guard never lets it."""
        if flow.is_pattern or not flow.steps:
            return None
        found = self._choices.made({}, [(flow.guard, True)], acted=False)
        return None if found is None else self._enter(Walk(flow, known=found[0]), (), flow, flow.steps[0].id)

    def search(self, walk: Walk, targets: Iterable[Node]) -> Walk | None:
        """``walk`` continued by the fewest steps to one of ``targets``; None if none can be reached."""
        targets = frozenset(targets)
        waiting, seen, count = deque([walk]), set[Any](), 0
        while waiting and count < _MOST_STATES:
            for found in self._onwards(waiting.popleft()):
                count += 1
                if found.frames and found.frames[-1] in targets:
                    return found
                state = (found.frames, self._choices.relevant(found.known, found.frames))
                if found.frames and state not in seen:
                    seen.add(state)
                    waiting.append(found)
        return None

    def finish(self, walk: Walk) -> Walk:
        """``walk`` continued until the user is asked or the flow ends, as far as that is certain."""
        while not walk.listens and len(walk.path) < _MOST_STEPS:
            onwards = next(self._onwards(walk), None)
            new = onwards.path[len(walk.path) :] if onwards else ()
            if onwards is None or any(isinstance(item, Taken) and item.is_open for item in new):
                break
            walk = onwards
        return walk

    def _onwards(self, walk: Walk) -> Iterator[Walk]:
        """Every way to go on by one step, the ends of flows not counted."""
        if not walk.frames:
            return
        flow_id, step_id = walk.frames[-1]
        flow = self.flows[flow_id]
        step = flow.step(step_id)
        match step:
            case LinkStep():
                yield from self._link(walk, flow, step)
            case CallStep():
                called = self.flows.get(step.flow)
                runs = {running for running, _ in walk.frames}
                if step.mcp_server is None and called is not None and called.steps and called.id not in runs:
                    yield from self._entered(walk, walk.frames, called, called.steps[0].id)
            case Step():
                yield from self._leave(walk)

    def _leave(self, walk: Walk) -> Iterator[Walk]:
        """Through each branch of the innermost step that can be taken."""
        flow = self.flows[walk.frames[-1][0]]
        step = flow.step(walk.frames[-1][1])
        refuted: list[str] = []
        acted = any(action in self._custom_actions for action in walk.actions)
        for branch in step.next if step else ():
            demands: list[tuple[str | bool | None, bool]] = [(condition, False) for condition in refuted]
            found = self._choices.made(walk.known, [*demands, (branch.condition, True)], acted)
            if found is not None and step is not None:
                known, is_open = found
                taken = Taken(flow, step, branch, tuple(refuted), is_open)
                is_choice = bool(refuted) or branch.condition is not None
                after = replace(walk, known=known, path=(*walk.path, taken) if is_choice else walk.path)
                yield from self._to(after, flow, branch.target)
            if branch.condition is None:
                return
            refuted.append(branch.condition)

    def _to(self, walk: Walk, flow: Flow, target: str) -> Iterator[Walk]:
        if target != END:
            yield from self._entered(walk, walk.frames[:-1], flow, target)
        elif len(walk.frames) == 1:
            yield replace(walk, frames=())
        else:
            yield from self._leave(replace(walk, frames=walk.frames[:-1]))

    def _link(self, walk: Walk, flow: Flow, step: LinkStep) -> Iterator[Walk]:
        """The linked flow takes the place of the one that ends."""
        linked = self.flows.get(step.flow)
        if linked is None or linked.is_pattern or not linked.steps:
            yield from self._to(walk, flow, END)
            return
        if len(walk.frames) == 1:
            initial = {name: slot.initial_value for name, slot in self._values.slots.items()}
            for slot in resettable_slots(flow, self.flows):
                walk = walk.setting(slot, Known((initial.get(slot),), FLOW))
        yield from self._entered(walk, walk.frames[:-1], linked, linked.steps[0].id)

    def _entered(self, walk: Walk, below: tuple[Node, ...], flow: Flow, step_id: str) -> Iterator[Walk]:
        visited = sum(visit.node == (flow.id, step_id) for visit in walk.visits)
        if visited < _MOST_VISITS and flow.step(step_id) is not None and len(walk.path) < _MOST_STEPS:
            yield self._enter(walk, below, flow, step_id)

    def _enter(self, walk: Walk, below: tuple[Node, ...], flow: Flow, step_id: str) -> Walk:
        step = flow.step(step_id)
        assert step is not None  # noqa: S101 - checked by the caller
        frames = (*below, (flow.id, step_id))
        if not isinstance(step, CollectStep):
            walk = walk.entered(Visit(flow, step), frames)
            if isinstance(step, ActionStep) and step.action in self._custom_actions:
                return self._acted(walk)
            for slot, value in step.assignments if isinstance(step, SetSlotsStep) else ():
                walk = walk.setting(slot, Known((value,), FLOW))
            return walk
        known = walk.known.get(step.slot) or self._choices.unset(step.slot)
        if known.value is not None and not step.ask_before_filling:
            return walk.entered(Visit(flow, step), frames)
        answers = self._values.answers(step)
        return walk.setting(step.slot, Known(answers, USER, answers, len(walk.path))).entered(
            Visit(flow, step, asks=True), frames
        )

    def _acted(self, walk: Walk) -> Walk:
        """A custom action may have changed what messages cannot."""
        for slot, known in walk.known.items():
            changed = self._choices.acted_on(slot, known)
            walk = walk if changed is known else walk.setting(slot, changed)
        return walk


def reach(flow: Flow, flows: Mapping[str, Flow]) -> tuple[str, ...]:
    """Ids of the flows that a conversation which starts ``flow`` may come to, the nearest first."""
    found = {flow.id: None}
    waiting = deque([flow])
    while waiting:
        steps = (step for step in waiting.popleft().steps if isinstance(step, CallStep | LinkStep))
        for step in steps:
            if step.flow in flows and step.flow not in found and not flows[step.flow].is_pattern:
                found[step.flow] = None
                waiting.append(flows[step.flow])
    return tuple(found)


def walks_to(missing: Iterable[Node], explorer: Explorer) -> Iterator[tuple[Flow, Walk, frozenset[Node]]]:
    """A few walks that together come to all of ``missing`` that can be reached.

    Each goes from a flow's start to the nearest missing step of that flow and on to further ones, those of called
    flows too. Flows that cannot be started by a message are entered through those that lead to them.

    Yields:
        The flow that it is about, the walk, and those of ``missing`` that no walk before has visited.
    """
    left = set(missing)
    flows = [flow for flow in explorer.flows.values() if not flow.is_pattern]
    startable = {flow.id for flow in flows if explorer.begin(flow) is not None}
    for flow in sorted(flows, key=lambda flow: flow.id not in startable):
        own = {node for node in left if node[0] == flow.id}
        while own and (walk := _walk_to(own, left, flow, startable, explorer)) is not None:
            yield flow, walk, walk.nodes & left
            left -= walk.nodes
            own &= left


def _walk_to(own: set[Node], left: set[Node], flow: Flow, startable: set[str], explorer: Explorer) -> Walk | None:
    for entry in _entries(flow, startable, explorer.flows):
        walk = explorer.begin(entry)
        if walk is not None and not walk.nodes & own:
            walk = explorer.search(walk, own)
        if walk is None:
            continue
        together = {part.id for part in with_called_flows(entry, explorer.flows)} | {flow.id}
        while further := explorer.search(walk, {node for node in left - walk.nodes if node[0] in together}):
            walk = further
        return explorer.finish(walk)
    return None


def _entries(flow: Flow, startable: set[str], flows: Mapping[str, Flow]) -> list[Flow]:
    """Where a conversation that is to come to ``flow`` may begin, the nearest first."""
    if flow.id in startable:
        return [flow]
    reached = {flow_id: reach(flows[flow_id], flows) for flow_id in startable}
    near = [flow_id for flow_id in startable if flow.id in reached[flow_id]]
    order = list(flows)
    return [flows[name] for name in sorted(near, key=lambda name: (reached[name].index(flow.id), order.index(name)))]
