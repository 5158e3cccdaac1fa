"""What a conversation runs on: the assistant, the way to its custom actions, and how the bot says something."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from rasa_ft.calm.copying import replace
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, Draft
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.domain import Domain
from rasa_ft.calm.responses import Scope, Variation, choose_variation, render_variation

# Actions of one turn. Ends what would never end by itself.
MAX_ACTIONS = 1000
# (major, minor, patch) of rasa-pro.
Version = tuple[int, int, int]
# Those whose behaviour can be had; of a minor version, the last patch unless one is named.
LAST_PATCH = 999
OLDEST, NEWEST = (3, 12, 0), (3, 21, LAST_PATCH)


class ActionFailed(Exception):
    """A custom action raised, or its server could not be reached; the flow that runs it is cancelled."""


class OutOfScopeReached(ActionFailed):
    """A part of the assistant is needed that is not run (`rasa_ft.calm.project.out_of_scope`); ``str`` names it."""


class ActionRejected(Exception):
    """A custom action refuses to run now."""


@dataclass(frozen=True)
class ActionResult:
    """What a custom action answers: event and response documents, in the shape of an action server's answer."""

    events: tuple[Mapping[str, Any], ...] = ()
    responses: tuple[Mapping[str, Any], ...] = ()


class CustomActions(Protocol):
    """The assistant's own code."""

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        """Run one action on the conversation as it is.

        Raises:
            ActionFailed, ActionRejected: as described there.
        """


class SearchFailed(Exception):
    """The documents could not be searched, or no answer be written; the user hears of an internal error."""


class Search(Protocol):
    """Answers questions from documents."""

    async def answer(self, tracker: Tracker, runtime: Runtime) -> BotUttered | None:
        """What is said to the latest message; None: the documents do not tell.

        Raises:
            SearchFailed: as described there.
        """


class Rephraser(Protocol):
    """Words the bot's messages anew: a language model, or a server that writes them."""

    async def reword(self, message: BotUttered, tracker: Tracker, runtime: Runtime) -> BotUttered:
        """What is said instead of ``message``; ``message`` itself where nothing is to be changed or all fails.

        Args:
            message: a message with its `Draft`.
            tracker: the conversation before the message.
        """


@dataclass(frozen=True)
class Runtime:
    """``channel`` is the name under which response variations may be written for it.

    ``version``: the version of rasa-pro to behave like, where versions differ and the difference is known here.
    ``rephraser`` None: the bot says what is written. ``search`` None: there are no documents. ``clock`` gives the time
    of a message that comes without one, in seconds; without a clock time stands still and no session expires.
    ``clarify_several_starts``: when nothing is under way, several flows to start are asked back.
    """

    domain: Domain
    flows: Mapping[str, Flow]
    custom: CustomActions
    channel: str = "collector"
    version: Version = NEWEST
    rephraser: Rephraser | None = None
    search: Search | None = None
    clock: Callable[[], float] | None = None
    max_actions: int = MAX_ACTIONS
    clarify_several_starts: bool = False
    # Components and policies of the assistant that are not run (`rasa_ft.calm.project.out_of_scope`), by class name.
    ignored: frozenset[str] = frozenset()

    @cached_property
    def user_flows(self) -> tuple[Flow, ...]:
        """The flows that are no patterns, in the order of their files."""
        return tuple(flow for flow in self.flows.values() if not flow.is_pattern)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """For what others work out once for these flows and this domain."""
        return {}

    def has_action(self, name: str) -> bool:
        return self.domain.has_action(name) or self.started_by(name) is not None

    def started_by(self, action: str) -> Flow | None:
        """The flow that an action ``flow_<id>`` starts."""
        prefix, _, flow_id = action.partition("flow_")
        return None if prefix else self.flows.get(flow_id)

    def flow_name(self, flow_id: str, tracker: Tracker) -> str:
        """The human name of a flow, in the conversation's language; its id if it does not exist."""
        flow = self.flows.get(flow_id)
        return flow.name_in(tracker.slots.get("language")) if flow else flow_id

    def say(self, tracker: Tracker, response: str, /, **arguments: Any) -> Tracker:
        """With response ``response`` said. A name without a response is passed over.

        Which variation is said is a matter of chance, but the same in every replay: the dice are seeded with the
        response's name and the number of events before it.
        """
        scope = Scope(tracker.slots, tracker.stack.context(), arguments)
        rng = random.Random(f"{response}:{len(tracker.events)}")  # noqa: S311
        variation = choose_variation(self.domain.responses, response, scope, channel=self.channel, rng=rng)
        if self.rephraser is not None:
            return tracker.apply(signed(_drafted(response, variation, scope), tracker))
        if variation is None:
            return tracker
        return tracker.apply(signed(render_variation(response, variation, scope), tracker))


def _drafted(response: str, variation: Variation | None, scope: Scope) -> BotUttered:
    """What is written for ``response``, if anything, for a rephraser to finish."""
    if variation is None:
        return BotUttered(None, utter_action=response, draft=Draft(False, arguments=scope.arguments))
    draft = Draft(True, variation.id, variation.rephrase, variation.rephrase_prompt, scope.arguments)
    return replace(render_variation(response, variation, scope), draft=draft)


async def reworded(tracker: Tracker, start: int, runtime: Runtime) -> Tracker:
    """With the drafts among the events from index ``start`` on finished; what nobody has written is not said."""
    assert runtime.rephraser is not None  # noqa: S101 - without one there are no drafts
    events = list(tracker.events[:start])
    for event in tracker.events[start:]:
        if isinstance(event, BotUttered) and event.draft is not None:
            before = replace(tracker, events=tuple(events))
            answer = await runtime.rephraser.reword(event, before, runtime)
            if answer is event and not event.draft.written:
                continue
            event = replace(answer, draft=None)
        events.append(event)
    return replace(tracker, events=tuple(events))


def signed(message: BotUttered, tracker: Tracker) -> BotUttered:
    """``message`` with the flow and step that say it."""
    flow_id, step_id = origin(tracker)
    return replace(message, flow_id=flow_id, step_id=step_id)


def origin(tracker: Tracker) -> tuple[str | None, str | None]:
    """Flow and step that act now; while a question is asked, those that ask it."""
    context = tracker.stack.context()
    return context.get("flow_id"), context.get("step_id")
