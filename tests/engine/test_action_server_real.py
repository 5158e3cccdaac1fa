"""Custom actions on rasa_sdk's own server, in a process of its own, as an assistant's flows run them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from desk_assistant import SilentLLM, Talk, said
from small_bot import CONFIG

from rasa_ft.calm.events import ActionExecutionRejected, BotUttered, SlotSet
from rasa_ft.engine.embedded import load_engine

ACTIONS = """
from rasa_sdk import Action
from rasa_sdk.events import BotUttered, SlotSet
from rasa_sdk.interfaces import ActionExecutionRejection


class Look(Action):
    def name(self):
        return "action_look"

    async def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="I look.")
        button = {"title": "A", "payload": "a"}
        dispatcher.utter_message(response="utter_found", what=tracker.get_slot("thing"), buttons=[button])
        dispatcher.utter_message(json_message={"map": [1, 2]}, image="http://x/y.png")
        slots = sorted(set(domain.get("slots", {})) & {"thing", "found"})
        return [SlotSet("found", ",".join(slots)), BotUttered("said by an event")]


class Refuse(Action):
    def name(self):
        return "action_refuse"

    def run(self, dispatcher, tracker, domain):
        raise ActionExecutionRejection("action_refuse", "not now")


class Break(Action):
    def name(self):
        return "action_break"

    def run(self, dispatcher, tracker, domain):
        raise KeyError("boom")


class Bare(Action):
    def name(self):
        return "action_bare"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"{len(domain or {})} keys")
"""
SERVE = """
import sys
from rasa_sdk.endpoint import create_app
from rasa_sdk.executor import ActionExecutor
executor = ActionExecutor()
executor.register_package("actions")
create_app(executor).run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, motd=False)
"""
NAMES = ("look", "refuse", "break", "unknown", "bare")
DOMAIN = """
slots:
  thing: {type: text}
  found: {type: text, mappings: [{type: controlled}]}
actions: [{action_look: {send_domain: true}}, action_refuse, action_break, action_unknown, action_bare]
responses:
  utter_found: [{text: "Found {what}."}]
  utter_after: [{text: After.}]
"""
FLOW = """
  do_{name}:
    description: run action {name}
    persisted_slots: [thing]
    steps:
      - set_slots: [{{thing: a key}}]
      - action: action_{name}
      - action: utter_after
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "actions.py").write_text(ACTIONS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "log.txt").open("w")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log.txt")
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        process.kill()
        process.wait()
        log.close()


def wait_for(health: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(health)
            return
        except httpx.TransportError:
            time.sleep(0.02)
    pytest.fail(f"rasa_sdk's server did not start: {log.read_text()}")


def talk_to(folder: Path, url: str, **options: object) -> Talk:
    (folder / "data").mkdir(exist_ok=True)
    extra = "".join(f", {key}: {str(value).lower()}" for key, value in options.items())
    group = "[{id: none_needed, models: [{provider: self-hosted, model: m, api_base: 'http://localhost:9/v1'}]}]"
    (folder / "config.yml").write_text(CONFIG.format(generator="CompactLLMCommandGenerator"))
    (folder / "endpoints.yml").write_text(f"action_endpoint: {{url: '{url}'{extra}}}\nmodel_groups: {group}\n")
    (folder / "domain.yml").write_text(DOMAIN)
    (folder / "data" / "flows.yml").write_text("flows:" + "".join(FLOW.format(name=name) for name in NAMES))
    return Talk(load_engine(folder, llm=SilentLLM()))


def test_messages_come_before_events_and_the_domain_when_asked_for(tmp_path: Path, url: str):
    talk = talk_to(tmp_path, url)
    turn = talk.turn("start flow do_look")
    messages = [event for event in turn.events if isinstance(event, BotUttered)]
    assert [message.text for message in messages[:5]] == ["I look.", "Found a key.", None, "said by an event", "After."]
    assert messages[1].utter_action == "utter_found"
    assert [button.title for button in messages[1].buttons] == ["A"]
    assert (messages[2].custom, messages[2].image) == ({"map": [1, 2]}, "http://x/y.png")
    slot = next(event for event in turn.events if isinstance(event, SlotSet) and event.slot == "found")
    assert (slot.value, slot.filled_by) == ("found,thing", "CUSTOM")
    kinds = [type(event) for event in turn.events]
    assert kinds.index(SlotSet, turn.events.index(messages[2])) == turn.events.index(slot)


def test_a_refusal(tmp_path: Path, url: str):
    talk = talk_to(tmp_path, url)
    turn = talk.turn("start flow do_refuse")
    assert said(turn) == []
    assert any(isinstance(event, ActionExecutionRejected) for event in turn.events)
    assert talk.stack == ["do_refuse"]


@pytest.mark.parametrize(("name", "reason"), [("break", "500"), ("unknown", "404: it has no action action_unknown")])
def test_a_failure_cancels_the_flow(tmp_path: Path, url: str, name: str, reason: str, caplog: pytest.LogCaptureFixture):
    turn = talk_to(tmp_path, url).turn(f"start flow do_{name}")
    assert said(turn)[:2] == ["utter_internal_error_rasa", "utter_flow_cancelled_rasa"]
    assert "utter_after" not in said(turn)
    assert reason in caplog.text


def test_a_selective_domain(tmp_path: Path, url: str):
    talk = talk_to(tmp_path, url, enable_selective_domain=True)
    assert "Found a key." in [message.text for message in talk.turn("start flow do_look").bot_messages]
    fresh = said(talk.turn("start flow do_bare"))
    assert "utter_after" in fresh


def test_a_server_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    turn = talk_to(tmp_path, f"http://127.0.0.1:{port}/webhook").turn("start flow do_look")
    assert said(turn)[:2] == ["utter_internal_error_rasa", "utter_flow_cancelled_rasa"]
    assert "does not answer" in caplog.text
