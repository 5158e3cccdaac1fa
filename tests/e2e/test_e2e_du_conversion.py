"""E2E tests that become dialogue understanding tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from du_bot import engine_saying, run

from rasa_ft.calm.dialogue.runtime import ActionResult
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.events import BotUttered
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.du_cases import GENERATED, DuUserStep, Vocabulary, load_du_suite
from rasa_ft.e2e.du_conversion import Conversion, convert, du_case, review_path, write_conversion
from rasa_ft.e2e.model import BotStep, TestCase, UserStep, UtterStep
from rasa_ft.e2e.runner import CaseResult, run_suite
from rasa_ft.engine.embedded import EmbeddedEngine
from rasa_ft.errors import Location

HERE = Location(Path("t.yml"), 1)
SAID = {"go": "start flow travel", "Perth": "set slot town Perth", "pay": "start flow pay", "hm": ""}


def vocabulary(engine: EmbeddedEngine) -> Vocabulary:
    return Vocabulary(engine.codec, frozenset(engine.assistant.domain.responses))


def converted(engine: EmbeddedEngine, path: Path) -> Conversion:
    async def both() -> Conversion:
        return await convert(engine, await run_suite(engine, load_suite(path)), vocabulary(engine))

    return asyncio.run(both())


def shown(case: TestCase) -> list[str]:
    """Steps in short."""
    names = {BotStep: "text", UtterStep: "utter"}
    found = []
    for step in case.steps:
        if isinstance(step, DuUserStep):
            found.append(f"{step.text}: {', '.join(command.name for command in step.commands)}")
        else:
            found.append(f"{names[type(step)]} {step.text if isinstance(step, BotStep) else step.utter}")
    return found


E2E = """
fixtures: [{away: [{town: Ayr}]}]
metadata: [{phone: {device: phone}}]
stub_custom_actions: {action_pay: {events: [], responses: [{text: " Paid: 'all' # of ${IT} "}, {response: utter_done}]}}
test_cases:
  - test_case: in steps
    steps:
      - {user: go, metadata: phone}
      - slot_was_not_set: [town]
      - utter: utter_ask_town
      - user: hm
      - user: /SetSlots(town=Perth)
      - bot: Done.
  - test_case: with assertions
    fixtures: [away]
    steps:
      - user: go
        assertions: [{flow_completed: {flow_id: travel}}]
  - test_case: with an action
    steps:
      - user: pay
      - utter: utter_done
"""


@pytest.mark.parametrize("out", ["du.yml", "du"])
def test_passed_tests_load_again_and_pass_with_the_same_model(tmp_path: Path, out: str) -> None:
    (tmp_path / "t.yml").write_text(E2E)
    engine = engine_saying(tmp_path / "bot", SAID)
    conversion = converted(engine, tmp_path / "t.yml")
    assert (conversion.to_review, conversion.left_out) == ((), ())
    assert [shown(case) for case in conversion.ready] == [
        [
            "go: start flow",
            "utter utter_ask_town",
            "hm: ",
            "utter utter_ask_rephrase",
            "utter utter_ask_town",
            "/SetSlots(town=Perth): set slot",
            "utter utter_done",
            "utter utter_can_do_something_else",
        ],
        ["go: start flow", "utter utter_done", "utter utter_can_do_something_else"],
        ["pay: start flow", "text Paid: 'all' # of ${IT}", "utter utter_done", "utter utter_done"],
    ]
    written = write_conversion(conversion, tmp_path / out, vocabulary(engine))
    assert len(written) == 1 and written[0].is_relative_to(tmp_path / out)
    again = load_du_suite(tmp_path / out, vocabulary(engine))
    assert [shown(case) for case in again.cases] == [shown(case) for case in conversion.ready]
    assert again.cases[0].user_steps[0].metadata == {"device": "phone"}
    assert run(engine, tmp_path / out).all_passed


def test_failed_tests_are_to_review(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        "test_cases:\n  - test_case: stops\n    steps:\n      - user: go\n      - utter: utter_ask_town\n"
        "      - user: hm\n      - bot: Pardon?\n      - slot_was_set: [town]\n"
        "      - user: Perth\n      - bot: Done.\n"
        "  - test_case: no words\n    steps:\n      - user: go\n      - slot_was_set: [town]\n"
        "  - {test_case: unknown, steps: [{user: never said}]}\n"
        "  - {test_case: good, steps: [{user: go}]}\n"
    )
    engine = engine_saying(tmp_path / "bot", SAID)
    conversion = converted(engine, tmp_path / "t.yml")
    assert [case.name for case in conversion.ready] == ["good"]
    assert [found.case.name for found in conversion.left_out] == ["unknown"]
    # What the test expects stands where it stopped, so that nobody takes the observed commands for right ones.
    first, second = conversion.to_review
    assert shown(first.case) == [
        "go: start flow",
        "utter utter_ask_town",
        "hm: ",
        "text Pardon?",
        "Perth: ",
        "text Done.",
    ]
    assert shown(second.case) == ["go: start flow", "utter utter_ask_town"]
    assert first.reason == f'{tmp_path}/t.yml:7: expected bot: "Pardon?"'
    out = tmp_path / "du.yml"
    assert write_conversion(conversion, out, vocabulary(engine)) == [out, review_path(out)]
    text = review_path(out).read_text()
    assert text.startswith("# To review.") and f"# stops: {first.reason}\n" in text and "# no words: " in text
    assert "review" not in out.read_text()
    assert [case.name for case in load_du_suite(review_path(out), vocabulary(engine)).cases] == ["stops", "no words"]
    assert run(engine, f"{review_path(out)}::stops").results[0].status == "failed"


def test_a_test_that_goes_otherwise_the_next_time_is_to_review(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("test_cases: [{test_case: fickle, steps: [{user: pay}]}]")
    times = iter(range(9))
    engine = engine_saying(tmp_path / "bot", SAID)

    class Fickle:
        async def run(self, action: str, tracker: object) -> ActionResult:
            return ActionResult((), ({"text": f"Paid\nat {next(times)}"},))

    object.__setattr__(engine.runtime, "custom", Fickle())
    (item,) = converted(engine, tmp_path / "t.yml").to_review
    assert "played again, it goes otherwise" in item.reason and 'expected bot: "Paid' in item.reason


def test_where_files_of_a_folder_go(tmp_path: Path) -> None:
    for name in ("a.yml", "b/c.yml"):
        (tmp_path / "tests" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "tests" / name).write_text(
            "test_cases:\n  - {test_case: good, steps: [{user: go}]}\n"
            "  - {test_case: bad, steps: [{user: go}, {bot: No.}]}\n"
        )
    engine = engine_saying(tmp_path / "bot", SAID)
    written = write_conversion(converted(engine, tmp_path / "tests"), tmp_path / "du", vocabulary(engine))
    assert [str(file.relative_to(tmp_path)) for file in written] == [
        *("du/a.yml", "du/b/c.yml", "du_to_review/a.yml", "du_to_review/b/c.yml")
    ]
    assert "tests/b/c.yml:3" in (tmp_path / "du_to_review/b/c.yml").read_text()


def test_messages_that_no_test_can_name_word_by_word() -> None:
    said = (
        BotUttered("Hi.", utter_action="utter_ask_town"),
        BotUttered("found", source="search"),
        BotUttered(None),
        BotUttered("by a stub", utter_action="utter_elsewhere"),
    )
    case = TestCase("a", Path("t.yml"), HERE, (UserStep(HERE, "go"),))
    words = Vocabulary(codec_for("v2"), frozenset({"utter_ask_town"}))
    found = du_case(CaseResult(case, "failed", start_events=said), words)
    placeholder = f"utter {GENERATED}"
    assert shown(found) == ["utter utter_ask_town", placeholder, placeholder, "text by a stub", "go: "]
