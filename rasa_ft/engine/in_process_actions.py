"""Custom actions in this process: the `rasa_sdk.Action` classes of the assistant's own package."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rasa_ft.calm.checks.findings import Finding
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, ActionResult
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.project.domain import Domain
from rasa_ft.engine.project_modules import ProjectModules
from rasa_ft.engine.stdout import kept_off_stdout
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.errors import DataError
from rasa_ft.yaml_source import did_you_mean

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InProcessActions:
    """Instances of all action classes, by name; of two with one name the last counts, as in rasa_sdk.

    What they print goes to stderr.
    """

    actions: Mapping[str, Any]
    modules: ProjectModules
    domain: Mapping[str, Any]
    channel: str

    @classmethod
    def load(cls, project: Path, module: str, domain: Domain, *, channel: str) -> InProcessActions:
        """Import ``module`` and everything below it from the project's folder.

        Raises:
            DataError: importing fails, or an action cannot be made.
        """
        modules = ProjectModules(project)
        with kept_off_stdout():
            loaded = modules.load_package(module)
            with modules.visible():
                actions = dict(_instances(loaded))
        return cls(actions, modules, domain.document(), channel)

    def missing(self, names: Iterable[str]) -> Finding | None:
        """A warning if there are no classes for some of ``names``; these actions fail when they run."""
        absent = sorted(set(names) - set(self.actions))
        if not absent:
            return None
        return Finding(
            "warning",
            f"no class of the actions module has the name of {', '.join(absent)}; running them cancels the flow.",
            hint="A folder of actions counts only with an __init__.py in it.",
            rule="missing-action-class",
        )

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        from rasa_sdk import Tracker as SdkTracker
        from rasa_sdk.executor import CollectingDispatcher
        from rasa_sdk.interfaces import ActionExecutionRejection

        if action not in self.actions:
            hint = did_you_mean(action, self.actions)
            raise ActionFailed(f"no class in the actions module has this name.{hint}")
        dispatcher = CollectingDispatcher()
        state = SdkTracker.from_dict(tracker_document(tracker, channel=self.channel))
        try:
            with self.modules.visible(), kept_off_stdout():
                answer = self.actions[action].run(dispatcher, state, self.domain)
                events = await answer if inspect.isawaitable(answer) else answer
        except ActionExecutionRejection as error:
            raise ActionRejected(str(error)) from error
        except BaseException as error:  # a user's code may raise anything, SystemExit too
            if isinstance(error, KeyboardInterrupt) or _we_are_cancelled(error):
                raise
            log.info("action %s raised", action, exc_info=True)
            raise ActionFailed(f"{type(error).__name__}: {error}") from error
        return ActionResult(_valid_events(action, events), tuple(dispatcher.messages))


def _we_are_cancelled(error: BaseException) -> bool:
    """Whether somebody cancels this turn; an action may also raise the exception of its own accord."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _instances(modules: Iterable[ModuleType]) -> Iterable[tuple[str, Any]]:
    """(name, instance) of every action class that the modules define or import, but for those of rasa_sdk itself."""
    from rasa_sdk import Action

    seen: set[type[Any]] = set()
    for module in modules:
        for kind in list(vars(module).values()):
            is_action = (
                isinstance(kind, type) and issubclass(kind, Action) and not kind.__module__.startswith("rasa_sdk")
            )
            if is_action and kind not in seen and not inspect.isabstract(kind):
                seen.add(kind)
                action = _instance(kind)
                if action is not None:
                    yield action


def _instance(kind: type[Any]) -> tuple[str, Any] | None:
    """None: a base class that leaves its name to its subclasses, which rasa_sdk tells by a NotImplementedError."""
    try:
        action = kind()
        return str(action.name()), action
    except NotImplementedError:
        return None
    except (Exception, SystemExit) as error:
        raise DataError(
            f"the action class {kind.__module__}.{kind.__qualname__} cannot be made: {type(error).__name__}: {error}",
            hint="Action classes are created without arguments.",
        ) from error


def _valid_events(action: str, events: Any) -> tuple[Mapping[str, Any], ...]:
    """The events that an action returned; what is none is left out with a warning, as rasa_sdk does."""
    if not isinstance(events, list | tuple):
        if events:
            log.warning("action %s returned a %s instead of a list of events", action, type(events).__name__)
        return ()
    valid = tuple(event for event in events if isinstance(event, Mapping) and event.get("event"))
    if len(valid) < len(events):
        log.warning("action %s returned something that is no event; it is ignored", action)
    return valid
