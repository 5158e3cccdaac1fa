"""Other providers through litellm (extra ``providers``), as ``<provider>/<model>``."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from rasa_ft.errors import (
    LLMError,
    LLMRefused,
    LLMUnavailable,
    MissingRequirement,
    RateLimited,
    RequestRejected,
)
from rasa_ft.llm.client import Completion, Request, Vectors
from rasa_ft.llm.config import ModelConfig
from rasa_ft.llm.openai_client import AT_FAULT, AT_FAULT_HINT, DEFAULT_TIMEOUT, reason_of, usable_key
from rasa_ft.llm.retry import Gate, retry_after_seconds
from rasa_ft.yaml_source import expand_secret


class LiteLLMClient:
    """One model of a provider that has no OpenAI-compatible API of its own; ``gate`` as for `OpenAIClient`."""

    def __init__(self, config: ModelConfig, gate: Gate) -> None:
        self._config = config
        self._gate = gate

    async def complete(self, request: Request) -> Completion:
        return await self._gate.call(lambda: self._once(request))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, asked for in one call.

        Raises:
            LLMError: as `rasa_ft.llm.client.LLM.complete`.
        """
        return (await self.vectors(texts)).values

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """As `embed`, with what was used."""
        return await self._gate.call(lambda: self._vectors(texts))

    async def aclose(self) -> None:
        """Close the library's connections, which it keeps for all models together."""
        close = getattr(sys.modules.get("litellm"), "close_litellm_async_clients", None)
        if close is not None:
            await close()

    async def _vectors(self, texts: Sequence[str]) -> Vectors:
        litellm = load_litellm()
        config = self._config
        extras = self._extras()
        try:
            answer = await litellm.aembedding(
                model=f"{config.provider}/{config.model}",
                input=list(texts),
                timeout=config.timeout or DEFAULT_TIMEOUT,
                num_retries=0,
                **{**config.parameters, **extras},
            )
            values = [list(map(float, item["embedding"])) for item in answer.data]
            return Vectors(values, getattr(getattr(answer, "usage", None), "prompt_tokens", None))
        except Exception as error:
            raise _mapped(error, config) from None

    def _extras(self) -> dict[str, Any]:
        config = self._config
        extras: dict[str, Any] = {
            name: usable_key(expand_secret(value), config) for name, value in config.secrets.items()
        }
        regions = {name: value for name, value in config.parameters.items() if name.startswith("aws_")}
        extras |= {name: expand_secret(str(value)) for name, value in regions.items()}
        if config.api_base:
            extras["api_base"] = expand_secret(config.api_base)
        if config.api_version:
            extras["api_version"] = expand_secret(config.api_version)
        return extras

    async def _once(self, request: Request) -> Completion:
        litellm = load_litellm()
        config = self._config
        extras = self._extras()
        start = time.perf_counter()
        try:
            answer = await litellm.acompletion(
                model=f"{config.provider}/{config.model}",
                messages=[dict(message) for message in request.messages],
                timeout=config.timeout or DEFAULT_TIMEOUT,
                num_retries=0,
                **{**config.parameters, **request.parameters, **extras},
            )
        except Exception as error:
            raise _mapped(error, config) from None
        usage = getattr(answer, "usage", None)
        return Completion(
            text=answer.choices[0].message.content or "",
            model=config.model,
            latency=time.perf_counter() - start,
            prompt_tokens=getattr(usage, "prompt_tokens", None),
            completion_tokens=getattr(usage, "completion_tokens", None),
        )


def load_litellm() -> Any:
    """The library, which takes seconds; it then asks no server for prices and keeps quiet.

    Raises:
        MissingRequirement: it is not installed.
    """
    # Set before the import, which otherwise waits for a download.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError:
        raise MissingRequirement(
            "litellm is needed for this provider.", hint="Install it: pip install 'rasa_ft[providers]'"
        ) from None
    # Its advice goes to stdout, which is for data; its logs may quote requests.
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


def _mapped(error: Exception, config: ModelConfig) -> LLMError:
    """Our error for litellm's, whose own words may quote the request or the key and are never passed on."""
    status = getattr(error, "status_code", None)
    model = f"{config.provider}/{config.model}"
    if status == 429:
        headers = getattr(error, "litellm_response_headers", None)
        return RateLimited(f"{model} limits the rate of calls.", retry_after=retry_after_seconds(headers))
    if "LLM Provider NOT provided" in str(error):
        return LLMRefused(f"litellm knows no provider '{config.provider}'.", hint="Correct provider in endpoints.yml.")
    if status in AT_FAULT:
        return RequestRejected(f"{model} refused the request ({status}){reason_of(error)}.", hint=AT_FAULT_HINT)
    if status in (401, 403):
        return LLMRefused(f"{model} refused the request ({status}).", hint="Check the API key.")
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409):
        return LLMRefused(f"{model} refused the request ({status}).", hint="Check the model's entry in endpoints.yml.")
    if status == 408:
        seconds = config.timeout or DEFAULT_TIMEOUT
        return LLMUnavailable(f"{model} did not answer within {seconds:g} seconds.", hint="Raise `timeout`.")
    kind = type(error).__name__
    return LLMUnavailable(f"{model} gave no answer ({kind}).", hint="Check the network and the provider's status.")
