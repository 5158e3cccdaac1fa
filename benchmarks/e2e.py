"""How long `rasa test e2e` takes for many generated cases, with a model that answers at once and with a slow one.

1 000 cases of five turns each, in both styles, are written to files, read, and played on an assistant of ten flows.

- instant: a model that answers at once. Target: under 60 s, reading included.
- slow: a model that takes 200 ms for each answer, 32 cases at a time. The ideal time is that of the waves of
  conversations if nothing but the model took time: ceil(cases / 32) * turns * 0.2 s. Target: within 1.3 times of it.

Wall times, since that is what people wait for; CPU times beside them tell what a busy machine adds. Every case must
pass, or nothing is measured. Exit code 1 if a target is missed.

Run it as `python benchmarks/e2e.py [CASES]`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path

from synthetic_assistant import InstantLLM, Line, write_assistant

from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.model import Suite
from rasa_ft.e2e.runner import run_suite
from rasa_ft.engine.embedded import load_engine
from rasa_ft.llm.client import Completion, Request
from rasa_ft.yaml_source import dump_yaml

CASES, TURNS, FLOWS, PER_FILE = 1000, 5, 10, 100
INSTANT_TARGET_S = 60.0
SLOW_S, AT_A_TIME, SLOW_TARGET = 0.2, 32, 1.3
# Flows that neither call another nor have a guard.
_PLAIN_FLOWS = tuple(n for n in range(FLOWS) if n % 10 != 9 and n % 7 != 3)


class SlowLLM(InstantLLM):
    """Answers after a while, any number of requests at a time."""

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(SLOW_S)
        return await super().complete(request)


def lines(number: int) -> tuple[Line, ...]:
    """Five turns: flow ``number`` from its start to its end."""
    return (
        Line(f"i need service {number} in leeds", f"start flow service_{number}\nset slot place_{number} Leeds"),
        Line(f"500 of {number} please", f"set slot amount_{number} 500"),
        Line(f"then make it 5 of {number}", f"set slot amount_{number} 5"),
        Line(f"gold for {number}", f"set slot grade_{number} gold"),
        Line(f"yes, {number} is right", f"set slot confirmed_{number} True"),
    )


def write_tests(folder: Path, cases: int) -> None:
    """``cases`` cases in files of a hundred, every other one with assertions."""
    for first in range(0, cases, PER_FILE):
        entries = [_case(number) for number in range(first, min(first + PER_FILE, cases))]
        (folder / f"tests_{first:05d}.yml").write_text(dump_yaml({"test_cases": entries}), encoding="utf-8")


def _case(index: int) -> dict[str, object]:
    number = _PLAIN_FLOWS[index % len(_PLAIN_FLOWS)]
    answers = (f"utter_ask_amount_{number}", f"utter_bad_amount_{number}", f"utter_ask_grade_{number}")
    expected = (*answers, f"utter_ask_confirmed_{number}", f"utter_done_{number}")
    steps: list[dict[str, object]] = []
    for line, utter in zip(lines(number), expected, strict=True):
        if index % 2:
            steps.append({"user": line.text, "assertions": [{"bot_uttered": {"utter_name": utter}}]})
        else:
            steps += [{"user": line.text}, {"utter": utter}]
    return {"test_case": f"case {index}", "steps": steps}


def played(assistant: Path, suite: Suite, llm: InstantLLM) -> tuple[float, float]:
    """Wall and CPU seconds of the whole suite, the loading of the assistant not counted."""
    for number in _PLAIN_FLOWS:
        llm.learn(lines(number))
    engine = load_engine(assistant, llm=llm)
    cpu = time.process_time()
    result = asyncio.run(run_suite(engine, suite, concurrency=AT_A_TIME))
    bad = next((found for found in result.results if not found.passed), None)
    if bad is not None or len(result.results) != len(suite.cases):
        raise SystemExit(f"the benchmark does not measure what it should: {bad and (bad.case.id, bad.failure)}")
    return result.seconds, time.process_time() - cpu


def main(cases: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        assistant, tests = Path(folder, "assistant"), Path(folder, "tests")
        assistant.mkdir()
        tests.mkdir()
        write_assistant(assistant, FLOWS)
        write_tests(tests, cases)
        begin = time.perf_counter()
        suite = load_suite(tests)
        reading = time.perf_counter() - begin
        instant, instant_cpu = played(assistant, suite, InstantLLM())
        slow, slow_cpu = played(assistant, suite, SlowLLM())
    target = INSTANT_TARGET_S * cases / CASES
    ideal = math.ceil(cases / AT_A_TIME) * TURNS * SLOW_S
    print(f"{cases} cases of {TURNS} turns; read in {reading:.2f} s")
    print(f"instant model: {instant:.1f} s ({instant_cpu:.1f} s CPU), with reading {instant + reading:.1f} s")
    print(f"  {(instant + reading) / target:.2f} of the {target:.0f} s allowed")
    print(f"{1000 * SLOW_S:.0f} ms model, -j {AT_A_TIME}: {slow:.1f} s ({slow_cpu:.1f} s CPU); ideal {ideal:.1f} s")
    print(f"  {slow / ideal:.2f} times the ideal time; {SLOW_TARGET} allowed")
    return 0 if instant + reading <= target and slow <= SLOW_TARGET * ideal else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else CASES))
