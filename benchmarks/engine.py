"""How fast the embedded engine is, how much memory it takes, and how both grow with the number of flows.

Each row is measured in fresh processes on one core: assistants made up of 10, 100 and 500 flows, and examples/bot.
Times are CPU time, which is wall time on an idle machine: the engine waits for nothing.

- load: `load_engine` of the whole assistant, checks included; the imports before it are not counted.
- turns a second: everything that the engine does for a user message, with a model that answers at once: reading the
  message, rendering the prompt (every flow is in it), building the request, parsing the answer, cleaning the commands,
  running flows and actions until the bot listens again, and collecting the turn's events. The synthetic conversations
  have ten turns each and are checked to end as they should; on examples/bot all its tests are played, custom actions
  (rasa_sdk, in process) included.
- load MB, KB a turn: Python memory (tracemalloc) that the loaded assistant, and a running conversation, hold on to.
- peak MB: the most memory that the process of the timed run ever had, libraries included.

Run it as `python benchmarks/engine.py [FLOWS …]`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from synthetic_assistant import InstantLLM, conversation, write_assistant

from rasa_ft.calm.commands import CancelFlow, StartFlow
from rasa_ft.calm.events import FlowCompleted, UserUttered
from rasa_ft.e2e.cases import load_suite
from rasa_ft.engine.embedded import EmbeddedConversation, EmbeddedEngine, load_engine

EXAMPLE = Path(__file__).parents[1] / "examples" / "bot"
SIZES = (10, 100, 500)
SECONDS = 4.0
ROUNDS = 3

# One round of conversations; gives the number of turns.
Play = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Row:
    """What was measured of one assistant; memory in MB, that of a turn in KB."""

    name: str
    flows: int
    load_s: float
    turns_per_s: float
    peak_mb: float
    load_mb: float
    turn_kb: float


# -- in the measured process ----------------------------------------------------------------------------------------


def opened(folder: Path) -> EmbeddedEngine:
    """The example on its recorded model, anything else on an instant one."""
    return load_engine(folder) if folder == EXAMPLE else load_engine(folder, llm=InstantLLM())


def player(engine: EmbeddedEngine) -> Play:
    """The conversations that are timed."""
    return _example(engine) if engine.project == EXAMPLE else _synthetic(engine)


def _synthetic(engine: EmbeddedEngine) -> Play:
    """Conversations about flows from all files."""
    llm = engine.generator.llm
    _check(isinstance(llm, InstantLLM), "the model is not the instant one")
    flows = len(engine.assistant.user_flows) - 1  # one is shared
    talks = [(number, (number + flows // 2 + 1) % flows) for number in range(0, flows, max(10, flows // 50 * 10))]

    async def play() -> int:
        for number, other in talks:
            lines = conversation(number, other)
            llm.learn(lines)
            talk = await engine.start()
            for line in lines:
                last = await talk.say(line.text)
            completed = [event.flow_id for event in last.events if isinstance(event, FlowCompleted)]
            _check(f"service_{number}" in completed, f"the last turn was {last}")
        return sum(len(conversation(*talk)) for talk in talks)

    return play


def _example(engine: EmbeddedEngine) -> Play:
    """The user messages of all tests of the example."""
    suite = load_suite(EXAMPLE / "e2e_tests")

    async def play() -> int:
        for case in suite.cases:
            talk = await engine.start(suite.setup(case))
            for step in case.user_steps:
                turn = await talk.say(step.text)
                _check(turn.error is None, f"{case.name}: {turn.error}")
        return sum(len(case.user_steps) for case in suite.cases)

    return play


def _check(true: bool, problem: str) -> None:
    if not true:
        raise SystemExit(f"the benchmark does not measure what it should: {problem}")


def measure_time(folder: Path) -> dict[str, float]:
    """Load time, turns a second (the best of three spells: others may use the machine), and peak memory."""
    begin = time.process_time()
    engine = opened(folder)
    load_s = time.process_time() - begin
    play = player(engine)
    rates = [_rate(play) for _ in range(ROUNDS)]
    # Linux counts in KB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    flows = len(engine.assistant.user_flows)
    return {"flows": flows, "load_s": load_s, "turns_per_s": max(rates), "peak_mb": peak}


def _rate(play: Play) -> float:
    async def spell() -> float:
        await play()
        begin, turns = time.process_time(), 0
        while time.process_time() - begin < SECONDS / ROUNDS:
            turns += await play()
        return turns / (time.process_time() - begin)

    return asyncio.run(spell())


def measure_memory(folder: Path) -> dict[str, float]:
    """What the assistant holds on to, and each further turn of one long conversation."""
    # What the first engine of a process makes for all (patterns, parsers) is not the assistant's.
    with tempfile.TemporaryDirectory() as other:
        write_assistant(Path(other), 1)
        load_engine(Path(other), llm=InstantLLM())
    tracemalloc.start()
    engine = opened(folder)
    load = _held()
    first = asyncio.run(_long_conversation(engine))  # what all conversations share is made now
    before = _held()
    second = asyncio.run(_long_conversation(engine))
    held = _held() - before
    turns = sum(isinstance(event, UserUttered) for event in second.events)
    _check(len(first.events) == len(second.events), "the long conversations differ")
    return {"load_mb": load / 2**20, "turn_kb": held / turns / 2**10}


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _long_conversation(engine: EmbeddedEngine, rounds: int = 30) -> EmbeddedConversation:
    """The user asks for the same again and again, and cancels it each time."""
    flow = next(flow for flow in engine.assistant.user_flows.values() if flow.guard is None)
    talk = await engine.start()
    for _ in range(rounds):
        await talk.say("i want that", commands=[StartFlow(flow.id)])
        await talk.say("no, leave it", commands=[CancelFlow()])
    return talk


# -- the table ------------------------------------------------------------------------------------------------------


def measured(name: str, folder: Path) -> Row:
    """Measure the assistant in ``folder``, time and memory in a process each."""
    return Row(name, **_in_process("time", folder), **_in_process("memory", folder))  # type: ignore[arg-type]


def _in_process(what: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # type: ignore[no-any-return]


def show(rows: list[Row]) -> None:
    """Print the rows, and the growth from each synthetic one to the next."""
    print(f"{'assistant':<16}{'flows':>6}{'load s':>9}{'turns/s':>9}{'ms/turn':>9}{'peak MB':>9}", end="")
    print(f"{'load MB':>9}{'KB/turn':>9}")
    for row in rows:
        print(f"{row.name:<16}{row.flows:>6}{row.load_s:>9.2f}{row.turns_per_s:>9.0f}", end="")
        print(f"{1000 / row.turns_per_s:>9.2f}{row.peak_mb:>9.0f}{row.load_mb:>9.2f}{row.turn_kb:>9.1f}")
    for small, large in pairwise(rows):
        if small.name.startswith("synthetic") and large.name.startswith("synthetic"):
            print(f"{small.name} -> {large.name}: flows x {large.flows / small.flows:.1f}", end="")
            print(f", load x {large.load_s / small.load_s:.1f}", end="")
            print(f", time of a turn x {small.turns_per_s / large.turns_per_s:.1f}", end="")
            print(f", memory x {large.load_mb / small.load_mb:.1f}")


def main(sizes: tuple[int, ...]) -> None:
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_assistant(Path(folder), size)
            rows.append(measured(f"synthetic {size}", Path(folder)))
    rows.append(measured("examples/bot", EXAMPLE))
    show(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        measure = {"time": measure_time, "memory": measure_memory}[sys.argv[2]]
        print(json.dumps(measure(Path(sys.argv[3]))))
    else:
        main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
