from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm.commands import StartFlow
from rasa_ft.calm.events import FlowStarted, SlotSet
from rasa_ft.e2e.cases import Suite, load_suite
from rasa_ft.e2e.runner import SuiteResult, assertion_counts, run_suite
from rasa_ft.errors import DataError


def suite_of(tmp_path: Path, *steps: str, head: str = "", extra: str = "") -> Suite:
    """One case per text of steps, named case 0, case 1, …"""
    cases = "".join(f"  - test_case: case {n}\n    steps: [{text}]\n{extra}" for n, text in enumerate(steps))
    file = tmp_path / "t.yml"
    file.write_text(f"{head}test_cases:\n{cases}", encoding="utf-8")
    return load_suite(file)


def play(engine: ScriptedEngine, suite: Suite, **options: Any) -> SuiteResult:
    return asyncio.run(run_suite(engine, suite, **{"concurrency": 4, **options}))


def statuses(result: SuiteResult) -> list[str]:
    return [found.status for found in result.results]


HELLO = ScriptedEngine({"hi": (SlotSet("a", 1), SlotSet("a", None), bot("Hello", "utter_hi"), bot("Bye"))})

PASSES = [
    "{user: hi}",
    "{user: hi}, {bot: Bye}, {utter: utter_hi}, {bot: Hello}",  # in any order
    "{user: hi}, {bot: Hello}, {utter: utter_hi}, {bot: Hello}",  # one event, several steps
    "{user: hi}, {slot_was_set: [a, {a: 1}, {a: null}]}",
    "{user: hi}, {slot_was_not_set: [b, {a: 2}]}",
    "{user: silence}, {user: hi}, {bot: Hello}",
    "{slot_was_set: [{tier: gold}]}, {user: hi}",  # before the first message: the session start
]
FAILS = [
    ("{user: hi}, {bot: hello}", 'bot: "hello"'),
    ("{user: hi}, {utter: utter_bye}", "utter: utter_bye"),
    ("{user: hi}, {slot_was_set: [{a: '1'}]}", "slot: a = '1' (str)"),
    ("{user: hi}, {slot_was_set: [{a: true}]}", "slot: a = True (bool)"),
    ("{user: hi}, {slot_was_not_set: [a]}", "slot: a not set"),
    ("{user: hi}, {slot_was_not_set: [{a: 1}]}", "slot: a not = 1 (int)"),
    ("{user: hi}, {user: silence}, {bot: Hello}", 'bot: "Hello"'),  # only the closest turn counts
    ("{user: hi}, {bot: Hello}, {slot_was_set: [tier]}", "slot: tier set"),  # fixtures are no part of a turn
    ("{bot: Hello}, {user: hi}", 'bot: "Hello"'),
]
FIXTURE = "    fixtures: [f]\n"
FIXTURES = "fixtures: [{f: [{tier: gold}]}]\n"


def test_classic_expectations(tmp_path: Path) -> None:
    steps = [*PASSES, *(text for text, _ in FAILS)]
    result = play(HELLO, suite_of(tmp_path, *steps, head=FIXTURES, extra=FIXTURE))
    assert statuses(result) == ["passed"] * len(PASSES) + ["failed"] * len(FAILS)
    failures = [found.failure for found in result.with_status("failed")]
    assert [failure and failure.message for failure in failures] == [f"expected {message}" for _, message in FAILS]


def test_failure_is_a_diff_at_a_line_and_ends_the_case(tmp_path: Path) -> None:
    text = """\
test_cases:
  - test_case: one
    steps:
      - user: silence
      - slot_was_not_set: [a]
      - user: hi
      - bot: Hello
      - utter: utter_other
      - slot_was_set: [{a: 2}]
      - user: never sent
"""
    (tmp_path / "t.yml").write_text(text)
    engine = ScriptedEngine(HELLO.script, commands={"hi": (StartFlow("greet"),)})
    (found,) = play(engine, load_suite(tmp_path / "t.yml")).results
    assert [text for text, _ in engine.said] == ["silence", "hi"] == [turn.text for turn in found.turns]
    assert found.failure is not None
    assert str(found.failure.location) == f"{tmp_path}/t.yml:8"
    assert found.failure.diff == (
        "  user: silence",
        "  slot: a not set",
        "  user: hi",
        "  model: start flow greet",
        *("- slot: a = 1 (int)", "?           ^", "+ slot: a = 2 (int)", "?           ^"),
        "- slot: a = null",
        '  bot: utter_hi "Hello"',
        '- bot: "Bye"',
        "+ utter: utter_other",
    )


def test_silence_is_shown(tmp_path: Path) -> None:
    (found,) = play(HELLO, suite_of(tmp_path, "{user: silence}, {bot: Hello}")).results
    assert found.failure is not None and "- bot: (said nothing)" in found.failure.diff


def test_assertions_judge_alone_and_show_what_happened(tmp_path: Path) -> None:
    engine = ScriptedEngine({"hi": (FlowStarted(flow_id="greet"), bot("Hello", "utter_hi")), "again": (bot("Yes"),)})
    good = "{user: hi, assertions: [{flow_started: greet}, {action_executed: action_session_start}]}"
    bad = "{user: again, assertions: [{bot_uttered: {text_matches: Y}}, {flow_started: x}, {flow_started: y}]}"
    suite = suite_of(tmp_path, f"{good}, {{utter: not_looked_at}}", f"{good}, {bad}, {{user: never sent}}")
    result = play(engine, suite)
    assert statuses(result) == ["passed", "failed"]
    failure = result.results[1].failure
    assert failure is not None and failure.assertion is not None
    assert failure.message == "flow x did not start; started: none"
    assert failure.diff == (
        *("  user: hi", "  flow started: greet", '  bot: utter_hi "Hello"'),
        *("  user: again", '- bot: "Yes"', "+ flow_started: x"),
    )
    assert assertion_counts(result.results) == {
        "action_executed": (2, 0),
        "bot_uttered": (1, 0),
        "flow_started": (2, 1),
    }


def test_session_start_is_seen_in_the_first_step_only(tmp_path: Path) -> None:
    sees = "{user: hi, assertions: [{action_executed: action_session_start}]}"
    suite = suite_of(tmp_path, sees, f"{{user: hi}}, {sees}")
    assert statuses(play(HELLO, suite)) == ["passed", "failed"]


def test_three_states(tmp_path: Path) -> None:
    engine = ScriptedEngine({**HELLO.script, "boom": ValueError("broken"), "wrong": DataError("no stub"), "llm": "503"})
    suite = suite_of(
        tmp_path,
        *("{user: hi}", "{user: hi}, {bot: x}", "{user: hi}, {user: boom}", "{user: wrong}", "{user: llm}, {bot: x}"),
    )
    result = play(engine, suite)
    assert statuses(result) == ["passed", "failed", "error", "error", "error"]
    failures = [found.failure for found in result.with_status("error")]
    assert [failure and failure.message for failure in failures] == ["ValueError: broken", "no stub", "503"]
    assert not result.all_passed
    assert [len(found.turns) for found in result.results] == [1, 1, 1, 0, 1]


def test_error_is_placed_at_the_message_that_caused_it(tmp_path: Path) -> None:
    text = "test_cases:\n  - test_case: one\n    steps:\n      - user: hi\n      - user: {}\n"
    for cause in ("boom", "llm"):
        (tmp_path / "t.yml").write_text(text.format(cause))
        engine = ScriptedEngine({"boom": ValueError("broken"), "llm": "503"})
        (found,) = play(engine, load_suite(tmp_path / "t.yml")).results
        assert found.failure is not None and found.failure.location.line == 5


def test_metadata_and_fixtures_reach_the_engine(tmp_path: Path) -> None:
    head = "metadata: [{m: {channel: web}}]\n"
    engine = ScriptedEngine({})
    play(engine, suite_of(tmp_path, "{user: hi, metadata: m}", head=head))
    assert engine.said == [("hi", {"channel": "web"})]


def test_results_are_in_order_and_concurrency_is_bounded(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(12)]
    engine = ScriptedEngine({}, delays={word: 0.02 if n % 3 == 0 else 0.001 for n, word in enumerate(words)})
    suite = suite_of(tmp_path, *(f"{{user: {word}}}" for word in words))
    seen: list[str] = []
    result = play(engine, suite, concurrency=3, on_progress=lambda found: seen.append(found.case.name))
    assert [found.case for found in result.results] == list(suite.cases)
    assert engine.most_running == 3
    assert sorted(seen) == sorted(case.name for case in suite.cases)
    assert result.seconds > 0


@pytest.mark.parametrize("concurrency", [1, 3, 20])
def test_fail_fast_ends_with_the_first_failure_whatever_the_speed(tmp_path: Path, concurrency: int) -> None:
    # Case 4 fails at once, case 2 much later: the result must end with case 2 all the same.
    steps = [f"{{user: w{n}}}" + (", {bot: x}" if n in (2, 4) else "") for n in range(9)]
    engine = ScriptedEngine({}, delays={"w2": 0.05, "w1": 0.02})
    result = play(engine, suite_of(tmp_path, *steps), concurrency=concurrency, fail_fast=True)
    assert statuses(result) == ["passed", "passed", "failed"]
    assert result.not_run == 6


def test_what_the_caller_raises_is_not_swallowed(tmp_path: Path) -> None:
    def stop(_: object) -> None:
        raise KeyError("from outside")

    with pytest.raises(KeyError):
        play(HELLO, suite_of(tmp_path, "{user: hi}", "{user: hi}"), on_progress=stop)
