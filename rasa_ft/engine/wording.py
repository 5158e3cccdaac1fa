"""Who has the last word on what the bot says: what an assistant's ``nlg`` entry names, ready to be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rasa_ft.calm.dialogue.runtime import Rephraser
from rasa_ft.calm.project.assistant import Assistant
from rasa_ft.calm.project.nlg import Rephrasing, ResponseServer
from rasa_ft.engine.http_endpoint import HttpEndpoint
from rasa_ft.engine.response_server import ServerResponses
from rasa_ft.llm.config import REPHRASER_DEFAULTS, ModelGroup, load_model_groups, resolve_group
from rasa_ft.llm.groups import build_llm
from rasa_ft.understanding.rephrasing import DEADLINE_SECONDS, ResponseRephraser


def rephraser_of(assistant: Assistant, endpoints: Path | None) -> Rephraser | None:
    """What rewords the assistant's responses; None: they are said as they are written.

    Args:
        endpoints: the file with the assistant's model groups.

    Raises:
        DataError: the rephraser's model is not defined, or defined badly.
    """
    if isinstance(assistant.nlg, ResponseServer):
        return ServerResponses(HttpEndpoint.read("the url of nlg", assistant.nlg.options, assistant.project))
    if isinstance(assistant.nlg, Rephrasing):
        return _rephraser(assistant.nlg, assistant.project, endpoints or assistant.project / "endpoints.yml")
    return None


def rephraser_group(settings: Rephrasing, endpoints: Path) -> ModelGroup:
    """The model that rewords.

    Raises:
        DataError: it is not defined, or defined badly.
    """
    return resolve_group(settings.llm, load_model_groups(endpoints), defaults=REPHRASER_DEFAULTS)


def _rephraser(settings: Rephrasing, project: Path, endpoints: Path) -> ResponseRephraser:
    group = rephraser_group(settings, endpoints)
    timeouts = [model.timeout for model in group.models if model.timeout is not None]
    llm = build_llm(_impatient(group), project=project)
    return ResponseRephraser(settings, llm, deadline=max(timeouts, default=DEADLINE_SECONDS))


def _impatient(group: ModelGroup) -> ModelGroup:
    """With one repetition of a failed call where the configuration does not say how many: the user waits."""
    retries = group.models[0].retries if group.retries is None else group.retries
    return replace(group, router=replace(group.router, retries=1 if retries is None else retries))
