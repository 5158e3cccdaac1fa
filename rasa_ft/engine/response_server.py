"""``nlg: {type: callback, url: …}``: a server writes what the bot says."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rasa_ft.calm.dialogue.actions import bot_message
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, Draft
from rasa_ft.engine.http_endpoint import EndpointFailed, HttpEndpoint
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.llm.cooldown import Cooldown

log = logging.getLogger(__name__)

# The user waits for the bot meanwhile.
_DEADLINE_SECONDS = 10.0


@dataclass
class ServerResponses:
    """Asks for each response; where the server gives none, the bot says what is written in the domain, if anything.

    A server that fails is left alone for the cool-down.
    """

    endpoint: HttpEndpoint
    cooldown: Cooldown = field(default_factory=Cooldown)

    async def reword(self, message: BotUttered, tracker: Tracker, runtime: Runtime) -> BotUttered:
        """See `rasa_ft.calm.dialogue.runtime.Rephraser`; the server's answer replaces all parts of the message."""
        if self.cooldown.rest:
            return message
        try:
            answer = await self.endpoint.post(_question(message, tracker, runtime), timeout=_DEADLINE_SECONDS)
            if answer.status != 200:
                raise EndpointFailed(f"{self.endpoint.url} answered {answer.status}")
            said = _read(answer.content)
        except EndpointFailed as error:
            if self.cooldown.failed():
                log.warning("responses are said as written for the next %g seconds: %s", self.cooldown.seconds, error)
            return message
        self.cooldown.succeeded()
        return replace(said, utter_action=message.utter_action, flow_id=message.flow_id, step_id=message.step_id)


def _question(message: BotUttered, tracker: Tracker, runtime: Runtime) -> dict[str, Any]:
    draft = message.draft or Draft()
    return {
        "response": message.utter_action,
        "id": draft.id,
        "arguments": dict(draft.arguments),
        "tracker": tracker_document(tracker, channel=runtime.channel),
        "channel": {"name": runtime.channel},
    }


def _read(content: bytes) -> BotUttered:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        raise EndpointFailed("its answer is not a message object")
    return bot_message(document, "server")
