"""Providers behind litellm, asked on real local servers that speak their APIs. litellm takes seconds to import."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import LLMError, LLMRefused, LLMUnavailable, MissingRequirement, RateLimited, RequestRejected
from rasa_ft.llm.client import LLM, Completion, Request, aclose
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.litellm_client import LiteLLMClient
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.pace import Pace
from rasa_ft.llm.retry import Gate

pytestmark = pytest.mark.xdist_group("litellm")

SECRET = "sk-very-secret-0123456789"


def anthropic_answer(text: str) -> Reply:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 4},
    }
    return Reply(200, json.dumps(body))


def anthropic(server: FakeOpenAI, retries: int = 0, **keys: Any) -> LiteLLMClient:
    base = server.url.removesuffix("/v1")
    config = model_config({"provider": "anthropic", "model": "claude-x", "api_base": base, "max_tokens": 9, **keys})
    return LiteLLMClient(config, Gate(Pace(2, first_wait=0.001), retries))


def ask(llm: LLM, prompt: str = "hello") -> Completion:
    async def run() -> Completion:
        try:
            return await llm.complete(Request.of_prompt(prompt, user_message="a hint"))
        finally:
            await aclose(llm)

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)


def test_anthropic(server: FakeOpenAI, capsys: pytest.CaptureFixture[str]):
    server.replies = [anthropic_answer("start flow book_desk")]
    completion = ask(anthropic(server, temperature=0.2, drop_params=True))
    assert (completion.text, completion.model) == ("start flow book_desk", "claude-x")
    assert (completion.prompt_tokens, completion.completion_tokens) == (11, 4)
    assert server.paths == ["/v1/messages"]
    sent = server.requests[0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("claude-x", 9, 0.2)
    assert "hello" in str(sent["messages"])
    assert "a hint" not in str(sent)
    assert capsys.readouterr().out == "", "stdout is for data"


def test_an_openai_compatible_provider(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHER_KEY", "k-1")
    keys = {"provider": "hosted_vllm", "model": "tiny", "api_base": server.url, "api_key": "${OTHER_KEY}"}
    assert ask(LiteLLMClient(model_config(keys), Gate(Pace(1)))).text == "echo: hello"
    assert server.keys == ["Bearer k-1"]


def test_a_group_with_another_provider_asks_litellm(server: FakeOpenAI, tmp_path: Path):
    server.replies = [anthropic_answer("hi")]
    config = model_config({"provider": "anthropic", "model": "m", "api_base": server.url.removesuffix("/v1")})
    usage = Usage()
    assert ask(build_llm(ModelGroup("g", (config,)), project=tmp_path, usage=usage)).text == "hi"
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (1, 11, 4)


def failure(status: int, kind: str, message: str, **headers: str) -> Reply:
    return Reply(status, json.dumps({"type": "error", "error": {"type": kind, "message": message}}), headers)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (failure(401, "authentication_error", f"invalid x-api-key {SECRET}"), LLMRefused, "Check the API key"),
        (failure(403, "permission_error", "no"), LLMRefused, "Check the API key"),
        (failure(404, "not_found_error", "model"), LLMRefused, "endpoints.yml"),
        (failure(400, "invalid_request_error", f"bad parameter in {SECRET}"), RequestRejected, "refused the request"),
        (
            failure(400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"),
            RequestRejected,
            "refused the request",
        ),
        (failure(500, "api_error", "oh"), LLMUnavailable, "gave no answer"),
        (failure(529, "overloaded_error", "busy"), LLMUnavailable, "gave no answer"),
    ],
)
def test_failures_are_ours_and_quote_nothing(
    server: FakeOpenAI,
    reply: Reply,
    kind: type[LLMError],
    words: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
):
    server.replies = [reply] * 3
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMError, match=words) as caught:
        ask(anthropic(server), "a private question")
    assert type(caught.value) is kind
    printed = capsys.readouterr()
    for text in (str(caught.value), repr(caught.value.__cause__), caplog.text, printed.out, printed.err):
        assert SECRET not in text
        assert "private question" not in text
    assert len(server.requests) == 1


def test_a_limited_rate_is_waited_for(server: FakeOpenAI):
    limited = failure(429, "rate_limit_error", "slow", **{"retry-after": "0"})
    server.replies = [limited, anthropic_answer("at last")]
    assert ask(anthropic(server, retries=1)).text == "at last"
    server.replies = [failure(429, "rate_limit_error", "slow", **{"retry-after": "7"})]
    with pytest.raises(RateLimited) as caught:
        ask(anthropic(server))
    assert caught.value.retry_after == 7


def test_a_server_that_hangs(server: FakeOpenAI):
    server.replies = [Reply(delay=1)]
    with pytest.raises(LLMUnavailable, match=r"within 0\.2 seconds"):
        ask(anthropic(server, timeout=0.2))


def test_a_server_that_is_not_there(server: FakeOpenAI):
    server.stop()
    with pytest.raises(LLMUnavailable, match="gave no answer"):
        ask(anthropic(server))


def test_a_provider_that_nobody_knows():
    with pytest.raises(LLMRefused, match="litellm knows no provider 'acme'"):
        ask(LiteLLMClient(model_config({"provider": "acme", "model": "m"}), Gate(Pace(1), 0)))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(MissingRequirement, match="providers"):
        ask(LiteLLMClient(model_config({"provider": "anthropic", "model": "m"}), Gate(Pace(1))))
