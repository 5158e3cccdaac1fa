"""Suites without personal data: consistent, complete, and otherwise as they were."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fake_engine
import pytest
from fake_engine import REPHRASINGS, FakeConversation, FakeEngine, FakeRephraser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, Command, SetSlot
from rasa_ft.calm.events import BotUttered, SlotSet
from rasa_ft.calm.slots import Slot
from rasa_ft.e2e.cases import BotStep, SlotWasSetStep, Suite, TestCase, UserStep, load_suite, write_suite
from rasa_ft.e2e.du_cases import DuUserStep
from rasa_ft.engine.base import Setup
from rasa_ft.errors import Location, MissingRequirement, UsageError
from rasa_ft.recipe.labelling.review import Entry, Review
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.scrubbing.personal_data import Finding
from rasa_ft.recipe.scrubbing.personal_search import kind_of_slot
from rasa_ft.recipe.scrubbing.scrub import Scrubbed, scrub
from rasa_ft.recipe.settings import PrepareSettings, load_settings
from rasa_ft.recipe.summary import Summary

SLOTS = frozenset({"city", "customer_name", "email", "phone", "note"})
PERSONAL = """
fixtures:
  - anna: [{customer_name: Anna Becker}, {tier: gold}]
metadata:
  - from_anna: {user: {mail: anna@firma.de, age: 4}}
stub_custom_actions:
  action_greet:
    events: [{event: slot, name: customer_name, value: Anna Becker}]
    responses: [{text: "Hello, Anna!", response: utter_greet}]
test_cases:
  - test_case: anna_becker changes her address
    fixtures: [anna]
    metadata: from_anna
    steps:
      - user: this is anna becker, my mail is anna@firma.de
      - slot_was_set: [{email: anna@firma.de}]
      - bot: "Thank you, Anna. We write to anna@firma.de."
      - user: "/SetSlots(phone=015123456789)"
  - test_case: by assertions
    steps:
      - user: call me, 0151 2345 6789
        assertions:
          - slot_was_set: [{name: phone, value: "0151 2345 6789"}]
          - bot_uttered: {utter_name: utter_email, text_matches: 'to anna@firma\\.de|\\bAnna Becker\\b'}
          - bot_uttered: {buttons: [{title: "0151 2345 6789", payload: "/SetSlots(phone=0151 2345 6789)"}]}
  - test_case: nobody in it
    steps:
      - user: two tickets to Rome, write to me@example.com
      - utter: utter_done
"""
ORIGINALS = ("Anna", "Becker", "firma.de", "0151 2345 6789", "015123456789")


@dataclass(frozen=True)
class Patterns:
    """A `Finder` for e-mail addresses and numbers of ten digits and more."""

    name: str = "patterns 1"

    def __call__(self, text: str) -> Sequence[Finding]:
        mails = [Finding("email", match[0]) for match in re.finditer(r"[\w.]+@[\w.]+\w", text)]
        return [*mails, *(Finding("phone", match[0]) for match in re.finditer(r"\d(?: ?\d){9,}", text))]


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    engine.free_text_slots = SLOTS
    engine.slots = {slot: Slot(slot, "text") for slot in SLOTS}
    return engine


def suite_of(folder: Path, text: str) -> Suite:
    (folder / "t.yml").write_text(text, encoding="utf-8")
    return load_suite(folder / "t.yml")


def written(suite: Suite, folder: Path) -> str:
    write_suite(suite, folder / "written.yml")
    return (folder / "written.yml").read_text(encoding="utf-8")


def scrubbed(suite: Suite, engine: FakeEngine, **options: Any) -> Scrubbed:
    return scrub(suite, engine, Patterns(), **{"seed": 1, **options})  # type: ignore[arg-type]


# --- the suite -------------------------------------------------------------------------------------------------------


def test_nothing_of_the_originals_is_left(engine: FakeEngine, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, PERSONAL)
    found = scrubbed(suite, engine)
    text = written(found.suite, tmp_path)
    assert not [original for original in ORIGINALS if original.casefold() in text.casefold()]
    assert found.figures == {"tests": 3, "email": 1, "name": 1, "phone": 1}  # all have the stub
    (tmp_path / "again.yml").write_text(text)
    assert len(load_suite(tmp_path / "again.yml").cases) == 3


def test_words_and_values_change_together(engine: FakeEngine, tmp_path: Path) -> None:
    first, second, _ = scrubbed(suite_of(tmp_path, PERSONAL), engine).suite.cases
    name = dict(first.fixtures)["customer_name"]
    user, slot, bot, button = first.steps
    assert isinstance(user, UserStep) and isinstance(slot, SlotWasSetStep) and isinstance(bot, BotStep)
    assert user.text == f"this is {name.lower()}, my mail is {slot.value}"
    assert bot.text == f"Thank you, {name.split()[0]}. We write to {slot.value}."
    assert first.name == f"{name.lower().replace(' ', '_')} changes her address"
    assert user.metadata == {"user": {"mail": slot.value, "age": 4}}
    assert first.stubs is not None
    assert first.stubs["action_greet"].events[0] == {"event": "slot", "name": "customer_name", "value": name}
    assert first.stubs["action_greet"].responses[0] == {
        "text": f"Hello, {name.split()[0]}!",
        "response": "utter_greet",
    }
    phone, uttered, buttons = (assertion.written for assertion in second.user_steps[0].assertions)
    assert second.user_steps[0].text == f"call me, {phone[0]['value']}"
    assert isinstance(button, UserStep) and button.text == f"/SetSlots(phone={phone[0]['value'].replace(' ', '')})"
    assert buttons["buttons"][0]["title"] == phone[0]["value"]
    assert re.search(uttered["text_matches"], f"to {slot.value}")
    assert re.search(uttered["text_matches"], f"Dear {name},")
    assert uttered["utter_name"] == "utter_email"


def test_cases_without_personal_data_stay_as_they_are(engine: FakeEngine, tmp_path: Path, suite: Suite) -> None:
    personal = suite_of(tmp_path, PERSONAL[: PERSONAL.index("stub_")] + PERSONAL[PERSONAL.index("test_cases") :])
    assert scrubbed(personal, engine).suite.cases[2] is personal.cases[2]
    before = written(suite, tmp_path)
    assert written(scrubbed(suite, engine).suite, tmp_path) == before


def test_what_the_assistant_says_itself_is_nobodys_secret(engine: FakeEngine, tmp_path: Path) -> None:
    (engine.project / "domain.yml").write_text("responses:\n  utter_hotline: [{text: Call 0800 123 45678}]\n")
    (engine.project / "data").mkdir()
    (engine.project / "data" / "tests.yml").write_text(f"{PERSONAL}\nslots: {{}}\n")
    text = PERSONAL.replace("Thank you, Anna.", "Call 0800 123 45678, Anna.")
    found = written(scrubbed(suite_of(tmp_path, text), engine).suite, tmp_path)
    assert "Call 0800 123 45678, " in found
    assert "Anna" not in found


def test_further_slots_hold_personal_data_too(engine: FakeEngine, tmp_path: Path) -> None:
    text = "test_cases: [{test_case: a, steps: [{user: it is kx 48213}, {slot_was_set: [{note: KX-48213}]}]}]"
    suite = suite_of(tmp_path, text)
    assert scrubbed(suite, engine).suite == suite
    user, slot = scrubbed(suite, engine, slots=["note"]).suite.cases[0].steps
    assert isinstance(user, UserStep) and isinstance(slot, SlotWasSetStep)
    assert slot.value != "KX-48213"
    assert user.text == f"it is {slot.value.lower().replace('-', ' ')}"
    with pytest.raises(UsageError, match="Did you mean 'note'"):
        scrubbed(suite, engine, slots=["notes"])


def test_gold_commands_change_too(engine: FakeEngine) -> None:
    here = Location(Path("t.yml"), 1)
    step = DuUserStep(here, "I am Anna", commands=(SetSlot("customer_name", "Anna"),))
    changed = scrubbed(Suite((TestCase("a", Path("t.yml"), here, (step,)),)), engine).suite.cases[0].steps[0]
    assert isinstance(changed, DuUserStep)
    assert changed.text == f"I am {changed.commands[0].value}"  # type: ignore[attr-defined]
    assert "Anna" not in changed.text


def test_decisions_of_the_review_are_kept_without_the_originals(engine: FakeEngine, tmp_path: Path) -> None:
    def entry(test: str, message: str) -> Entry:
        commands = (SetSlot("customer_name", "Anna Becker"),)
        return Entry(test, 1, message, message, ("AI: Anna, is it you?",), commands, decision=commands)

    suite = suite_of(tmp_path, PERSONAL)
    found = scrubbed(suite, engine)
    case = found.suite.cases[0]
    ours, theirs = entry(suite.cases[0].key, suite.cases[0].user_steps[0].text), entry("x.yml::x", "mail c@firma.de")
    other = Entry("x.yml::x", 1, "please stop", "please stop", (), (CancelFlow(),), decision="accept")
    kept, unknown = found.decisions(Review((ours, theirs, other))).entries
    name = dict(case.fixtures)["customer_name"]
    assert (kept.test, kept.message) == (case.key, case.user_steps[0].text)
    assert kept.decision == kept.commands == (SetSlot("customer_name", name),)
    assert kept.history == (f"AI: {name.split()[0]}, is it you?",)
    assert unknown == other
    assert found.decisions(Review((kept,))).entries == (kept,)


def test_whole_numbers_stay_numbers(engine: FakeEngine, tmp_path: Path) -> None:
    text = "test_cases: [{test_case: a, steps: [{user: it is 48213}, {slot_was_set: [{note: 48213}]}]}]"
    user, slot = scrubbed(suite_of(tmp_path, text), engine, slots=["note"]).suite.cases[0].steps
    assert isinstance(user, UserStep) and isinstance(slot, SlotWasSetStep)
    assert isinstance(slot.value, int)
    assert user.text == f"it is {slot.value}"


def test_a_short_number_changes_nowhere_else(engine: FakeEngine, tmp_path: Path) -> None:
    text = """
test_cases:
  - {test_case: a, steps: [{user: number 4321}, {slot_was_set: [{note: "4321"}]}]}
  - {test_case: b, steps: [{user: train 4321 please}]}
"""
    one, other = scrubbed(suite_of(tmp_path, text), engine, slots=["note"]).suite.cases
    assert one.user_steps[0].text != "number 4321"
    assert other.user_steps[0].text == "train 4321 please"


@pytest.mark.parametrize(
    ("slot", "kind"),
    [
        ("name", "name"),
        ("customer_name", "name"),
        ("cardholder_name", "name"),
        ("surname", "name"),
        ("hotel_name", None),
        ("email_address", "email"),
        ("e_mail", "email"),
        ("mobile_phone", "phone"),
        ("telephone", "phone"),
        ("recipient_iban", "iban"),
        ("card_number", "card"),
        ("delivery_address", "text"),
        ("city", None),
        ("gift_card", None),
    ],
)
def test_slots_that_say_what_they_hold(slot: str, kind: str | None) -> None:
    assert kind_of_slot(slot) == kind


NAMES = st.from_regex(r"[A-ZÄÖ][a-zäöß]{2,9}( [A-Z][a-z]{2,9})?", fullmatch=True)
FILLERS = st.sampled_from(["hello there", "it's {}", "{}, 4 tickets", "for {} and {}", "{}!", "mail {} please", "({})"])


@st.composite
def suites(draw: st.DrawFn) -> tuple[Suite, list[str]]:
    """Conversations of a few people, who say who they are in slots, and speak of each other."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=str.casefold))
    mails = [f"{name.replace(' ', '.').lower()}@firma.de" for name in names]
    here = Location(Path("t.yml"), 1)
    cases = []
    for number in range(draw(st.integers(1, 4))):
        steps: list[Any] = []
        for _ in range(draw(st.integers(1, 4))):
            said = draw(FILLERS)
            values = [draw(st.sampled_from([*names, *mails])) for _ in range(said.count("{}"))]
            steps.append(UserStep(here, said.format(*values)))
        cases.append(TestCase(f"case {number}", Path("t.yml"), here, tuple(steps), source="t.yml"))
    slots = tuple(SlotWasSetStep(here, "customer_name", name, has_value=True) for name in names)
    return Suite((replace(cases[0], steps=(*cases[0].steps, *slots)), *cases[1:])), [*names, *mails]


def in_words(text: str) -> str:
    return " ".join(["", *re.findall(r"[^\W_]+", text), ""]).casefold()


@given(drawn=suites())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_original_survives_anywhere(drawn: tuple[Suite, list[str]], engine: FakeEngine) -> None:
    suite, originals = drawn
    found = scrubbed(suite, engine)
    again = scrubbed(suite, engine)
    assert again.suite == found.suite
    text = repr([(case.name, [replace(step, location=None) for step in case.steps]) for case in found.suite.cases])
    for original in originals:
        assert in_words(original) not in in_words(text)
    assert [len(case.steps) for case in found.suite.cases] == [len(case.steps) for case in suite.cases]


@given(drawn=suites())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replacing_twice_is_replacing_once(drawn: tuple[Suite, list[str]], engine: FakeEngine) -> None:
    found = scrubbed(drawn[0], engine)
    assert found.watch is not None
    for case in found.suite.cases:
        for step in case.user_steps:
            assert found.watch.originals.text(step.text) == step.text


# --- data preparation ------------------------------------------------------------------------------------------------

TESTS = """
test_cases:
  - test_case: Anna Becker books
    steps:
      - user: I am Anna Becker and need a ticket
      - slot_was_set: [{customer_name: Anna Becker}]
      - user: to Rome
      - user: "5"
      - user: write to anna.becker@firma.de
      - slot_was_set: [{email: anna.becker@firma.de}]
  - test_case: another
    steps:
      - user: book 3 seats to Paris
      - utter: utter_done
      - user: my number is 0151 2345 6789
      - slot_was_set: [{phone: 0151 2345 6789}]
      - user: I am anna becker again
      - slot_was_set: [{customer_name: anna becker}]
  - test_case: nobody
    steps:
      - user: I want to travel
      - utter: utter_ask_city
      - user: please stop
      - utter: utter_cancelled
"""
SETTINGS = PrepareSettings(train_frac=0.6, concurrency=2, scrub=True)
plain_teach = fake_engine.teach


def teach(text: str, requested: str | None) -> tuple[Command, ...]:
    """As the fake teacher, and who, where and how to write to."""
    found: list[Command] = []
    for slot, pattern in {
        "customer_name": r"I am (\w+ \w+)",
        "email": r"\S+@[\w.]+\w",
        "phone": r"\d[\d ]{8,}\d",
    }.items():
        match = re.search(pattern, text)
        found += [SetSlot(slot, match[match.lastindex or 0])] if match else []
    if len(found) == 1 and not isinstance(plain_teach(text, requested)[0], SetSlot):
        return (*plain_teach(text, requested), *found) if "ticket" in text else tuple(found)
    return tuple(found) or plain_teach(text, requested)


def prepared(engine: FakeEngine, suite: Suite, out: Path, chosen: PrepareSettings = SETTINGS) -> Summary:
    rephraser = FakeRephraser(REPHRASINGS)
    return asyncio.run(prepare_data(chosen, engine, suite, rephraser, out, finder=Patterns()))  # type: ignore[arg-type]


@pytest.fixture
def _teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_engine, "teach", teach)


@pytest.mark.usefixtures("_teacher")
def test_no_file_has_an_original(engine: FakeEngine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = prepared(engine, suite_of(tmp_path, TESTS), out)
    assert summary["num_annotated_conversations"] == 3
    assert summary["scrubbed"] == {"tests": 2, "email": 1, "name": 1, "phone": 1}
    files = {file: file.read_text(encoding="utf-8").casefold() for file in out.rglob("*") if file.is_file()}
    assert len(files) > 8
    for original in ("Anna", "Becker", "firma.de", "0151 2345", "01512345"):
        assert not [file for file, text in files.items() if original.casefold() in text]
        assert not [text for text in engine.asked if original.casefold() in text.casefold()]
    rows = (out / "3_llm_finetune_data" / "llm_ft_data.jsonl").read_text()
    assert re.search(r"set slot customer_name [A-Z]\w+ [A-Z]\w+", rows)
    assert "patterns 1" in (out / "params.yaml").read_text()
    assert prepared(engine, suite_of(tmp_path, TESTS), out).unchanged


def test_without_the_extra_nothing_is_asked_or_written(
    engine: FakeEngine, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingRequirement) as caught:
        asyncio.run(prepare_data(SETTINGS, engine, suite, FakeRephraser(REPHRASINGS), tmp_path / "out"))
    assert caught.value.exit_code == 4
    assert not engine.asked
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_teacher")
def test_without_the_setting_nothing_is_replaced(engine: FakeEngine, tmp_path: Path) -> None:
    summary = prepared(engine, suite_of(tmp_path, TESTS), tmp_path / "out", replace(SETTINGS, scrub=False))
    assert summary["scrubbed"] == {}
    assert "Anna Becker" in (tmp_path / "out" / "3_llm_finetune_data" / "llm_ft_data.jsonl").read_text()


class Backend(FakeConversation):
    """Knows its customers: greets them, and asks nobody else."""

    def _run(self, command: Command) -> None:
        super()._run(command)
        if command == SetSlot("customer_name", "Anna Becker"):
            self._add(SlotSet("tier", "gold"))


@pytest.mark.usefixtures("_teacher")
def test_a_test_that_needs_the_original_is_skipped_with_that_reason(engine: FakeEngine, tmp_path: Path) -> None:
    async def start(setup: Setup | None = None) -> FakeConversation:
        return Backend(engine, ())

    engine.start = start  # type: ignore[method-assign]
    text = TESTS.replace("{customer_name: Anna Becker}", "{customer_name: Anna Becker}, {tier: gold}")
    summary = prepared(engine, suite_of(tmp_path, text), tmp_path / "out", replace(SETTINGS, train_frac=0.5))
    (skipped,) = summary["skipped_e2e_tests"]
    assert "an action or a validation may want the original" in skipped["reason"]
    assert "Anna" not in str(skipped)


@pytest.mark.parametrize("said", [BotUttered("We write to carl@firma.de."), SlotSet("phone", "0171 9876 5432")])
@pytest.mark.usefixtures("_teacher")
def test_conversations_into_which_the_assistant_brings_data_are_left_out(
    engine: FakeEngine, tmp_path: Path, said: Any
) -> None:
    class Talkative(FakeConversation):
        def _run(self, command: Command) -> None:
            super()._run(command)
            if isinstance(command, SetSlot) and command.slot == "customer_name" and command.value[0].isupper():
                self._add(said)

        def fork(self) -> Talkative:
            return Talkative(self._engine, self.events)

    async def start(setup: Setup | None = None) -> FakeConversation:
        return Talkative(engine, ())

    engine.start = start  # type: ignore[method-assign]
    summary = prepared(engine, suite_of(tmp_path, TESTS), tmp_path / "out", replace(SETTINGS, train_frac=0.5))
    (skipped,) = summary["skipped_e2e_tests"]
    assert "turn 1: the assistant brings in a" in skipped["reason"]
    assert "stub the action" in skipped["reason"]
    written_rows = (tmp_path / "out" / "3_llm_finetune_data" / "llm_ft_data.jsonl").read_text()
    assert "carl" not in written_rows and "9876" not in written_rows


def test_settings(tmp_path: Path) -> None:
    (tmp_path / "s.yml").write_text("scrub: true\nscrub_slots: [note]\n")
    found = load_settings(tmp_path / "s.yml")
    assert (found.scrub, found.scrub_slots, found.as_yaml()["scrub_slots"]) == (True, ("note",), ["note"])
    assert PrepareSettings(scrub_slots=("note",)).scrubs
    assert not PrepareSettings().scrubs
