"""What a model's configuration may say: names of providers, keys, secrets; the rules of CALM projects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rasa_ft.yaml_source import did_you_mean

OPENAI = "openai"
AZURE = "azure"
SELF_HOSTED = "self-hosted"
RASA = "rasa"
RECORDED = "recorded"
# Embeddings only.
HUGGINGFACE_LOCAL = "huggingface_local"
OUR_PROVIDERS = (OPENAI, AZURE, SELF_HOSTED, RASA, RECORDED, HUGGINGFACE_LOCAL)
# Passed through litellm; the list only serves to recognise misspelt names.
LITELLM_PROVIDERS = (
    "anthropic",
    "bedrock",
    "cohere",
    "deepseek",
    "fireworks_ai",
    "gemini",
    "groq",
    "huggingface",
    "mistral",
    "ollama",
    "openrouter",
    "sagemaker",
    "sagemaker_chat",
    "together_ai",
    "vertex_ai",
    "watsonx",
    "xai",
)
_FORBIDDEN = {
    "stream": "answers are read whole",
    "n": "one answer is used",
    "api_key_env": "write `api_key: ${NAME}` instead",
}
_VARIABLES_ALLOWED = ("deployment", "api_base", "api_key", "api_version")
SECRETS = ("api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_AMOUNTS = ("timeout", "max_retries", "num_retries", "input_cost_per_token", "output_cost_per_token")
_OPENAI_MODELS = ("gpt-", "o1", "o3", "o4", "text-embedding-")
_REFERENCE = re.compile(r"\$\{?\w+\}?")


def provider_of(keys: Mapping[str, Any]) -> str:
    """The provider as written, or as old configurations imply it; an empty text if nothing says it."""
    if keys.get("api_type") == AZURE and keys.get("provider") in (None, OPENAI):
        return AZURE
    if keys.get("provider"):
        return str(keys["provider"])
    if keys.get("deployment"):
        return AZURE
    return OPENAI if str(keys.get("model", "")).startswith(_OPENAI_MODELS) else ""


def problems(provider: str, keys: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Pairs of key and complaint."""
    if not provider:
        yield "model", f"provider is missing; one of {', '.join(OUR_PROVIDERS)}, or any that litellm knows."
    elif provider not in (*OUR_PROVIDERS, *LITELLM_PROVIDERS) and did_you_mean(provider, OUR_PROVIDERS):
        yield "provider", f"unknown provider '{provider}'.{did_you_mean(provider, OUR_PROVIDERS)}"
    needed = {AZURE: ("deployment",), SELF_HOSTED: ("model", "api_base"), RASA: ("model", "api_base")}
    needed[RECORDED] = ("recordings",)
    for key in needed.get(provider, ("model",) if provider else ()):
        if not keys.get(key) and not (provider == RECORDED and key == "model"):
            yield key, f"'{key}' is missing; provider {provider} needs it."
    for key, reason in _FORBIDDEN.items():
        if key in keys:
            yield key, f"'{key}' is not allowed: {reason}."
    for key, value in keys.items():
        yield from _value_problems(key, value)
    if provider == SELF_HOSTED and keys.get("api_type") not in (None, OPENAI):
        yield "api_type", f"api_type '{keys['api_type']}' is not supported; self-hosted servers speak the openai API."
    if provider == AZURE and "oauth" in keys:
        yield "oauth", "'oauth' is not supported; use `api_key: ${NAME}`."


def _value_problems(key: str, value: Any) -> Iterable[tuple[str, str]]:
    is_reference = isinstance(value, str) and _REFERENCE.fullmatch(value) is not None
    if key in SECRETS and value and not is_reference:
        yield key, f"'{key}' is written out; a secret must be a reference such as ${{{key.upper()}}}."
    elif _refers_to_variable(value) and key not in _VARIABLES_ALLOWED and not key.startswith("aws_"):
        allowed = ", ".join(_VARIABLES_ALLOWED)
        yield key, f"'{key}' may not refer to an environment variable; only {allowed} and aws_* may."
    elif key in _AMOUNTS and not is_amount(value):
        yield key, f"'{key}' must be a number, 0 or more, not {value!r}."


def _refers_to_variable(value: Any) -> bool:
    """Whether ``${NAME}`` is anywhere in ``value``, where nothing would replace it."""
    if isinstance(value, Mapping):
        return any(map(_refers_to_variable, value.values()))
    if isinstance(value, list):
        return any(map(_refers_to_variable, value))
    return isinstance(value, str) and "${" in value


def is_amount(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)
