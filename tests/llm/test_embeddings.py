from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import DataError, LLMRefused, LLMUnavailable, MissingRequirement
from rasa_ft.llm import embeddings
from rasa_ft.llm.client import aclose
from rasa_ft.llm.config import ModelGroup, Router, model_config
from rasa_ft.llm.embeddings import BatchedEmbedder, Embedder, build_embedder, choose_embedder, embedding_group
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.vectors import VectorStore, default_store

HERE = Path()


def group(*models: dict[str, object], retries: int | None = None) -> ModelGroup:
    return ModelGroup("embedders", tuple(map(model_config, models)), Router(retries=retries))


def hosted(server: FakeOpenAI, **keys: object) -> dict[str, object]:
    return {"provider": "self-hosted", "model": "tiny", "api_base": server.url, **keys}


def embed(embedder: Embedder, *texts: str) -> list[list[float]]:
    async def run() -> list[list[float]]:
        vectors = await embedder.embed(texts)
        await aclose(embedder)
        return vectors

    return asyncio.run(run())


def test_an_openai_compatible_server(server: FakeOpenAI) -> None:
    embedder = build_embedder(group(hosted(server, dimensions=2, truncate="end")), project=HERE)
    # The server gives its vectors in another order; their index counts.
    assert embed(embedder, "a bc", "def", "a bc") == [[4, 2], [3, 1], [4, 2]]
    assert server.paths == ["/v1/embeddings"]
    (request,) = server.requests
    assert request["input"] == ["a bc", "def"]
    assert (request["model"], request["dimensions"], request["truncate"]) == ("tiny", 2, "end")


def test_texts_go_in_batches_of_which_a_few_at_once(server: FakeOpenAI) -> None:
    server.delay = 0.05
    embedder = build_embedder(group(hosted(server)), project=HERE, batch=2, concurrency=2)
    assert embed(embedder, *"abcdefgh") == [[1, 1]] * 8
    assert sorted(len(request["input"]) for request in server.requests) == [2, 2, 2, 2]
    assert server.most_at_once == 2


def test_what_was_embedded_is_not_asked_again(server: FakeOpenAI, tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "cache" / "vectors.sqlite")
    first = build_embedder(group(hosted(server)), project=HERE, store=store)
    assert embed(first, "one", "three") == [[3, 1], [5, 1]]
    again = build_embedder(group(hosted(server)), project=HERE, store=VectorStore(store.path))
    assert embed(again, "three", "seven", "one") == [[5, 1], [5, 1], [3, 1]]
    other = build_embedder(group(hosted(server, model="other")), project=HERE, store=store)
    embed(other, "one")
    assert [request["input"] for request in server.requests] == [["one", "three"], ["seven"], ["one"]]
    assert len(store) == 4
    assert b"seven" not in store.path.read_bytes()
    store.close()
    store.close()


def test_finished_batches_are_kept_when_a_later_one_fails(server: FakeOpenAI, tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "vectors.sqlite")
    server.replies = [Reply(), Reply(400, "{}")]
    embedder = build_embedder(group(hosted(server)), project=HERE, store=store, batch=1, concurrency=1)
    with pytest.raises(LLMRefused, match="refused the request"):
        embed(embedder, "one", "two")
    assert len(store) == 1


def test_a_failed_call_is_repeated(server: FakeOpenAI) -> None:
    server.replies = [Reply(429, "{}", {"retry-after": "0"})]
    assert embed(build_embedder(group(hosted(server)), project=HERE), "x") == [[1, 1]]


def test_unusable_answers(server: FakeOpenAI) -> None:
    empty = '{"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}'
    server.replies = [Reply(body="not json"), Reply(body=empty)]
    embedder = build_embedder(group(hosted(server), retries=0), project=HERE)
    with pytest.raises(LLMUnavailable, match="not JSON"):
        embed(embedder, "x")
    with pytest.raises(LLMUnavailable, match="0 vectors for 1 texts"):
        embed(embedder, "x")


def test_azure_deployments_stand_in_for_each_other(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "k")
    base = server.url.removesuffix("/v1")
    azure = {"provider": "azure", "model": "small", "api_base": base, "api_version": "2024-10-21"}
    server.replies = [Reply(401, "{}")]
    models = [{**azure, "deployment": name} for name in ("west", "east")]
    embedder = build_embedder(group(*models), project=HERE)
    assert embed(embedder, "x") == [[1, 1]]
    assert [path.split("/")[3] for path in server.paths] == ["west", "east"]
    server.replies = [Reply(401, "{}"), Reply(401, "{}")]
    with pytest.raises(LLMRefused):
        embed(embedder, "y")


def test_other_providers_go_through_litellm(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    pytest.importorskip("litellm")
    monkeypatch.setenv("TEST_EMBEDDING_KEY", "k-1")
    written = {"provider": "hosted_vllm", "model": "tiny", "api_base": server.url, "api_key": "${TEST_EMBEDDING_KEY}"}
    embedder = build_embedder(group(written, retries=0), project=HERE)
    assert sorted(embed(embedder, "a bc", "def")) == [[3, 1], [4, 2]]
    assert (server.paths, server.keys) == (["/v1/embeddings"], ["Bearer k-1"])
    server.replies = [Reply(401, "{}")]
    with pytest.raises(LLMRefused):
        embed(embedder, "x")
    monkeypatch.delenv("TEST_EMBEDDING_KEY")
    with pytest.raises(DataError, match="TEST_EMBEDDING_KEY is not set"):
        embed(embedder, "x")


def test_an_embedding_model_does_not_answer() -> None:
    with pytest.raises(DataError, match="makes embeddings, not answers"):
        build_llm(group({"provider": "huggingface_local", "model": "all-MiniLM-L6-v2"}), project=HERE)


# -- what an entry means --------------------------------------------------------------------------------------------


def test_entries() -> None:
    openai = embedding_group(None, {}).models[0]
    assert (openai.provider, openai.model, openai.timeout) == ("openai", "text-embedding-3-large", 60)
    named = embedding_group({"model_group": "embedders"}, {"embedders": group({"model": "text-embedding-ada-002"})})
    assert (named.models[0].provider, named.models[0].model) == ("openai", "text-embedding-ada-002")
    local = embedding_group({"provider": "huggingface_local", "encode_kwargs": {"x": 1}}, {}).models[0]
    assert local.model == "all-MiniLM-L6-v2"


def test_entries_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"unknown model group 'embeders'\. Did you mean 'embedders'"):
        embedding_group({"model_group": "embeders"}, {"embedders": group({"model": "text-embedding-ada-002"})})
    with pytest.raises(DataError, match="makes no embeddings"):
        embedding_group({"provider": "recorded", "recordings": "x"}, {})
    mixed = group({"model": "text-embedding-3-large"}, {"model": "text-embedding-3-small"})
    with pytest.raises(DataError, match="mixes embeddings"):
        embedding_group({"model_group": "mixed"}, {"mixed": mixed})


def test_the_default_is_openai_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    choice = choose_embedder(None, {}, project=HERE, store=None)
    assert isinstance(choice.embedder, BatchedEmbedder)
    assert choice.warning is None


def test_without_a_key_the_local_model_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(embeddings, "is_installed", lambda: True)
    choice = choose_embedder(None, {}, project=HERE, store=None)
    assert choice.embedder is not None
    assert "stands in" in (choice.warning or "")


def test_without_key_and_model_nothing_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(embeddings, "is_installed", lambda: False)
    choice = choose_embedder(None, {}, project=HERE, store=None)
    assert choice.embedder is None
    assert "no OPENAI_API_KEY" in (choice.warning or "")
    assert "rasa_ft[retrieval]" in (choice.hint or "")
    with pytest.raises(MissingRequirement, match="needs a key"):
        embed(build_embedder(embedding_group(None, {}), project=HERE), "x")


def test_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    store = default_store()
    assert not store.path.exists()  # nothing is written before it is used
    keys = [f"k{number}" for number in range(1200)]
    store.put({key: [float(index), 0.5] for index, key in enumerate(keys)})
    assert store.get([*keys, "unknown"])["k1199"] == [1199, 0.5]
    (tmp_path / "text").write_text("not a database, but long enough to look like one" * 100)
    with pytest.raises(DataError, match="cannot use"):
        VectorStore(tmp_path / "text").get(["k"])


class Slow:
    """Embeds a text as its length, and counts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts.extend(texts)
        return [[float(len(text))] for text in texts]


def test_no_store_is_needed() -> None:
    inner = Slow()
    embedder = BatchedEmbedder(inner, {"model": "x"}, None)
    assert embed(embedder) == []
    assert embed(embedder, "ab", "ab") == [[2], [2]]
    assert inner.texts == ["ab"]
