"""Whether data preparation can be killed at any moment without harm.

`rasa llm finetune prepare-data` on some tests of the example assistant, with a local server in a process of its own, is
started again and again and killed (SIGKILL) after a random time, 50 times in all. Whenever a run comes to its end, its
output is compared and everything is taken away, answers too, so that the next one begins anew.

Targets, all of them exact: the file of answers is never damaged; the output folder is never there in part; no question
whose answer was kept is asked again; in the end the output is that of an uninterrupted run, byte by byte. Exit code 1
if one is missed. Run it as `python benchmarks/kill_and_resume.py [KILLS]`; 50 kills take about seven minutes.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import northline
from local_model import Served, served

from rasa_ft.files import fingerprint

KILLS, AT_ONCE, LATENCY_S = 50, 16, 0.15
TESTS = "bot/e2e_tests/happy_paths"
ANSWERS = Path(".rasa_ft") / "answers.sqlite"


@dataclass
class Tally:
    """What happened so far.

    ``unkept``: requests whose answer was not in the file when their run was killed. ``asked``: since everything was
    taken away last.
    """

    killed: int = 0
    ended: int = 0
    requests: int = 0
    repeated: int = 0
    unkept: int = 0
    most_unkept: int = 0
    drafts: int = 0
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def output_of(folder: Path) -> dict[str, bytes]:
    """All files of the output folder."""
    files = (file for file in (folder / "output").rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}


def kept(folder: Path) -> tuple[set[str], str]:
    """The questions whose answers were kept, as `northline.serve` reports them, and what SQLite says of the file."""
    if not (folder / ANSWERS).is_file():
        return set(), "ok"
    with closing(sqlite3.connect(folder / ANSWERS)) as connection:
        verdict = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone()
        rows = connection.execute("SELECT request FROM answers").fetchall() if there else []
    return {fingerprint(json.loads(request)["messages"]) for (request,) in rows}, verdict


def run_for(seconds: float | None, folder: Path) -> int:
    """Run the command and kill it after a while; its exit code."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = northline.command(TESTS, "output", AT_ONCE)
    process = subprocess.Popen(words, cwd=folder, env=northline.environment(), **quiet)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def one_run(server: Served, folder: Path, seconds: float | None, reference: dict[str, bytes], tally: Tally) -> None:
    """Run, maybe kill, and look at what is left."""
    before, _ = kept(folder)
    since = server.report()["requests"]
    code = run_for(seconds, folder)
    asked = server.report(since=since)["asked"]
    after, verdict = kept(folder)
    unkept = sum(question not in after for question in asked)
    tally.asked += asked
    tally.unkept += unkept
    tally.most_unkept = max(tally.most_unkept, unkept)
    if again := before.intersection(asked):
        tally.problems.append(f"{len(again)} kept answers were asked for again")
    if verdict != "ok":
        tally.problems.append(f"the file of answers is damaged: {verdict}")
    if code not in (0, -signal.SIGKILL):
        tally.problems.append(f"a run ended with exit code {code}")
    if (code == 0 or (folder / "output").exists()) and output_of(folder) != reference:
        tally.problems.append("the output is there in part, or another than that of an uninterrupted run")
    tally.killed += code == -signal.SIGKILL
    if code == 0:
        tally.ended += 1
        begin_anew(folder, tally)


def begin_anew(folder: Path, tally: Tally) -> None:
    """Take output and answers away, and close the account of what was asked for them."""
    tally.requests += len(tally.asked)
    tally.repeated += len(tally.asked) - len(set(tally.asked))
    tally.asked = []
    shutil.rmtree(folder / "output")
    shutil.rmtree(folder / ANSWERS.parent)
    drafts = list(folder.glob(".output.*"))
    tally.drafts += len(drafts)
    for draft in drafts:
        shutil.rmtree(draft)


def main(kills: int) -> int:
    dice = random.Random(1)
    serve = [sys.executable, northline.__file__, str(LATENCY_S)]
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, served(serve) as server:
        whole, folder = Path(name) / "whole", Path(name) / "killed"
        for place in (whole, folder):
            place.mkdir()
            northline.write_project(place, server.url)
        northline.keep_code(Path(name))
        first = northline.run(northline.command(TESTS, "output", AT_ONCE), whole)
        reference = output_of(whole)
        if first.code or not reference:
            raise SystemExit(f"the benchmark does not measure what it should: {first.text}")
        calls = server.report()["requests"]
        while tally.killed < kills:
            one_run(server, folder, dice.uniform(0, first.seconds), reference, tally)
        one_run(server, folder, None, reference, tally)
    print(f"one uninterrupted run: {calls} calls, {first.seconds:.1f} s")
    print(f"{tally.killed} runs killed, {tally.ended} came to their end; {tally.requests} calls")
    print(f"repeated calls: {tally.repeated}; their answers were not kept when a run was killed: {tally.unkept}")
    print(f"  {tally.most_unkept} at most in one run, with {AT_ONCE} in flight; drafts of output left: {tally.drafts}")
    for problem in tally.problems:
        print(f"missed: {problem}")
    return 0 if not tally.problems and tally.repeated <= tally.unkept else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else KILLS))
