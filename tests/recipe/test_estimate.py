"""What a run will ask, told without asking."""

from __future__ import annotations

import asyncio

import pytest
from fake_engine import FakeEngine

from rasa_ft.e2e.cases import Suite
from rasa_ft.llm.config import ModelConfig, ModelGroup
from rasa_ft.recipe.estimate import Estimate, estimate
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig


def group(price: float = 0.0) -> ModelGroup:
    prices = {"input_cost_per_token": price, "output_cost_per_token": price}
    return ModelGroup("m", (ModelConfig("self-hosted", "tiny", **prices),))


def estimated(engine: FakeEngine, suite: Suite, number: int = 5, price: float = 0.001) -> Estimate:
    groups = {"teacher": group(price), "rephraser": group(price)}
    settings = PrepareSettings(num_rephrases=number)
    return asyncio.run(estimate(settings, engine, suite, RephraseConfig(), groups))


def test_calls_and_tokens(engine: FakeEngine, suite: Suite) -> None:
    found = estimated(engine, suite)
    typed = [step for case in suite.cases for step in case.user_steps if not step.text.startswith("/")]
    assert [(item.kind, item.calls) for item in found.items] == [
        ("annotate", len(typed)),
        ("rephrase", len(typed)),
        ("check", 5 * len(typed)),
    ]
    annotate, _, check = found.items
    assert check.prompt_tokens == pytest.approx(5 * annotate.prompt_tokens, rel=0.01)
    assert found.calls == 7 * len(typed)
    assert engine.asked == []


def test_cost_is_that_of_all_tokens(engine: FakeEngine, suite: Suite) -> None:
    found = estimated(engine, suite)
    tokens = sum(item.prompt_tokens + item.completion_tokens for item in found.items)
    assert found.cost == pytest.approx(0.001 * tokens)


def test_an_unknown_price_makes_the_sum_unknown(engine: FakeEngine, suite: Suite) -> None:
    assert estimated(engine, suite, price=0.0).cost is None


def test_without_rephrasings_only_the_teacher_is_asked(engine: FakeEngine, suite: Suite) -> None:
    assert [item.kind for item in estimated(engine, suite, number=0).items] == ["annotate"]


@pytest.mark.parametrize(("others", "role"), [({}, "teacher"), ({"second opinion": group(0.1)}, "second opinion")])
def test_a_second_opinion_reads_all_that_the_teacher_reads(
    engine: FakeEngine, suite: Suite, others: dict[str, ModelGroup], role: str
) -> None:
    settings = PrepareSettings(num_rephrases=5, second_opinion="again")
    groups = {"teacher": group(), "rephraser": group(), **others}
    items = asyncio.run(estimate(settings, engine, suite, RephraseConfig(), groups)).items
    assert items[-1].role == role
    assert items[-1].calls == items[0].calls + items[2].calls
    assert items[-1].prompt_tokens == items[0].prompt_tokens + items[2].prompt_tokens


def test_prompts_grow_with_the_conversation(engine: FakeEngine, suite: Suite) -> None:
    (case,) = [case for case in suite.cases if case.name == "by number"]
    short = estimated(engine, suite.subset([case]), number=0).items[0].prompt_tokens
    assert short > 3 * len("[teacher] flows: book") / 4
