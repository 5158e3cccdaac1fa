from __future__ import annotations

from math import ceil, floor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.errors import DataError
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.recipe.wordings.rephrase_config import (
    DEFAULT_TEMPLATE,
    STYLES,
    RephraseConfig,
    load_rephrase_config,
    read_template,
)
from rasa_ft.yaml_source import dump_yaml, parse_yaml

BARE = RephraseConfig(styles=(), typos=0.0)
GROUP = ModelGroup("strong", (model_config({"provider": "openai", "model": "gpt-4o", "api_key": "${KEY}"}),))
EVERYTHING = """prompt_template: own.jinja2
llm: {model_group: strong}
styles: [short, "polite  and wordy"]
personas: [a tourist]
typos: 1
languages: [en, "no"]
seed: 3
"""


def load(folder: Path, text: str) -> RephraseConfig:
    file = folder / "rephrase.yml"
    file.write_text(text, encoding="utf-8")
    return load_rephrase_config(file, {"strong": GROUP})


# --- manners ---------------------------------------------------------------------------------------------------------


def test_every_style_comes_once_before_any_comes_again() -> None:
    manners = RephraseConfig(typos=0.0).manners("hello", 2 * len(STYLES) + 3)
    assert set(manners[: len(STYLES)]) == set(manners[len(STYLES) : 2 * len(STYLES)]) == set(STYLES)
    assert len(manners) == 2 * len(STYLES) + 3


def test_languages_and_personas_go_with_all_styles() -> None:
    config = RephraseConfig(styles=("s", "t"), personas=("p", "q"), languages=("en", "de"), typos=0.0)
    manners = {manner for index in range(40) for manner in config.manners(f"message {index}", 2)}
    assert len(manners) == 8
    assert "s; said by p; language: de" in manners


def test_message_round_and_seed_decide_the_manners() -> None:
    config = RephraseConfig()
    manners = config.manners("hello", 10)
    assert manners == RephraseConfig().manners("hello", 10)
    assert manners != config.manners("good day", 10)
    assert manners != config.manners("hello", 10, round=1)
    assert manners != RephraseConfig(seed=1).manners("hello", 10)


@given(st.text(max_size=20), st.integers(-3, 40), st.floats(0, 1))
def test_the_share_of_mistyped_wordings(message: str, number: int, share: float) -> None:
    manners = RephraseConfig(styles=(), typos=share).manners(message, number)
    assert len(manners) == max(number, 0)
    mistyped = sum("typing errors" in manner for manner in manners)
    assert floor(share * len(manners)) <= mistyped <= ceil(share * len(manners))


def test_a_small_share_counts_over_many_messages() -> None:
    config = RephraseConfig(typos=0.1)
    manners = [manner for index in range(500) for manner in config.manners(f"message {index}", 3)]
    assert 0.07 < sum("typing errors" in manner for manner in manners) / len(manners) < 0.13


def test_no_options_no_manners() -> None:
    assert BARE.manners("hello", 2) == ["", ""]


# --- the file --------------------------------------------------------------------------------------------------------


def test_everything_that_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "own.jinja2").write_text("{{ message }} {{ ways | join }}", encoding="utf-8")
    config = load(tmp_path, EVERYTHING)
    assert config.llm is not None
    assert config.llm.models[0].model == "gpt-4o"
    assert (config.styles, config.personas, config.languages) == (
        ("short", "polite and wordy"),
        ("a tourist",),
        ("en", "no"),
    )
    assert (config.typos, config.seed) == (1.0, 3)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == RephraseConfig()
    assert load(tmp_path, "styles: []\n").styles == ()


def test_settings_are_shown_without_secrets_and_places(tmp_path: Path) -> None:
    (tmp_path / "own.jinja2").write_text("{{ ways }}", encoding="utf-8")
    shown = load(tmp_path, EVERYTHING).as_yaml()
    assert shown == {
        "prompt_template": "own.jinja2",
        "llm": ["openai/gpt-4o"],
        "styles": ["short", "polite and wordy"],
        "personas": ["a tourist"],
        "typos": 1.0,
        "languages": ["en", "no"],
        "seed": 3,
    }
    assert RephraseConfig().as_yaml()["llm"] is None
    assert parse_yaml(dump_yaml(shown), Path("x.yml")) == shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("style: [a]\n", "yml:1: unknown key 'style'. Did you mean 'styles'?"),
        ("typos: 0.1\nstyles: short\n", "yml:2: styles must be a list of texts, not 'short'."),
        ("personas: [1]\n", "personas must be a list of texts, not [1]"),
        ("languages:\n", "languages must be a list of texts, not None"),
        ('styles: ["  "]\n', "styles must be a list of texts"),
        ("typos: 1.5\n", "yml:1: typos must be between 0 and 1, not 1.5."),
        ("typos: true\n", "typos must be between 0 and 1, not True."),
        ("seed: a\n", "seed must be a whole number, not 'a'."),
        ("llm: {model_group: strng}\n", "Did you mean 'strong'?"),
        ("prompt_template: none.jinja2\n", "none.jinja2 does not exist"),
        ("- a\n", "a mapping is needed"),
        ("prompt_template: plain.jinja2\npersonas: [a tourist]\n", "yml:2: personas has no effect: plain.jinja2"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "plain.jinja2").write_text("{{ message }}, always", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, "typo: 1\nstyles: 3\nseed: 1.5\n")
    assert len(caught.value.parts) == 3


def test_options_that_are_switched_off_need_nothing_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "plain.jinja2").write_text("{{ message }}", encoding="utf-8")
    assert load(tmp_path, "prompt_template: plain.jinja2\nstyles: []\ntypos: 0\n").styles == ()


def test_templates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_template(tmp_path)
    (tmp_path / "latin.jinja2").write_bytes(b"\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        read_template(tmp_path / "latin.jinja2")
    assert "{{ number }}" in read_template(DEFAULT_TEMPLATE)
