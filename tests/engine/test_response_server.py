"""``nlg: {type: callback}``: a server writes what the bot says."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_assistant import SilentLLM, Talk
from fake_openai import FakeOpenAI, Reply
from small_bot import CONFIG

from rasa_ft.calm.events import Button
from rasa_ft.engine.embedded import load_engine

DOMAIN = """
slots:
  day: {type: text}
actions: [utter_elsewhere]
responses:
  utter_ask_day: [{text: Which day?, id: ask_1, buttons: [{title: T, payload: /t}]}]
  utter_booked: [{text: Booked.}]
"""
FLOWS = """
flows:
  book:
    description: book a desk
    steps:
      - action: utter_elsewhere
      - collect: day
        rejections: [{if: slots.day is "never", utter: utter_booked}]
      - action: utter_booked
"""
ENDPOINTS = """
model_groups:
  - id: none_needed
    models: [{{provider: self-hosted, model: tiny, api_base: "http://localhost:9/v1"}}]
nlg: {{url: "{url}", token: t}}
"""


@pytest.fixture
def talk(tmp_path: Path, server: FakeOpenAI) -> Talk:
    (tmp_path / "data").mkdir()
    (tmp_path / "config.yml").write_text(CONFIG.format(generator="CompactLLMCommandGenerator"))
    (tmp_path / "endpoints.yml").write_text(ENDPOINTS.format(url=server.url))
    (tmp_path / "domain.yml").write_text(DOMAIN)
    (tmp_path / "data" / "flows.yml").write_text(FLOWS)
    return Talk(load_engine(tmp_path, llm=SilentLLM()))


def test_what_it_is_asked_and_what_it_answers(talk: Talk, server: FakeOpenAI):
    button = '[{"title": "Today", "payload": "/today"}]'
    server.replies = [
        Reply(200, '{"text": "Welcome."}'),
        Reply(200, f'{{"text": "When?", "buttons": {button}, "image": "http://i", "custom": {{"a": 1}}}}'),
    ]
    first, second = talk.turn("start flow book", text="a desk").bot_messages
    assert (first.text, first.utter_action, first.source) == ("Welcome.", "utter_elsewhere", "server")
    assert (second.text, second.buttons, second.image) == ("When?", (Button("Today", "/today"),), "http://i")
    assert (second.custom, second.flow_id) == ({"a": 1}, "book")
    assert server.paths == ["/v1?token=t"] * 2
    sent = server.requests[1]
    assert set(sent) == {"response", "id", "arguments", "tracker", "channel"}
    assert (sent["response"], sent["id"], sent["channel"]) == ("utter_ask_day", "ask_1", {"name": "collector"})
    assert sent["tracker"]["latest_message"]["text"] == "a desk"
    assert "Welcome." in str(sent["tracker"]["events"])


def test_arguments_of_the_call(talk: Talk, server: FakeOpenAI):
    server.replies = [Reply(200, '{"text": "x"}')] * 9
    talk.turn("start flow book")
    talk.turn("set slot day never")
    refusal = next(request for request in server.requests if request["response"] == "utter_booked")
    assert refusal["arguments"] == {"value": "never"}


@pytest.mark.parametrize("reply", [Reply(500, "{}"), Reply(200, "[]"), Reply(200, "no json")])
def test_a_server_that_fails_is_left_alone(talk: Talk, server: FakeOpenAI, reply: Reply, caplog):
    server.replies = [reply] * 9
    messages = talk.turn("start flow book").bot_messages
    assert [(message.text, message.source) for message in messages] == [("Which day?", "template")]
    assert len(server.requests) == 1
    assert len([message for message in caplog.messages if "said as written" in message]) == 1


def test_without_a_server_only_what_is_written(talk: Talk, server: FakeOpenAI):
    server.stop()
    assert talk.say("start flow book") == ["utter_ask_day"]
