from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import BudgetExceeded, LLMUnavailable, UsageError
from rasa_ft.llm.budget import Account, Budget, BudgetedLLM, longest_answer
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.llm.config import ModelConfig, ModelGroup, model_config
from rasa_ft.llm.embeddings import build_embedder
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.meter import Meter, Usage
from rasa_ft.llm.pricing import Price
from rasa_ft.llm.store import Store


class Priced:
    """Each answer takes 10 tokens of a prompt and 5 of an answer, and a while."""

    def __init__(self, *, says_tokens: bool = True, error: Exception | None = None) -> None:
        self.calls = self.in_flight = self.most_in_flight = 0
        self.says_tokens = says_tokens
        self.error = error

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if self.error:
            raise self.error
        return Completion("a", "m", 0.0, 10, 5) if self.says_tokens else Completion("a", "m", 0.0)


def budgeted(inner: Priced, budget: Budget, price: Price | None, answer_tokens: int = 5) -> BudgetedLLM:
    return BudgetedLLM(inner, Account(Usage(), budget, price), answer_tokens)


def ask_at_once(llm: LLM, times: int) -> list[Completion | BaseException]:
    async def many() -> list[Completion | BaseException]:
        asked = (llm.complete(Request.of_prompt("twenty characters, q")) for _ in range(times))
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(many())


def test_calls_are_limited():
    inner = Priced()
    llm = budgeted(inner, Budget(max_calls=3), None)
    found = ask_at_once(llm, 5)
    assert [isinstance(one, BudgetExceeded) for one in found] == [False] * 3 + [True] * 2
    assert "the budget of 3 calls is used up." in str(found[-1])
    assert inner.calls == 3


@pytest.mark.parametrize("limit", [0.0, 0.4, 1.0, 7.5, 15.0])
@pytest.mark.parametrize("answer_tokens", [5, 100])
def test_cost_of_many_at_once_is_overrun_by_one_call_at_most(limit: float, answer_tokens: int):
    inner, budget = Priced(), Budget(max_cost=limit)
    price = Price(0.05, 0.1)  # a call: 10 * 0.05 + 5 * 0.1 = 1
    found = ask_at_once(budgeted(inner, budget, price, answer_tokens), 20)
    assert budget.cost == pytest.approx(inner.calls)
    assert limit - 1 <= budget.cost < limit + 1
    assert sum(isinstance(one, BudgetExceeded) for one in found) == 20 - inner.calls


def test_room_for_many_is_used_at_once():
    inner = Priced()
    ask_at_once(budgeted(inner, Budget(max_cost=100), Price(0.05, 0.1)), 20)
    assert inner.most_in_flight == 20


def test_nobody_is_told_while_a_call_is_in_flight():
    events: list[str] = []

    class Slow(Priced):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(0.01)
            events.append("answered")
            return Completion("a", "m", 0.0)

    async def one(llm: LLM) -> None:
        try:
            await llm.complete(Request.of_prompt("q"))
            events.append("kept")
        except BudgetExceeded:
            events.append("exceeded")

    async def many() -> None:
        llm = budgeted(Slow(), Budget(max_calls=2), None)
        await asyncio.gather(*(one(llm) for _ in range(4)))

    asyncio.run(many())
    assert events == ["answered", "kept", "answered", "kept", "exceeded", "exceeded"]


@pytest.mark.parametrize("budget", [Budget(max_cost=1.5), Budget(max_calls=1)])
def test_a_failed_call_costs_nothing_and_gives_its_room_back(budget: Budget):
    ask_at_once(budgeted(Priced(error=LLMUnavailable("down")), budget, Price(0.05, 0.1)), 3)
    assert (budget.calls, budget.cost) == (0, 0)
    assert isinstance(ask_at_once(budgeted(Priced(), budget, Price(0.05, 0.1)), 1)[0], Completion)


def test_a_server_that_says_no_tokens_is_charged_the_most():
    budget = Budget(max_cost=3)
    found = ask_at_once(budgeted(Priced(says_tokens=False), budget, Price(0.05, 0.1)), 5)
    assert budget.cost == pytest.approx(3)
    assert sum(isinstance(one, Completion) for one in found) == 3


def test_the_longest_answer():
    assert longest_answer({"max_completion_tokens": 256}) == 256
    assert longest_answer({"max_tokens": 64, "temperature": 0}) == 64
    assert longest_answer({}) == 1024


# --- through build_llm -----------------------------------------------------------------------------------------------


PRICES = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.1}


def group(server: FakeOpenAI, **keys: object) -> ModelGroup:
    written = {"provider": "self-hosted", "model": "m", "api_base": server.url, **keys}
    return ModelGroup("g", (model_config(written),))


def test_the_meter_counts_each_role(server: FakeOpenAI, tmp_path: Path):
    server.replies = [Reply(429, "{}", {"retry-after": "0.01"}), Reply(500, "{}"), Reply(200, "{")]
    meter, store = Meter(), Store(tmp_path / "a.sqlite")
    priced = group(server, **PRICES, max_tokens=3)
    teacher = build_llm(priced, project=tmp_path, store=store, usage=meter["teacher"], concurrency=1)
    rephraser = build_llm(group(server), project=tmp_path, store=store, usage=meter["rephraser"])
    ask_at_once(teacher, 3)
    ask_at_once(rephraser, 1)
    assert meter["teacher"] == Usage(1, 2, 3, 1, 0, 7, 3, pytest.approx(0.37))
    assert meter["rephraser"] == Usage(calls=1, prompt_tokens=7, completion_tokens=3, cost=None)
    assert meter.total == Usage(2, 2, 3, 1, 0, 14, 6, pytest.approx(0.37))


def test_what_is_in_flight_can_be_seen(server: FakeOpenAI, tmp_path: Path):
    usage = Usage()
    llm = build_llm(group(server), project=tmp_path, usage=usage, concurrency=2)
    seen: list[int] = []

    def script(request: object, number: int) -> None:
        seen.append(usage.in_flight)

    server.script = script
    ask_at_once(llm, 4)
    assert set(seen) <= {1, 2} and usage.in_flight == 0


def test_a_paid_answer_is_kept_before_the_budget_ends_the_run(server: FakeOpenAI, tmp_path: Path):
    store = Store(tmp_path / "a.sqlite")
    server.delay = 0.05
    llm = build_llm(group(server), project=tmp_path, store=store, budget=Budget(max_calls=3))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(llm.complete(Request.of_prompt(str(number))))

    with pytest.raises(ExceptionGroup):
        asyncio.run(run())
    assert len(store) == len(server.requests) == 3


def test_a_paid_answer_is_kept_although_another_task_failed(server: FakeOpenAI, tmp_path: Path):
    store = Store(tmp_path / "a.sqlite")
    server.script = lambda request, number: Reply(delay=0.2)
    llm = build_llm(group(server), project=tmp_path, store=store, concurrency=2)

    async def fail_when_asked() -> None:
        while not server.requests:
            await asyncio.sleep(0.01)
        raise ValueError("a bug elsewhere")

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail_when_asked())
            for number in range(6):
                tasks.create_task(llm.complete(Request.of_prompt(str(number))))

    with pytest.raises(ExceptionGroup):
        asyncio.run(run())
    assert 1 <= len(store) == len(server.requests) <= 2, "those under way are kept, those in the line are not asked"


def test_a_limit_on_the_cost_needs_a_price(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    openai = ModelGroup("g", (model_config({"provider": "openai", "model": "gpt-4o"}),))
    for build in (build_llm, build_embedder):
        with pytest.raises(UsageError, match="needs the price of model 'gpt-4o'"):
            build(openai, project=tmp_path, budget=Budget(max_cost=1))
        build(openai, project=tmp_path, budget=Budget(max_calls=1))
        build(group(server), project=tmp_path, budget=Budget(max_cost=1))


def test_embeddings_are_counted_and_paid(server: FakeOpenAI, tmp_path: Path):
    usage, budget = Usage(), Budget(max_cost=0.015)
    embedder = build_embedder(group(server, **PRICES), project=tmp_path, budget=budget, usage=usage, batch=1)
    asyncio.run(embedder.embed(["a"]))
    assert (usage.calls, usage.prompt_tokens, usage.cost) == (1, 1, pytest.approx(0.01))
    asyncio.run(embedder.embed(["b"]))
    with pytest.raises(BudgetExceeded, match=r"0\.015 is used up after 2 calls"):
        asyncio.run(embedder.embed(["c"]))


def test_the_models_of_a_group_are_paid_from_one_budget(server: FakeOpenAI, tmp_path: Path):
    config: Callable[[str], ModelConfig] = lambda name: group(server, **PRICES, model=name).models[0]  # noqa: E731
    budget, usage = Budget(max_calls=4), Usage()
    llm = build_llm(ModelGroup("g", (config("a"), config("b"))), project=tmp_path, budget=budget, usage=usage)
    found = ask_at_once(llm, 6)
    assert (budget.calls, usage.calls, budget.cost) == (4, 4, pytest.approx(4 * 0.37))
    assert sum(isinstance(one, BudgetExceeded) for one in found) == 2
