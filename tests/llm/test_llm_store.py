from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI

from rasa_ft.errors import DataError, LLMUnavailable
from rasa_ft.llm.budget import Budget
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


def test_equal_questions_in_flight_are_asked_once_more_if_the_first_fails(tmp_path: Path) -> None:
    class FailsFirst(Counting):
        async def complete(self, request: Request) -> Completion:
            self.fail = self.calls == 0
            return await super().complete(request)

    inner = FailsFirst()
    llm = StoredLLM(inner, Store(tmp_path / "a.sqlite"), {})

    async def many() -> list[Completion | BaseException]:
        asked = (llm.complete(Request.of_prompt("q")) for _ in range(5))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(many())
    assert sum(isinstance(one, LLMUnavailable) for one in found) == 1
    assert inner.calls == 2


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


def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_text("this is not a database, " * 50)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a\.sqlite, the file of kept answers, is damaged") as caught:
        Store(path)
    assert "every answer is asked for again" in str(caught.value)
    assert path.read_bytes() == before


def test_damage_that_shows_later_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = Store(path)
    for number in range(200):
        store.put(str(number), {}, Completion("t" * 500, "m", 0.0))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"x" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        Store(path).get("7")


def test_a_file_without_the_columns_of_use_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, request TEXT, text TEXT, model TEXT, latency REAL)")
        old.execute("INSERT INTO answers VALUES ('k', '{}', 'kept', 'm', 0.5)")
    store = Store(path)
    assert store.get("k") == Completion("kept", "m", 0.5, from_store=True)
    store.put("n", {}, Completion("new", "m", 0.1, 7, 3))
    assert Store(path).get("n") == Completion("new", "m", 0.1, 7, 3, from_store=True)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Store(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="newer version"):
        Store(path)


def test_several_processes_begin_and_use_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    script = (
        "import sys; from pathlib import Path\n"
        "from rasa_ft.llm.store import Store; from rasa_ft.llm.client import Completion\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(100): store.put(f'{sys.argv[2]}-{n}', {}, Completion('t', 'm', 0.0))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), str(number)]) for number in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(Store(path)) == 400


def test_what_may_be_secret_is_not_kept(tmp_path: Path) -> None:
    secret = "sk-canary"
    path = tmp_path / "a.sqlite"
    identity = {
        "api_base": f"https://me:{secret}@host/v1?key={secret}",
        "parameters": {"extra_headers": {"Authorization": secret}, "extra_body": {"api_key": secret}, "max_tokens": 5},
    }
    asyncio.run(StoredLLM(Counting(), Store(path), identity).complete(Request.of_prompt("hi")))
    assert not [file for file in tmp_path.iterdir() if secret.encode() in file.read_bytes()]
    with closing(sqlite3.connect(path)) as connection:
        kept = json.loads(connection.execute("SELECT request FROM answers").fetchone()[0])
    assert kept["model"]["api_base"] == "https://host/v1"
    assert kept["model"]["parameters"]["max_tokens"] == 5
    assert kept["messages"][0]["content"] == "hi"


def test_closed_store_reports_instead_of_crashing(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    store.close()
    with pytest.raises(DataError, match="cannot keep"):
        store.put("k", {}, Completion("t", "m", 0.0))


def test_a_group_with_store_and_budget_over_http(server: FakeOpenAI, tmp_path: Path) -> None:
    group = ModelGroup("g", (model_config({"provider": "self-hosted", "model": "m", "api_base": server.url}),))
    store, budget = Store(tmp_path / "a.sqlite"), Budget(max_calls=1)
    llm = build_llm(group, project=tmp_path, store=store, budget=budget)
    assert asyncio.run(llm.complete(Request.of_prompt("hi"))).text == "echo: hi"
    assert asyncio.run(llm.complete(Request.of_prompt("hi"))).from_store, "a kept answer costs nothing"
    assert len(server.requests) == budget.calls == 1
