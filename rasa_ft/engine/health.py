"""Whether the models that an assistant asks in a conversation answer at all."""

from __future__ import annotations

from rasa_ft.calm.project.assistant import Assistant
from rasa_ft.calm.project.nlg import Rephrasing
from rasa_ft.engine.wording import rephraser_group
from rasa_ft.llm.config import command_group
from rasa_ft.llm.health import check_health, health_check_wanted


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
