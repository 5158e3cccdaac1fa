from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import (
    DataError,
    LLMError,
    LLMRefused,
    LLMUnavailable,
    MissingRequirement,
    RateLimited,
    RequestRejected,
)
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.config import model_config
from rasa_ft.llm.openai_client import DEFAULT_TIMEOUT, OpenAIClient
from rasa_ft.llm.pace import Pace
from rasa_ft.llm.retry import Gate


def gate(concurrency: int = 1, retries: int | None = None) -> Gate:
    return Gate(Pace(concurrency, first_wait=0.01), retries)


def client(server_url: str, *, concurrency: int = 4, retries: int | None = None, **keys: object) -> OpenAIClient:
    config = model_config({"provider": "self-hosted", "model": "tiny", "api_base": server_url, **keys})
    return OpenAIClient(config, gate(concurrency, retries))


def ask(llm: OpenAIClient, prompt: str = "hello") -> Completion:
    return asyncio.run(llm.complete(Request.of_prompt(prompt, user_message="secret hint")))


def test_chat_answer_with_usage_and_parameters(server: FakeOpenAI) -> None:
    completion = ask(client(server.url, temperature=0.0, top_k=5, extra_body={"min_p": 0.1}))
    assert (completion.text, completion.model) == ("echo: hello", "tiny")
    assert (completion.prompt_tokens, completion.completion_tokens) == (7, 3)
    assert completion.latency > 0
    sent = server.requests[0]
    assert server.paths == ["/v1/chat/completions"]
    assert sent["temperature"] == 0.0
    assert (sent["top_k"], sent["min_p"]) == (5, 0.1)
    assert "secret hint" not in str(sent)


def test_plain_completions_endpoint(server: FakeOpenAI) -> None:
    assert ask(client(server.url, use_chat_completions_endpoint=False)).text == "echo: hello"
    assert server.paths == ["/v1/completions"]


def test_key_comes_from_the_environment_only_when_used(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = client(server.url, api_key="${TEST_LLM_KEY}")
    monkeypatch.setenv("TEST_LLM_KEY", "k-123")
    ask(llm)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "k-456")
    ask(client(server.url))
    assert server.keys == ["Bearer k-123", "Bearer k-456"]


def test_one_client_serves_several_event_loops(server: FakeOpenAI) -> None:
    llm = client(server.url)
    assert [ask(llm, "a").text, ask(llm, "b").text] == ["echo: a", "echo: b"]


def test_retry_after_is_honoured(server: FakeOpenAI) -> None:
    server.replies = [Reply(429, "{}", {"retry-after": "0.3"})]
    start = time.perf_counter()
    assert ask(client(server.url)).text == "echo: hello"
    assert time.perf_counter() - start >= 0.3
    assert len(server.requests) == 2


def test_rate_limit_that_never_ends(server: FakeOpenAI) -> None:
    server.replies = [Reply(429, "{}", {"retry-after": "0"})] * 3
    with pytest.raises(RateLimited) as caught:
        ask(client(server.url, retries=2))
    assert caught.value.retry_after == 0
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "bad",
    [
        Reply(500, "{}"),
        Reply(503, "busy", {"content-type": "text/plain"}),
        Reply(200, '{"choices": [', {}),
        Reply(200, "{}"),
        Reply(200, "<html>", {"content-type": "text/html"}),
    ],
)
def test_passing_troubles_are_retried(server: FakeOpenAI, bad: Reply) -> None:
    server.replies = [bad]
    assert ask(client(server.url)).text == "echo: hello"
    assert len(server.requests) == 2


def test_lasting_trouble_is_reported_without_the_key(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_LLM_KEY", "k-very-secret")
    server.replies = [Reply(401, '{"error": {"message": "bad key k-very-secret"}}')]
    with pytest.raises(LLMRefused) as caught:
        ask(client(server.url, api_key="${TEST_LLM_KEY}"))
    assert "k-very-secret" not in str(caught.value)
    assert "key" in str(caught.value)
    assert len(server.requests) == 1, "a refused request is not repeated"


def test_wrong_model_name_names_the_model(server: FakeOpenAI) -> None:
    server.replies = [Reply(404, "{}")]
    with pytest.raises(LLMRefused, match="model name 'tiny'"):
        ask(client(server.url))


def test_hanging_server_times_out(server: FakeOpenAI) -> None:
    server.replies = [Reply(delay=2)]
    with pytest.raises(LLMUnavailable, match=r"did not answer within 0\.2 seconds"):
        ask(client(server.url, timeout=0.2, retries=0))


def test_unreachable_server_is_named_and_not_waited_for_twice() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    llm = client(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(LLMUnavailable, match=f"http://127.0.0.1:{port}/v1 is not reachable") as caught:
        ask(llm)
    assert "Start the server" in str(caught.value)
    attempts = []
    original = llm._once

    async def counted(request: Request) -> Completion:
        attempts.append(request)
        return await original(request)

    llm._once = counted  # type: ignore[method-assign]
    with pytest.raises(LLMUnavailable):
        ask(llm)
    assert len(attempts) == 1


def test_concurrency_is_bounded(server: FakeOpenAI) -> None:
    server.delay = 0.05
    llm = client(server.url, concurrency=3)

    async def many() -> list[Completion]:
        return await asyncio.gather(*(llm.complete(Request.of_prompt(str(number))) for number in range(9)))

    completions = asyncio.run(many())
    assert [completion.text for completion in completions] == [f"echo: {number}" for number in range(9)]
    assert server.most_at_once == 3


def test_openai_without_key_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    llm = OpenAIClient(model_config({"provider": "openai", "model": "gpt-4o"}), gate())
    with pytest.raises(MissingRequirement, match="OPENAI_API_KEY"):
        ask(llm)


def test_azure_uses_its_deployment(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "k")
    keys = {"provider": "azure", "deployment": "d1", "api_version": "2024-10-21"}
    llm = OpenAIClient(model_config({**keys, "api_base": server.url.removesuffix("/v1")}), gate())
    assert ask(llm).text == "echo: hello"
    assert server.paths == ["/openai/deployments/d1/chat/completions?api-version=2024-10-21"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            Reply(400, '{"error": {"message": "maximum context length is 5", "code": "context_length_exceeded"}}'),
            "long",
        ),
        (Reply(400, '{"error": {"message": "x", "code": "content_filter"}}'), "content was filtered"),
        (Reply(422, '{"detail": "no such parameter"}'), "refused the request"),
    ],
)
def test_a_request_at_fault_is_told_apart(server: FakeOpenAI, reply: Reply, words: str) -> None:
    server.replies = [reply]
    with pytest.raises(RequestRejected, match=words):
        ask(client(server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "advice"), [(401, "API key"), (404, "model name"), (402, "endpoints.yml")])
def test_what_to_do_about_a_refusal(server: FakeOpenAI, status: int, advice: str) -> None:
    server.replies = [Reply(status, "{}")]
    with pytest.raises(LLMRefused, match=advice) as caught:
        ask(client(server.url))
    assert not isinstance(caught.value, RequestRejected)


def test_secrets_are_nowhere(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_LLM_KEY", "k-very-secret")
    llm = client(server.url, api_key="${TEST_LLM_KEY}", retries=0)
    with caplog.at_level(logging.INFO):
        ask(llm)
        for status in (400, 401, 404, 429, 500):
            server.replies = [Reply(status, '{"error": {"message": "k-very-secret is bad"}}')]
            with pytest.raises(LLMError) as caught:
                ask(llm)
            shown = (str(caught.value), repr(caught.value), repr(caught.value.__cause__), repr(llm._config))
            assert "k-very-secret" not in " ".join(shown)
    assert "k-very-secret" not in caplog.text


def test_azure_by_its_environment(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"provider": "azure", "deployment": "${DEPLOYMENT}", "use_chat_completions_endpoint": False}
    monkeypatch.setenv("DEPLOYMENT", "d2")
    monkeypatch.setenv("AZURE_API_KEY", "k")
    monkeypatch.delenv("AZURE_API_BASE", raising=False)
    with pytest.raises(MissingRequirement, match="AZURE_API_BASE"):
        ask(OpenAIClient(model_config(keys), gate()))
    monkeypatch.setenv("AZURE_API_BASE", server.url.removesuffix("/v1"))
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    assert ask(OpenAIClient(model_config(keys), gate())).text == "echo: hello"
    assert server.paths == ["/openai/deployments/d2/completions?api-version=2024-10-21"]


def test_azure_key_from_the_configuration(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_API_KEY", raising=False)
    keys = {"provider": "azure", "deployment": "d", "api_version": "1", "api_base": server.url.removesuffix("/v1")}
    with pytest.raises(MissingRequirement, match="AZURE_API_KEY"):
        ask(OpenAIClient(model_config(keys), gate()))
    monkeypatch.setenv("OWN_KEY", "k-azure")
    assert ask(OpenAIClient(model_config({**keys, "api_key": "$OWN_KEY"}), gate())).text == "echo: hello"
    monkeypatch.delenv("OWN_KEY")
    with pytest.raises(DataError, match="OWN_KEY is not set"):
        ask(OpenAIClient(model_config({**keys, "api_key": "$OWN_KEY"}), gate()))


def test_openai_where_its_environment_says(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-openai")
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    keys = {"provider": "openai", "model": "gpt-4o", "organization": "org-1", "max_tokens": 5, "drop_params": True}
    assert ask(OpenAIClient(model_config(keys), gate())).text == "echo: hello"
    assert server.keys == ["Bearer k-openai"]
    assert server.requests[0] == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 5,
    }


def test_the_vendor_s_service_is_asked_like_any_server(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RASA_PRO_LICENSE", "k-licence")
    keys = {"provider": "rasa", "model": "m", "api_base": server.url, "api_key": "${RASA_PRO_LICENSE}"}
    assert ask(OpenAIClient(model_config(keys), gate())).text == "echo: hello"
    assert server.keys == ["Bearer k-licence"]


def test_a_self_hosted_server_may_take_its_time() -> None:
    assert DEFAULT_TIMEOUT == 300
    assert client("http://127.0.0.1:9/v1")._config.timeout is None
