from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI, Reply

from rasa_ft.errors import LLMError, LLMUnavailable, RateLimited
from rasa_ft.llm.client import Request
from rasa_ft.llm.config import ModelGroup, Router, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.pace import LONGEST_REST, Pace, Paces, backoff
from rasa_ft.llm.retry import Gate, retry_after_seconds

REFUSED = RateLimited("slow down")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def gate(concurrency: int = 1, retries: int | None = None, **options: bool) -> Gate:
    return Gate(Pace(concurrency, first_wait=0.001), retries, **options)


def scripted(*outcomes: Exception | str, log: list[str] | None = None, name: str = "") -> Callable[[], Awaitable[str]]:
    """A call that gives each outcome once, then "good"."""
    left = list(outcomes)

    async def once() -> str:
        if log is not None:
            log.append(name)
        await asyncio.sleep(0)
        outcome = left.pop(0) if left else "good"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return once


# --- the limit -------------------------------------------------------------------------------------------------------


def test_refusals_lower_the_limit_for_all_and_answers_raise_it_again():
    pace = Pace(16)
    assert pace.limit == 16
    for _ in range(16):
        pace.refused(REFUSED, began=0)
    assert pace.limit == 10
    for _ in range(200):
        pace.refused(REFUSED, began=0)
    assert pace.limit == 1
    for _ in range(30):
        pace.answered()
    assert 5 < pace.limit < 16
    for _ in range(100):
        pace.answered()
    assert pace.limit == 16


def test_a_server_that_refuses_three_in_ten_at_random_keeps_its_full_load():
    pace = Pace(16)
    for number in range(1000):
        pace.refused(REFUSED, began=0) if number % 10 in (2, 5, 8) else pace.answered()
    assert pace.limit >= 15


def test_fewer_run_at_once_after_refusals():
    pace = Pace(8, first_wait=0.001)
    gate = Gate(pace)
    most = in_flight = 0

    async def once() -> str:
        nonlocal most, in_flight
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.001)
        in_flight -= 1
        return "good"

    async def run(calls: int) -> int:
        nonlocal most
        most = 0
        await asyncio.gather(*(gate.call(once) for _ in range(calls)))
        return most

    assert asyncio.run(run(20)) == 8
    for _ in range(20):
        pace.refused(REFUSED, began=-2)
    lowered = pace.limit
    assert asyncio.run(run(lowered)) == lowered == 1
    assert asyncio.run(run(100)) == 8


# --- rests -----------------------------------------------------------------------------------------------------------


def test_retry_after_is_a_rest_for_all():
    clock = Clock()
    pace = Pace(4, clock=clock)
    pace.refused(RateLimited("slow down", retry_after=10), began=clock())
    assert 10 <= pace.rest <= 11
    pace.refused(RateLimited("slow down", retry_after=2), began=clock())
    assert 10 <= pace.rest <= 11, "the longest counts"
    clock.now += 11
    assert pace.rest == 0


def test_nobody_asks_while_the_server_wants_a_rest(server: FakeOpenAI, tmp_path: Path):
    server.replies = [Reply(429, "{}", {"retry-after": "0.3"})]
    config = model_config({"provider": "self-hosted", "model": "m", "api_base": server.url})
    llm = build_llm(ModelGroup("g", (config,)), project=tmp_path, concurrency=1)

    async def many() -> None:
        await asyncio.gather(*(llm.complete(Request.of_prompt(str(number))) for number in range(4)))

    asyncio.run(many())
    assert len(server.times) == 5
    assert server.times[1] - server.times[0] >= 0.3
    assert [request["messages"][0]["content"] for request in server.requests] == ["0", "0", "1", "2", "3"]


def test_a_whole_round_of_refusals_is_a_rest_that_grows():
    clock = Clock()
    pace = Pace(4, first_wait=1, clock=clock)
    rests = []
    for _ in range(11):
        clock.now += 100
        pace.refused(REFUSED, began=clock())
        rests.append(pace.rest)
    assert rests[:7] == [0] * 7
    assert 0.5 <= rests[7] <= 1.1
    assert 2 <= rests[9] <= 4.4
    clock.now += 100
    pace.answered()
    pace.refused(REFUSED, began=clock())
    assert pace.rest == 0


def test_calls_that_began_before_a_rest_do_not_make_it_longer():
    clock = Clock()
    pace = Pace(16, first_wait=1, clock=clock)
    for _ in range(16):
        pace.refused(REFUSED, began=50)
        clock.now += 0.001
    assert pace.rest <= 1.1


def test_a_rest_of_an_hour_is_not_waited_for():
    pace = Pace(1)
    late = RateLimited("slow down", retry_after=LONGEST_REST + 1)

    async def run() -> list[object]:
        gate = Gate(pace)
        return await asyncio.gather(*(gate.call(scripted(late)) for _ in range(3)), return_exceptions=True)

    found = asyncio.run(run())
    assert all(isinstance(one, RateLimited) for one in found)
    assert "asks to wait 301 seconds" in str(found[0])
    assert pace.rest == 0


def test_backoff_doubles_and_leaves_something_to_chance():
    waits = [{backoff(1, times) for _ in range(50)} for times in (0, 1, 5, 50)]
    for longest, found in zip((1, 2, 32, 60), waits, strict=True):
        assert longest / 2 <= min(found) < max(found) <= longest


# --- the line --------------------------------------------------------------------------------------------------------


def test_first_come_first_served_and_a_repeated_call_keeps_its_place():
    log: list[str] = []

    async def run() -> None:
        shared = gate()
        slow = asyncio.Event()

        async def blocked() -> str:
            await slow.wait()
            return "good"

        first = asyncio.create_task(shared.call(blocked))
        await asyncio.sleep(0)
        others = [
            asyncio.create_task(shared.call(scripted(LLMUnavailable("reset"), log=log, name="a"))),
            *(asyncio.create_task(shared.call(scripted(log=log, name=name))) for name in "bcd"),
        ]
        await asyncio.sleep(0)
        slow.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    assert log[0] == "a" and log.count("a") == 2
    assert [name for name in log if name != "a"] == ["b", "c", "d"]


def test_a_repeated_call_goes_before_those_who_came_later():
    async def run() -> list[str]:
        pace, log = Pace(1), []
        early, late = pace.ticket(), pace.ticket()

        async def visit(ticket: int, name: str) -> None:
            async with pace.place(ticket):
                log.append(name)

        async with pace.place(pace.ticket()):
            visits = [asyncio.create_task(visit(late, "late"))]
            await asyncio.sleep(0)
            visits.append(asyncio.create_task(visit(early, "early")))
            await asyncio.sleep(0)
        await asyncio.gather(*visits)
        return log

    assert asyncio.run(run()) == ["early", "late"]


def test_cancelled_calls_leave_no_hole():
    async def run() -> str:
        shared = gate(2)
        never = asyncio.Event()
        tasks = [asyncio.create_task(shared.call(never.wait)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await shared.call(scripted())

    assert asyncio.run(run()) == "good"


def test_a_call_that_is_cancelled_as_it_gets_its_place_gives_it_back():
    async def run() -> str:
        pace = Pace(1)
        release = asyncio.Event()

        async def hold() -> None:
            async with pace.place(pace.ticket()):
                await release.wait()

        first, second = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(0)
        release.set()
        await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return await Gate(pace).call(scripted())

    assert asyncio.run(run()) == "good"


# --- giving up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "attempts"), [(LLMUnavailable("down"), 4), (REFUSED, 8)])
def test_attempts_are_bounded(error: LLMError, attempts: int):
    log: list[str] = []
    with pytest.raises(type(error)):
        asyncio.run(gate().call(scripted(*[error] * 100, log=log)))
    assert len(log) == attempts


@pytest.mark.parametrize(("error", "survived"), [(LLMUnavailable("reset"), 7), (REFUSED, 60)])
def test_there_is_more_patience_while_others_are_answered(error: LLMError, survived: int):
    async def run(failures: int) -> str:
        pace = Pace(2, first_wait=0)
        unlucky = scripted(*[error] * failures)

        async def once() -> str:
            pace.answered()  # somebody else's
            return await unlucky()

        return await Gate(pace).call(once)

    assert asyncio.run(run(survived)) == "good"
    with pytest.raises(type(error)):
        asyncio.run(run(100))


def test_a_dead_server_is_given_up_for_all_who_wait():
    log: list[str] = []

    async def run() -> list[object]:
        shared = gate(2)
        down = [LLMUnavailable("down", hint="start it")] * 100
        calls = (shared.call(scripted(*down, log=log)) for _ in range(500))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(await shared.call(scripted()), str), "it is tried once all the same"
        return found

    found = asyncio.run(run())
    assert {str(one) for one in found} == {"down\n  start it"}
    assert len(log) < 500, "most of them were turned away"


def test_a_dead_server_comes_back():
    async def run() -> None:
        shared = gate()
        with pytest.raises(LLMUnavailable):
            await shared.call(scripted(*[LLMUnavailable("down")] * 4))
        with pytest.raises(LLMUnavailable):
            await shared.call(scripted(LLMUnavailable("down")))
        assert await shared.call(scripted()) == "good"
        assert await shared.call(scripted(LLMUnavailable("reset"))) == "good", "and is worth repeating again"

    asyncio.run(run())


def test_who_can_ask_another_model_does_not_wait_for_a_rest():
    async def run() -> None:
        pace = Pace(1, first_wait=0.001)
        hurried = Gate(pace, 0, waits_for_rests=False)
        limited = RateLimited("slow down", retry_after=60)
        calls = [asyncio.create_task(hurried.call(scripted(limited))) for _ in range(3)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in found] == [RateLimited] * 3
        with pytest.raises(RateLimited) as caught:
            await hurried.call(scripted())
        assert 50 < (caught.value.retry_after or 0) <= 66

    asyncio.run(run())


def test_a_routed_model_that_rests_is_passed_over(tmp_path: Path):
    limited, free = FakeOpenAI(), FakeOpenAI()
    limited.script = lambda request, number: Reply(429, "{}", {"retry-after": "60"})
    models = [
        model_config({"provider": "self-hosted", "model": name, "api_base": server.url})
        for name, server in (("limited", limited), ("free", free))
    ]
    llm = build_llm(ModelGroup("g", tuple(models), Router()), project=tmp_path, concurrency=1)

    async def many() -> set[str]:
        asked = (llm.complete(Request.of_prompt("q")) for _ in range(20))
        return {done.model for done in await asyncio.gather(*asked)}

    try:
        assert asyncio.run(many()) == {"free"}
        assert len(limited.requests) == 1
    finally:
        limited.stop()
        free.stop()


def test_one_model_in_two_roles_has_one_pace(server: FakeOpenAI, tmp_path: Path):
    server.delay = 0.02
    config = model_config({"provider": "self-hosted", "model": "m", "api_base": server.url})
    paces = Paces(3)
    roles = [build_llm(ModelGroup(name, (config,)), project=tmp_path, paces=paces) for name in ("teacher", "rephraser")]

    async def many() -> None:
        await asyncio.gather(*(role.complete(Request.of_prompt(str(n))) for n in range(6) for role in roles))

    asyncio.run(many())
    assert server.most_at_once == 3


def test_an_unreachable_server_does_not_hold_up_many_calls(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    config = model_config({"provider": "self-hosted", "model": "m", "api_base": address})
    llm = build_llm(ModelGroup("g", (config,)), project=tmp_path, paces=Paces(4, first_wait=0.001))

    async def many() -> list[object]:
        asked = (llm.complete(Request.of_prompt(str(number))) for number in range(100))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert all("is not reachable" in str(found) for found in asyncio.run(many()))


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 -0000"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_headers_ask_for(headers: dict[str, str] | None, seconds: float | None):
    assert retry_after_seconds(headers) == seconds
