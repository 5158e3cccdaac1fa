from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from word_embedder import WordEmbedder

from rasa_ft.calm.commands import CancelFlow, Error, StartFlow
from rasa_ft.calm.project.assistant import load_assistant
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.engine.embedded import EmbeddedConversation, EmbeddedEngine, load_engine
from rasa_ft.errors import LLMUnavailable
from rasa_ft.llm.client import Completion, Request
from rasa_ft.understanding import knowledge as knowledge_module
from rasa_ft.understanding.knowledge import Prepared, load_knowledge, prepare_index
from rasa_ft.understanding.retrieval import flow_documents, is_never_startable

CONFIG = """\
assistant_id: shop
pipeline:
  - name: CompactLLMCommandGenerator
    llm: {model_group: main}
    prompt_template: flows.jinja2
    include_date_time: false
    flow_retrieval: {num_flows: 2OPTIONS}
policies:
  - name: FlowPolicy
"""
DOMAIN = """\
slots:
  city: {type: text}
  size: {type: categorical, values: [small, large]}
  member: {type: bool}
responses:
  utter_ask_city: [{text: Which city?}]
  utter_ask_size: [{text: Which size?}]
  utter_done: [{text: Done.}]
"""
FLOWS = """\
flows:
  order_pizza:
    description: order a pizza
    steps:
      - collect: size
        description: how large it is
      - action: utter_done
  cancel_order:
    description: take back an order
    steps: [{action: utter_done}]
  find_shop:
    name: nearest shop
    description: find a place to buy
    steps:
      - collect: city
  member_club:
    description: points of a club
    if: slots.member
    steps: [{action: utter_done}]
  talk_to_us:
    description: contact
    always_include_in_prompt: true
    steps: [{action: utter_done}]
  hidden:
    description: a pizza of the house
    if: false
    steps: [{action: utter_done}]
"""
FILES = {
    "domain.yml": DOMAIN,
    "data/flows.yml": FLOWS,
    "flows.jinja2": "{% for flow in available_flows %}{{ flow.name }} {% endfor %}",
    "endpoints.yml": "model_groups:\n  - id: main\n    models: [{provider: recorded, recordings: x}]\n",
}
Load = Callable[..., EmbeddedEngine]


class Scripted:
    """Starts what the message names last."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return Completion(f"start flow {request.hints['user_message'].split()[-1]}", "scripted", 0.0)


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def load(tmp_path: Path, embedder: WordEmbedder) -> Load:
    def load(options: str = "", **engine_options: object) -> EmbeddedEngine:
        for name, text in {**FILES, "config.yml": CONFIG.replace("OPTIONS", options)}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        knowledge = load_knowledge(load_assistant(tmp_path), embedder=embedder)
        return load_engine(tmp_path, llm=Scripted(), knowledge=knowledge, **engine_options)  # type: ignore[arg-type]

    return load


def start(engine: EmbeddedEngine, **slots: object) -> EmbeddedConversation:
    return asyncio.run(engine.start(Setup(fixtures=tuple(slots.items()))))


def say(conversation: EmbeddedConversation, text: str, *commands: object) -> Turn:
    return asyncio.run(conversation.say(text, commands=commands or None))  # type: ignore[arg-type]


def offered(conversation: EmbeddedConversation, text: str) -> list[str]:
    return asyncio.run(conversation.prompt(text)).split()


def test_documents_of_flows(load: Load) -> None:
    engine = load()
    documents = flow_documents(engine.flows, engine.assistant.domain)
    assert documents["order_pizza"] == "order pizza\norder a pizza\nsize: how large it is ['small', 'large']"
    assert documents["find_shop"] == "nearest shop\nfind a place to buy\ncity"
    # Patterns and what no message can start are never looked for; a guard that may hold one day is.
    assert list(documents) == ["order_pizza", "cancel_order", "find_shop", "member_club", "talk_to_us"]
    bare = flow_documents(engine.flows, engine.assistant.domain, with_slots=False)
    assert bare["order_pizza"] == "order pizza\norder a pizza"
    assert [flow.id for flow in engine.flows.values() if is_never_startable(flow)] == ["hidden"]


def test_always_included_flows_come_first_then_the_nearest(load: Load, embedder: WordEmbedder) -> None:
    conversation = start(load())
    assert offered(conversation, "a large pizza") == ["talk_to_us", "order_pizza", "find_shop"]
    assert offered(conversation, "where can I buy or take back") == ["talk_to_us", "cancel_order", "find_shop"]
    # The flows are embedded once, then only messages are.
    assert [len(call) for call in embedder.calls] == [5, 1, 1]
    assert embedder.calls[1] == ["a large pizza"]


def test_hits_that_guards_remove_are_not_replaced(load: Load) -> None:
    engine = load()
    assert offered(start(engine), "points of the club order") == ["talk_to_us", "cancel_order"]
    member = start(engine, member=True)
    assert offered(member, "points of the club order") == ["talk_to_us", "member_club", "cancel_order"]


def test_flows_started_a_short_while_ago_stay(load: Load) -> None:
    conversation = start(load())
    say(conversation, "shop", StartFlow("find_shop"))
    say(conversation, "back", StartFlow("cancel_order"))
    found = offered(conversation, "points of a club")
    assert found[:3] == ["talk_to_us", "cancel_order", "find_shop"]
    for _ in range(10):  # two messages each
        say(conversation, "what")
    assert "find_shop" not in offered(conversation, "a pizza order")


def test_more_turns_in_the_query(load: Load, embedder: WordEmbedder) -> None:
    conversation = start(load(", turns_to_embed: 3"))
    say(conversation, "shop", StartFlow("find_shop"))
    offered(conversation, "large\npizza")
    assert embedder.calls[-1] == ["USER: shop\nAI: Which city?\nUSER: large pizza"]


def test_the_model_sees_and_the_grammar_allows_what_was_retrieved(load: Load) -> None:
    engine = load(grammar=True)
    llm = engine.generator.llm
    assert isinstance(llm, Scripted)
    conversation = start(engine)
    turn = say(conversation, "please order_pizza")
    assert turn.commands == (StartFlow("order_pizza"),)
    grammar = llm.requests[0].parameters["structured_outputs"]["grammar"]
    assert "start flow order_pizza" in grammar
    assert "start flow find_shop" not in grammar
    # What the prompt does not list can be meant all the same: only guards forbid it.
    assert say(start(engine), "large pizza find_shop").commands == (StartFlow("find_shop"),)
    assert say(start(engine), "large pizza member_club").commands != (StartFlow("member_club"),)


def test_a_replay_retrieves_as_the_model_call_does(load: Load) -> None:
    engine = load()
    asked = say(start(engine), "large pizza order_pizza")
    replayed = say(start(engine), "large pizza order_pizza", StartFlow("order_pizza"))
    assert asked.prompt == replayed.prompt
    assert asked.prompt is not None


def test_a_failure_to_embed_is_one_error(load: Load, embedder: WordEmbedder) -> None:
    conversation = start(load())
    embedder.is_down = True
    turn = say(conversation, "a pizza")
    assert turn.commands == (Error(),)
    assert turn.error == "flow retrieval failed: the embedding server is down."
    assert turn.bot_messages[0].utter_action == "utter_internal_error_rasa"
    with pytest.raises(LLMUnavailable):
        offered(conversation, "a pizza")
    embedder.is_down = False  # the index is built when the server is back
    assert say(conversation, "a pizza", CancelFlow()).error is None


def test_payloads_need_no_retrieval(load: Load, embedder: WordEmbedder) -> None:
    conversation = start(load())
    say(conversation, "/SetSlots(city=Rome)")
    assert embedder.calls == []


def test_few_flows_are_all_offered_in_the_order_of_their_files(load: Load, embedder: WordEmbedder) -> None:
    project = load().project
    config = project / "config.yml"
    config.write_text(config.read_text().replace("num_flows: 2", "num_flows: 5"))
    knowledge = load_knowledge(load_assistant(project), embedder=embedder)
    assert (knowledge.retriever, knowledge.warnings) == (None, ())
    conversation = start(load_engine(project, llm=Scripted(), knowledge=knowledge))
    assert offered(conversation, "a pizza") == ["order_pizza", "cancel_order", "find_shop", "talk_to_us"]


def test_the_index_is_made_ahead_of_conversations(load: Load, embedder: WordEmbedder) -> None:
    engine = load()
    assert asyncio.run(prepare_index(engine.knowledge)) == Prepared(flows=5)
    assert asyncio.run(prepare_index(engine.knowledge)) == Prepared(flows=5)
    assert len(embedder.calls) == 1
    asyncio.run(engine.aclose())


def test_conversations_that_start_at_once_wait_for_one_index(load: Load, embedder: WordEmbedder) -> None:
    engine = load()

    async def many() -> None:
        conversations = [await engine.start() for _ in range(5)]
        await asyncio.gather(*(conversation.prompt("a pizza") for conversation in conversations))

    asyncio.run(many())
    assert sorted(len(call) for call in embedder.calls) == [1, 1, 1, 1, 1, 5]


# -- what is configured ---------------------------------------------------------------------------------------------


def warnings_of(load: Load, options: str = "") -> list[str]:
    project = load(options).project
    engine = load_engine(project, llm=Scripted())
    known = load_assistant(project).warnings
    return [str(finding) for finding in engine.assistant.warnings if finding not in known]


def test_without_a_key_and_a_local_model_all_flows_are_offered(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: False)
    (warning,) = warnings_of(load)
    assert "config.yml:3: flow retrieval: no `embeddings` are configured" in warning
    assert "every prompt lists all 5 flows" in warning


def test_the_local_model_stands_in_with_a_warning(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("rasa_ft.llm.embeddings.is_installed", lambda: True)
    (warning,) = warnings_of(load)
    assert "the local model all-MiniLM-L6-v2 stands in" in warning


def test_with_a_key_the_default_is_used_silently(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert warnings_of(load) == []


def test_many_flows_without_retrieval(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings_of(load, ", active: false") == []
    monkeypatch.setattr(knowledge_module, "_MANY_FLOWS", 4)
    (warning,) = warnings_of(load, ", active: false")
    assert "flow retrieval is off, so every prompt lists 5 flows." in warning
