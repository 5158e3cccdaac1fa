"""The health check of models, which the environment asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_assistant import DESK
from fake_openai import FakeOpenAI, Reply

from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.engine.health import check_models_if_wanted
from rasa_ft.errors import LLMError, LLMRefused
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.health import check_health, health_check_wanted


def group(server: FakeOpenAI, *names: str) -> ModelGroup:
    keys = {"provider": "self-hosted", "api_base": server.url}
    return ModelGroup("g", tuple(model_config({**keys, "model": name}) for name in names))


def test_each_model_is_asked_once(server: FakeOpenAI, tmp_path: Path):
    check_health([group(server, "a", "b"), group(server, "b")], tmp_path)
    assert sorted(request["model"] for request in server.requests) == ["a", "b"]


def test_a_sick_model_is_named(server: FakeOpenAI, tmp_path: Path):
    server.replies = [Reply(401, "{}")]
    with pytest.raises(LLMRefused, match=f"health check: model 'a' at {server.url} refused") as caught:
        check_health([group(server, "a")], tmp_path)
    assert "API key" in str(caught.value)


def test_recordings_are_not_asked(tmp_path: Path):
    check_health([ModelGroup("g", (model_config({"provider": "recorded", "recordings": "nowhere"}),))], tmp_path)


@pytest.mark.parametrize(("value", "wanted"), [("true", True), (" True ", True), ("false", False), ("", False)])
def test_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch, value: str, wanted: bool):
    monkeypatch.setenv("LLM_API_HEALTH_CHECK", value)
    assert health_check_wanted() is wanted


def test_an_assistant_s_models(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    endpoints = tmp_path / "endpoints.yml"
    model = "[{provider: self-hosted, model: m, api_base: 'URL'}]".replace("URL", server.url)
    other = model.replace("model: m", "model: writer")
    endpoints.write_text(
        f"model_groups: [{{id: none_needed, models: {model}}}, {{id: w, models: {other}}}]\n"
        "nlg: {type: rephrase, llm: {model_group: w}}\n"
    )
    assistant = load_assistant(DESK, endpoints=endpoints)
    monkeypatch.delenv("LLM_API_HEALTH_CHECK", raising=False)
    check_models_if_wanted(assistant)
    assert server.requests == []
    monkeypatch.setenv("LLM_API_HEALTH_CHECK", "true")
    check_models_if_wanted(assistant)
    assert sorted(request["model"] for request in server.requests) == ["m", "writer"]
    server.replies = [Reply(404, "{}")] * 2
    with pytest.raises(LLMError, match="health check"):
        check_models_if_wanted(assistant)
