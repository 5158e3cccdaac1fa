from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI

from rasa_ft.errors import BudgetExceeded, DataError, LLMUnavailable
from rasa_ft.llm.budget import Budget, BudgetedLLM
from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.store import Store, StoredLLM


class Counting:
    def __init__(self, *, fail: bool = False) -> None:
        self.calls = 0
        self.fail = fail

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.fail:
            raise LLMUnavailable("down")
        return Completion(
            text=f"{request.messages[0]['content']} #{self.calls}", model="m", latency=0.5, prompt_tokens=10
        )


def test_an_answer_is_asked_for_once_even_after_a_restart(tmp_path: Path) -> None:
    inner = Counting()
    path = tmp_path / "deep" / "answers.sqlite"
    first = asyncio.run(StoredLLM(inner, Store(path), {"model": "m"}).complete(Request.of_prompt("hi")))
    again = asyncio.run(StoredLLM(inner, Store(path), {"model": "m"}).complete(Request.of_prompt("hi", number=3)))
    assert (first.text, first.from_store, again.text, again.from_store) == ("hi #1", False, "hi #1", True)
    assert (again.latency, again.prompt_tokens) == (0.5, 10)


@pytest.mark.parametrize(
    ("identity", "request_"),
    [
        ({"model": "other"}, Request.of_prompt("hi")),
        ({"model": "m"}, Request.of_prompt("hi!")),
        ({"model": "m"}, Request(Request.of_prompt("hi").messages, parameters={"temperature": 1})),
    ],
)
def test_anything_that_decides_the_answer_is_part_of_the_key(
    tmp_path: Path, identity: dict[str, str], request_: Request
) -> None:
    inner, store = Counting(), Store(tmp_path / "a.sqlite")
    asyncio.run(StoredLLM(inner, store, {"model": "m"}).complete(Request.of_prompt("hi")))
    asyncio.run(StoredLLM(inner, store, identity).complete(request_))
    assert (inner.calls, len(store)) == (2, 2)


def test_equal_questions_in_flight_are_asked_once(tmp_path: Path) -> None:
    inner = Counting()
    llm = StoredLLM(inner, Store(tmp_path / "a.sqlite"), {})

    async def many() -> set[str]:
        return {done.text for done in await asyncio.gather(*(llm.complete(Request.of_prompt("q")) for _ in range(5)))}

    assert asyncio.run(many()) == {"q #1"}
    assert inner.calls == 1


def test_failures_are_not_kept(tmp_path: Path) -> None:
    inner, store = Counting(fail=True), Store(tmp_path / "a.sqlite")
    llm = StoredLLM(inner, store, {})
    with pytest.raises(LLMUnavailable):
        asyncio.run(llm.complete(Request.of_prompt("q")))
    inner.fail = False
    assert asyncio.run(llm.complete(Request.of_prompt("q"))).text == "q #2"
    assert len(store) == 1


def test_answers_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from rasa_ft.llm.store import Store; from rasa_ft.llm.client import Completion\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(20): store.put(str(n), {}, Completion('t', 'm', 0.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path.cwd(), env=os.environ.copy())
    assert done.returncode == -signal.SIGKILL
    assert len(Store(path)) == 20


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_text("this is not a database, " * 50)
    with pytest.raises(DataError, match=r"cannot use .*a\.sqlite"):
        Store(path)


def test_closed_store_reports_instead_of_crashing(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    store.close()
    with pytest.raises(DataError, match="cannot keep"):
        store.put("k", {}, Completion("t", "m", 0.0))


def test_budget_of_calls_and_of_cost() -> None:
    inner = Counting()
    by_calls = BudgetedLLM(inner, Budget(max_calls=2), input_price=0, output_price=0)
    by_cost = BudgetedLLM(inner, Budget(max_cost=0.15), input_price=0.01, output_price=0)

    async def spend(llm: BudgetedLLM, calls: int) -> None:
        for number in range(calls):
            await llm.complete(Request.of_prompt(str(number)))

    asyncio.run(spend(by_calls, 2))
    with pytest.raises(BudgetExceeded, match="2 calls"):
        asyncio.run(spend(by_calls, 1))
    with pytest.raises(BudgetExceeded, match=r"budget of 0\.15 is used up after 2 calls"):
        asyncio.run(spend(by_cost, 3))


def test_a_group_with_store_and_budget_over_http(server: FakeOpenAI, tmp_path: Path) -> None:
    group = ModelGroup("g", (model_config({"provider": "self-hosted", "model": "m", "api_base": server.url}),))
    store, budget = Store(tmp_path / "a.sqlite"), Budget(max_calls=1)
    llm = build_llm(group, project=tmp_path, store=store, budget=budget)
    assert asyncio.run(llm.complete(Request.of_prompt("hi"))).text == "echo: hi"
    assert asyncio.run(llm.complete(Request.of_prompt("hi"))).from_store, "a kept answer costs nothing"
    assert len(server.requests) == budget.calls == 1
