"""What the runtime asks of helpers outside: a rephraser and a search for documents, here of a line each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_bot import small_talk

from rasa_ft.calm.dialogue.runtime import ActionResult, Runtime, SearchFailed
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered

FLOWS = """
  f:
    description: it
    steps: [{action: utter_hi}, {action: action_own}, {action: utter_unwritten}, {action: action_more}]
  pattern_search:
    description: search
    steps: [{action: action_trigger_search}]
"""
DOMAIN = """
actions: [action_own, action_more, utter_unwritten]
slots: {a: {type: text, initial_value: x}}
responses:
  utter_hi: [{text: "hi {a}", metadata: {rephrase: true, rephrase_prompt: p}, id: one}]
"""
ACTIONS = {
    "action_own": ActionResult((), ({"response": "utter_nowhere", "b": 1}, {"text": "plain"})),
    "action_more": ActionResult((), ({"response": "utter_hi", "a": "y", "buttons": [{"title": "t", "payload": "p"}]},)),
}


class Shouting:
    """Words what is written anew, and writes what is asked for by a name with an argument."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    async def reword(self, message: BotUttered, tracker: Tracker, runtime: Runtime) -> BotUttered:
        self.lengths.append(len(tracker.events))
        assert message.draft is not None
        if message.utter_action == "utter_hi":
            assert (message.draft.id, message.draft.rephrase, message.draft.rephrase_prompt) == ("one", True, "p")
            return replace(message, text=f"{message.text}!", source="rephraser")
        return replace(message, text="made up") if message.draft.arguments else message


def test_a_rephraser_finishes_what_was_drafted(tmp_path: Path) -> None:
    rephraser = Shouting()
    talk = small_talk(tmp_path, FLOWS, DOMAIN, actions=ACTIONS, rephraser=rephraser)
    messages = talk.turn("start flow f").bot_messages[:4]
    # Nobody wrote utter_unwritten, so it is not said.
    assert [message.text for message in messages] == ["hi x!", "made up", "plain", "hi y!"]
    assert messages[3].buttons[0].title == "t"
    assert all(message.draft is None for message in messages)
    # Each is worded after the one before it was said.
    assert rephraser.lengths == sorted(rephraser.lengths)


class Searching:
    def __init__(self, answer: BotUttered | Exception | None) -> None:
        self.result = answer

    async def answer(self, tracker: Tracker, runtime: Runtime) -> BotUttered | None:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (BotUttered("found it", source="search"), "found it"),
        (None, "utter_no_relevant_answer_found"),
        (SearchFailed("down"), "utter_internal_error_rasa"),
    ],
)
def test_a_search_answers_finds_nothing_or_fails(
    answer: BotUttered | Exception | None, said: str, tmp_path: Path
) -> None:
    talk = small_talk(tmp_path, FLOWS, DOMAIN, search=Searching(answer))
    assert talk.say("provide info")[0] == said
