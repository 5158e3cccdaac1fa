"""Custom actions that are run once: a conversation that is played again gets the answers of the first time.

Data preparation plays every test many times in other words. What an action does to the world (a booking, an e-mail)
must not happen as often.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rasa_ft.calm.dialogue.runtime import ActionResult, CustomActions
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import ActionExecuted
from rasa_ft.files import fingerprint


@dataclass(frozen=True)
class ActionMemory:
    """Answers of the actions of one test, by action, slots, and how often the action ran before."""

    answers: dict[str, ActionResult] = field(default_factory=dict)


@dataclass(frozen=True)
class RememberedActions:
    """Runs what ``memory`` does not have. An action that fails is run again the next time."""

    inner: CustomActions
    memory: ActionMemory

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        """See `CustomActions.run`."""
        key = _key(action, tracker)
        if key not in self.memory.answers:
            self.memory.answers[key] = await self.inner.run(action, tracker)
        return self.memory.answers[key]


def _key(action: str, tracker: Tracker) -> str:
    """The words of the user are no part of it: they differ between two replays, what was understood does not."""
    earlier = sum(isinstance(event, ActionExecuted) and event.action == action for event in tracker.events)
    slots = sorted((name, repr(value)) for name, value in tracker.slots.items() if value is not None)
    return fingerprint([action, earlier, slots])
