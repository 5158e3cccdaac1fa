"""Everything that speaks the OpenAI API: openai, azure, and self-hosted servers such as vLLM."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Sequence
from functools import cache
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
from rasa_ft.llm.config import AZURE, OPENAI, ModelConfig
from rasa_ft.llm.retry import Gate, retry_after_seconds
from rasa_ft.yaml_source import expand_secret

# Of configurations that do not set one.
DEFAULT_TIMEOUT = 300.0
# Any model would refuse the same request.
AT_FAULT = (400, 413, 422)
AT_FAULT_HINT = "Check the parameters of the model in endpoints.yml, and that the prompt fits its context."
_KEY_VARIABLES = {OPENAI: "OPENAI_API_KEY", AZURE: "AZURE_API_KEY"}


class OpenAIClient:
    """One model behind the OpenAI API; ``gate`` decides when it is asked and what is repeated."""

    def __init__(self, config: ModelConfig, gate: Gate) -> None:
        self._config = config
        self._gate = gate
        self._bound: tuple[asyncio.AbstractEventLoop, Any] | None = None

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
        """Close the connections; the next question opens new ones."""
        if self._bound is not None:
            client, self._bound = self._bound[1], None
            await client.close()

    async def _once(self, request: Request) -> Completion:
        client = self._client()
        import openai

        start = time.perf_counter()
        try:
            answer = await self._send(client, request)
        except openai.APIError as error:
            raise self._mapped(error) from None
        except ValueError:
            raise LLMUnavailable(f"{self._place} answered something that is not JSON.") from None
        return self._completion(answer, time.perf_counter() - start)

    async def _vectors(self, texts: Sequence[str]) -> Vectors:
        client = self._client()
        import openai

        create = client.embeddings.create
        parameters = {"encoding_format": "float", **self._config.parameters}
        model = expand_secret(self._config.deployment or self._config.model)
        try:
            answer = await create(model=model, input=list(texts), **_known_arguments(create, parameters))
        except openai.APIError as error:
            raise self._mapped(error) from None
        except ValueError:
            raise LLMUnavailable(f"{self._place} answered something that is not JSON.") from None
        data = sorted(getattr(answer, "data", None) or (), key=lambda item: item.index)
        if len(data) != len(texts):
            raise LLMUnavailable(
                f"{self._place} gave {len(data)} vectors for {len(texts)} texts.",
                hint="Is it a server of embeddings? api_base usually ends in /v1.",
            )
        return Vectors([item.embedding for item in data], getattr(answer.usage, "prompt_tokens", None))

    async def _send(self, client: Any, request: Request) -> Any:
        parameters = {**self._config.parameters, **request.parameters}
        model = self._config.deployment or self._config.model
        if self._config.use_chat_completions_endpoint:
            create = client.chat.completions.create
            parameters["messages"] = [dict(message) for message in request.messages]
        else:
            create = client.completions.create
            parameters["prompt"] = "\n".join(message["content"] for message in request.messages)
        return await create(model=expand_secret(model), **_known_arguments(create, parameters))

    def _completion(self, answer: Any, latency: float) -> Completion:
        choices = getattr(answer, "choices", None)
        if not choices:
            raise LLMUnavailable(
                f"{self._place} gave an answer without choices.",
                hint="Is api_base the address of an OpenAI-compatible API? It usually ends in /v1.",
            )
        choice = choices[0]
        text = choice.message.content if self._config.use_chat_completions_endpoint else choice.text
        usage = getattr(answer, "usage", None)
        return Completion(
            text=text or "",
            model=self._config.model,
            latency=latency,
            prompt_tokens=getattr(usage, "prompt_tokens", None),
            completion_tokens=getattr(usage, "completion_tokens", None),
        )

    def _client(self) -> Any:
        """The library's client, one for each event loop."""
        loop = asyncio.get_running_loop()
        if self._bound is None or self._bound[0] is not loop:
            self._bound = (loop, self._connect())
        return self._bound[1]

    def _connect(self) -> Any:
        from openai import AsyncAzureOpenAI, AsyncOpenAI

        config = self._config
        options: dict[str, Any] = {
            "api_key": self._api_key(),
            "timeout": config.timeout or DEFAULT_TIMEOUT,
            "max_retries": 0,
        }
        base = expand_secret(config.api_base) if config.api_base else None
        if config.provider != AZURE:
            base = base or (os.environ.get("OPENAI_API_BASE") if config.provider == OPENAI else None)
            return AsyncOpenAI(base_url=base, organization=config.organization, **options)
        base = base or os.environ.get("AZURE_API_BASE")
        version = config.api_version or os.environ.get("AZURE_API_VERSION")
        if not base or not version:
            raise MissingRequirement(
                f"model {config.model}: azure needs api_base and api_version.",
                hint="Write them in endpoints.yml or set AZURE_API_BASE and AZURE_API_VERSION.",
            )
        return AsyncAzureOpenAI(azure_endpoint=base, api_version=expand_secret(version), **options)

    def _api_key(self) -> str:
        config = self._config
        if "api_key" in config.secrets:
            return usable_key(expand_secret(config.secrets["api_key"]), config)
        variable = _KEY_VARIABLES.get(config.provider)
        if variable is None:
            return usable_key(os.environ.get("HOSTED_VLLM_API_KEY", "not-needed"), config)
        if variable not in os.environ:
            raise MissingRequirement(
                f"model {config.model} of provider {config.provider} needs a key.", hint=f"Set {variable} in .env."
            )
        return usable_key(os.environ[variable], config)

    def _mapped(self, error: Any) -> LLMError:
        """Our error for the library's. Bodies of answers are not quoted: a server may echo the key in them."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return LLMUnavailable(
                f"{self._place} did not answer within {self._config.timeout or DEFAULT_TIMEOUT:g} seconds.",
                hint="Raise `timeout` in endpoints.yml, or lower --concurrency.",
            )
        if isinstance(error, openai.APIConnectionError):
            return LLMUnavailable(
                f"{self._place} is not reachable.", hint="Start the server, or correct api_base in endpoints.yml."
            )
        status = getattr(error, "status_code", None)
        if status == 429:
            headers = error.response.headers
            return RateLimited(f"{self._place} limits the rate of calls.", retry_after=retry_after_seconds(headers))
        if status in AT_FAULT:
            message = f"{self._place} refused the request ({status}){reason_of(error)}."
            return RequestRejected(message, hint=AT_FAULT_HINT)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409):
            return LLMRefused(f"{self._place} refused the request ({status}).", hint=self._advice(status))
        return LLMUnavailable(f"{self._place} failed ({status or 'unreadable answer'}).", hint="See the server's log.")

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return "Check the API key."
        if status == 404:
            return f"Check api_base and the model name '{self._config.model}'."
        return "Check the model's entry in endpoints.yml."

    @property
    def _place(self) -> str:
        """The server and model as the user knows them; an address behind a variable stays a variable."""
        config = self._config
        return f"model '{config.model}' at {config.api_base or config.provider}"


def usable_key(key: str, config: ModelConfig) -> str:
    """``key`` without the spaces and line breaks that copying adds.

    Raises:
        MissingRequirement: it is empty, or has characters that no key has; libraries would quote it in their errors.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        what = "holds characters that no key has" if key else "is empty"
        raise MissingRequirement(f"the key of model {config.model} {what}.", hint="Copy it again, without quotes.")
    return key


def reason_of(error: Exception) -> str:
    """Why a server says that the request is at fault, if it says something known; its own words are never passed on."""
    said = str(error).lower()
    if "context_length" in said or "context length" in said or "context window" in said:
        return ": the prompt is too long for the model"
    if "content_filter" in said or "content management policy" in said or "content policy" in said:
        return ": its content was filtered"
    return ""


def _known_arguments(create: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the library's function; parameters that it does not know go into the body of the request."""
    known = _arguments_of(create.__func__)
    body = {**parameters.pop("extra_body", {}), **{key: value for key, value in parameters.items() if key not in known}}
    arguments = {key: value for key, value in parameters.items() if key in known}
    return {**arguments, "extra_body": body} if body else arguments


@cache
def _arguments_of(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
