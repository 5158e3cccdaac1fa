"""The example assistant's tests and recordings, read as data: complete, consistent and free of repetition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rasa_ft.yaml_source import load_yaml, plain

BOT = Path(__file__).parent.parent / "examples" / "bot"
# Their values are picked by meaning ("rude conductor" is about the staff), all others are copied from the message.
CHOSEN_SLOTS = {"confirm", "payout", "railcard", "call_time", "assistance", "topic"}
TEST_FILES = [file for folder in ("e2e_tests", "e2e_stubbed") for file in sorted((BOT / folder).rglob("*.yml"))]
CASE_FILES = [file for file in TEST_FILES if file.name != "conftest.yml"]
RECORDINGS = sorted((BOT / "recordings").glob("*.yml"))


@dataclass(frozen=True)
class Wording:
    """One way to say a turn, with the commands that it stands for."""

    text: str
    commands: tuple[str, ...]
    place: str


@lru_cache
def read(file: Path) -> Any:
    return plain(load_yaml(file))


def merged(folder: str, key: str) -> dict[str, Any]:
    """The section ``key`` of all files below a folder, as one mapping."""
    sections = [read(file).get(key, {}) for file in sorted((BOT / folder).rglob("*.yml"))]
    return {name: value for section in sections for name, value in section.items()}


def user_messages(file: Path) -> list[str]:
    return [step["user"] for case in read(file)["test_cases"] for step in case["steps"] if "user" in step]


def typed(messages: list[str]) -> list[str]:
    return [message for message in messages if not message.startswith("/")]


def recorded_turns(file: Path) -> list[dict[str, Any]]:
    return list(read(file)["turns"])


def wordings(turn: dict[str, Any], file: Path) -> Iterator[Wording]:
    """The turn's own wording first, then its rephrasings; some of those mean something else on purpose."""
    place = f"{file.name}: {turn['user']}"
    yield Wording(turn["user"], tuple(turn["commands"]), place)
    for item in turn["rephrasings"]:
        own = isinstance(item, dict)
        yield Wording(item["user"] if own else item, tuple(item["commands"] if own else turn["commands"]), place)


@lru_cache(maxsize=1)
def all_wordings() -> list[Wording]:
    return [wording for file in RECORDINGS for turn in recorded_turns(file) for wording in wordings(turn, file)]


def normal(text: str) -> str:
    """Without case, blanks and punctuation (but with what belongs to times and e-mail addresses)."""
    return re.sub(r"[^\w@.:]+|[.:](?!\w)", " ", text.lower().replace("'", "")).strip()


def repeated(texts: list[str]) -> list[str]:
    return [text for text, count in Counter(normal(text) for text in texts).items() if count > 1]


def slot_values(commands: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for command in commands:
        if match := re.fullmatch(r"set slot (\w+) (.+)", command):
            yield match[1], match[2]


def test_every_yaml_file_of_the_bot_loads() -> None:
    for file in BOT.rglob("*.yml"):
        assert load_yaml(file) is not None, file


def test_each_typed_message_is_recorded_with_enough_rephrasings() -> None:
    recorded = {turn["user"]: turn["rephrasings"] for file in RECORDINGS for turn in recorded_turns(file)}

    assert {message for file in CASE_FILES for message in typed(user_messages(file))} == set(recorded)
    assert [message for message, rephrasings in recorded.items() if len(rephrasings) < 8] == []


def test_no_message_is_typed_twice() -> None:
    assert repeated([message for file in CASE_FILES for message in typed(user_messages(file))]) == []


def test_no_wording_is_used_twice() -> None:
    assert repeated([wording.text for wording in all_wordings()]) == []


def test_messages_are_short() -> None:
    assert [wording.text for wording in all_wordings() if len(wording.text.split()) > 20] == []


def test_copied_values_stand_in_the_message() -> None:
    missing = [
        f"{wording.place}: '{value}' is not in '{wording.text}'"
        for wording in all_wordings()
        for slot, value in slot_values(wording.commands)
        if slot not in CHOSEN_SLOTS and not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", wording.text)
    ]
    assert missing == []


def test_commands_name_existing_flows_slots_and_values() -> None:
    flows, slots = merged("data", "flows"), merged("domain", "slots")
    for wording in all_wordings():
        for command in wording.commands:
            if command.startswith(("start flow ", "disambiguate flows ")):
                assert set(command.split()[2:]) <= set(flows), wording.place
        for slot, value in slot_values(wording.commands):
            allowed = slots[slot].get("values") or (["true", "false"] if slots[slot]["type"] == "bool" else [value])
            assert value in allowed, wording.place


def test_slots_are_set_after_flows_start_and_in_the_order_of_the_message() -> None:
    for wording in all_wordings():
        kinds = [command.split()[0] for command in wording.commands]
        assert kinds == sorted(kinds, key=lambda kind: kind == "set"), wording.place
        copied = [value for slot, value in slot_values(wording.commands) if slot not in CHOSEN_SLOTS]
        places = [wording.text.find(value) for value in copied]
        assert places == sorted(places), wording.text


def test_some_rephrasings_are_wrong_on_purpose() -> None:
    """The check of rephrasings has to have something to find, but not much."""
    rephrasings = [item for file in RECORDINGS for turn in recorded_turns(file) for item in turn["rephrasings"]]
    wrong = [item for item in rephrasings if isinstance(item, dict)]

    assert 0.01 < len(wrong) / len(rephrasings) < 0.05


def test_a_fair_share_of_the_turns_are_buttons() -> None:
    messages = [message for file in CASE_FILES for message in user_messages(file)]
    buttons = [message for message in messages if message.startswith("/SetSlots(")]

    assert 0.1 < len(buttons) / len(messages) < 0.25


def test_every_kind_of_command_is_recorded() -> None:
    kinds = {" ".join(command.split()[:2]) for wording in all_wordings() for command in wording.commands}

    assert kinds == {
        "start flow", "set slot", "cancel flow", "disambiguate flows", "offtopic reply", "provide info",
        "skip question", "repeat message", "cannot handle",
    }  # fmt: skip


def test_every_flow_that_customers_can_start_is_started() -> None:
    flows = {name for name, flow in merged("data", "flows").items() if flow.get("if") is not False}
    commands = [command for wording in all_wordings() for command in wording.commands]
    started = {command.split()[2] for command in commands if command.startswith("start flow ")}

    assert {name for name in flows if not name.startswith("pattern_")} == started
