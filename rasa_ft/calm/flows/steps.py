"""The steps of one flow: flattened, numbered, with resolved successors; every fault reported where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from rasa_ft.calm.checks.findings import Report, get_typed, is_kind, known_keys, place_of, shown
from rasa_ft.calm.flows.graph import reachable_steps
from rasa_ft.calm.flows.model import (
    END,
    NEXT_PREFIX,
    START,
    ActionStep,
    Branch,
    CallStep,
    CollectStep,
    Flow,
    LinkStep,
    NoopStep,
    Rejection,
    SetSlotsStep,
    Step,
)
from rasa_ft.errors import Location
from rasa_ft.yaml_source import did_you_mean, location_of, plain

_KINDS = ("action", "collect", "link", "call", "set_slots", "noop")
_COMMON = ("id", "next", "metadata")
_EXTRA: Mapping[str, tuple[str, ...]] = {
    "collect": (
        "description",
        "utter",
        "ask_before_filling",
        "reset_after_flow_ends",
        "rejections",
        "force_slot_filling",
        "silence_timeout",
        "dtmf",
    ),
    # All but the description are for agents and MCP tools.
    "call": ("description", "mcp_server", "mapping", "exit_if"),
}
_STEP_ID = re.compile(r"[\w.-]+")
_SLOT_NAME = re.compile(r"[A-Za-z_][\w-]*")


@dataclass
class _Draft:
    """A step whose successors are not resolved yet.

    ``branches``: (condition, target) with targets as written, or ids of nested steps. ``following`` is the next step
    of the same list; None at its end.
    """

    node: Mapping[str, Any]
    id: str
    kind: str
    location: Location
    nested: bool
    following: str | None = None
    branches: list[tuple[str | None, str, Location]] = field(default_factory=list)
    broken: bool = False


def read_steps(flow_id: str, nodes: list[Any], report: Report) -> tuple[Step, ...]:
    """All steps below ``nodes``, depth first in source order; those beyond reading are left out."""
    errors_before = len(report.errors)
    flattening = _Flattening(flow_id, report)
    flattening.add_list(nodes, nested=False)
    drafts = flattening.drafts
    _check_ids(flow_id, drafts, report)
    known = {draft.id for draft in drafts}
    steps = tuple(_step(flow_id, draft, known, report) for draft in drafts)
    # A fault above may itself make steps unreachable: one message is enough.
    if len(report.errors) == errors_before:
        _check_reachable(flow_id, steps, report)
    return steps


@dataclass
class _Flattening:
    """Turns nested lists of steps into one list of drafts."""

    flow_id: str
    report: Report
    drafts: list[_Draft] = field(default_factory=list)

    def add_list(self, nodes: list[Any], nested: bool) -> str | None:
        """Append the steps of one list and of all lists inside it; gives the id of the list's first step."""
        own: list[_Draft] = []
        for index, node in enumerate(nodes):
            draft = self._draft(node, place_of(nodes, index), nested)
            if draft is None:
                continue
            if own:
                own[-1].following = draft.id
            own.append(draft)
            self.drafts.append(draft)
            self._read_next(draft)
        return own[0].id if own else None

    def _draft(self, node: Any, place: Location, nested: bool) -> _Draft | None:
        if not isinstance(node, Mapping):
            self.report.error(
                f"a step of flow '{self.flow_id}' must be a mapping, not {shown(node)}.", place, rule="wrong-type"
            )
            return None
        kinds = [kind for kind in _KINDS if kind in node]
        if not kinds:
            self._report_no_kind(node, place)
            return None
        if len(kinds) > 1:
            self.report.error(
                f"a step of flow '{self.flow_id}' is of several kinds at once: {', '.join(kinds)}.",
                place,
                rule="ambiguous-step",
                culprit=kinds[1],
            )
        self._check_keys(node, kinds)
        step_id = node.get("id")
        automatic = f"{self.flow_id}_{len(self.drafts)}_{_label(kinds[0], node)}"
        return _Draft(node, automatic if step_id is None else str(step_id), kinds[0], place, nested)

    def _report_no_kind(self, node: Mapping[str, Any], place: Location) -> None:
        meant = next((name for key in node for name in get_close_matches(str(key), _KINDS, n=1)), None)
        self.report.error(
            f"a step of flow '{self.flow_id}' needs one of: {', '.join(_KINDS)}.",
            place,
            f"Did you mean '{meant}'?" if meant else None,
            rule="unknown-step-kind",
        )

    def _check_keys(self, node: Mapping[str, Any], kinds: list[str]) -> None:
        known = (*kinds, *_COMMON, *_EXTRA.get(kinds[0], ()))
        known_keys(node, known, f"a step of kind '{kinds[0]}'", self.report)

    def _read_next(self, draft: _Draft) -> None:
        target = draft.node.get("next")
        if target is None:
            return
        place = place_of(draft.node, "next")
        if draft.kind == "link":
            self.report.error(
                f"'link' ends flow '{self.flow_id}' and cannot have a 'next'.",
                place,
                rule="link-with-next",
                culprit="next",
            )
        elif isinstance(target, str):
            draft.branches.append((None, target, place))
        elif isinstance(target, list) and target:
            self._read_branches(draft, target)
        else:
            message = f"'next' must be a step's id, END, or a list of conditions, not {shown(target)}."
            self._broken(draft, message, place)

    def _broken(self, draft: _Draft, message: str, place: Location, rule: str = "invalid-branch") -> None:
        draft.broken = True
        self.report.error(message, place, rule=rule)

    def _read_branches(self, draft: _Draft, entries: list[Any]) -> None:
        for index, entry in enumerate(entries):
            self._read_branch(draft, entry, place_of(entries, index))
            if _is_else(entry) and index < len(entries) - 1:
                self._broken(draft, "'else' must be the last branch.", place_of(entries, index))
        if not any(_is_else(entry) for entry in entries):
            message = f"the branches of this step in flow '{self.flow_id}' have no 'else'."
            self._broken(draft, message, draft.location, "missing-else")

    def _read_branch(self, draft: _Draft, entry: Any, place: Location) -> None:
        if not isinstance(entry, Mapping):
            self._broken(draft, f"a branch must be 'if' with 'then', or 'else', not {shown(entry)}.", place)
        elif _is_else(entry):
            known_keys(entry, ("else",), "an 'else' branch", self.report, severity="warning")
            self._read_target(draft, None, "else", entry["else"], place)
        elif "if" in entry and "then" in entry:
            known_keys(entry, ("if", "then"), "an 'if' branch", self.report, severity="warning")
            self._read_target(draft, self._condition(entry), "then", entry["then"], place)
        else:
            self._broken(draft, "a branch must have 'if' and 'then', or 'else'.", place)

    def _condition(self, entry: Mapping[str, Any]) -> str:
        condition = entry["if"]
        if isinstance(condition, str):
            return condition
        if not isinstance(condition, bool):
            self.report.error(
                f"a condition of flow '{self.flow_id}' must be text, not {shown(condition)}.",
                place_of(entry, "if"),
                rule="wrong-type",
                culprit="if",
            )
        return str(condition).lower()

    def _read_target(self, draft: _Draft, condition: str | None, key: str, target: Any, place: Location) -> None:
        if isinstance(target, str):
            draft.branches.append((condition, target, place))
        elif not isinstance(target, list):
            message = f"'{key}' must be a step's id, END or a list of steps, not {shown(target)}."
            self._broken(draft, message, place)
        elif not target:
            self._broken(draft, f"'{key}' has an empty list of steps.", place, "empty-steps")
        else:
            first = self.add_list(target, nested=True)
            # Without a readable step in the list its problems are reported already.
            draft.broken = draft.broken or first is None
            draft.branches += [(condition, first, place)] if first is not None else []


def _is_else(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "else" in entry and "if" not in entry


def _label(kind: str, node: Mapping[str, Any]) -> str:
    if kind == "action":
        return str(node[kind])
    return f"{kind}_{node[kind]}" if kind in ("collect", "link", "call") else kind


def _check_ids(flow_id: str, drafts: list[_Draft], report: Report) -> None:
    seen: dict[str, Location] = {}
    for draft in drafts:
        written = draft.node.get("id") is not None
        place = place_of(draft.node, "id") if written else draft.location
        if written and (draft.id in (START, END) or draft.id.startswith(NEXT_PREFIX)):
            report.error(f"step id '{draft.id}' is reserved.", place, rule="invalid-step-id", culprit=draft.id)
        elif written and not _STEP_ID.fullmatch(draft.id):
            report.error(
                f"'{draft.id}' cannot be a step's id.",
                place,
                "Use letters, digits, '_', '-' and '.'.",
                rule="invalid-step-id",
                culprit=draft.id,
            )
        if draft.id in seen:
            report.error(
                f"flow '{flow_id}' has two steps '{draft.id}'; the other is in {seen[draft.id]}.",
                place,
                rule="duplicate-step",
                culprit=draft.id,
            )
        seen.setdefault(draft.id, place)


def _step(flow_id: str, draft: _Draft, known: set[str], report: Report) -> Step:
    branches = tuple(_resolved(flow_id, draft, known, report))
    return _BUILDERS[draft.kind](draft, branches, report)


def _resolved(flow_id: str, draft: _Draft, known: set[str], report: Report) -> Iterator[Branch]:
    if draft.kind == "link":
        return
    if draft.kind == "noop" and draft.node.get("next") is None:
        report.error(
            f"a 'noop' step of flow '{flow_id}' needs a 'next'.",
            draft.location,
            rule="noop-without-next",
            culprit="noop",
        )
    elif not draft.branches and not draft.broken:
        yield _implicit_branch(flow_id, draft, report)
    for condition, target, place in draft.branches:
        step_id = target if target in known or target == END else f"{flow_id}_{target}"
        if step_id in known or step_id == END:
            yield Branch(condition, step_id, place)
        else:
            meant = did_you_mean(target, [*known, END])
            report.error(f"flow '{flow_id}' has no step '{target}'.{meant}", place, rule="unknown-step", culprit=target)


def _implicit_branch(flow_id: str, draft: _Draft, report: Report) -> Branch:
    if draft.following is None and draft.nested:
        report.error(
            f"the last step of a nested list in flow '{flow_id}' needs a 'next'.",
            draft.location,
            "Name the step that follows, or END.",
            rule="missing-next",
        )
    return Branch(None, draft.following or END)


def _check_reachable(flow_id: str, steps: tuple[Step, ...], report: Report) -> None:
    flow = Flow(id=flow_id, name="", description="", steps=steps, location=steps[0].location)
    reachable = reachable_steps(flow)
    for step in steps:
        if step.id not in reachable:
            report.error(
                f"step '{step.id}' of flow '{flow_id}' can never be reached.", step.location, rule="unreachable-step"
            )


def _name(draft: _Draft, report: Report) -> str:
    value = draft.node[draft.kind]
    if isinstance(value, str) and value.strip():
        return value.strip()
    report.error(
        f"'{draft.kind}' must be a name, not {shown(value)}.",
        location_of(draft.node, draft.kind),
        rule="wrong-type",
        culprit=draft.kind,
    )
    return ""


def _action(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    return ActionStep(draft.id, branches, draft.location, action=_name(draft, report))


def _link(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    return LinkStep(draft.id, branches, draft.location, flow=_name(draft, report))


def _call(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    server = get_typed(draft.node, "mcp_server", str, report)
    return CallStep(draft.id, branches, draft.location, flow=_name(draft, report), mcp_server=server)


def _noop(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    # Without a value it loads in CALM too, and assistants are written like that.
    if draft.node["noop"] not in (True, None):
        report.error(
            f"'noop' must be true, not {shown(draft.node['noop'])}.",
            location_of(draft.node, "noop"),
            rule="wrong-type",
            culprit="noop",
        )
    return NoopStep(draft.id, branches, draft.location)


def _collect(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    node = draft.node
    slot = _name(draft, report)
    if slot and not _SLOT_NAME.fullmatch(slot):
        report.error(
            f"'{slot}' cannot name a slot.", location_of(node, "collect"), rule="invalid-slot-name", culprit=slot
        )
    return CollectStep(
        draft.id,
        branches,
        draft.location,
        slot=slot,
        utter=get_typed(node, "utter", str, report, default=f"utter_ask_{slot}"),
        description=_stripped(get_typed(node, "description", str, report)),
        ask_before_filling=get_typed(node, "ask_before_filling", bool, report, default=False),
        reset_after_flow_ends=get_typed(node, "reset_after_flow_ends", bool, report, default=True),
        force_slot_filling=get_typed(node, "force_slot_filling", bool, report, default=False),
        rejections=read_rejections(node, f"the step that collects '{slot}'", report),
    )


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()


def read_rejections(node: Mapping[str, Any], owner: str, report: Report) -> tuple[Rejection, ...]:
    """The ``rejections`` of a collect step or a slot's validation: a list of ``{if, utter}``, other keys ignored."""
    nodes = get_typed(node, "rejections", list, report, default=())
    rejections = []
    for index, entry in enumerate(nodes):
        condition = entry.get("if") if isinstance(entry, Mapping) else None
        utter = entry.get("utter") if isinstance(entry, Mapping) else None
        if is_kind(condition, bool):
            condition = str(condition).lower()
        if isinstance(condition, str) and isinstance(utter, str):
            rejections.append(Rejection(condition, utter, location_of(nodes, index)))
        else:
            report.error(
                f"a rejection of {owner} needs the texts 'if' and 'utter'.",
                location_of(nodes, index),
                rule="invalid-rejection",
            )
    return tuple(rejections)


def _set_slots(draft: _Draft, branches: tuple[Branch, ...], report: Report) -> Step:
    entries = get_typed(draft.node, "set_slots", list, report, default=())
    assignments: list[tuple[str, Any]] = []
    for index, entry in enumerate(entries):
        if isinstance(entry, Mapping) and len(entry) == 1:
            slot, value = next(iter(entry.items()))
            assignments.append((str(slot), plain(value)))
        else:
            report.error(
                f"'set_slots' lists one 'slot: value' each, not {shown(entry)}.",
                location_of(entries, index),
                rule="wrong-type",
            )
    if not entries and draft.node["set_slots"] in (None, []):
        report.error("'set_slots' sets nothing.", draft.location, rule="empty-steps", culprit="set_slots")
    return SetSlotsStep(draft.id, branches, draft.location, assignments=tuple(assignments))


_BUILDERS: Mapping[str, Callable[[_Draft, tuple[Branch, ...], Report], Step]] = {
    "action": _action,
    "collect": _collect,
    "link": _link,
    "call": _call,
    "set_slots": _set_slots,
    "noop": _noop,
}
