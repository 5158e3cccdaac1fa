"""The response rephraser: what it asks, what it changes, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk_assistant import SilentLLM, Talk
from fake_openai import FakeOpenAI, Reply
from small_bot import CONFIG

from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, Button, Draft, UserUttered
from rasa_ft.calm.project.nlg import Rephrasing
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.errors import DataError, LLMUnavailable, MissingRequirement, RequestRejected
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.understanding.rephrasing import ResponseRephraser


class Model:
    """Gives the answers in order, the last one again and again; an exception is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []
        self.purposes: list[str] = []
        self.closed = False

    async def complete(self, request: Request) -> Completion:
        self.prompts.append(request.messages[0]["content"])
        self.purposes.append(request.hints["purpose"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, "m", 0.0)

    async def aclose(self) -> None:
        self.closed = True


TRACKER = Tracker.new({"day": "friday", "language": "de"})
TALK = (UserUttered("hi"), BotUttered("Hello."), BotUttered("What is it?"), UserUttered("a desk\nplease"))
RUNTIME: Any = None
ASKED = BotUttered("Which day?", draft=Draft(rephrase=True), utter_action="utter_ask_day", buttons=(Button("a", "/a"),))


def reworded(
    model: Model, message: BotUttered = ASKED, events: tuple[Any, ...] = TALK, **settings: Any
) -> tuple[BotUttered, ResponseRephraser]:
    rephraser = ResponseRephraser(Rephrasing(**settings), model)
    return asyncio.run(rephraser.reword(message, TRACKER.apply(*events), RUNTIME)), rephraser


def prompt_of(template: str, folder: Path, events: tuple[Any, ...] = TALK, **settings: Any) -> str:
    file = folder / "p.jinja2"
    file.write_text(template)
    model = Model("x")
    reworded(model, events=events, prompt_template=file, **{"summarize_history": False, **settings})
    return model.prompts[-1]


def test_only_the_text_changes_and_the_written_one_is_kept():
    said, _ = reworded(Model("  For which day?\n"))
    written = {"domain_ground_truth": ["Which day?"]}
    assert said == replace(ASKED, text="For which day?", source="rephraser", metadata=written)
    assert said.buttons == ASKED.buttons


@pytest.mark.parametrize(
    "message", [replace(ASKED, draft=Draft()), replace(ASKED, text=None), replace(ASKED, text=""), BotUttered("hi")]
)
def test_who_does_not_ask_for_it_is_left_alone(message: BotUttered):
    model = Model("x")
    assert reworded(model, message)[0] is message
    assert model.prompts == []


def test_all_responses_if_so_configured():
    assert reworded(Model("x"), replace(ASKED, draft=Draft()), rephrase_all=True)[0].text == "x"


def test_variables_of_the_prompt(tmp_path: Path):
    template = "{{ history }}|{{ suggested_response }}|{{ current_input }}|{{ slots.day }}|{{ language }}"
    expected = "USER: hi\nAI: Hello.\nAI: What is it?|Which day?|USER: a desk please|friday|de"
    assert prompt_of(template, tmp_path) == expected


@pytest.mark.parametrize(
    ("settings", "history"),
    [
        ({"max_historical_turns": 1}, "AI: Hello.\nAI: What is it?"),
        ({"max_historical_turns": 1, "join_utterances": False}, "AI: What is it?"),
        ({"max_historical_turns": 2, "join_utterances": False}, "AI: Hello.\nAI: What is it?"),
        ({"max_historical_turns": 2}, "USER: hi\nAI: Hello.\nAI: What is it?"),
    ],
)
def test_how_much_history(tmp_path: Path, settings: dict[str, Any], history: str):
    assert prompt_of("{{ history }}", tmp_path, **settings) == history


def test_a_bot_that_has_spoken_since(tmp_path: Path):
    events = (*TALK, BotUttered("One moment."))
    lines = prompt_of("{{ history }}|{{ current_input }}", tmp_path, events)
    assert lines.endswith("USER: a desk please\nAI: One moment.|USER: a desk please")


def test_nothing_said_yet(tmp_path: Path):
    assert prompt_of("[{{ history }}|{{ current_input }}]", tmp_path, ()) == "[|]"


def test_a_long_conversation_is_summarised(tmp_path: Path):
    model = Model("They want a desk.", "For which day?")
    said, _ = reworded(model, events=(*TALK, BotUttered("One moment.")))
    assert said.text == "For which day?"
    assert model.purposes == ["summarize", "reword"]
    assert "AI: Hello." in model.prompts[0]
    assert "They want a desk." in model.prompts[1]
    assert "AI: Hello." not in model.prompts[1]


def test_a_short_conversation_is_its_own_summary():
    model = Model("x")
    reworded(model)
    assert model.purposes == ["reword"]
    assert "AI: Hello." in model.prompts[0]


def test_our_own_prompt_shows_everything():
    model = Model("x")
    reworded(model, summarize_history=False)
    for text in ("Which day?", "USER: a desk please", "AI: What is it?", '"de"'):
        assert text in model.prompts[0]


def test_a_prompt_of_the_response_itself():
    model = Model("x")
    draft = Draft(rephrase=True, rephrase_prompt="Say {{ suggested_response }} like a pirate, {{ slots.day }}.")
    reworded(model, replace(ASKED, draft=draft))
    assert model.prompts == ["Say Which day? like a pirate, friday."]


@pytest.mark.parametrize(
    "prompt",
    ["{{ suggested_response.__class__.__mro__ }}", "{{ 1 / 0 }}", "{{", "{% for x in range(10**9) %}{% endfor %}"],
)
def test_a_prompt_that_fails_or_misbehaves_changes_nothing(prompt: str, caplog: pytest.LogCaptureFixture):
    model = Model("x")
    said, rephraser = reworded(model, replace(ASKED, draft=Draft(rephrase=True, rephrase_prompt=prompt)))
    assert said.text in ("Which day?", "x")
    assert rephraser.cooldown.rest == 0
    assert len(caplog.messages) == (1 if said.text == "Which day?" else 0)
    assert not any("object" in text or "class" in text for text in model.prompts)


@pytest.mark.parametrize("answer", ["", " \n ", RequestRejected("filtered")])
def test_what_is_the_message_s_own_fault_concerns_it_alone(answer: Any, caplog: pytest.LogCaptureFixture):
    said, rephraser = reworded(Model(answer))
    assert said is ASKED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert rephraser.cooldown.rest == 0


@pytest.mark.parametrize("error", [LLMUnavailable("down"), MissingRequirement("no key")])
def test_a_model_that_fails_is_left_alone_for_a_while(error: Exception, caplog: pytest.LogCaptureFixture):
    now = [0.0]
    model = Model(error)
    rephraser = ResponseRephraser(Rephrasing(), model, cooldown=Cooldown(60, clock=lambda: now[0]))

    def said() -> str | None:
        return asyncio.run(rephraser.reword(ASKED, TRACKER, RUNTIME)).text

    assert [said(), said(), said()] == ["Which day?"] * 3
    assert len(model.prompts) == 1
    assert len(caplog.messages) == 1
    assert "responses are said as written for the next 60 seconds" in caplog.messages[0]
    now[0] = 60
    model.answers = ["For which day?"]
    assert said() == "For which day?"


def test_an_answer_that_takes_too_long(caplog: pytest.LogCaptureFixture):
    class Slow(Model):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(60)
            raise AssertionError

    rephraser = ResponseRephraser(Rephrasing(), Slow("x"), deadline=0.01)
    assert asyncio.run(rephraser.reword(ASKED, TRACKER, RUNTIME)) is ASKED
    assert "no answer within 0.01 seconds" in caplog.text


def test_closing():
    model = Model("x")
    asyncio.run(ResponseRephraser(Rephrasing(), model).aclose())
    assert model.closed


# -- an assistant with a real model server --------------------------------------------------------------------------

DOMAIN = """
slots:
  day: {type: text}
responses:
  utter_ask_day:
    - text: Which day?
      metadata: {rephrase: true}
      buttons: [{title: Today, payload: "/SetSlots(day=today)"}]
  utter_booked:
    - text: "Booked for {day}."
      metadata: {rephrase: true, rephrase_prompt: "Shout: {{ suggested_response }}"}
  utter_plain: [{text: That is all.}]
"""
FLOWS = """
flows:
  book:
    description: book a desk
    steps:
      - collect: day
      - action: utter_booked
      - action: utter_plain
"""
NLG = """
model_groups:
  - id: none_needed
    models: [{{provider: self-hosted, model: tiny, api_base: "http://localhost:9/v1"}}]
  - id: writer
    models: [{{provider: self-hosted, model: tiny, api_base: "{url}"}}]
nlg: {{type: rephrase, llm: {{model_group: writer}}}}
"""


def project(folder: Path, endpoints: str) -> Path:
    (folder / "data").mkdir()
    files = {"config.yml": CONFIG.format(generator="CompactLLMCommandGenerator"), "endpoints.yml": endpoints}
    for name, text in {**files, "domain.yml": DOMAIN, "data/flows.yml": FLOWS}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def bot(tmp_path: Path, server: FakeOpenAI) -> Callable[..., EmbeddedEngine]:
    folder = project(tmp_path, NLG.format(url=server.url))
    return lambda **options: load_engine(folder, llm=SilentLLM(), **options)


def texts(events: Any) -> list[tuple[str | None, str]]:
    return [(event.text, event.source) for event in events if isinstance(event, BotUttered)]


def answer(text: str) -> Reply:
    return Reply(200, json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}))


def test_a_turn_is_reworded_and_the_rest_of_it_is_as_ever(bot, server: FakeOpenAI):
    server.replies = [answer("For which day, please?"), answer("BOOKED!")]
    talk = Talk(bot())
    first = talk.turn("start flow book", text="a desk")
    assert texts(first.events) == [("For which day, please?", "rephraser")]
    assert first.bot_messages[0].buttons == (Button("Today", "/SetSlots(day=today)"),)
    assert "AI: For which day, please?" in talk.prompt("friday")
    second = talk.turn("set slot day friday", text="friday")
    assert texts(second.events)[:2] == [("BOOKED!", "rephraser"), ("That is all.", "template")]
    assert server.requests[1]["messages"][0]["content"] == "Shout: Booked for friday."
    assert all(event.draft is None for event in talk.conversation.events if isinstance(event, BotUttered))
    document = tracker_document(talk.conversation.tracker, channel="c")
    said = [event for event in document["events"] if event["event"] == "bot"]
    assert said[0]["metadata"]["utter_source"] == "ContextualResponseRephraser"
    assert "draft" not in str(document)


def test_a_run_about_commands_asks_no_rephraser(bot, server: FakeOpenAI):
    talk = Talk(bot(rephrase=False))
    assert texts(talk.turn("start flow book").events) == [("Which day?", "template")]
    assert server.requests == []


def test_a_server_that_is_down_costs_one_attempt(bot, server: FakeOpenAI, caplog: pytest.LogCaptureFixture):
    server.stop()
    talk = Talk(bot())
    assert texts(talk.turn("start flow book").events) == [("Which day?", "template")]
    assert texts(talk.turn("set slot day friday").events)[0] == ("Booked for friday.", "template")
    assert len([message for message in caplog.messages if "rephraser failed" in message]) == 1


def test_a_failed_call_is_repeated_once(bot, server: FakeOpenAI):
    server.replies = [Reply(500, "{}")] * 9
    assert texts(Talk(bot()).turn("start flow book").events) == [("Which day?", "template")]
    assert len(server.requests) == 2


def test_an_unknown_model_group_is_found_at_load(tmp_path: Path):
    endpoints = NLG.format(url="http://x/v1").replace("{model_group: writer}", "{model_group: writers}")
    with pytest.raises(DataError, match="Did you mean 'writer'"):
        load_engine(project(tmp_path, endpoints), llm=SilentLLM())


def test_a_runtime_without_a_rephraser_makes_no_drafts(bot, server: FakeOpenAI):
    runtime: Runtime = bot(rephrase=False).runtime
    tracker = runtime.say(Tracker.new(runtime.domain.initial_slots()), "utter_ask_day")
    assert tracker.events[-1].draft is None
