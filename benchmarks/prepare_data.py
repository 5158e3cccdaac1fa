"""How well data preparation keeps a slow model busy, and what a second run costs.

`rasa llm finetune prepare-data` on the example assistant (131 conversations, 10 rephrasings asked for), with a local
server in a process of its own that takes 300 ms for each answer; 16 calls in flight.

- busy: the ideal time is that of all calls in rounds of 16. Target: within 1.2 times of it, 10 s for start-up,
  composing and writing not counted.
- speed-up: the same for one file of tests, against one call at a time; from the first to the last request.
  Target: 10 times or more.
- second run: the same command again. Target: no call, less than 3 s.

Wall times, since that is what people wait for; CPU time beside them tells what the command itself costs. Exit code 1 if
a target is missed. Run it as `python benchmarks/prepare_data.py [TESTS]`; the whole takes about four minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import northline
from local_model import Served, served

LATENCY_S, AT_ONCE = 0.3, 16
REST_S, BUSY_TARGET, FASTER_TARGET, AGAIN_TARGET_S = 10.0, 1.2, 10.0, 3.0
SUBSET = "bot/e2e_tests/several_slots.yml"


def measured(
    server: Served, folder: Path, tests: str, out: str, concurrency: int
) -> tuple[northline.Run, dict[str, Any]]:
    """The run, and what the server saw of it."""
    since = server.report()["requests"]
    done = northline.run(northline.command(tests, out, concurrency), folder)
    if done.code:
        raise SystemExit(f"the benchmark does not measure what it should: {done.text}")
    seen = server.report(since=since)
    calls = len(seen["asked"])
    return done, {**seen, "calls": calls, "repeated": calls - len(set(seen["asked"]))}


def main(tests: str) -> int:
    serve = [sys.executable, northline.__file__, str(LATENCY_S)]
    rows: list[tuple[str, str, str, bool]] = []
    with tempfile.TemporaryDirectory() as name, served(serve) as server:
        folder = Path(name)
        northline.write_project(folder, server.url)
        northline.keep_code(folder)
        full, seen = measured(server, folder, tests, "output", AT_ONCE)
        ideal = seen["calls"] / AT_ONCE * LATENCY_S
        ratio = (full.seconds - REST_S) / ideal
        print(f"{seen['calls']} calls, {seen['repeated']} of them twice; at most {seen['most_at_once']} at once")
        print(f"{full.seconds:.1f} s, {full.cpu:.1f} s CPU; requests from first to last {seen['span']:.1f} s")
        rows.append(("busy: (wall - 10 s) / ideal", f"{ratio:.2f}", f"<= {BUSY_TARGET}", ratio <= BUSY_TARGET))
        again, seen = measured(server, folder, tests, "output", AT_ONCE)
        rows.append(("second run: calls", str(seen["calls"]), "0", not seen["calls"]))
        quick = again.seconds < AGAIN_TARGET_S
        rows.append(("second run: seconds", f"{again.seconds:.1f}", f"< {AGAIN_TARGET_S:g}", quick))
        spans = []
        for concurrency in (AT_ONCE, 1):
            (folder / ".rasa_ft" / "answers.sqlite").unlink()
            _, seen = measured(server, folder, SUBSET, f"some-{concurrency}", concurrency)
            spans.append(seen["span"])
        faster = spans[1] / spans[0]
        title = f"speed-up, {seen['calls']} calls in {spans[1]:.0f} s"
        rows.append((title, f"{faster:.1f}", f">= {FASTER_TARGET:g}", faster >= FASTER_TARGET))
    for title, value, target, good in rows:
        print(f"{title:<32} {value:>8}   {target:<8} {'' if good else 'missed'}".rstrip())
    return 0 if all(good for *_, good in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else "bot/e2e_tests"))
