"""Running an assistant's custom actions: in this process with rasa_sdk, on an action server over HTTP, or as stubs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionResult, CustomActions, OutOfScopeReached
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.project.domain import Domain
from rasa_ft.calm.project.out_of_scope import GRPC
from rasa_ft.engine.base import Stub
from rasa_ft.engine.http_actions import HttpActions
from rasa_ft.engine.http_endpoint import HttpEndpoint
from rasa_ft.engine.in_process_actions import InProcessActions
from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint


def custom_actions(project: Path, endpoint: Mapping[str, Any] | None, domain: Domain, *, channel: str) -> CustomActions:
    """What runs the assistant's actions, as ``action_endpoint`` in endpoints.yml says.

    ``actions_module`` goes before ``url``. Without custom actions in the domain the module is not imported.

    Raises:
        DataError: the module cannot be imported, or the url is not one.
        MissingRequirement: the module imports a package that is not installed.
    """
    endpoint = endpoint or {}
    if endpoint.get("actions_module") and not domain.custom_actions:
        return NoActions()
    if endpoint.get("actions_module"):
        return InProcessActions.load(project, str(endpoint["actions_module"]), domain, channel=channel)
    if str(endpoint.get("url", "")).startswith(GRPC):
        return GrpcActions()
    if endpoint.get("url"):
        document = domain.document()
        only = domain.actions_with_domain if endpoint.get("enable_selective_domain") is True else None
        server = HttpEndpoint.read("the action endpoint", endpoint, project)
        return HttpActions(server, document, fingerprint(document), channel, only)
    return NoActions()


class NoActions:
    """An assistant without an action endpoint."""

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        raise ActionFailed("endpoints.yml has no action_endpoint, so no custom action can run")


class GrpcActions:
    """A server that cannot be asked (`rasa_ft.calm.project.out_of_scope`)."""

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        raise OutOfScopeReached(f"the gRPC action server, for {action}")


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
