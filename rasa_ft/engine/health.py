"""Whether the models and the action server that an assistant asks in a conversation answer at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rasa_ft.calm.project.assistant import Assistant
from rasa_ft.calm.project.nlg import Rephrasing
from rasa_ft.engine.http_actions import HttpActions
from rasa_ft.engine.http_endpoint import EndpointFailed
from rasa_ft.engine.wording import rephraser_group
from rasa_ft.errors import RasaFtError
from rasa_ft.llm.config import command_group
from rasa_ft.llm.health import check_health, health_check_wanted

if TYPE_CHECKING:
    from rasa_ft.engine.embedded import EmbeddedEngine

_HEALTH = "/health"
_SECONDS = 3.0


def check_action_server(engine: EmbeddedEngine) -> None:
    """Ask the action server for its health, if the assistant has one and actions of its own.

    Raises:
        RasaFtError: it does not answer.
    """
    actions = engine.runtime.custom
    if not isinstance(actions, HttpActions) or not engine.custom_actions:
        return
    try:
        asyncio.run(actions.endpoint.check(_HEALTH, _SECONDS))
    except EndpointFailed as error:
        raise RasaFtError(
            f"the action server {error}.", hint="Start it, or stub the actions in the tests (stub_custom_actions)."
        ) from error


def check_models_if_wanted(assistant: Assistant) -> None:
    """Ask the models of command generator and rephraser one tiny question, if the environment asks for it.

    Raises:
        LLMError: a model gives no answer.
    """
    sources = assistant.sources
    if not health_check_wanted() or sources is None:
        return
    groups = [command_group(assistant.project, sources.endpoints, sources.config)]
    if isinstance(assistant.nlg, Rephrasing) and sources.endpoints is not None:
        groups.append(rephraser_group(assistant.nlg, sources.endpoints))
    check_health(groups, assistant.project)
