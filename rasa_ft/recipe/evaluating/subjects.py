"""The models under examination, ready to be asked: the teacher as configured, base and tuned model served here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rasa_ft.engine.base import Engine
from rasa_ft.errors import DataError
from rasa_ft.llm.client import LLM
from rasa_ft.llm.store import Store
from rasa_ft.training.template import PROMPT_FILE, check_template

# Longer than the commands for nearly every message; an untuned model would talk on and on.
BASE_MAX_TOKENS = 32


@dataclass(frozen=True)
class Subject:
    """A model that can be examined: the assistant's engine that asks it, and the model itself.

    ``source`` says where the answers come from, for the report.
    """

    name: str
    source: str
    engine: Engine
    llm: LLM
    startup_seconds: float | None = None


class Subjects(Protocol):
    """Where the models come from."""

    def teacher(self) -> AbstractContextManager[Subject]:
        """The assistant with the model and the template that its own configuration names."""

    def student(self, role: str) -> AbstractContextManager[Subject]:
        """``base`` or ``tuned``, with the student's template."""


@dataclass(frozen=True)
class ServedSubjects:
    """The teacher as the assistant configures it; base and tuned model served on this machine, one at a time.

    ``data`` is the output folder of prepare-data, ``model`` that of train. ``base_model``: a folder or hub name; None
    takes what the training manifest names. ``grammar``: students decode by the assistant's grammar, where the server
    can do that. ``logs`` receives the servers' logs, ``on_progress`` what they are doing.
    """

    project: Path
    data: Path
    model: Path
    logs: Path
    endpoints: Path | None = None
    base_model: str | None = None
    concurrency: int = 16
    max_tokens: int = 64
    timeout: float = 120.0
    grammar: bool = True
    on_progress: Callable[[str], None] = lambda text: None

    @contextmanager
    def teacher(self) -> Iterator[Subject]:
        from rasa_ft.engine.embedded import load_engine
        from rasa_ft.llm.config import RECORDED, command_group
        from rasa_ft.llm.groups import build_llm

        group = command_group(self.project, self.endpoints)
        provider = group.models[0].provider
        source = "recorded answers, written by people" if provider == RECORDED else f"provider {provider}"
        with _answers() as store:
            llm = build_llm(group, project=self.project, store=store, concurrency=self.concurrency)
            engine = load_engine(self.project, llm=llm, endpoints=self.endpoints, rephrase=False)
            yield Subject(group.models[0].model, source, engine, llm)

    @contextmanager
    def student(self, role: str) -> Iterator[Subject]:
        from rasa_ft.engine.embedded import load_engine
        from rasa_ft.llm.groups import build_llm
        from rasa_ft.serving.command import ServeSettings, find_model
        from rasa_ft.serving.endpoint import Endpoint
        from rasa_ft.serving.vllm import free_port, serve

        folder = self.model if role == "tuned" else find_base(self.model, self.base_model)
        name = str(folder) if role == "tuned" else self.base_model or manifest_base(self.model) or str(folder)
        template = student_template(self.model, self.data)
        settings = ServeSettings(find_model(folder), name=role, port=free_port())
        log = self.logs / f"serve-{role}.log"
        with serve(settings, log=log, on_progress=self._says(role)) as server, _answers() as store:
            longest = self.max_tokens if role == "tuned" else min(self.max_tokens, BASE_MAX_TOKENS)
            group = Endpoint(server.url, server.model_name, longest, self.timeout).model_group()
            llm = build_llm(group, project=self.project, store=store, concurrency=self.concurrency)
            engine = load_engine(
                self.project,
                llm=llm,
                endpoints=self.endpoints,
                rephrase=False,
                prompt_template=template,
                grammar=self.grammar and server.command.backend != "transformers",
            )
            yield Subject(name, f"{server.command.backend}, self-hosted", engine, llm, server.startup_seconds)

    def _says(self, role: str) -> Callable[[str], None]:
        return lambda text: self.on_progress(f"{role}: {text}")


def student_template(model: Path, data: Path) -> Path:
    """The template that the model was trained with: next to the model, or in the prepared data.

    Raises:
        DataError: it is in neither place, or it was changed since; another one would make the model look worse than it
            is.
    """
    places = (model / PROMPT_FILE, model.parent / PROMPT_FILE, data / PROMPT_FILE)
    template = next((place for place in places if place.is_file()), None)
    if template is None:
        raise DataError(
            f"the prompt template of the tuned model, {PROMPT_FILE}, is neither in {model} nor in {data}.",
            hint="Name the output folder of prepare-data with --data.",
        )
    check_template(template, model, data)
    return template


def find_base(model: Path, name: str | None = None) -> Path:
    """The folder of the base model ``name``, or of the one that the training manifest of ``model`` names.

    Raises:
        DataError: nothing names it, or it cannot be had.
    """
    from rasa_ft.training.base_models import find_base_model

    name = name or manifest_base(model)
    if name is None:
        raise DataError(
            f"nothing at {model} says which base model it was trained from.",
            hint="Name it with --base-model, or leave it out with --skip-base.",
        )
    place = Path(find_base_model(name))
    return place if place.is_dir() else _download(name)


def manifest_base(model: Path) -> str | None:
    """The base model that the manifest of a training run at ``model`` (or one folder up) names.

    Raises:
        DataError: the manifest is broken.
    """
    for file in (model / "manifest.json", model.parent / "manifest.json"):
        if file.is_file():
            try:
                return str(json.loads(file.read_text(encoding="utf-8"))["recipe"]["base_model"])
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{file} is not a manifest of a training run.", hint="Train again.") from None
    return None


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise DataError(f"the base model {name} cannot be had: {str(error).splitlines()[0]}") from None


@contextmanager
def _answers() -> Iterator[Store]:
    """A store that lives as long as one examination: a prompt is asked once, and no older model's answer is taken."""
    with tempfile.TemporaryDirectory(prefix="rasa_ft-") as folder:
        store = Store(Path(folder) / "answers.sqlite")
        try:
            yield store
        finally:
            store.close()
