"""One short conversation for each kind of command that no test leads to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import (
    CancelFlow,
    ChitChat,
    Clarify,
    Command,
    Knowledge,
    SetSlot,
    SkipQuestion,
    StartFlow,
)
from rasa_ft.calm.dialogue.stack import CANCEL_FLOW, CHITCHAT, CLARIFICATION, SEARCH, SKIP_QUESTION
from rasa_ft.calm.flows.conditions import holds
from rasa_ft.calm.flows.model import ActionStep, CollectStep
from rasa_ft.calm.project.domain import Domain
from rasa_ft.e2e.suggestions.skeletons import Skeleton, Suggestion, add_answer, follow
from rasa_ft.e2e.suggestions.walks import Explorer, Walk

GROUP = "commands"
_ALONE: Mapping[str, tuple[str, Command, str]] = {
    ChitChat.name: ("make small talk", ChitChat(), CHITCHAT),
    Knowledge.name: ("ask something general", Knowledge(), SEARCH),
}
_AT_QUESTION: Mapping[str, tuple[str, Command, str]] = {
    CancelFlow.name: ("stop it", CancelFlow(), CANCEL_FLOW),
    SkipQuestion.name: ("do not answer", SkipQuestion(), SKIP_QUESTION),
}
# Small talk that a part of the assistant makes up that is not run.
_INTENTLESS = "action_trigger_chitchat"
_MOST_STEPS = 20


def of_kinds(kinds: Iterable[str], explorer: Explorer, domain: Domain, root: Path | None) -> Iterator[Suggestion]:
    """One case for each of ``kinds``, names of commands, that the assistant can be led to."""
    asking = _asking(explorer)
    for kind in kinds:
        skeleton = Skeleton()
        fixtures: tuple[tuple[str, Any], ...] = ()
        if kind in _ALONE:
            _add(skeleton, *_ALONE[kind], explorer, domain)
        elif kind == Clarify.name:
            _add_clarification(skeleton, explorer, domain)
        elif asking is not None:
            fixtures = asking.fixtures
            _add_at_question(skeleton, kind, asking, explorer, domain, root)
        if skeleton.steps:
            yield skeleton.suggestion(GROUP, kind, fixtures=fixtures, about=(f"the command '{kind}'",))


def _asking(explorer: Explorer) -> Walk | None:
    """To the first question of a flow: preferably one that needs nothing to begin with."""
    begun = (explorer.begin(flow) for flow in explorer.flows.values())
    walks = [
        walk for walk in (explorer.finish(walk) for walk in begun if walk is not None) if walk.frames and walk.listens
    ]
    return min(walks, key=lambda walk: len(walk.fixtures), default=None)


def _add_clarification(skeleton: Skeleton, explorer: Explorer, domain: Domain) -> None:
    """Between two flows that can be started without anything."""
    begun = (explorer.begin(flow) for flow in explorer.flows.values())
    flows = [walk.flow for walk in begun if walk is not None and not walk.fixtures][:2]
    if len(flows) == 2:
        wish = f"say something that may mean {flows[0].name} or {flows[1].name}"
        context = {"names": [flow.name for flow in flows]}
        _add(skeleton, wish, Clarify(tuple(flow.id for flow in flows)), CLARIFICATION, explorer, domain, context)


def _add_at_question(
    skeleton: Skeleton, kind: str, asking: Walk, explorer: Explorer, domain: Domain, root: Path | None
) -> None:
    if kind in (*_AT_QUESTION, SetSlot.name, StartFlow.name):
        follow(skeleton, asking, domain, root)
    last = asking.visits[-1].step
    if kind in _AT_QUESTION:
        _add(skeleton, *_AT_QUESTION[kind], explorer, domain)
    elif kind == SetSlot.name and isinstance(last, CollectStep):
        add_answer(skeleton, last, asking.answer(len(asking.path) - 1), domain)


def _add(
    skeleton: Skeleton,
    wish: str,
    command: Command,
    pattern: str,
    explorer: Explorer,
    domain: Domain,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Add a message that leads to ``command`` and what ``pattern`` answers; nothing if it cannot answer."""
    actions = _actions(pattern, explorer, domain, context or {})
    if _INTENTLESS in actions:
        return
    skeleton.say(wish, command)
    for action in actions:
        if action in domain.responses:
            skeleton.expect(action)


def _actions(pattern: str, explorer: Explorer, domain: Domain, context: Mapping[str, Any]) -> list[str]:
    """The actions that ``pattern`` runs when nothing but ``context`` is known."""
    flow = explorer.flows[pattern]
    document = {"slots": domain.initial_slots(), "context": context}
    step, found = flow.steps[0], []
    for _ in range(_MOST_STEPS):
        if isinstance(step, ActionStep):
            found.append(step.action)
        target = next((b.target for b in step.next if holds(b.condition, document, {"context": context})), None)
        following = flow.step(target) if target else None
        if following is None or isinstance(following, CollectStep):
            break
        step = following
    return found
