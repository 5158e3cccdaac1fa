from __future__ import annotations

import importlib.util
import sys

import pytest

from rasa_ft.llm.config import ModelConfig, ModelGroup, model_config
from rasa_ft.llm.pricing import configured_price, estimated_cost

PRICES = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.1}


def group(*configs: ModelConfig) -> ModelGroup:
    return ModelGroup("g", configs)


def hosted(**keys: object) -> ModelConfig:
    return model_config({"provider": "self-hosted", "model": "gpt-4o", "api_base": "http://x/v1", **keys})


def cost(*configs: ModelConfig, calls: int = 1) -> float | None:
    return estimated_cost(group(*configs), calls=calls, prompt_tokens=1000, completion_tokens=100)


def test_prices_of_the_project_go_first():
    assert cost(hosted(**PRICES)) == pytest.approx(20)
    assert cost(model_config({"provider": "openai", "model": "gpt-4o", **PRICES})) == pytest.approx(20)
    assert "litellm" not in sys.modules or cost(hosted()) is None


def test_what_nobody_knows_the_price_of():
    assert cost(hosted()) is None
    assert cost(hosted(**PRICES), hosted()) is None
    assert configured_price(hosted()) is None


def test_recordings_are_free():
    assert cost(model_config({"provider": "recorded", "recordings": "r"})) == 0


def test_of_several_models_the_dearest_counts():
    cheap = hosted(input_cost_per_token=0.001)
    assert cost(cheap, hosted(**PRICES)) == pytest.approx(20)


def test_without_litellm_only_configured_prices_are_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rasa_ft.llm.pricing.find_spec", lambda name: None)
    assert cost(model_config({"provider": "openai", "model": "gpt-4o"})) is None


@pytest.mark.xdist_group("litellm")
@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="litellm is not installed")
def test_known_models_have_listed_prices():
    openai = cost(model_config({"provider": "openai", "model": "gpt-4o"}))
    assert openai is not None
    assert 0 < openai < 1
    anthropic = next(name for name in _litellm_models("anthropic"))
    assert cost(model_config({"provider": "anthropic", "model": anthropic})) is not None
    assert cost(model_config({"provider": "openai", "model": "no-such-model"})) is None
    assert cost(model_config({"provider": "anthropic", "model": "gpt-4o"})) is None, "another provider's model"


def _litellm_models(provider: str) -> list[str]:
    from rasa_ft.llm.litellm_client import load_litellm

    rows = load_litellm().model_cost.items()
    return [name for name, row in rows if row.get("litellm_provider") == provider and row.get("input_cost_per_token")]
