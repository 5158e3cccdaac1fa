"""Assistants whose files lie elsewhere than usual, and those that are loaded without validation."""

from pathlib import Path

import pytest

from rasa_ft.calm.project.assistant import find_sources, load_assistant
from rasa_ft.calm.project.config import load_config
from rasa_ft.errors import DataError

CONFIG = """\
assistant_id: test
pipeline: [{name: CompactLLMCommandGenerator, prompt_template: prompts/own.jinja2}]
policies: [{name: FlowPolicy}]
"""
FLOW = "flows:\n  greet:\n    description: say hello\n    steps:\n      - action: utter_hi\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def scattered(tmp_path: Path) -> Path:
    """Nothing is where an assistant usually has it."""
    return write(
        tmp_path,
        {
            "config/config.yml": CONFIG,
            "prompts/own.jinja2": "{{ user_message }}",
            "domains/main/a.yml": "responses:\n  utter_hi: [{text: Hi}]\n",
            "content/flows/greet.yml": FLOW,
            "endpoints/local.yml": "nlg: {type: rephrase}\n",
        },
    )


def given(folder: Path) -> dict[str, Path]:
    return {
        "config": folder / "config/config.yml",
        "domain": folder / "domains/main",
        "data": folder / "content",
        "endpoints": folder / "endpoints/local.yml",
    }


def test_every_file_may_lie_elsewhere(scattered):
    assistant = load_assistant(scattered, **given(scattered))
    assert list(assistant.user_flows) == ["greet"]
    assert assistant.endpoints == {"nlg": {"type": "rephrase"}}
    assert assistant.generator.prompt_template == scattered / "prompts/own.jinja2"
    assert assistant.sources == find_sources(scattered, **given(scattered))
    one_file = {**given(scattered), "data": scattered / "content/flows/greet.yml"}
    assert list(load_assistant(scattered, **one_file).user_flows) == ["greet"]


def test_a_prompt_beside_a_config_in_a_folder_is_found_there_if_nowhere_else(scattered):
    file = scattered / "config/config.yml"
    (scattered / "prompts").rename(scattered / "config/prompts")
    assert load_config(file, scattered).generator.prompt_template == scattered / "config/prompts/own.jinja2"
    write(scattered, {"prompts/own.jinja2": "first"})
    assert load_config(file, scattered).generator.prompt_template == scattered / "prompts/own.jinja2"


@pytest.mark.parametrize("name", ["config", "domain", "data", "endpoints"])
def test_a_given_path_that_does_not_exist(scattered, name):
    with pytest.raises(DataError, match="ghost does not exist"):
        load_assistant(scattered, **{**given(scattered), name: scattered / "ghost"})


def test_without_validation_only_the_loader_stops(scattered):
    flow = FLOW + "      - collect: size\n"
    write(scattered, {"content/flows/greet.yml": flow})
    with pytest.raises(DataError, match="uses slot 'size', which is not in the domain"):
        load_assistant(scattered, **given(scattered))
    relaxed = load_assistant(scattered, **given(scattered), validate=False)
    assert "uses slot 'size', which is not in the domain" in str(relaxed.warnings[-1])

    for loader_error, steps in {
        "which does not exist": "      - link: ghost\n",
        "calls flow 'ghost', which does not exist": "      - call: ghost\n",
        "is started by intent 'hi' like": "    nlu_trigger: [{intent: hi}]\n"
        + FLOW[7:].replace("greet", "other")
        + "    nlu_trigger: [{intent: hi}]\n",
        "has no steps": "  empty: {description: nothing}\n",
    }.items():
        write(scattered, {"content/flows/greet.yml": FLOW + steps})
        with pytest.raises(DataError, match=loader_error):
            load_assistant(scattered, **given(scattered), validate=False)
