"""What calls cost: prices from endpoints.yml, or for estimates from litellm's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from rasa_ft.llm.config import HUGGINGFACE_LOCAL, RASA, RECORDED, SELF_HOSTED, ModelConfig, ModelGroup

# What runs here, or answers to an agreement of its own: no table knows it.
_NO_TABLE = (SELF_HOSTED, RASA)
_FREE = (RECORDED, HUGGINGFACE_LOCAL)


@dataclass(frozen=True)
class Price:
    """Of one token of a prompt, one token of an answer, and one call besides."""

    input: float
    output: float
    call: float = 0.0

    def of(self, prompt_tokens: float, completion_tokens: float, calls: int = 1) -> float:
        """What ``calls`` calls with these tokens in all cost."""
        return prompt_tokens * self.input + completion_tokens * self.output + calls * self.call


def configured_price(config: ModelConfig) -> Price | None:
    """The price as endpoints.yml gives it; nothing for what is free anyway; None if it is not known."""
    if config.provider in _FREE:
        return Price(0.0, 0.0)
    price = Price(config.input_cost_per_token, config.output_cost_per_token)
    return price if price.input or price.output else None


def estimated_cost(group: ModelGroup, *, calls: int, prompt_tokens: float, completion_tokens: float) -> float | None:
    """What ``calls`` calls with these tokens in all would cost, asked of the dearest model of a group.

    Prices that endpoints.yml does not have are in US dollars, from the table in litellm, if that is installed. Its
    import takes seconds; nothing is downloaded.

    Returns:
        None if the price of a model is not known.
    """
    prices = [configured_price(model) or _listed_price(model) for model in group.models]
    costs = [price.of(prompt_tokens, completion_tokens, calls) for price in prices if price is not None]
    return max(costs) if len(costs) == len(prices) else None


def _listed_price(config: ModelConfig) -> Price | None:
    if config.provider in _NO_TABLE or find_spec("litellm") is None:
        return None
    from rasa_ft.llm.litellm_client import load_litellm

    table: Mapping[str, Mapping[str, Any]] = load_litellm().model_cost
    row = table.get(f"{config.provider}/{config.model}") or table.get(config.model)
    # An equal name at another provider may have another price.
    if not row or row.get("litellm_provider") != config.provider or "input_cost_per_token" not in row:
        return None
    return Price(
        float(row["input_cost_per_token"] or 0),
        float(row.get("output_cost_per_token") or 0),
        float(row.get("input_cost_per_request") or 0),
    )
