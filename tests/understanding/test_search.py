from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from word_embedder import WordEmbedder

from rasa_ft.calm.commands import Knowledge, StartFlow
from rasa_ft.calm.events import ActionExecuted
from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.engine.tracker_document import event_document
from rasa_ft.errors import LLMUnavailable
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.store import Store, StoredLLM
from rasa_ft.understanding.documents import Document
from rasa_ft.understanding.knowledge import Prepared, load_knowledge, prepare_index
from rasa_ft.understanding.search import with_sources

CONFIG = """\
assistant_id: bikes
language: en
pipeline:
  - name: SearchReadyLLMCommandGenerator
    llm: {model_group: main}
    flow_retrieval: {active: false}
policies:
  - name: FlowPolicy
  - name: EnterpriseSearchPolicy
"""
DOMAIN = """\
slots:
  colour: {type: text}
  bell: {type: bool}
responses:
  utter_ask_colour: [{text: "Which colour?"}]
  utter_ordered: [{text: "Ordered."}]
"""
FLOWS = """\
flows:
  order_bike:
    description: order a bike
    steps:
      - collect: colour
      - action: utter_ordered
  pattern_search:
    description: answer from the documents
    steps: [{action: action_trigger_search}]
"""
PROMPT = """\
{{ current_conversation }}
{% for doc in docs %}<{{ doc.text }}|{{ doc.metadata.source }}>{% endfor %}
{% for slot in slots %}{{ slot.name }}={{ slot.value }}:{{ slot.type }};{% endfor %}
{{ check_relevancy }} {{ citation_enabled }} {{ current_datetime.year if current_datetime else "no time" }}"""
FILES = {
    "config.yml": CONFIG,
    "domain.yml": DOMAIN,
    "data/flows.yml": FLOWS,
    "endpoints.yml": "model_groups:\n  - id: main\n    models: [{provider: recorded, recordings: x}]\n",
    "docs/brakes.txt": "Our brakes are made of rubber.",
    "docs/frames.txt": "Frames are made of steel. {{ 7 * 7 }} <|im_end|>",
    "prompt.jinja2": PROMPT,
}
Load = Callable[..., EmbeddedEngine]


class Writer:
    """Answers with ``text``, and remembers the prompts."""

    def __init__(self, text: str = "Of rubber.") -> None:
        self.text: str | None = text
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        if self.text is None:
            raise LLMUnavailable("the model is down.")
        return Completion(self.text, "writer", 0.0)

    @property
    def prompt(self) -> str:
        return self.requests[-1].messages[0]["content"]


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def load(tmp_path: Path, embedder: WordEmbedder, writer: Writer) -> Load:
    def load(options: str = "", **files: str) -> EmbeddedEngine:
        named = {f"docs/{name}.txt": text for name, text in files.items()}
        for name, text in {**FILES, "config.yml": CONFIG + options, **named}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        knowledge = load_knowledge(load_assistant(tmp_path), embedder=embedder, llm=writer)
        return load_engine(tmp_path, llm=Writer("nothing"), knowledge=knowledge)

    return load


def ask(engine: EmbeddedEngine, text: str = "what are brakes made of", *before: str, **slots: object) -> Turn:
    async def run() -> Turn:
        conversation = await engine.start(Setup(fixtures=tuple(slots.items())))
        for message in before:
            await conversation.say(message, commands=(StartFlow("order_bike"),))
        return await conversation.say(text, commands=(Knowledge(),))

    return asyncio.run(run())


def said(turn: Turn) -> list[str]:
    return [message.utter_action or message.text or "" for message in turn.bot_messages]


def test_an_answer_and_its_sources(load: Load, writer: Writer) -> None:
    turn = ask(load())
    message = turn.bot_messages[0]
    assert (message.text, message.source, message.flow_id) == ("Of rubber.", "search", "pattern_search")
    assert message.metadata == {
        "search_query": "what are brakes made of",
        "search_results": ["Our brakes are made of rubber.", "Frames are made of steel. {{ 7 * 7 }} <|im_end|>"],
        "search_sources": ["docs/brakes.txt", "docs/frames.txt"],
    }
    metadata = event_document(message)["metadata"]
    assert metadata["utter_source"] == "EnterpriseSearchPolicy"
    assert metadata["search_results"] == message.metadata["search_results"]
    actions = [event.action for event in turn.events if isinstance(event, ActionExecuted)]
    assert actions[:2] == ["action_trigger_search", "action_send_text"]
    # Our own prompt shows the passages as they are: what looks like a template in them is text.
    assert "Frames are made of steel. {{ 7 * 7 }} <|im_end|>" in writer.prompt
    assert "USER: what are brakes made of" in writer.prompt
    assert "NO_RAG_ANSWER" not in writer.prompt
    assert writer.requests[0].hints == {"purpose": "search", "user_message": "what are brakes made of"}


def test_an_interrupted_flow_is_offered_again(load: Load) -> None:
    answers = said(ask(load(), "what are brakes made of", "a bike"))
    assert answers == ["Of rubber.", "utter_ask_continue_interrupted_flow_confirmation"]


def test_the_users_own_prompt_gets_all_variables(load: Load, writer: Writer) -> None:
    engine = load("    prompt_template: prompt.jinja2\n    max_history: 2\n    check_relevancy: true\n")
    ask(engine, "brakes {{ 1 + 1 }}", "a bike", bell=True, mocked_datetime="1999-01-01T00:00:00")
    assert writer.prompt.splitlines() == [
        "AI: Which colour?",
        "USER: brakes {{ 1 + 1 }}",
        "<Our brakes are made of rubber.|docs/brakes.txt>"
        "<Frames are made of steel. {{ 7 * 7 }} <|im_end|>|docs/frames.txt>",
        "language=en:categorical;bell=True:bool;",
        "True False 1999",
    ]


def test_the_time_is_that_of_the_zone_or_not_shown(load: Load, writer: Writer) -> None:
    engine = load("    prompt: prompt.jinja2\n    include_date_time: false\n")
    ask(engine)
    assert writer.prompt.endswith("no time")
    engine = load("    timezone: Asia/Tokyo\n")
    assert engine.knowledge.search is not None
    object.__setattr__(
        engine.knowledge.search, "clock", lambda zone: datetime(2030, 5, 31, 20, tzinfo=UTC).astimezone(zone)
    )
    ask(engine)
    assert "Saturday, 01 June 2030" in writer.prompt


def test_the_query_is_made_of_the_last_messages(load: Load, embedder: WordEmbedder) -> None:
    turn = ask(load(), "and brakes?", "a bike")
    assert turn.bot_messages[0].metadata["search_query"] == "Which colour? and brakes?"
    ask(load("    max_messages_in_query: 1\n"), "and brakes?", "a bike")
    assert embedder.calls[-1] == ["and brakes?"]


def test_irrelevant_documents(load: Load, writer: Writer) -> None:
    writer.text = "[NO_RAG_ANSWER]"
    checked = load("    check_relevancy: true\n")
    assert said(ask(checked))[0] == "utter_no_relevant_answer_found"
    assert "write exactly [NO_RAG_ANSWER]" in writer.prompt
    assert said(ask(load()))[0] == "[NO_RAG_ANSWER]"


def test_nothing_similar_enough(load: Load, writer: Writer) -> None:
    engine = load("    vector_store: {type: faiss, source: docs, threshold: 0.5}\n")
    assert said(ask(engine, "where is the moon"))[0] == "utter_no_relevant_answer_found"
    assert writer.requests == []
    assert said(ask(engine, "brakes are made of what"))[0] == "Of rubber."


def test_written_answers_need_no_model(load: Load, writer: Writer) -> None:
    pairs = "Q: How long is the warranty?\nA: Two years.\n\nQ: Do you deliver?\nA: Yes.\n"
    engine = load("    use_generative_llm: false\n", faq=pairs)
    assert said(ask(engine, "long is the warranty"))[0] == "Two years."
    assert said(ask(engine, "what are brakes made of rubber"))[0] == "utter_no_relevant_answer_found"
    assert writer.requests == []


def test_citations(load: Load, writer: Writer) -> None:
    writer.text = "Rubber [2] and steel [1, 2], not wood [9]."
    engine = load("    citation_enabled: true\n")
    text = ask(engine, "frames are made of steel").bot_messages[0].text
    assert "number of the passage" in writer.prompt
    assert text == ("Rubber [1] and steel [2][1], not wood .\n\nSources:\n[1] docs/brakes.txt\n[2] docs/frames.txt")


@pytest.mark.parametrize("answer", ["No citation.", "Rubber [1].\n\nSources:\n[1] docs/brakes.txt", "**Source:** [1]"])
def test_answers_without_citations_or_with_sources_stay(answer: str) -> None:
    assert with_sources(answer, [Document("x", {"source": "a.txt"})]) == answer


@pytest.mark.parametrize(("text", "reason"), [(None, "the model is down"), (" ", "said nothing")])
def test_a_failing_model_is_an_internal_error(
    load: Load, writer: Writer, caplog: pytest.LogCaptureFixture, text: str | None, reason: str
) -> None:
    writer.text = text
    with caplog.at_level(logging.ERROR):
        assert said(ask(load()))[0] == "utter_internal_error_rasa"
    assert reason in caplog.text


def test_failing_embeddings_or_prompts_are_internal_errors(load: Load, embedder: WordEmbedder) -> None:
    engine = load("    prompt_template: prompt.jinja2\n")
    (engine.project / "prompt.jinja2").write_text("{{ docs.missing.more }}")
    assert said(ask(engine))[0] == "utter_internal_error_rasa"
    embedder.is_down = True
    assert said(ask(load()))[0] == "utter_internal_error_rasa"


def test_documents_are_embedded_ahead(load: Load, embedder: WordEmbedder) -> None:
    engine = load()
    assert asyncio.run(prepare_index(engine.knowledge)) == Prepared(documents=2)
    ask(engine)
    assert [len(call) for call in embedder.calls] == [2, 1]
    asyncio.run(engine.aclose())


# -- what is configured ---------------------------------------------------------------------------------------------


def findings(project: Path) -> str:
    known = load_assistant(project).warnings
    engine = load_engine(project, llm=Writer())
    return "\n".join(str(finding) for finding in engine.assistant.warnings if finding not in known)


def test_nothing_to_ask_with(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    project = load().project
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: False)
    assert "document search: no `embeddings`" in findings(project)
    assert "so every question finds nothing" in findings(project)
    engine = load_engine(project, llm=Writer())
    assert said(ask(engine))[0] == "utter_no_relevant_answer_found"


def test_local_embeddings_and_no_model_to_answer(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    project = load().project
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: True)
    text = findings(project)
    assert "the local model all-MiniLM-L6-v2 stands in" in text
    assert "document search has no `llm`, and there is no OPENAI_API_KEY" in text
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert findings(project) == ""


def test_other_stores_are_out_of_scope(load: Load) -> None:
    engine = load("    vector_store: {type: qdrant}\n")
    assert engine.knowledge.search is None
    turn = ask(engine)
    assert turn.out_of_scope == "the vector store"
    assert said(turn)[0] == "utter_internal_error_rasa"
    assert any("qdrant" in str(finding) for finding in engine.assistant.warnings)


def test_answers_may_be_kept(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    project = load().project
    engine = load_engine(project, llm=Writer(), answers=Store(tmp_path / "answers.sqlite"))
    assert engine.knowledge.search is not None
    assert isinstance(engine.knowledge.search.llm, StoredLLM)
