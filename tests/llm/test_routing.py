"""Router groups: which model is asked, and what happens when one fails. Servers are real and local."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import BudgetExceeded, DataError, LLMRefused, LLMUnavailable, RateLimited, RequestRejected
from rasa_ft.llm.budget import Budget
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.llm.config import ROUTING_STRATEGIES, Router, load_model_groups
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.routing import Member, RoutedLLM
from rasa_ft.llm.store import Store


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Model:
    """Answers with its name; ``errors`` come first."""

    def __init__(self, name: str, *errors: Exception, latency: float = 0.0, tokens: int = 0) -> None:
        self.name = name
        self.errors = list(errors)
        self.latency = latency
        self.tokens = tokens
        self.calls = 0
        self.closed = False
        self.hold: asyncio.Event | None = None

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        return Completion(self.name, self.name, self.latency, self.tokens, 0)

    async def aclose(self) -> None:
        self.closed = True


def routed(*models: Model, clock: Clock | None = None, prices: tuple[float, ...] = (), **router: object) -> RoutedLLM:
    clock = clock or Clock()
    settings = Router(**{"retries": 0, **router})  # type: ignore[arg-type]
    members = [
        Member(model, Cooldown(settings.cooldown, allowed_fails=settings.allowed_fails, clock=clock), price)
        for model, price in zip(models, prices or (0.0,) * len(models), strict=True)
    ]
    return RoutedLLM(members, settings, random.Random(0), clock, first_wait=0.001)


async def ask(llm: LLM, times: int = 1) -> list[str]:
    return [(await llm.complete(Request.of_prompt("q"))).text for _ in range(times)]


def test_a_shuffle_uses_all_and_the_dice_are_given():
    def names(seed: int) -> list[str]:
        llm = routed(Model("a"), Model("b"), Model("c"))
        llm.rng = random.Random(seed)
        return asyncio.run(ask(llm, 12))

    assert set(names(1)) == {"a", "b", "c"}
    assert names(1) == names(1) != names(2)


def test_one_that_fails_rests_and_comes_back():
    clock = Clock()
    bad, good = Model("bad", LLMUnavailable("down")), Model("good")
    llm = routed(bad, good, clock=clock, prices=(0, 1), strategy="cost-based-routing", cooldown=30)
    assert asyncio.run(ask(llm, 3)) == ["good"] * 3
    assert bad.calls == 1
    clock.now = 30
    assert asyncio.run(ask(llm)) == ["bad"]


def test_some_failures_are_allowed():
    bad, good = Model("bad", *[LLMUnavailable("down")] * 3), Model("good")
    llm = routed(bad, good, prices=(0, 1), strategy="cost-based-routing", allowed_fails=1)
    assert asyncio.run(ask(llm, 3)) == ["good"] * 3
    assert bad.calls == 2


def test_a_success_in_between_ends_the_count():
    bad, good = Model("bad", LLMUnavailable("down")), Model("good")
    llm = routed(bad, good, prices=(0, 1), strategy="cost-based-routing", allowed_fails=1)
    assert asyncio.run(ask(llm, 2)) == ["good", "bad"]
    bad.errors = [LLMUnavailable("down")]
    assert asyncio.run(ask(llm, 2)) == ["good", "bad"]


def test_a_limited_model_rests_as_long_as_it_says():
    clock = Clock()
    limited, other = Model("limited", RateLimited("slow down", retry_after=5)), Model("other")
    llm = routed(limited, other, clock=clock, prices=(0, 1), strategy="cost-based-routing", cooldown=60)
    assert asyncio.run(ask(llm)) == ["other"]
    clock.now = 4.9
    assert asyncio.run(ask(llm)) == ["other"]
    clock.now = 5
    assert asyncio.run(ask(llm)) == ["limited"]


def test_when_all_rest_they_are_asked_all_the_same():
    first, second = Model("first", LLMUnavailable("down")), Model("second", LLMUnavailable("down"))
    llm = routed(first, second, prices=(0, 1), strategy="cost-based-routing")
    with pytest.raises(LLMUnavailable):
        asyncio.run(ask(llm))
    assert asyncio.run(ask(llm)) == ["first"]


def test_rounds_are_repeated_as_configured():
    models = [Model(name, LLMUnavailable("down"), LLMUnavailable("down")) for name in "ab"]
    with pytest.raises(LLMUnavailable):
        asyncio.run(ask(routed(*models, retries=0)))
    with pytest.raises(LLMUnavailable):
        asyncio.run(ask(routed(*models, retries=0)))
    for model in models:
        model.errors = [LLMUnavailable("down"), RateLimited("slow", retry_after=0)]
    assert asyncio.run(ask(routed(*models, retries=2)))[0] in "ab"
    assert sum(model.calls for model in models) == 9


def test_a_key_that_is_refused_sends_the_question_to_the_next():
    refused, good = Model("refused", LLMRefused("401")), Model("good")
    llm = routed(refused, good, prices=(0, 1), strategy="cost-based-routing")
    assert asyncio.run(ask(llm, 2)) == ["good", "good"]
    assert refused.calls == 1


@pytest.mark.parametrize("error", [RequestRejected("too long"), BudgetExceeded("enough")])
def test_what_is_no_model_s_fault_goes_to_no_other(error: Exception):
    bad, good = Model("bad", error), Model("good")
    llm = routed(bad, good, prices=(0, 1), strategy="cost-based-routing")
    with pytest.raises(type(error)):
        asyncio.run(ask(llm))
    assert good.calls == 0
    assert asyncio.run(ask(llm)) == ["bad"], "nor does the model rest for it"


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ((LLMRefused("key"), LLMUnavailable("down")), LLMUnavailable),
        ((RateLimited("slow", retry_after=3), RateLimited("slow", retry_after=1)), RateLimited),
        ((LLMRefused("key"), LLMRefused("key")), LLMRefused),
    ],
)
def test_the_failure_that_is_told(failures: tuple[Exception, ...], told: type[Exception]):
    llm = routed(*(Model("m", error) for error in failures))
    with pytest.raises(told) as caught:
        asyncio.run(ask(llm))
    assert type(caught.value) is told
    assert getattr(caught.value, "retry_after", 1) == 1


def test_least_busy():
    async def run() -> str:
        busy, idle = Model("busy"), Model("idle")
        busy.hold = asyncio.Event()
        llm = routed(busy, idle, strategy="least-busy")
        waiting = asyncio.create_task(llm._ask(llm.members[0], Request.of_prompt("long")))
        await asyncio.sleep(0)
        answers = await ask(llm, 5)
        busy.hold.set()
        await waiting
        assert llm.members[0].in_flight == 0
        return "".join(answers)

    assert asyncio.run(run()) == "idle" * 5


def test_the_fastest():
    slow, fast = Model("slow", latency=2), Model("fast", latency=1)
    llm = routed(slow, fast, strategy="latency-based-routing")
    answers = asyncio.run(ask(llm, 6))
    assert set(answers[:2]) == {"slow", "fast"}, "each is tried once"
    assert answers[2:] == ["fast"] * 4
    fast.latency = 30
    assert asyncio.run(ask(llm, 2)) == ["fast", "slow"]


def test_the_least_used_in_this_minute():
    clock = Clock()
    large, small = Model("large", tokens=100), Model("small", tokens=30)
    llm = routed(large, small, clock=clock, strategy="usage-based-routing")
    assert sorted(asyncio.run(ask(llm, 5))) == ["large", "small", "small", "small", "small"]
    clock.now = 60
    assert {llm.members[0].used(clock()), llm.members[1].used(clock())} == {0}


def test_the_cheapest():
    assert asyncio.run(ask(routed(Model("dear"), Model("cheap"), prices=(2, 1), strategy="cost-based-routing"))) == [
        "cheap"
    ]


def test_closing_closes_all():
    models = Model("a"), Model("b")
    asyncio.run(routed(*models).aclose())
    assert all(model.closed for model in models)


# -- over HTTP ------------------------------------------------------------------------------------------------------

GROUP = """
model_groups:
  - id: two
    models:
      - {{provider: self-hosted, model: bad, api_base: "{bad}", timeout: 0.2}}
      - {{provider: self-hosted, model: good, api_base: "{good}"}}
    router: {{routing_strategy: {strategy}, num_retries: 0, cooldown_time: 60}}
"""


@pytest.fixture
def servers() -> Iterator[tuple[FakeOpenAI, FakeOpenAI]]:
    pair = FakeOpenAI(), FakeOpenAI()
    yield pair
    for server in pair:
        server.stop()


def group_of(folder: Path, bad: str, good: str, strategy: str = "simple-shuffle", **options: object) -> LLM:
    file = folder / "endpoints.yml"
    file.write_text(GROUP.format(bad=bad, good=good, strategy=strategy), encoding="utf-8")
    return build_llm(load_model_groups(file)["two"], project=folder, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("reply", [Reply(500, "{}"), Reply(401, "{}"), Reply(429, "{}"), Reply(200, "", delay=0.5)])
@pytest.mark.parametrize("strategy", ROUTING_STRATEGIES)
def test_a_failing_or_slow_server_is_passed_over_once(servers, tmp_path: Path, strategy: str, reply: Reply):
    bad, good = servers
    bad.replies = [reply] * 10
    llm = group_of(tmp_path, bad.url, good.url, strategy)
    assert asyncio.run(ask(llm, 6)) == ["echo: q"] * 6
    assert len(bad.requests) <= 1
    assert len(good.requests) == 6


def test_a_bad_request_is_sent_to_one_server_only(servers, tmp_path: Path):
    for server in servers:
        server.replies = [Reply(400, '{"error": {"message": "maximum context length is 10 tokens"}}')]
    with pytest.raises(RequestRejected, match="too long for the model"):
        asyncio.run(ask(group_of(tmp_path, servers[0].url, servers[1].url)))
    assert len(servers[0].requests) + len(servers[1].requests) == 1


def test_an_answer_is_kept_for_the_whole_group(servers, tmp_path: Path):
    llm = group_of(tmp_path, servers[0].url, servers[1].url, store=Store(tmp_path / "a.sqlite"), budget=Budget())
    assert asyncio.run(ask(llm, 5)) == ["echo: q"] * 5
    assert len(servers[0].requests) + len(servers[1].requests) == 1


# -- as configured --------------------------------------------------------------------------------------------------


def router_of(folder: Path, router: str) -> Router:
    model = "{provider: self-hosted, model: m, api_base: 'http://x/v1'}"
    file = folder / "endpoints.yml"
    file.write_text(f"model_groups:\n  - {{id: g, models: [{model}, {model}], router: {router}}}\n")
    group = load_model_groups(file)["g"]
    assert group.retries == group.router.retries
    return group.router


def test_router_keys(tmp_path: Path):
    assert router_of(tmp_path, "{routing_strategy: least-busy}") == Router("least-busy")
    written = "{num_retries: 3, cooldown_time: 5, allowed_fails: 2, redis_host: somewhere}"
    assert router_of(tmp_path, written) == Router("simple-shuffle", 3, 5, 2)


@pytest.mark.parametrize("router", ["{num_retries: many}", "{cooldown_time: -1}", "{timeout: true}", "round robin"])
def test_router_values(tmp_path: Path, router: str):
    with pytest.raises(DataError, match="must be a"):
        router_of(tmp_path, router)


def test_a_timeout_for_all_models(tmp_path: Path):
    file = tmp_path / "endpoints.yml"
    models = "[{provider: openai, model: a, timeout: 1}, {provider: openai, model: b}]"
    file.write_text(f"model_groups: [{{id: g, models: {models}, router: {{timeout: 9}}}}]\n")
    assert [model.timeout for model in load_model_groups(file)["g"].models] == [1, 9]
