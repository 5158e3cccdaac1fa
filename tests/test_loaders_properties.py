"""Broken files of every kind: each reader either reads them or raises one of our own errors, with a place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_assistant import DESK
from hypothesis import given
from hypothesis import strategies as st
from mutations import VALUES, mutated
from profiles import slow

import rasa_ft
from rasa_ft.calm.flows.loading import load_flows
from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.calm.project.config import load_config
from rasa_ft.calm.project.domain import load_domain
from rasa_ft.e2e.cases import load_suite
from rasa_ft.errors import DataError, RasaFtError
from rasa_ft.llm.config import command_group, load_model_groups
from rasa_ft.llm.recordings import load_recordings
from rasa_ft.recipe.settings import load_settings
from rasa_ft.recipe.wordings.rephrase import load_rephrase_config
from rasa_ft.training.config import load_recipe
from rasa_ft.yaml_source import load_yaml, plain

ROOT = Path(__file__).parent.parent
BOT = ROOT / "examples" / "bot"
# The longest files would only slow the search down.
_LONGEST = 130


def texts(*places: Path) -> list[str]:
    files = [file for place in places for file in (sorted(place.rglob("*.yml")) if place.is_dir() else [place])]
    found = ["\n".join(file.read_text(encoding="utf-8").splitlines()[:_LONGEST]) for file in files]
    assert found
    return found


REPHRASING = """prompt_template: prompts/x.jinja2
llm:
  provider: openai
  model: gpt-5-mini
  temperature: 0.5
styles: [short, "polite: very"]
personas:
  - a tourist
typos: 0.2
languages: [en, "no"]
seed: 3
"""
RETRIEVAL = """recipe: default.v1
language: en
additional_languages: [de]
pipeline:
  - name: SearchReadyLLMCommandGenerator
    llm: {model_group: m}
    flow_retrieval: {active: true, num_flows: 3, turns_to_embed: 2, embeddings: {model_group: e}}
    user_input: {max_characters: 100}
    timezone: Europe/Berlin
policies:
  - name: FlowPolicy
  - name: EnterpriseSearchPolicy
    vector_store: {type: faiss, source: ./docs, threshold: 0.2}
    llm: {model_group: m}
    citation_enabled: true
"""
ENDPOINTS = """action_endpoint:
  url: "http://localhost:5055/webhook"
  token: ${HOME}
nlg: {type: rephrase, llm: {model_group: two}, rephrase_all: true}
vector_store: {type: qdrant, host: x}
model_groups:
  - id: one
    models: [{provider: openai, model: gpt-5-mini, timeout: 7, temperature: 0.1, api_key: "${HOME}"}]
  - id: two
    models:
      - {provider: azure, deployment: d1, api_base: https://a.example, api_version: "2024-10-21", api_key: "${HOME}"}
      - {provider: self-hosted, model: m, api_base: "http://localhost:8000/v1", max_tokens: 3}
    router: {routing_strategy: simple-shuffle, num_retries: 2}
  - id: three
    models: [{provider: recorded, recordings: recordings/}]
"""

READERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "yaml": (lambda file: plain(load_yaml(file)), texts(BOT / "domain", DESK / "config.yml", DESK / "domain.yml")),
    "domain": (load_domain, texts(BOT / "domain", DESK / "domain.yml", ROOT / "rasa_ft" / "calm" / "patterns")),
    "flows": (load_flows, texts(BOT / "data", DESK / "data", ROOT / "rasa_ft" / "calm" / "patterns")),
    "config": (load_config, [*texts(BOT / "config.yml", DESK / "config.yml"), RETRIEVAL]),
    "endpoints": (load_model_groups, [*texts(BOT / "endpoints.yml", DESK / "endpoints.yml"), ENDPOINTS]),
    "tests": (load_suite, texts(BOT / "e2e_tests", BOT / "e2e_stubbed")),
    "recordings": (lambda file: load_recordings(file, model="m"), texts(BOT / "recordings")),
    "finetune_data": (load_settings, texts(BOT / "finetune_data.yml")),
    "recipes": (
        load_recipe,
        texts(ROOT / "examples" / "recipes", Path(rasa_ft.__file__).parent / "training" / "recipes"),
    ),
    "rephrasing": (lambda file: load_rephrase_config(file, {}), [REPHRASING]),
}


def write(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))


def check(error: RasaFtError) -> None:
    """What a user can do something with."""
    assert str(error).strip()
    assert "Traceback" not in str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("broken")
    (place / "prompts").mkdir()
    (place / "prompts" / "x.jinja2").write_text("{{ message }} {{ ways }}")
    shutil.copytree(BOT / "prompts", place / "prompts", dirs_exist_ok=True)
    return place


@pytest.mark.parametrize("kind", READERS)
@slow
@given(data=st.data())
def test_a_broken_file_is_read_or_refused(kind: str, data: st.DataObject, folder: Path) -> None:
    read, originals = READERS[kind]
    file = folder / f"{kind}.yml"
    write(file, data.draw(mutated(originals), label="text"))
    try:
        read(file)
    except RasaFtError as error:
        check(error)


@pytest.mark.parametrize("kind", READERS)
@slow
@given(
    text=st.text(max_size=60) | st.sampled_from(VALUES) | st.lists(st.sampled_from(VALUES), max_size=3).map("\n- ".join)
)
def test_a_file_of_something_else_is_read_or_refused(kind: str, text: str, folder: Path) -> None:
    read, _ = READERS[kind]
    file = folder / f"{kind}.yml"
    write(file, text)
    try:
        read(file)
    except RasaFtError as error:
        check(error)


@pytest.mark.parametrize("kind", READERS)
def test_the_originals_are_read(kind: str, folder: Path) -> None:
    read, originals = READERS[kind]
    file = folder / f"{kind}.yml"
    if kind == "tests":
        shutil.copy(BOT / "e2e_tests" / "conftest.yml", folder)
    for text in originals:
        write(file, text)
        try:
            read(file)
        except DataError as error:  # files that need others, or that were cut to their first lines
            check(error)
        else:
            return
    raise AssertionError("no original could be read")


# -- whole assistants -----------------------------------------------------------------------------------------------

PARTS = ("config.yml", "domain.yml", "endpoints.yml", "data/flows.yml")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    project = tmp_path_factory.mktemp("project") / "desk"
    shutil.copytree(DESK, project)
    yield project


@pytest.mark.parametrize("part", PARTS)
@slow
@given(data=st.data(), validate=st.booleans())
def test_an_assistant_with_a_broken_file_is_loaded_or_refused(
    part: str, data: st.DataObject, validate: bool, desk: Path
) -> None:
    original = (DESK / part).read_text(encoding="utf-8")
    write(desk / part, data.draw(mutated([original]), label=part))
    try:
        load_assistant(desk, validate=validate)
        command_group(desk)
    except RasaFtError as error:
        check(error)
    finally:
        write(desk / part, original)
