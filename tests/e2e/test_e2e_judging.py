"""Assertions that a language model judges: which message, which verdict, whose judge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e_doubles import ScriptedEngine, bot

from rasa_ft.calm import events as ev
from rasa_ft.calm.events import BotUttered, Event
from rasa_ft.e2e import assertions as a
from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.e2e.judging import (
    GroundedAssertion,
    JudgedAssertion,
    Judgement,
    NoVerdict,
    RelevantAssertion,
    check_assertions,
)
from rasa_ft.e2e.results import case_result
from rasa_ft.e2e.runner import SuiteResult, assertion_counts, run_suite
from rasa_ft.errors import DataError, LLMUnavailable, Location

HERE = Location(Path("t.yml"), 3)


@dataclass
class FixedJudge:
    """Gives the same score to everything, or fails; remembers what it was shown."""

    score: float = 1.0
    is_down: bool = False
    seen: list[tuple[str, ...]] = field(default_factory=list)

    async def relevance(self, message: str, user_message: str) -> Judgement:
        return self._judged("relevance", message, user_message)

    async def groundedness(self, message: str, ground_truth: str) -> Judgement:
        return self._judged("groundedness", message, ground_truth)

    def _judged(self, *shown: str) -> Judgement:
        if self.is_down:
            raise LLMUnavailable("the judge is down.")
        self.seen.append(shown)
        return Judgement(self.score, ("one", "two"))


def make(kind: type[Any], **fields: Any) -> Any:
    return kind(HERE, None, **fields)


def check(
    assertions: Sequence[a.Assertion], events: Sequence[Event], **options: Any
) -> tuple[a.Assertion, a.Mismatch] | None:
    return asyncio.run(check_assertions(assertions, events, **options))


# --- order and session start, as for all assertions ------------------------------------------------------------------

PRICED = (
    ev.UserUttered("hi"),
    ev.FlowStarted(flow_id="book"),
    ev.SlotSet("price", 160),
    bot("It is 160.", "utter_price"),
    ev.FlowCompleted(flow_id="book"),
)
COMPLETED = make(a.FlowCompletedAssertion, flow_id="book")
UTTERED = make(a.BotUtteredAssertion, utter_name="utter_price")


def test_order_counts_only_when_asked_for() -> None:
    assert check([COMPLETED, UTTERED], PRICED) is None
    failed = check([COMPLETED, UTTERED], PRICED, ordered=True)
    assert failed is not None and failed[0] is UTTERED
    assert check([UTTERED, COMPLETED], PRICED, ordered=True) is None
    forbidden = make(a.BotDidNotUtterAssertion, utter_name="utter_x")
    assert check([forbidden, UTTERED], PRICED, ordered=True) is None, "it consumes nothing"


def test_only_some_assertions_see_the_session_start() -> None:
    start = (ev.FlowStarted(flow_id="greeting"), ev.SlotSet("lang", "en"), bot("Welcome!", source="rephraser"))
    slot = a.ExpectedSlot("lang", HERE, "en", has_value=True)
    assert check([make(a.SlotWasSetAssertion, slots=(slot,))], PRICED, session_start=start) is None
    assert check([make(a.FlowStartedAssertion, flow_ids=("greeting",))], PRICED, session_start=start) is not None
    assert check([make(RelevantAssertion)], PRICED, session_start=start, judge=FixedJudge()) is not None


# --- which message ---------------------------------------------------------------------------------------------------

FOUND = bot("Of rubber.", source="search", metadata={"search_results": ["Brakes: rubber.", "Frames: steel."]})
REWORDED = bot("Ordered!", "utter_done", source="rephraser", metadata={"domain_ground_truth": ["It is ordered."]})
TURN = (
    ev.UserUttered("what are brakes made of"),
    ev.ActionExecuted("utter_hello"),
    bot("Hello.", "utter_hello"),
    ev.ActionExecuted("action_advise"),
    bot("", source="search"),
    bot("Try cork.", source="action"),
    ev.ActionExecuted("action_send_text"),
    FOUND,
    ev.ActionExecuted("utter_done"),
    REWORDED,
)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Of rubber."),
        ({"utter_source": "EnterpriseSearchPolicy"}, "Of rubber."),
        ({"utter_source": "ContextualResponseRephraser"}, "Ordered!"),
        ({"utter_source": "action_advise"}, "Try cork."),
        ({"utter_name": "utter_done"}, "Ordered!"),
        ({"utter_name": "utter_done", "utter_source": "ContextualResponseRephraser"}, "Ordered!"),
    ],
)
def test_the_first_message_that_a_model_worded(fields: dict[str, str], text: str) -> None:
    judge = FixedJudge()
    assert check([make(RelevantAssertion, **fields)], TURN, judge=judge) is None
    assert judge.seen == [("relevance", text, "what are brakes made of")]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"utter_name": "utter_hello"}, "no bot message from utter_hello worded by a model;"),
        ({"utter_source": "action_other"}, "no bot message worded by action_other;"),
        ({"utter_source": "EnterpriseSearchPolicy", "utter_name": "utter_done"}, "by EnterpriseSearchPolicy;"),
    ],
)
def test_no_such_message_is_a_failure_without_a_question(fields: dict[str, str], wanted: str) -> None:
    judge = FixedJudge()
    failed = check([make(GroundedAssertion, **fields)], TURN, judge=judge)
    assert failed is not None and wanted in failed[1].message
    assert 'the bot said: utter_hello "Hello."' in failed[1].message
    assert judge.seen == []


def test_who_spoke_is_known_after_an_ordered_assertion_too() -> None:
    ran = make(a.ActionExecutedAssertion, action="action_advise")
    advised = make(RelevantAssertion, utter_source="action_advise")
    assert check([ran, advised], TURN, ordered=True, judge=FixedJudge()) is None
    done = make(RelevantAssertion, utter_name="utter_done")
    assert check([done, advised], TURN, ordered=True, judge=FixedJudge()) is not None
    assert check([done, advised], TURN, judge=FixedJudge()) is None


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "truth"),
    [
        ({}, "Brakes: rubber.\n\nFrames: steel."),
        ({"utter_name": "utter_done"}, "It is ordered."),
        ({"ground_truth": "Cork."}, "Cork."),
    ],
)
def test_what_a_message_is_compared_with(fields: dict[str, str], truth: str) -> None:
    judge = FixedJudge()
    check([make(GroundedAssertion, **fields)], TURN, judge=judge)
    assert [shown[2] for shown in judge.seen] == [truth]


@pytest.mark.parametrize(("score", "holds"), [(1.0, True), (0.8, True), (0.79999999, True), (0.799, False)])
def test_the_score_reaches_the_threshold(score: float, holds: bool) -> None:
    failed = check([make(GroundedAssertion, threshold=0.8)], TURN, judge=FixedJudge(score))
    assert (failed is None) is holds


def test_a_score_that_is_no_number_does_not_hold() -> None:
    assert check([make(RelevantAssertion, threshold=0.0)], TURN, judge=FixedJudge(float("nan"))) is not None


def test_why_it_does_not_hold() -> None:
    for kind, text in (
        (RelevantAssertion, "is not relevant enough: score 0.500, threshold 0.8; it would answer: 'one'; 'two'"),
        (GroundedAssertion, "is not grounded enough: score 0.500, threshold 0.8; not supported: 'one'; 'two'"),
    ):
        failed = check([make(kind, threshold=0.8)], TURN, judge=FixedJudge(0.5))
        assert failed is not None and failed[1] == a.Mismatch(f"the bot's message {text}", HERE)


@pytest.mark.parametrize(
    ("fields", "judge", "reason"),
    [
        ({}, FixedJudge(is_down=True), "the judge is down."),
        ({}, None, "there is no judge"),
        ({"utter_source": "action_advise"}, FixedJudge(), "Write `ground_truth` into the assertion."),
    ],
)
def test_no_verdict_is_no_failure(fields: dict[str, str], judge: FixedJudge | None, reason: str) -> None:
    with pytest.raises(NoVerdict, match=reason) as caught:
        check([make(GroundedAssertion, **fields)], TURN, judge=judge)
    assert str(caught.value).startswith("no verdict on generative_response_is_grounded: ")


# --- running ---------------------------------------------------------------------------------------------------------

CASE = """\
test_cases:
  - test_case: a
    steps:
      - user: brakes
        assertions:
          - {bot_uttered: {text_matches: rubber}}
          - generative_response_is_grounded: {threshold: 0.8}
          - flow_started: x
"""


def said(message: BotUttered = FOUND) -> ScriptedEngine:
    return ScriptedEngine({"brakes": (message,)})


def run(folder: Path, judge: FixedJudge | None, text: str = CASE) -> SuiteResult:
    (folder / "t.yml").write_text(text)
    judges = None if judge is None else lambda _: judge
    return asyncio.run(run_suite(said(), load_suite(folder / "t.yml"), judges=judges))


@pytest.mark.parametrize(
    ("judge", "status", "line", "counts"),
    [
        (FixedJudge(1.0), "failed", 8, {"bot_uttered": (1, 0), "flow_started": (0, 1), "judged": (1, 0)}),
        (FixedJudge(0.5), "failed", 7, {"bot_uttered": (1, 0), "judged": (0, 1)}),
        (FixedJudge(is_down=True), "error", 7, {"bot_uttered": (1, 0)}),
    ],
)
def test_status_and_counts(
    tmp_path: Path, judge: FixedJudge, status: str, line: int, counts: dict[str, tuple[int, int]]
) -> None:
    (found,) = run(tmp_path, judge).results
    assert found.failure is not None
    assert (found.status, found.failure.location.line) == (status, line)
    named = {"generative_response_is_grounded": "judged"}
    assert {named.get(key, key): count for key, count in assertion_counts([found]).items()} == counts
    assert ("assertion_failure" in case_result(found)) is (status == "failed")


def test_without_judges_the_case_is_skipped_before_it_is_played(tmp_path: Path) -> None:
    (found,) = run(tmp_path, None).results
    assert (found.status, found.turns) == ("skipped", ())
    assert found.skipped == (
        f"{tmp_path / 't.yml'}:7: assertion 'generative_response_is_grounded' needs a language model as judge; "
        "this run asks none."
    )


def test_what_a_part_would_say_that_is_not_run_is_skipped(tmp_path: Path) -> None:
    text = CASE.replace("threshold: 0.8", "threshold: 0.8, utter_source: IntentlessPolicy")
    (found,) = run(tmp_path, FixedJudge(), text).results
    assert found.skipped is not None and found.skipped.endswith("t.yml:7: IntentlessPolicy is not run.")


def test_no_judge_is_made_for_cases_that_need_none(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("test_cases: [{test_case: a, steps: [{user: brakes}, {bot: Of rubber.}]}]")

    def judges(_: object) -> FixedJudge:
        raise AssertionError

    assert asyncio.run(run_suite(said(), load_suite(tmp_path / "t.yml"), judges=judges)).all_passed


# --- files -----------------------------------------------------------------------------------------------------------


def judged(folder: Path, text: str) -> JudgedAssertion:
    (folder / "t.yml").write_text(f"test_cases:\n  - test_case: a\n    steps:\n      - user: hi\n{text}")
    (found,) = load_suite(folder / "t.yml").cases[0].judged_assertions
    return found


def one(key: str, value: str) -> str:
    return f"        assertions:\n          - {key}: {value}\n"


def test_as_written(tmp_path: Path) -> None:
    text = one("generative_response_is_grounded", "{threshold: 0.9, utter_source: x, ground_truth: ' Of cork. '}")
    found = judged(tmp_path, text)
    assert isinstance(found, GroundedAssertion)
    assert (found.threshold, found.utter_name, found.utter_source) == (0.9, None, "x")
    assert (found.ground_truth, found.location.line) == ("Of cork.", 6)
    found = judged(tmp_path, one("generative_response_is_relevant", "{threshold: 1, utter_name: utter_x}"))
    assert isinstance(found, RelevantAssertion)
    assert (found.threshold, found.utter_name, found.utter_source) == (1.0, "utter_x", None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("relevant", "0.5", "must be a mapping, not a number"),
        ("relevant", "{}", "`generative_response_is_relevant` needs `threshold`"),
        ("grounded", "{utter_name: utter_x}", "needs `threshold`"),
        ("grounded", "{threshold: high}", "`threshold` must be a number from 0 to 1, not 'high'"),
        ("grounded", "{threshold: 90}", "from 0 to 1"),
        ("grounded", "{threshold: .nan}", "from 0 to 1"),
        ("grounded", "{threshold: true}", "from 0 to 1"),
        ("grounded", "{threshold: 1, ground_truth: 5}", 'in quotes: "5"'),
        ("relevant", "{threshold: 1, utter: x}", "Did you mean 'utter_name'"),
        ("relevant", "{threshold: 1, ground_truth: x}", "unknown key 'ground_truth'"),
    ],
)
def test_broken_ones_say_where_and_what(tmp_path: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        judged(tmp_path, one(f"generative_response_is_{key}", value))
    assert f"{tmp_path / 't.yml'}:6: " in str(caught.value)
    assert message in str(caught.value)


def test_written_again_they_are_the_same(tmp_path: Path) -> None:
    before = judged(tmp_path, one("generative_response_is_grounded", "{threshold: 0.9, ground_truth: 'a: b'}"))
    write_suite(load_suite(tmp_path / "t.yml"), tmp_path / "out.yml")
    (after,) = load_suite(tmp_path / "out.yml").cases[0].judged_assertions
    assert isinstance(before, GroundedAssertion) and isinstance(after, GroundedAssertion)
    assert (after.threshold, after.ground_truth, after.written) == (0.9, "a: b", before.written)


# --- whose judge -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Tests in ``outer/bot/tests/near``; the assistant is ``outer/bot``."""
    tests = tmp_path / "outer/bot/tests/near"
    tests.mkdir(parents=True)
    (tests / "t.yml").write_text(CASE)
    (tmp_path / "outer/bot/config.yml").write_text("")
    return tmp_path / "outer"


def judge_model(tree: Path, **conftests: str) -> Any:
    folders = {"above": ".", "root": "bot", "tests": "bot/tests", "near": "bot/tests/near"}
    for name, text in conftests.items():
        (tree / folders[name] / "conftest.yml").write_text(text)
    settings = load_suite(tree / "bot/tests").cases[0].judge
    return None if settings is None else (settings.llm or {}).get("model"), settings


ROOT, TESTS, NEAR = (f"llm_judge:\n  llm: {{provider: openai, model: {name}}}\n" for name in ("root", "tests", "near"))


def test_the_nearest_conftest_names_the_judge(tree: Path) -> None:
    assert judge_model(tree) == (None, None)
    assert judge_model(tree, root=ROOT)[0] == "root"
    assert judge_model(tree, root=ROOT, tests=TESTS)[0] == "tests"
    assert judge_model(tree, near=NEAR)[0] == "near"
    # Fixtures alone say nothing about judges.
    assert judge_model(tree, near="fixtures: [{f: [{a: 1}]}]")[0] == "tests"


def test_entries_are_not_merged(tree: Path) -> None:
    model, settings = judge_model(tree, root=ROOT, tests="llm_judge: {embeddings: {model_group: e}}")
    assert model is None and settings.llm is None
    assert settings.embeddings == {"model_group": "e"}
    assert (settings.location.file.name, settings.location.line) == ("conftest.yml", 1)


def test_the_search_ends_at_the_assistant(tree: Path) -> None:
    assert judge_model(tree, above=NEAR) == (None, None)
    (tree / "bot/config.yml").unlink()
    assert judge_model(tree)[0] == "near"


def test_cases_that_need_no_judge_have_none(tree: Path) -> None:
    (tree / "bot/tests/near/t.yml").write_text("test_cases: [{test_case: a, steps: [{user: hi}]}]")
    assert judge_model(tree, near=NEAR) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llm_judge: openai", "`llm_judge` must be a mapping, not text"),
        ("llm_judge: {llms: {}}", "unknown key 'llms' in `llm_judge`. Did you mean 'llm'?"),
        ("llm_judge: {embeddings: [x]}", "`embeddings` of `llm_judge` must be a mapping, not a list"),
        ("llm_as_judge: {model: x}", "Did you mean 'llm_judge'?"),
    ],
)
def test_a_broken_section(tree: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        judge_model(tree, near=text)
    assert "near/conftest.yml:1: " in str(caught.value) and message in str(caught.value)
