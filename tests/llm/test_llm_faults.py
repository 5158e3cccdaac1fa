"""Every question is answered and kept, whatever the server does; the large version is benchmarks/llm_faults.py."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

from fake_openai import FakeOpenAI, Reply

from rasa_ft.llm.client import Completion, Request
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.pace import Paces
from rasa_ft.llm.store import Store

QUESTIONS, AT_ONCE = 300, 8
FAULTS = {
    "429": (0.25, Reply(429, "{}")),
    "429 with a time": (0.05, Reply(429, "{}", {"retry-after": "0.01"})),
    "500": (0.04, Reply(500, "{}")),
    "reset": (0.02, Reply(hangs_up=True)),
    "hangs": (0.02, Reply(delay=60)),
    "broken": (0.02, Reply(200, '{"choices": [{"mess')),
}


def test_nothing_is_lost_and_no_more_are_in_flight_than_allowed(server: FakeOpenAI, tmp_path: Path):
    dice, given = random.Random(1), Counter[str]()
    shares = [share for share, _ in FAULTS.values()]

    def script(request: dict[str, Any], number: int) -> Reply | None:
        kind = dice.choices([*FAULTS, "good"], [*shares, 1 - sum(shares)])[0]
        given[kind] += 1
        return FAULTS[kind][1] if kind in FAULTS else None

    server.script = script
    server.delay = 0.002
    keys = {"provider": "self-hosted", "model": "m", "api_base": server.url, "timeout": 1}
    usage, store = Usage(), Store(tmp_path / "a.sqlite")
    paces = Paces(AT_ONCE, first_wait=0.01)
    llm = build_llm(ModelGroup("g", (model_config(keys),)), project=tmp_path, store=store, usage=usage, paces=paces)

    async def ask_all() -> list[Completion]:
        return await asyncio.gather(*(llm.complete(Request.of_prompt(str(n))) for n in range(QUESTIONS)))

    assert [done.text for done in asyncio.run(ask_all())] == [f"echo: {number}" for number in range(QUESTIONS)]
    assert len(store) == usage.calls == QUESTIONS
    assert server.most_at_once <= AT_ONCE
    assert set(given) == {*FAULTS, "good"}
    assert usage.rate_limited == given["429"] + given["429 with a time"]
    assert usage.in_flight == 0
    asked = len(server.requests)
    assert all(done.from_store for done in asyncio.run(ask_all()))
    assert len(server.requests) == asked
