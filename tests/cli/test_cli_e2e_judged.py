"""``rasa test e2e`` with assertions that a language model judges, which is a real server on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.cli.main import run

KEY = "judges-own-key-0815"
QUESTION = "what are brakes made of"
FILES = {
    "config.yml": """\
assistant_id: bikes
pipeline:
  - name: SearchReadyLLMCommandGenerator
    llm: {model_group: main}
    flow_retrieval: {active: false}
policies:
  - name: FlowPolicy
  - name: EnterpriseSearchPolicy
    use_generative_llm: false
    embeddings: {model_group: library}
""",
    "domain.yml": "responses:\n  utter_ordered: [{text: Ordered.}]\n",
    "data/flows.yml": """\
flows:
  order_bike: {description: order a bike, steps: [{action: utter_ordered}]}
  pattern_search: {description: answer from the documents, steps: [{action: action_trigger_search}]}
""",
    "docs/faq.txt": f"Q: {QUESTION}\nA: Of rubber.\n",
    "turns.yml": f"turns: [{{user: {QUESTION}, commands: [search and reply]}}, {{user: order, commands: []}}]\n",
}
ENDPOINTS = """\
model_groups:
  - id: main
    models: [{provider: recorded, recordings: turns.yml}]
  - id: library
    models: [{provider: self-hosted, model: shelf, api_base: "LIBRARY"}]
  - id: judge
    models: [{provider: self-hosted, model: main-judge, api_base: "JUDGE", api_key: "${JUDGE_KEY}", max_retries: 0}]
"""
CONFTEST = "llm_judge: {llm: {model_group: judge}, embeddings: {model_group: judge}}\n"
RELEVANT = "generative_response_is_relevant: {threshold: 0.8}"
GROUNDED = "generative_response_is_grounded: {threshold: 0.8}"


@pytest.fixture
def library() -> Iterator[FakeOpenAI]:
    """Embeds the assistant's documents, so that the judge's server sees nothing but judging."""
    fake = FakeOpenAI()
    yield fake
    fake.stop()


@pytest.fixture
def bot(tmp_path: Path, server: FakeOpenAI, library: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The assistant's folder, which is the working folder too."""
    endpoints = ENDPOINTS.replace("LIBRARY", library.url).replace("JUDGE", server.url, 1)
    for name, text in {**FILES, "endpoints.yml": endpoints, "conftest.yml": CONFTEST}.items():
        (tmp_path / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bot" / name).write_text(text)
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path / "bot")
    return tmp_path / "bot"


def write_test(place: Path, *assertions: str, message: str = QUESTION) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"          - {assertion}\n" for assertion in assertions)
    head = f"test_cases:\n  - test_case: brakes\n    steps:\n      - user: {message}\n        assertions:\n"
    place.write_text(head + listed)


def says(answer: Any) -> Reply:
    """A chat completion; what is not text is said as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return Reply(body=json.dumps({"id": "1", "object": "x", "created": 0, "model": "m", "choices": [choice]}))


def statements(*scores: int) -> Reply:
    return says({"statements": [{"statement": f"claim {n}", "score": score} for n, score in enumerate(scores)]})


QUESTIONS = says({"questions": ["what are the brakes of", "what is rubber for", "which material"]})


def embeds(*vectors: Sequence[float]) -> Reply:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return Reply(body=json.dumps({"object": "list", "data": data, "model": "m"}))


def play(capsys: pytest.CaptureFixture[str], path: str = "tests") -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["test", "e2e", path, "--json", "-j", "1"])
    return code, json.loads(capsys.readouterr().out)


def test_a_good_answer_is_judged_once(
    bot: Path, server: FakeOpenAI, library: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(bot / "tests/t.yml", "bot_uttered: {text_matches: rubber}", RELEVANT, GROUNDED)
    server.replies = [QUESTIONS, Reply(), statements(1, 1)]
    code, document = play(capsys)
    assert (code, document["passed"]) == (0, 1), document["results"]
    assert [path.rpartition("/")[2] for path in server.paths] == ["completions", "embeddings", "completions"]
    asked, embedded, compared = server.requests
    assert "Of rubber." in asked["messages"][0]["content"]
    assert embedded["input"][0] == QUESTION
    # What the documents say, question and answer, is what the bot's message is compared with.
    assert f"{QUESTION}\nOf rubber." in compared["messages"][0]["content"]
    assert server.keys == [f"Bearer {KEY}"] * 3
    paid = len(server.requests), len(library.requests)
    assert play(capsys)[0] == 0
    assert (len(server.requests), len(library.requests)) == paid


def test_an_answer_that_is_not_grounded(bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    write_test(bot / "tests/t.yml", GROUNDED, RELEVANT)
    server.replies = [statements(1, 0, 1)]
    assert run(["test", "e2e", "tests"]) == 1
    out = capsys.readouterr().out
    assert (
        "t.yml:6: the bot's message is not grounded enough: score 0.667, threshold 0.8; not supported: 'claim 1'" in out
    )
    assert '- bot: "Of rubber."' in out
    assert len(server.requests) == 1, "the first failure ends the case"


def test_an_answer_that_is_not_relevant(bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    write_test(bot / "tests/t.yml", RELEVANT)
    server.replies = [QUESTIONS, embeds([1, 0], [1, 0], [0, 1], [0, 1])]
    code, document = play(capsys)
    (found,) = document["results"]
    assert (code, found["status"]) == (1, "failed")
    assert "is not relevant enough: score 0.333, threshold 0.8; it would answer: 'what are" in found["message"]
    assert found["assertion_failure"]["assertion"]["type"] == "generative_response_is_relevant"


def test_two_unusable_answers_are_an_error_and_not_kept(
    bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(bot / "tests/t.yml", GROUNDED)
    server.replies = [says("It is fine."), says({"statements": []})]
    code, document = play(capsys)
    (found,) = document["results"]
    assert (code, found["status"], document["failed"]) == (1, "error", 0)
    assert 'the judge\'s answer is unusable, twice: "statements" is empty.' in found["message"]
    assert len(server.requests) == 2
    server.replies = [says("```json\n{]\n```"), statements(1)]
    assert play(capsys)[0] == 0
    assert play(capsys)[0] == 0
    assert len(server.requests) == 4


def test_a_judge_that_refuses_is_an_error_without_its_key(
    bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(bot / "tests/t.yml", GROUNDED)
    server.replies = [Reply(401, json.dumps({"error": {"message": f"wrong key {KEY}"}}))]
    assert run(["test", "e2e", "tests", "-o", "res.yml", "--junit-xml", "res.xml", "--coverage-report"]) == 1
    out, err = capsys.readouterr()
    assert "1 case could not be judged: no verdict on generative_response_is_grounded" in out
    assert "refused the request (401)" in out and "at tests/t.yml:6" in out
    assert KEY not in out + err
    files = [file for file in bot.parent.rglob("*") if file.is_file()]
    assert {"res_failed.yml", "res.xml", "answers.sqlite"} <= {file.name for file in files}
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


def test_without_any_judge_it_is_said_before_and_after(
    bot: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: False)
    (bot / "conftest.yml").unlink()
    write_test(bot / "tests/t.yml", RELEVANT)
    assert run(["test", "e2e", "tests"]) == 1
    out, err = capsys.readouterr()
    assert "Warning: no `llm_judge` names a model, and there is no OPENAI_API_KEY for the default one." in err
    assert "nothing to compare meanings with" in out and "1 could not be judged" in out


def test_the_nearest_conftest_names_the_judge(
    bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("far", "near/below"):
        write_test(bot / f"tests/{folder}/t.yml", GROUNDED)
    own = f"{{provider: self-hosted, model: near-judge, api_base: '{server.url}'}}"
    (bot / "tests/near/conftest.yml").write_text(f"llm_judge: {{llm: {own}}}\n")
    server.replies = [statements(1), statements(1)]
    assert play(capsys)[0] == 0
    assert [request["model"] for request in server.requests] == ["main-judge", "near-judge"]


def test_a_broken_judge_is_told_before_anything_is_played(
    bot: Path, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(bot / "tests/t.yml", GROUNDED)
    (bot / "conftest.yml").write_text("llm_judge:\n  llm: {model_group: jugde}\n")
    assert run(["test", "e2e", "tests"]) == 1
    out, err = capsys.readouterr()
    assert not out and "conftest.yml:2: unknown model group 'jugde'. Did you mean 'judge'?" in err
    assert server.requests == []


def test_other_tests_load_no_judge(bot: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "rasa_ft.understanding.judge", None)
    write_test(bot / "tests/t.yml", "bot_uttered: {text_matches: rubber}")
    (bot / "conftest.yml").write_text("llm_judge: {llm: {model_group: unknown}}\n")
    assert play(capsys)[0] == 0
    assert not (bot / ".rasa_ft").exists()
