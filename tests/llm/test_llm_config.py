from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.errors import DataError
from rasa_ft.llm.config import (
    COMMAND_DEFAULTS,
    ModelGroup,
    command_group,
    load_model_groups,
    model_config,
    resolve_group,
)


def groups_of(tmp_path: Path, text: str) -> dict[str, ModelGroup]:
    file = tmp_path / "endpoints.yml"
    file.write_text(text, encoding="utf-8")
    return load_model_groups(file)


GOOD = """
model_groups:
  - id: own
    models:
      - provider: self-hosted
        model: m
        api_base: http://127.0.0.1:1/v1
        api_key: ${LOCAL_KEY}
        timeout: 20
        temperature: 0.0
  - id: two
    models:
      - {provider: azure, deployment: d1, api_base: https://a.example, api_version: "1"}
      - {provider: azure, deployment: d2, api_base: https://b.example, api_version: "1"}
    router: {routing_strategy: simple-shuffle, num_retries: 2}
"""


def test_groups_as_written(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, GOOD)
    own = groups["own"].models[0]
    assert (own.provider, own.model, own.timeout) == ("self-hosted", "m", 20)
    assert own.parameters == {"temperature": 0.0}
    assert own.secrets == {"api_key": "${LOCAL_KEY}"}
    assert "LOCAL_KEY" not in str(own.identity)
    assert groups["two"].retries == 2
    assert [model.deployment for model in groups["two"].models] == ["d1", "d2"]


def test_missing_file_has_no_groups(tmp_path: Path) -> None:
    assert load_model_groups(tmp_path / "endpoints.yml") == {}


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("{provider: self-hosted, model: m}", "'api_base' is missing"),
        ("{provider: selfhosted, model: m}", "Did you mean 'self-hosted'"),
        ("{provider: openai, model: m, api_key: sk-123}", "must be a reference such as ${API_KEY}"),
        ("{provider: openai, model: m, stream: true}", "'stream' is not allowed"),
        ("{provider: openai, model: m, n: 2}", "'n' is not allowed"),
        ("{provider: openai, model: m, api_key_env: X}", "'api_key_env' is not allowed"),
        ("{provider: openai, model: m, user: '${HOME}'}", "may not refer to an environment variable"),
        ("{provider: openai, model: m, timeout: soon}", "'timeout' must be a number"),
        ("{provider: azure, model: m}", "'deployment' is missing"),
        ("{provider: recorded}", "'recordings' is missing"),
        ("{model: m}", "provider is missing"),
        ("{provider: azure, deployment: d, oauth: {type: x}}", "'oauth' is not supported"),
        ("{provider: self-hosted, model: m, api_base: http://x, api_type: azure}", "api_type 'azure' is not supported"),
        ("{provider: openai, model: m, extra_headers: {X: '${HOME}'}}", "may not refer to an environment variable"),
        ("{provider: openai, model: m, stop: ['${HOME}']}", "may not refer to an environment variable"),
        ("{provider: openai, model: m, max_retries: often}", "'max_retries' must be a number"),
        ("{provider: bedrock, model: m, aws_secret_access_key: abc}", "must be a reference"),
        ("text", "a model must be a mapping"),
    ],
)
def test_bad_models_name_line_and_remedy(tmp_path: Path, model: str, complaint: str) -> None:
    with pytest.raises(DataError) as caught:
        groups_of(tmp_path, f"model_groups:\n  - id: a\n    models:\n      - {model}\n")
    assert complaint in str(caught.value)
    assert "endpoints.yml:4" in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = "model_groups:\n  - id: a\n    models: []\n  - id: b\n    modells: []\n  - models: []\n"
    with pytest.raises(DataError, match="3 problems") as caught:
        groups_of(tmp_path, text)
    assert "Did you mean 'models'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model_groups: {}\n", None),
        ("model_groups: x\n", "must be a list"),
        ("- a\n", "a mapping is needed"),
        (GOOD + "  - id: own\n    models: [{provider: openai, model: m}]\n", "defined twice"),
        (GOOD.replace("simple-shuffle", "simple-shufle"), "Did you mean 'simple-shuffle'"),
        (GOOD.replace("    router: {routing_strategy: simple-shuffle, num_retries: 2}\n", ""), "but no router"),
    ],
)
def test_bad_groups(tmp_path: Path, text: str, complaint: str | None) -> None:
    if complaint is None:
        assert groups_of(tmp_path, text) == {}
        return
    with pytest.raises(DataError, match=complaint):
        groups_of(tmp_path, text)


def test_deprecated_names_are_mapped() -> None:
    old = {
        "type": "openai",
        "model_name": "gpt-4o",
        "request_timeout": 3,
        "max_tokens": 9,
        "openai_api_base": "http://x",
    }
    config = model_config(old)
    assert (config.provider, config.model, config.timeout, config.api_base) == ("openai", "gpt-4o", 3, "http://x")
    assert config.parameters == {"max_completion_tokens": 9}
    assert model_config({"type": "openai", "api_type": "azure", "engine": "d"}).provider == "azure"
    assert model_config({"model": "gpt-4o"}).provider == "openai"


def test_keys_that_are_no_request_parameters() -> None:
    keys = {"provider": "openai", "model": "m", "organization": "o", "num_retries": 2, "drop_params": True, "seed": 1}
    config = model_config(keys)
    assert (config.organization, config.retries, config.parameters) == ("o", 2, {"seed": 1})
    assert model_config({"provider": "bedrock", "model": "m", "aws_access_key_id": "$ID"}).secrets == {
        "aws_access_key_id": "$ID"
    }


def test_self_hosted_keeps_max_tokens() -> None:
    config = model_config({"provider": "self-hosted", "model": "m", "api_base": "http://x", "max_tokens": 9})
    assert config.parameters == {"max_tokens": 9}


def test_defaults_only_for_their_own_provider(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, GOOD)
    assert resolve_group({"model_group": "own"}, groups, defaults=COMMAND_DEFAULTS) == groups["own"]
    inline = resolve_group({"provider": "openai", "model": "gpt-4o"}, {}, defaults=COMMAND_DEFAULTS).models[0]
    assert inline.parameters == {"temperature": 1.0, "max_completion_tokens": 256}
    assert inline.timeout == 7
    capped = resolve_group({"provider": "openai", "model": "gpt-4o", "max_tokens": 9}, {}, defaults=COMMAND_DEFAULTS)
    assert capped.models[0].parameters["max_completion_tokens"] == 9
    assert resolve_group(None, {}, defaults=COMMAND_DEFAULTS).models[0].parameters["reasoning_effort"] == "none"


def test_defaults_for_a_group_of_openai(tmp_path: Path) -> None:
    text = "model_groups:\n  - id: a\n    models: [{provider: openai, model: gpt-4o, temperature: 0}]\n"
    model = resolve_group({"model_group": "a"}, groups_of(tmp_path, text), defaults=COMMAND_DEFAULTS).models[0]
    assert model.parameters == {"temperature": 0, "max_completion_tokens": 256}
    assert model.timeout == 7


def test_unknown_group_and_mixed_keys(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, GOOD)
    with pytest.raises(DataError, match="Did you mean 'own'"):
        resolve_group({"model_group": "owm"}, groups, defaults=COMMAND_DEFAULTS)
    with pytest.raises(DataError, match="'temperature' does not go together"):
        resolve_group({"model_group": "own", "temperature": 0}, groups, defaults=COMMAND_DEFAULTS)


def test_command_group_of_a_project(tmp_path: Path) -> None:
    groups_of(tmp_path, GOOD)
    config = tmp_path / "config.yml"
    config.write_text(
        "pipeline:\n  - name: CompactLLMCommandGenerator\n    llm: {model_group: own}\n", encoding="utf-8"
    )
    assert command_group(tmp_path).id == "own"
    config.write_text("pipeline:\n  - name: KeywordIntentClassifier\n", encoding="utf-8")
    assert command_group(tmp_path).models[0].provider == "openai"  # the default generator's
    config.write_text("pipeline:\n  - name: mine.MyCompactLLMCommandGenerator\n    llm: {model_group: own}\n")
    assert command_group(tmp_path).id == "own"
