"""Custom actions on an action server (rasa_sdk's protocol)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasa_ft import __version__
from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, ActionResult
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.engine.http_endpoint import Answer, EndpointFailed, HttpEndpoint
from rasa_ft.engine.tracker_document import tracker_document

_REJECTED = 400
_UNKNOWN = 404
_DOMAIN_NEEDED = 449


@dataclass(frozen=True)
class HttpActions:
    """One POST for each action; the domain goes with it only if the server asks for it.

    ``with_domain``: the only actions that get the domain at all; None: any.
    """

    endpoint: HttpEndpoint
    domain: Mapping[str, Any]
    digest: str
    channel: str
    with_domain: frozenset[str] | None = None

    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        body: dict[str, Any] = {
            "next_action": action,
            "sender_id": tracker.sender_id,
            "tracker": tracker_document(tracker, channel=self.channel),
            "version": __version__,
        }
        # An empty domain is one that no server asks for.
        bodies: tuple[Mapping[str, Any], ...] = ({**body, "domain": {}},)
        if self.with_domain is None or action in self.with_domain:
            known = {**body, "domain_digest": self.digest}
            bodies = (known, {**known, "domain": self.domain})
        try:
            return _result(action, await self.endpoint.post(*bodies, again_at=_DOMAIN_NEEDED))
        except EndpointFailed as error:
            raise ActionFailed(f"the action server {error}") from error


def _result(action: str, answer: Answer) -> ActionResult:
    try:
        content = json.loads(answer.content)
    except ValueError:
        content = None
    document = content if isinstance(content, Mapping) else {}
    if answer.status == _REJECTED:
        raise ActionRejected(str(document.get("error", "refused")))
    if answer.status == _UNKNOWN:
        raise ActionFailed(f"the action server answered {answer.status}: it has no action {action}")
    if answer.status != 200 or not isinstance(content, Mapping):
        raise ActionFailed(f"the action server answered {answer.status}{_reason(document)}")
    return ActionResult(_documents(document.get("events")), _documents(document.get("responses")))


def _reason(document: Mapping[str, Any]) -> str:
    return f": {document['error']}" if document.get("error") else ""


def _documents(items: Any) -> tuple[Mapping[str, Any], ...]:
    if items is None:
        return ()
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ActionFailed("the action server must answer with lists of events and responses")
    return tuple(items)
