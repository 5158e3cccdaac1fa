"""Whether every question is answered, and how fast, when the server refuses, breaks off and hangs.

2 000 questions, 16 in flight, to a local server in a process of its own. Of its replies, at random, 30 % are 429 (a
tenth of these with a Retry-After), 5 % are 500, 5 % never come (a time-out), 2 % are broken JSON; the others take
200 ms.

Targets: every question is answered and kept, the server never sees more than 16 at once, and it takes at most 1.2 times
as long as it must: the time that requests spent at the server, divided by 16, plus the rests that it asked for.
A second run on the kept answers asks nothing. Exit code 1 if a target is missed.

Run it as `python benchmarks/llm_faults.py [QUESTIONS]`.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_model import Served, serve_here, served

from rasa_ft.llm.client import Completion, Request, aclose
from rasa_ft.llm.config import ModelGroup, model_config
from rasa_ft.llm.groups import build_llm
from rasa_ft.llm.meter import Usage
from rasa_ft.llm.pace import Paces
from rasa_ft.llm.store import Store

QUESTIONS, AT_ONCE, TARGET = 2000, 16, 1.2
LATENCY_S, TIMEOUT_S, REST_S = 0.2, 1.0, 0.4
# Kinds of replies with their shares; the rest are good.
SHARES = {"429": 0.27, "429 with Retry-After": 0.03, "500": 0.05, "time-out": 0.05, "broken": 0.02}


def kinds(seed: int = 1) -> Any:
    """What kind of reply each request gets, in turn, without end."""
    dice = random.Random(seed)
    names = [*SHARES, "good"]
    weights = [*SHARES.values(), 1 - sum(SHARES.values())]
    while True:
        yield dice.choices(names, weights)[0]


def serve() -> None:
    """The server's process."""
    from fake_openai import FakeOpenAI, Reply

    kind_of = kinds()
    rests = Rests()
    replies = {
        "429": Reply(429, "{}", delay=0.01),
        "429 with Retry-After": Reply(429, "{}", {"retry-after": str(REST_S)}, delay=0.01),
        "500": Reply(500, "{}", delay=LATENCY_S / 2),
        "time-out": Reply(delay=60),
        "broken": Reply(200, '{"choices": [{"mess', delay=LATENCY_S),
        "good": Reply(delay=LATENCY_S),
    }

    def script(request: dict[str, Any], number: int) -> Reply:
        reply = replies[next(kind_of)]
        if "retry-after" in reply.headers:
            rests.begin()
        return reply

    serve_here(FakeOpenAI(script), lambda: {"rests": rests.seconds})


@dataclass
class Rests:
    """The seconds in which the server wanted no requests; what overlaps counts once."""

    seconds: float = 0.0
    until: float = 0.0

    def begin(self) -> None:
        now = time.monotonic()
        self.seconds += now + REST_S - max(now, self.until)
        self.until = now + REST_S


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float
    completions: list[Completion | BaseException]
    usage: Usage


def run(server: Served, folder: Path, questions: int) -> Run:
    """All questions at once, through everything that a real run goes through."""
    keys = {"provider": "self-hosted", "model": "m", "api_base": server.url, "timeout": TIMEOUT_S}
    usage = Usage()
    llm = build_llm(
        ModelGroup("benchmark", (model_config(keys),)),
        project=folder,
        store=Store(folder / "answers.sqlite"),
        usage=usage,
        paces=Paces(AT_ONCE, first_wait=LATENCY_S),
    )

    async def ask_all() -> list[Completion | BaseException]:
        asked = (llm.complete(Request.of_prompt(f"question {number}")) for number in range(questions))
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await aclose(llm)

    import openai  # noqa: F401 - its import takes a second, once

    begin, cpu = time.perf_counter(), time.process_time()
    completions = asyncio.run(ask_all())
    return Run(time.perf_counter() - begin, time.process_time() - cpu, completions, usage)


def minimum(requests: int, rests: float) -> float:
    """Seconds that these requests need with all places taken, besides the rests that the server asked for."""
    seconds = {"429": 0.01, "429 with Retry-After": 0.01, "500": LATENCY_S / 2, "time-out": TIMEOUT_S}
    kind_of = kinds()
    return sum(seconds.get(next(kind_of), LATENCY_S) for _ in range(requests)) / AT_ONCE + rests


def main(questions: int) -> int:
    with tempfile.TemporaryDirectory() as folder, served([sys.executable, __file__, "serve"]) as server:
        first = run(server, Path(folder), questions)
        seen = server.report()
        again = run(server, Path(folder), questions)
        asked_again = server.report()["requests"] - seen["requests"]
    lost = [found for found in first.completions if isinstance(found, BaseException)]
    wrong = sum(
        found.text != f"echo: question {number}"
        for number, found in enumerate(first.completions)
        if isinstance(found, Completion)
    )
    least = minimum(seen["requests"], seen["rests"])
    usage = first.usage
    others = usage.failed - usage.rate_limited
    print(f"{questions} questions, {seen['requests']} requests: {usage.rate_limited} refused for the rate,")
    print(f"  {others} failed otherwise, {usage.calls} answered; {len(lost)} lost, {wrong} wrong")
    print(f"at once, as the server saw it: {seen['most_at_once']}; {AT_ONCE} allowed")
    rests = f"{seen['rests']:.1f} s of rests"
    print(f"{first.seconds:.1f} s ({first.cpu:.1f} s CPU); the least is {least:.1f} s, with {rests}")
    print(f"  {first.seconds / least:.2f} times as long as it must; {TARGET} allowed")
    print(f"second run: {asked_again} requests, {again.usage.from_store} known answers, {again.seconds:.2f} s")
    if lost:
        print(f"  the first loss: {lost[0]!r}")
    good = not lost and not wrong and not asked_again and usage.calls == questions
    return 0 if good and seen["most_at_once"] <= AT_ONCE and first.seconds <= TARGET * least else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else QUESTIONS))
