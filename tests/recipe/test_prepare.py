from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import DOWN, REPHRASINGS, FakeConversation, FakeEngine, FakeRephraser

from rasa_ft.e2e.cases import Suite, load_suite
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.errors import BudgetExceeded, DataError, LLMError, UsageError
from rasa_ft.recipe.prepare import prepare_data
from rasa_ft.recipe.settings import PrepareSettings, load_settings, with_given
from rasa_ft.recipe.summary import Summary
from rasa_ft.yaml_source import load_yaml, plain

SETTINGS = PrepareSettings(train_frac=0.7, concurrency=3, exchange_fraction=0.5, transplants=1)


def run(
    engine: FakeEngine,
    suite: Suite,
    out: Path,
    settings: PrepareSettings = SETTINGS,
    rephraser: FakeRephraser | None = None,
    **options: Any,
) -> Summary:
    return asyncio.run(prepare_data(settings, engine, suite, rephraser or FakeRephraser(REPHRASINGS), out, **options))


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_whole_tree(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[str] = []
    summary = run(engine, suite, out, progress=lambda stage, done, total: seen.append(stage))
    assert sorted(content(out)) == [
        "1_command_annotations/tests.yml",
        "2_rephrasings/tests.yml",
        "3_llm_finetune_data/llm_ft_data.jsonl",
        "4_train_test_split/e2e_tests/train.yml",
        "4_train_test_split/e2e_tests/validation.yml",
        "4_train_test_split/ft_splits/train.jsonl",
        "4_train_test_split/ft_splits/val.jsonl",
        "data_card.html",
        "data_card.md",
        "params.yaml",
        "result_summary.yaml",
        "student_prompt.jinja2",
    ]
    assert list(dict.fromkeys(seen)) == ["annotate", "rephrase", "compose"]
    assert plain(load_yaml(out / "result_summary.yaml")) == summary.figures
    assert summary["num_input_e2e_tests"] == 5
    assert summary["num_annotated_conversations"] == 4
    assert summary["num_user_messages_across_conversations"] == 10
    assert summary["num_user_messages_to_rephrase_across_conversations"] == 9
    assert summary["num_rephrasing_errors"] == 0
    assert summary["num_train_conversations"] + summary["num_validation_conversations"] == 4
    assert summary["skipped_e2e_tests"][0]["test"] == "tests.yml::wrong"


def test_progress_knows_what_is_left_early(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    run(engine, suite, tmp_path / "out", progress=lambda *told: seen.append(told))
    annotated = [told for told in seen if told[0] == "annotate"]
    assert [done for _, done, _ in annotated] == list(range(6))
    assert {total for _, _, total in annotated} == {5}
    rephrased = [(done, total) for stage, done, total in seen if stage == "rephrase"]
    assert rephrased[-1][0] == 9
    assert all(done <= total for done, total in rephrased)


def test_rows_and_splits_agree(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    summary = run(engine, suite, tmp_path / "out")
    internal = rows(tmp_path / "out/3_llm_finetune_data/llm_ft_data.jsonl")
    splits = tmp_path / "out/4_train_test_split"
    train, val = rows(splits / "ft_splits/train.jsonl"), rows(splits / "ft_splits/val.jsonl")
    assert [{"prompt": row["prompt"], "completion": row["completion"]} for row in internal] == train + val
    assert len(train) == summary["num_train_data_points"] == [row["split"] for row in internal].count("train")
    assert (
        len(internal) == summary["num_ft_data_points"] == len({(row["prompt"], row["completion"]) for row in internal})
    )
    tests = {
        part: {f"tests.yml::{case.name}" for case in load_suite(splits / f"e2e_tests/{name}.yml").cases}
        for part, name in (("train", "train"), ("val", "validation"))
    }
    assert not tests["train"] & tests["val"]
    for row in internal:
        assert row["original_test_name"] in tests[row["split"]]
        assert row.get("taken_from") is None or row["taken_from"] in tests["train"]
    assert {row["kind"] for row in internal if row["split"] == "val"} <= {"original", "rephrased"}
    typed = {row["original_user_utterance"] for row in internal if row["split"] == "val"}
    said = {
        row["rephrased_user_utterance"] or row["original_user_utterance"] for row in internal if row["split"] == "train"
    }
    assert not typed & said


def test_wrong_rephrasings_are_caught_and_kept_for_people(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    summary = run(engine, suite, tmp_path / "out")
    conversations = load_yaml(tmp_path / "out/2_rephrasings/tests.yml")["conversations"]
    steps = {step["user"]: step for done in conversations for step in done["steps"]}
    assert steps["I need a ticket"]["passing_rephrasings"] == ["one ticket please", "ticket, please!"]
    assert [bad["user"] for bad in steps["I need a ticket"]["failing_rephrasings"]] == ["weather forecast"]
    assert "passing_rephrasings" not in steps["/SetSlots(seats=2)"]
    assert steps["to Rome"]["llm_commands"] == ["set slot city Rome"]
    internal = (tmp_path / "out/3_llm_finetune_data/llm_ft_data.jsonl").read_text(encoding="utf-8")
    assert "weather forecast" not in internal
    assert summary["num_failing_rephrased_user_messages"] > 0


def test_same_seed_same_bytes_whatever_the_concurrency(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    run(engine, suite, tmp_path / "one")
    run(engine, suite, tmp_path / "two", with_given(SETTINGS, concurrency=1))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    run(engine, suite, tmp_path / "three", with_given(SETTINGS, seed=7))
    assert content(tmp_path / "one") != content(tmp_path / "three")


def test_unchanged_inputs_are_skipped(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(engine, suite, out)
    engine.asked.clear()
    again = run(engine, suite, out)
    assert (first.unchanged, again.unchanged, again.figures, engine.asked) == (False, True, first.figures, [])
    assert not run(engine, suite, out, force=True).unchanged
    (engine.project / "config.yml").write_text("pipeline: [] # changed\n", encoding="utf-8")
    assert not run(engine, suite, out).unchanged
    assert not run(engine, suite, out, with_given(SETTINGS, num_rephrases=1)).unchanged
    (out / "params.yaml").write_text("{", encoding="utf-8")
    assert not run(engine, suite, out, with_given(SETTINGS, num_rephrases=1)).unchanged


def test_conversational_rows_and_no_rephrasings(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    settings = PrepareSettings(num_rephrases=0, output_format="conversational", train_frac=0.7)
    asyncio.run(prepare_data(settings, engine, suite, None, tmp_path / "out"))
    assert not (tmp_path / "out/2_rephrasings").exists()
    row = rows(tmp_path / "out/4_train_test_split/ft_splits/train.jsonl")[0]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_all_for_training(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    summary = run(engine, suite, tmp_path / "out", PrepareSettings(train_frac=1.0))
    assert summary["num_val_data_points"] == 0
    assert not (tmp_path / "out/4_train_test_split/e2e_tests/validation.yml").exists()
    assert (tmp_path / "out/4_train_test_split/ft_splits/val.jsonl").read_text() == ""


def test_errors_of_the_rephraser_keep_the_originals(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    rephraser = FakeRephraser({**REPHRASINGS, "to Rome": DOWN})
    summary = run(engine, suite, tmp_path / "out", rephraser=rephraser)
    assert summary["num_rephrasing_errors"] == 1
    text = (tmp_path / "out/2_rephrasings/tests.yml").read_text()
    assert "the rephraser is down" in text
    assert "to Rome" in (tmp_path / "out/3_llm_finetune_data/llm_ft_data.jsonl").read_text()


def test_errors_of_the_teacher_in_the_check_are_not_failures(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    engine.broken = frozenset({"luggage rules?"})
    summary = run(engine, suite, tmp_path / "out")
    assert summary["num_rephrasing_errors"] == 1
    assert "not_checked" in (tmp_path / "out/2_rephrasings/tests.yml").read_text()


def test_missing_rephrasings_are_asked_for_again(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    rephraser = FakeRephraser(REPHRASINGS)
    run(engine, suite, tmp_path / "out", with_given(SETTINGS, num_rephrases=3, refills=2), rephraser)
    asked = [request for request in rephraser.requests if request.hints["user_message"] == "to Rome"]
    # Two of three pass; the second question brings nothing new, so there is no third.
    assert [request.hints.get("round", 0) for request in asked] == [0, 1]
    assert "to Genoa" in str(asked[1].messages)
    assert asked[1].hints["number"] == 1


def test_a_run_with_failed_calls_is_not_up_to_date(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    engine.broken = frozenset({"luggage rules?"})
    summary = run(engine, suite, tmp_path / "out")
    assert summary["incomplete"]
    engine.broken = frozenset()
    again = run(engine, suite, tmp_path / "out")
    assert not again.unchanged
    assert not again["incomplete"]
    assert run(engine, suite, tmp_path / "out").unchanged


def test_a_spent_budget_ends_the_run_while_tests_are_played(suite: Suite, engine: FakeEngine, tmp_path: Path) -> None:
    class Spent(FakeConversation):
        async def say(self, *arguments: Any, **options: Any) -> Turn:
            raise BudgetExceeded("enough")

    async def start(setup: Setup | None = None) -> FakeConversation:
        return Spent(engine, ())

    engine.start = start  # type: ignore[method-assign]
    with pytest.raises(BudgetExceeded):
        run(engine, suite, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_half_written(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, suite, out)
    before = content(out)
    rephraser = FakeRephraser({**REPHRASINGS, "to Rome": BudgetExceeded("enough")})
    with pytest.raises(BudgetExceeded):
        run(engine, suite, out, with_given(SETTINGS, seed=9), rephraser)
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bot", "out", "tests.yml"]


def test_no_test_passes(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    wrong = suite.subset([case for case in suite.cases if case.name == "wrong"])
    with pytest.raises(DataError, match=r"no test passes.*wrong"):
        run(engine, wrong, tmp_path / "out")


def test_teacher_is_down(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    engine.broken = frozenset(step.text for case in suite.cases for step in case.user_steps)
    with pytest.raises(LLMError, match="5 of 5 tests could not be run: the model is down"):
        run(engine, suite, tmp_path / "out")


def test_other_peoples_folders_are_not_replaced(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="would be replaced"):
        run(engine, suite, tmp_path / "precious")
    with pytest.raises(UsageError, match="is a file"):
        run(engine, suite, tmp_path / "precious" / "thesis.tex")


def test_the_built_in_student_prompt_is_for_v2(engine: FakeEngine, suite: Suite, tmp_path: Path) -> None:
    engine.version = "v1"
    with pytest.raises(UsageError, match="syntax v2; this assistant uses v1"):
        run(engine, suite, tmp_path / "out")


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_rephrases": -1},
        {"train_frac": 0.0},
        {"train_frac": 1.1},
        {"output_format": "csv"},
        {"concurrency": 0},
        {"histories": -1},
        {"wordings_per_turn": 0},
        {"exchange_fraction": 1.5},
        {"transplants": -1},
        {"student_prompt": Path("nowhere.jinja2")},
    ],
)
def test_settings_are_checked_before_anything_is_asked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PrepareSettings(**wrong)


def test_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "finetune_data.yml"
    (tmp_path / "own.jinja2").write_text("x", encoding="utf-8")
    file.write_text("train_frac: 1\nhistories: 3\nstudent_prompt: own.jinja2\noutput_format: conversational\n")
    settings = load_settings(file, seed=5, histories=None)
    assert (settings.train_frac, settings.histories, settings.seed) == (1.0, 3, 5)
    assert settings.student_prompt == tmp_path / "own.jinja2"
    assert settings.output_format == "conversational"
    file.write_text("histories:\n")
    assert load_settings(file, histories=2).histories == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("histores: 3", "Did you mean 'histories'"),
        ("seed: x", "seed must be a whole number"),
        ("seed: true", "seed must be a whole number"),
        ("histories: 1.5", "histories must be a whole number"),
        ("- a", "a mapping is needed"),
        ("too_long: cut", "too_long must be one of error, drop"),
        ("base_model: 3", "base_model must be a text"),
    ],
)
def test_bad_settings_name_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "s.yml"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        load_settings(file)
    assert complaint in str(caught.value)
    assert "s.yml:1" in str(caught.value)
