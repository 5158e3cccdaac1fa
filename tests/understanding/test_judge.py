"""Judges made of language models: what they ask, how often, and where they come from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from word_embedder import WordEmbedder

from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.judging import Judgement
from rasa_ft.errors import DataError, LLMError
from rasa_ft.llm import embeddings
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.config import ModelGroup
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.understanding import judge as judge_module
from rasa_ft.understanding.judge import Insisting, Judges, ModelJudge, load_judges

QUESTIONS = json.dumps({"questions": ["what are brakes made of", "is it rubber", "brakes made of what"]})
STATEMENTS = json.dumps({"statements": [{"statement": "Rubber.", "score": 1}, {"statement": "Red.", "score": 0}]})


class Answers:
    """Gives answers in their order, the last one for ever; remembers the requests."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Completion(answer, "judge", 0.0)


def grounded(judge: ModelJudge, message: str = "Rubber, red.") -> Judgement:
    return asyncio.run(judge.groundedness(message, "Brakes: rubber."))


def test_relevance_compares_questions_with_the_message() -> None:
    embedder = WordEmbedder()
    judge = ModelJudge(Answers(QUESTIONS), embedder)
    found = asyncio.run(judge.relevance("Of rubber.", "what are brakes made of"))
    assert found.score == pytest.approx((1 + 0 + 4 / (5**0.5 * 2)) / 3)
    assert found.evidence[0] == "what are brakes made of"
    assert embedder.calls == [["what are brakes made of", *found.evidence]]


def test_groundedness_is_the_share_of_supported_statements() -> None:
    llm = Answers(STATEMENTS)
    assert grounded(ModelJudge(llm, None)) == Judgement(0.5, ("Red.",))
    (request,) = llm.requests
    prompt = request.messages[0]["content"]
    assert "Rubber, red." in prompt and "Brakes: rubber." in prompt


def test_without_embeddings_nothing_is_asked() -> None:
    llm = Answers(QUESTIONS)
    judge = ModelJudge(llm, None, "the model is not installed")
    with pytest.raises(LLMError, match="nothing to compare meanings with: the model is not installed"):
        asyncio.run(judge.relevance("Of rubber.", "hi"))
    assert llm.requests == []


def test_an_unusable_answer_is_asked_for_once_more() -> None:
    llm = Answers("Of course!", STATEMENTS)
    assert grounded(ModelJudge(Insisting(llm), None)).score == 0.5
    first, second = (request.messages[0]["content"] for request in llm.requests)
    assert second.startswith(first) and "it is not JSON" in second.removeprefix(first)
    assert llm.requests[1].hints == llm.requests[0].hints


def test_only_usable_answers_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "answers.sqlite")
    broken = Answers("Of course!")
    with pytest.raises(LLMError, match="unusable, twice: it is not JSON"):
        grounded(ModelJudge(StoredLLM(Insisting(broken), store, {}), None))
    assert (len(broken.requests), len(store)) == (2, 0)
    better = Answers("Of course!", STATEMENTS)
    for _ in range(2):
        assert grounded(ModelJudge(StoredLLM(Insisting(better), store, {}), None)).score == 0.5
    assert (len(better.requests), len(store)) == (2, 1)


# --- from the configuration ------------------------------------------------------------------------------------------

GROUPS = """\
model_groups:
  - id: judges
    models: [{provider: self-hosted, model: big, api_base: "http://127.0.0.1:9/v1"}]
  - id: recording
    models: [{provider: recorded, recordings: x}]
"""


Asked = dict[str, dict[str, object]]


def load(folder: Path, *, llm_judge: str | None = None, kinds: Sequence[str] = ("relevant", "grounded")) -> Judges:
    (folder / "config.yml").write_text("")
    (folder / "endpoints.yml").write_text(GROUPS)
    if llm_judge is not None:
        (folder / "conftest.yml").write_text(f"llm_judge:\n  {llm_judge}\n")
    assertions = ", ".join(f"{{generative_response_is_{kind}: {{threshold: 0.5}}}}" for kind in kinds)
    steps = f"[{{user: hi, assertions: [{assertions}]}}]"
    (folder / "t.yml").write_text(f"test_cases: [{{test_case: a, steps: {steps}}}]")
    suite = load_suite(folder / "t.yml")
    judges = load_judges(suite, project=folder)
    assert isinstance(judges(suite.cases[0]), ModelJudge)
    return judges


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The models that judges are made of: ``llm`` and ``embeddings``."""
    found: Asked = {}

    def noting(kind: str, build: Any) -> Any:
        def built(group: ModelGroup, **options: Any) -> Any:
            (config,) = group.models
            shown = {"provider": config.provider, "model": config.model, "timeout": config.timeout}
            found[kind] = {**shown, **config.parameters}
            return build(group, **options)

        return built

    monkeypatch.setattr(judge_module, "build_llm", noting("llm", judge_module.build_llm))
    monkeypatch.setattr(embeddings, "build_embedder", noting("embeddings", embeddings.build_embedder))
    return found


def warnings_of(judges: Judges) -> str:
    return "\n".join(map(str, judges.warnings))


def test_the_default_judge(tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert load(tmp_path).warnings == ()
    parameters = {"temperature": 0.0, "max_completion_tokens": 4096}
    assert asked["llm"] == {"provider": "openai", "model": "gpt-4.1-mini-2025-04-14", "timeout": 60, **parameters}
    assert asked["embeddings"] == {"provider": "openai", "model": "text-embedding-3-large", "timeout": 60}


def test_without_a_key_it_is_said_before_anything_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: False)
    judges = load(tmp_path)
    assert "no `llm_judge` names a model, and there is no OPENAI_API_KEY" in warnings_of(judges)
    assert "judge: no `embeddings` are configured, and there is no OPENAI_API_KEY" in warnings_of(judges)
    (judge,) = judges.by_place.values()
    with pytest.raises(LLMError, match="no `embeddings` are configured"):
        asyncio.run(judge.relevance("a", "b"))


def test_the_local_model_stands_in_where_it_does_for_flows(
    tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: True)
    named = "llm: {model_group: judges}"
    text = warnings_of(load(tmp_path, llm_judge=named))
    assert f"{tmp_path / 'conftest.yml'}:1: judge: " in text and "all-MiniLM-L6-v2 stands in" in text
    assert asked["embeddings"]["provider"] == "huggingface_local"
    assert load(tmp_path, llm_judge=named, kinds=["grounded"]).warnings == ()


def test_a_model_in_place_and_a_model_group(tmp_path: Path, asked: Asked) -> None:
    local = "embeddings: {provider: huggingface_local}"
    assert load(tmp_path, llm_judge=f"llm: {{model_group: judges}}\n  {local}").warnings == ()
    assert asked["llm"] == {"provider": "self-hosted", "model": "big", "timeout": None}
    assert asked["embeddings"]["model"] == "all-MiniLM-L6-v2"
    load(tmp_path, llm_judge=f"llm: {{provider: openai, model: gpt-5-mini}}\n  {local}")
    assert "temperature" not in asked["llm"], "it takes none"


@pytest.mark.parametrize(
    ("llm_judge", "place", "message"),
    [
        ("llm: {model_group: judge}", "conftest.yml:2", "Did you mean 'judges'?"),
        ("llm: {model: x}", "conftest.yml:2", "provider is missing"),
        ("llm: {provider: openai, model: x, api_key: sk-1}", "conftest.yml:2", "a secret must be a reference"),
        ("embeddings: {model_group: recording}", "endpoints.yml:5", "provider 'recorded' makes no embeddings"),
        ("llm: {model_group: recording}", "endpoints.yml:5", "provider 'recorded' judges nothing"),
    ],
)
def test_a_broken_entry(tmp_path: Path, llm_judge: str, place: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, llm_judge=llm_judge)
    assert f"{tmp_path / place}: " in str(caught.value) and message in str(caught.value)
    assert "sk-1" not in str(caught.value)
