from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import datetime
from pathlib import Path

import pytest
from desk_assistant import DESK, SilentLLM, Talk, said

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.calm.events import SlotSet, UserUttered
from rasa_ft.engine.base import Setup, Stub
from rasa_ft.engine.embedded import load_engine
from rasa_ft.engine.tracker_document import tracker_document
from rasa_ft.errors import DataError, MissingRequirement


def test_what_an_engine_tells(desk_engine):
    assert desk_engine.name.startswith("embedded ")
    assert desk_engine.project == DESK
    assert "book_desk" in desk_engine.flows
    assert "pattern_completed" in desk_engine.flows
    assert desk_engine.custom_actions == {
        "action_find_desk",
        "action_break",
        "action_refuse",
        "action_followed",
        "action_count_messages",
        "validate_topic",
    }
    assert desk_engine.codec.version == "v2"


def test_fixtures_are_slot_events(new_talk):
    talk = new_talk(fixtures=(("day", "friday"), ("member", True)))
    assert [event.slot for event in talk.conversation.events if isinstance(event, SlotSet)] == ["day", "member"]
    assert talk.say("start flow book_desk") == ["utter_ask_kind"]


def test_a_fork_goes_its_own_way(desk_engine):
    async def run():
        conversation = await desk_engine.start()
        await conversation.say("a desk", commands=(StartFlow("book_desk"),))
        fork = conversation.fork()
        assert await fork.prompt("friday") == await conversation.prompt("friday")
        turn = await fork.say("friday", commands=(SetSlot("day", "friday"),))
        again = await conversation.say("friday", commands=(SetSlot("day", "friday"),))
        other = await conversation.fork().say("sitting", commands=(SetSlot("kind", "sitting"),))
        return turn, again, other, fork, conversation

    turn, again, other, fork, conversation = asyncio.run(run())
    assert turn == again
    assert fork.events == conversation.events
    assert said(other) == ["utter_ask_confirm"]
    assert conversation.tracker.slots["kind"] is None


def test_every_conversation_has_a_name_of_its_own(desk_engine):
    """Action servers keep data by it: two test cases must not spend from one account. A fork goes on with its own."""

    async def run():
        one, other = await desk_engine.start(), await desk_engine.start()
        documents = [tracker_document(conversation.tracker, channel="c") for conversation in (one, other, one.fork())]
        return [document["sender_id"] for document in documents]

    first, second, forked = asyncio.run(run())
    assert first != second
    assert first == forked


def test_a_replay_renders_the_prompt_and_asks_nobody(talk):
    expected = asyncio.run(talk.conversation.prompt("a desk"))
    turn = talk.turn("start flow book_desk", text="a desk")
    assert turn.prompt == expected
    assert turn.answer is None
    assert turn.parsed == (StartFlow("book_desk"),)
    assert (turn.active_flow, turn.requested_slot) == (None, None)
    later = talk.turn("set slot day friday")
    assert (later.active_flow, later.requested_slot) == ("book_desk", "day")


def test_a_button_in_a_replay_is_read_as_ever(desk_engine):
    conversation = asyncio.run(desk_engine.start())
    turn = asyncio.run(conversation.say("/book", commands=(StartFlow("park_car"),)))
    assert turn.commands == (StartFlow("book_desk"),)
    assert turn.prompt is None


def test_another_prompt(desk_engine, tmp_path: Path):
    template = tmp_path / "short.jinja2"
    template.write_text("{{ user_message }}!")
    conversation = asyncio.run(desk_engine.start())
    assert asyncio.run(conversation.prompt("hi", template)) == "hi!"
    configured = load_engine(DESK, llm=SilentLLM(), prompt_template=template)
    assert asyncio.run(asyncio.run(configured.start()).prompt("hi")) == "hi!"


def test_metadata_goes_with_the_message(desk_engine):
    conversation = asyncio.run(desk_engine.start())
    turn = asyncio.run(conversation.say("/book", metadata={"channel": "phone"}))
    user = next(event for event in turn.events if isinstance(event, UserUttered))
    assert turn.metadata == user.metadata == {"channel": "phone"}


def test_stubs_stand_for_all_custom_actions(desk_engine):
    no_desk = Stub(
        events=({"event": "slot", "name": "desk_found", "value": False},), responses=({"text": "Let me look."},)
    )
    count = Stub()
    talk = Talk(desk_engine, Setup(stubs={"action_find_desk": no_desk, "action_count_messages": count}))
    said_now = talk.say("start flow book_desk; set slot day friday; set slot kind sitting")
    assert said_now[:2] == ["Let me look.", "utter_no_desk"]
    with pytest.raises(DataError, match="action_count_messages"):
        Talk(desk_engine, Setup(stubs={})).say("offtopic reply")


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (Setup(fixtures=(("dey", 1),)), "Did you mean 'day'"),
        (Setup(stubs={"action_find_dask": Stub()}), "Did you mean 'action_find_desk'"),
    ],
)
def test_set_ups_that_cannot_be_meant(desk_engine, setup, message):
    with pytest.raises(DataError, match=message):
        asyncio.run(desk_engine.start(setup))


def test_the_model_comes_from_the_configuration():
    engine = load_engine(DESK)
    turn = asyncio.run(asyncio.run(engine.start()).say("/book"))
    assert said(turn) == ["utter_ask_day"]


# -- custom actions -------------------------------------------------------------------------------------------------


def test_actions_of_two_projects_do_not_meet(tmp_path: Path, desk_engine):
    other = tmp_path / "other"
    shutil.copytree(DESK, other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "actions" / "rooms.py").write_text("def is_open(day):\n    return day == 'sunday'\n")
    engines = [desk_engine, load_engine(other, llm=SilentLLM())]
    commands = "start flow book_desk; set slot day sunday; set slot kind sitting"
    for _ in range(2):
        assert [Talk(engine).say(commands)[0] for engine in engines] == ["utter_no_desk", "utter_ask_confirm"]
    assert "actions" not in sys.modules
    assert str(other) not in sys.path


def test_actions_that_cannot_be_imported(tmp_path: Path):
    project = tmp_path / "bad"
    shutil.copytree(DESK, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "actions" / "rooms.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(MissingRequirement, match=r"actions\.rooms' of .* imports 'nowhere_to_be_found', which is not"):
        load_engine(project, llm=SilentLLM())
    (project / "actions" / "rooms.py").write_text("import rasa.core\n")
    with pytest.raises(MissingRequirement, match="needs a licence"):
        load_engine(project, llm=SilentLLM())
    (project / "actions" / "rooms.py").write_text("import actions.ghost\n")
    with pytest.raises(DataError, match=r"No module named 'actions\.ghost'"):
        load_engine(project, llm=SilentLLM())
    assert "actions" not in sys.modules


def test_an_action_without_a_class_fails_when_it_runs(tmp_path: Path):
    project = tmp_path / "gap"
    shutil.copytree(DESK, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "actions" / "desks.py").write_text("")
    talk = Talk(load_engine(project, llm=SilentLLM()))
    said_now = talk.say("start flow book_desk; set slot day friday; set slot kind sitting")
    assert said_now[:2] == ["utter_internal_error_rasa", "utter_flow_cancelled_rasa"]


def test_the_time_in_prompts_can_stand_still(tmp_path: Path):
    shutil.copytree(DESK, tmp_path / "desk")
    config = tmp_path / "desk" / "config.yml"
    config.write_text(config.read_text().replace("include_date_time: false", "include_date_time: true"))

    async def prompts(now: datetime | None) -> list[str]:
        engine = load_engine(tmp_path / "desk", llm=SilentLLM(), now=now)
        return [await (await engine.start()).prompt("hello") for _ in range(2)]

    first, second = asyncio.run(prompts(datetime(2001, 2, 3, 4, 5)))
    assert first == second
    assert "Saturday, 03 February 2001, 04:05" in first.splitlines()[-6]
    assert "2001" not in asyncio.run(prompts(None))[0]
