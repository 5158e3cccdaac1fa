"""What a conversation runs on: the assistant, the way to its custom actions, and how the bot says something."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rasa_ft.calm.domain import Domain
from rasa_ft.calm.events import BotUttered
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.responses import Scope, render_response
from rasa_ft.calm.tracker import Tracker


class ActionFailed(Exception):
    """A custom action raised, or its server could not be reached; the flow that runs it is cancelled."""


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


@dataclass(frozen=True)
class Runtime:
    """``channel`` is the name under which response variations may be written for it."""

    domain: Domain
    flows: Mapping[str, Flow]
    custom: CustomActions
    channel: str = "collector"

    def has_action(self, name: str) -> bool:
        return self.domain.has_action(name) or self.started_by(name) is not None

    def started_by(self, action: str) -> Flow | None:
        """The flow that an action ``flow_<id>`` starts."""
        prefix, _, flow_id = action.partition("flow_")
        return None if prefix else self.flows.get(flow_id)

    def flow_name(self, flow_id: str) -> str:
        """The human name of a flow; its id if it does not exist."""
        return self.flows[flow_id].name if flow_id in self.flows else flow_id

    def say(self, tracker: Tracker, response: str, **arguments: Any) -> Tracker:
        """With response ``response`` said. A name without a response is passed over.

        Which variation is said is a matter of chance, but the same in every replay: the dice are seeded with the
        response's name and the number of events before it.
        """
        scope = Scope(tracker.slots, tracker.stack.context(), arguments)
        rng = random.Random(f"{response}:{len(tracker.events)}")  # noqa: S311
        message = render_response(self.domain.responses, response, scope, channel=self.channel, rng=rng)
        return tracker if message is None else tracker.apply(signed(message, tracker))


def signed(message: BotUttered, tracker: Tracker) -> BotUttered:
    """``message`` with the flow and step that say it."""
    flow_id, step_id = origin(tracker)
    return replace(message, flow_id=flow_id, step_id=step_id)


def origin(tracker: Tracker) -> tuple[str | None, str | None]:
    """Flow and step that act now; while a question is asked, those that ask it."""
    context = tracker.stack.context()
    return context.get("flow_id"), context.get("step_id")
