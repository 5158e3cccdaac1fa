"""Running an assistant's custom actions: in this process with rasa_sdk, on an action server over HTTP, or as stubs."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from rasa_ft import __version__
from rasa_ft.calm.domain import Domain
from rasa_ft.calm.runtime import ActionFailed, ActionRejected, ActionResult, CustomActions
from rasa_ft.calm.tracker import Tracker
from rasa_ft.engine.base import Stub
from rasa_ft.engine.project_modules import ProjectModules
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint
from rasa_ft.yaml_source import did_you_mean, expand_secret

log = logging.getLogger(__name__)

SENDER = "default"
TIMEOUT_SECONDS = 300.0
_DOMAIN_NEEDED = 449


def custom_actions(project: Path, endpoint: Mapping[str, Any] | None, domain: Domain, *, channel: str) -> CustomActions:
    """What runs the assistant's actions, as ``action_endpoint`` in endpoints.yml says.

    ``actions_module`` goes before ``url``.

    Raises:
        DataError: the module cannot be imported, or the url is not one.
    """
    endpoint = endpoint or {}
    if endpoint.get("actions_module"):
        return InProcessActions.load(project, str(endpoint["actions_module"]), domain, channel=channel)
    if endpoint.get("url"):
        document = domain.document()
        return HttpActions(_checked_url(str(endpoint["url"])), dict(endpoint), document, fingerprint(document), channel)
    return NoActions()


class NoActions:
    """An assistant without an action endpoint."""

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        raise ActionFailed("endpoints.yml has no action_endpoint, so no custom action can run")


# -- in process -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InProcessActions:
    """Instances of all `rasa_sdk.Action` classes of a module, by name."""

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
        loaded = modules.load_package(module)
        with modules.visible():
            actions = dict(_instances(loaded))
        return cls(actions, modules, domain.document(), channel)

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        from rasa_sdk import Tracker as SdkTracker
        from rasa_sdk.executor import CollectingDispatcher
        from rasa_sdk.interfaces import ActionExecutionRejection

        if action not in self.actions:
            hint = did_you_mean(action, self.actions)
            raise ActionFailed(f"no class in the actions module has this name.{hint}")
        dispatcher = CollectingDispatcher()
        state = SdkTracker.from_dict(tracker_document(tracker, sender_id=SENDER, channel=self.channel))
        try:
            with self.modules.visible():
                answer = self.actions[action].run(dispatcher, state, self.domain)
                events = await answer if inspect.isawaitable(answer) else answer
        except ActionExecutionRejection as error:
            raise ActionRejected(str(error)) from error
        except Exception as error:  # a user's code may raise anything
            log.info("action %s raised", action, exc_info=True)
            raise ActionFailed(f"{type(error).__name__}: {error}") from error
        return ActionResult(_documents(events), tuple(dispatcher.messages))


def _instances(modules: Iterable[ModuleType]) -> Iterable[tuple[str, Any]]:
    """(name, instance) of every action class that the modules define, not those that they import."""
    from rasa_sdk import Action

    own = {module.__name__ for module in modules}
    for module in modules:
        for kind in vars(module).values():
            defined = isinstance(kind, type) and issubclass(kind, Action) and kind.__module__ in own
            if defined and not inspect.isabstract(kind):
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
    except Exception as error:
        raise DataError(
            f"the action class {kind.__module__}.{kind.__qualname__} cannot be made: {type(error).__name__}: {error}",
            hint="Action classes are created without arguments.",
        ) from error


def _documents(events: Any) -> tuple[Mapping[str, Any], ...]:
    """The events that an action returned; None counts as none."""
    if events is None:
        return ()
    if not isinstance(events, list | tuple) or not all(isinstance(event, Mapping) for event in events):
        raise ActionFailed("it must return a list of events")
    return tuple(events)


# -- over HTTP ------------------------------------------------------------------------------------------------------


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise DataError(
            f"the action endpoint '{url}' is not an http address.",
            hint="Write url: http://localhost:5055/webhook, or actions_module: actions, in endpoints.yml.",
        )
    return url


@dataclass(frozen=True)
class HttpActions:
    """An action server: one POST for each action, the domain with it only if the server asks for it."""

    url: str
    options: Mapping[str, Any]
    domain: Mapping[str, Any]
    digest: str
    channel: str

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        import httpx

        body: dict[str, Any] = {
            "next_action": action,
            "sender_id": SENDER,
            "tracker": tracker_document(tracker, sender_id=SENDER, channel=self.channel),
            "version": __version__,
            "domain_digest": self.digest,
        }
        try:
            async with httpx.AsyncClient(**self._client_options()) as client:
                response = await client.post(self.url, json=body)
                if response.status_code == _DOMAIN_NEEDED:
                    response = await client.post(self.url, json={**body, "domain": self.domain})
        except httpx.HTTPError as error:
            raise ActionFailed(
                f"the action server {self.url} does not answer: {error or type(error).__name__}"
            ) from error
        return _result(response.status_code, response.content)

    def _client_options(self) -> dict[str, Any]:
        auth = self.options.get("basic_auth")
        token = self.options.get("token")
        return {
            "timeout": TIMEOUT_SECONDS,
            "headers": {str(key): str(value) for key, value in (self.options.get("headers") or {}).items()},
            "cookies": self.options.get("cookies"),
            "auth": (str(auth["username"]), expand_secret(str(auth["password"]))) if auth else None,
            "params": {"token": expand_secret(str(token))} if token else None,
            "verify": str(self.options["cafile"]) if self.options.get("cafile") else True,
        }


def _result(status: int, content: bytes) -> ActionResult:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status == 400:
        raise ActionRejected(str((answer or {}).get("error", "refused")))
    if status != 200 or not isinstance(answer, Mapping):
        raise ActionFailed(f"the action server answered {status}")
    return ActionResult(_documents(answer.get("events")), _documents(answer.get("responses")))


# -- stubs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StubbedActions:
    """Fixed answers in place of all custom actions."""

    stubs: Mapping[str, Stub]

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        """
        Raises:
            DataError: the action has no stub.
        """
        if action not in self.stubs:
            raise DataError(
                f"the custom action '{action}' has no stub.",
                hint="Once a test stubs one action, all that it runs must be in stub_custom_actions.",
            )
        stub = self.stubs[action]
        return ActionResult(stub.events, stub.responses)
