"""Other providers through litellm (extra ``providers``), as ``<provider>/<model>``."""

from __future__ import annotations

import os
import time
from typing import Any

from rasa_ft.errors import LLMError, LLMRefused, LLMUnavailable, MissingRequirement, RateLimited
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.config import ModelConfig
from rasa_ft.llm.retry import Gate, retry_after_seconds
from rasa_ft.yaml_source import expand_secret


class LiteLLMClient:
    """One model of a provider that has no OpenAI-compatible API of its own."""

    def __init__(self, config: ModelConfig, *, concurrency: int, retries: int | None = None) -> None:
        self._config = config
        self._gate = Gate(concurrency, retries)

    async def complete(self, request: Request) -> Completion:
        return await self._gate.call(lambda: self._once(request))

    async def _once(self, request: Request) -> Completion:
        litellm = _litellm()
        config = self._config
        extras: dict[str, Any] = {name: expand_secret(value) for name, value in config.secrets.items()}
        if config.api_base:
            extras["api_base"] = expand_secret(config.api_base)
        if config.api_version:
            extras["api_version"] = expand_secret(config.api_version)
        start = time.perf_counter()
        try:
            answer = await litellm.acompletion(
                model=f"{config.provider}/{config.model}",
                messages=[dict(message) for message in request.messages],
                timeout=config.timeout or 60,
                num_retries=0,
                **{**config.parameters, **request.parameters},
                **extras,
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


def _litellm() -> Any:
    # Set before the import, which otherwise waits for a download.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError:
        raise MissingRequirement(
            "litellm is needed for this provider.", hint="Install it: pip install 'rasa_ft[providers]'"
        ) from None
    return litellm


def _mapped(error: Exception, config: ModelConfig) -> LLMError:
    """Our error for litellm's; its messages may quote the request, so only the first line is passed on."""
    status = getattr(error, "status_code", None)
    model = f"{config.provider}/{config.model}"
    kind = type(error).__name__
    if status == 429:
        response = getattr(error, "response", None)
        return RateLimited(
            f"{model} limits the rate of calls.", retry_after=retry_after_seconds(getattr(response, "headers", None))
        )
    if isinstance(status, int) and 400 <= status < 500 and status != 408:
        return LLMRefused(f"{model} refused the request ({kind}, {status}).", hint="Check key, model and parameters.")
    return LLMUnavailable(f"{model} gave no answer ({kind}).", hint="Check the network and the provider's status.")
