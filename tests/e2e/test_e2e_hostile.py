"""Test files made to break the reader: one clear error each, in little time and memory."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rasa_ft.e2e import schema
from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.e2e.runner import run_suite
from rasa_ft.engine.embedded import load_engine
from rasa_ft.errors import DataError

BOT = Path(__file__).parents[2] / "examples/bot"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# What reading each file comes to: a number of cases or an error, seconds of processor time, and the most memory of the
# process, in MB.
MEASURE = """
import json, sys, time
from pathlib import Path
from rasa_ft.e2e.cases import load_suite
from rasa_ft.errors import DataError
said, seconds = [], []
for file in sys.argv[1:]:
    before = time.process_time()
    try:
        said.append(len(load_suite(Path(file)).cases))
    except DataError as error:
        said.append(str(error))
    seconds.append(round(time.process_time() - before, 2))
# ru_maxrss would count the process that this one was forked from.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([said, seconds, round(int(peak.split()[1]) / 1024)]))
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc"
)
# What breaks a file, with the line and what is said of it.
BROKEN: dict[str, tuple[bytes, int, str]] = {
    "bomb": (f"{BOMB}test_cases: *i\n".encode(), 6, "its aliases make it too large"),
    "not UTF-8": (b"test_cases:\n- {test_case: \xff\xfe, steps: [{user: hi}]}\n", 2, "is not UTF-8 text"),
    "no steps": (b"test_cases:\n- test_case: a\n", 2, "a test case needs `steps`"),
    "empty steps": (b"test_cases:\n- test_case: a\n  steps: []\n", 3, "`steps` is empty"),
    "null steps": (b"test_cases:\n- test_case: a\n  steps:\n", 3, "`steps` must be a list"),
}


def measured(*files: Path) -> tuple[list[int | str], int]:
    """What reading comes to, and the memory it takes in MB; all figures are printed."""
    words = [sys.executable, "-c", MEASURE, *map(str, files)]
    said, seconds, memory = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    lines = [f"{taken:5.2f} s  {file.name}: {found}" for file, found, taken in zip(files, said, seconds, strict=True)]
    sys.stdout.write("\n".join(["", f"{memory} MB at most", *lines, ""]))
    return said, memory


def large(file: Path, megabytes: float) -> int:
    """A file of so many MB; gives the number of cases."""
    case = "- test_case: case {}\n  steps: [{{user: {}}}, {{bot: done}}]\n"
    cases = [case.format(n, "word " * 1000) for n in range(int(megabytes * 1e6 / 5050))]
    file.write_text("test_cases:\n" + "".join(cases), encoding="utf-8")
    return len(cases)


@pytest.mark.parametrize("kind", BROKEN)
def test_one_clear_error(tmp_path: Path, kind: str) -> None:
    content, line, complaint = BROKEN[kind]
    file = tmp_path / "t.yml"
    file.write_bytes(content)
    for path in (file, tmp_path):
        with pytest.raises(DataError) as caught:
            load_suite(path)
        assert str(caught.value).startswith(f"{file}:{line}: ") and complaint in str(caught.value)
        assert not caught.value.parts and len(str(caught.value)) < 400


@needs_proc
def test_files_that_break_are_refused_within_500_mb(tmp_path: Path) -> None:
    many = "- test_case: case\n  steps:\n" + "  - user: hi\n" * 9
    (tmp_path / "dense.yml").write_text("test_cases:\n" + many * 50_000)  # below 8 MB
    files = [tmp_path / f"{kind}.yml" for kind in BROKEN]
    for file, (content, _, _) in zip(files, BROKEN.values(), strict=True):
        file.write_bytes(content)
    large(tmp_path / "10 MB.yml", 10)
    said, memory = measured(*files, tmp_path / "10 MB.yml", tmp_path / "dense.yml")
    assert [type(found) for found in said] == [str] * 7
    hint = "\n  Split it into several files of one folder."
    assert said[-2] == f"{tmp_path}/10 MB.yml:1: the file has 10 MB; at most 8 MB are read.{hint}"
    assert re.fullmatch(
        re.escape(f"{tmp_path}/dense.yml:") + r"\d{5,}: the file holds too much.*" + hint, str(said[-1])
    )
    assert memory < 500


@needs_proc
def test_a_large_file_is_read_within_500_mb(tmp_path: Path) -> None:
    number = large(tmp_path / "t.yml", schema.MAX_FILE_MB - 0.1)
    said, memory = measured(tmp_path / "t.yml")
    assert said == [number]
    assert memory < 500


def test_thousands_of_cases_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("test_cases:\n" + "- {test_case: a, steps: [{user: hi}]}\n" * 5_000)
    suite = load_suite(tmp_path / "t.yml")
    assert [case.name for case in suite.cases[:3]] == ["a", "a 2", "a 3"] and suite.cases[-1].name == "a 5000"
    again = load_suite(write_suite(suite, tmp_path / "u.yml")[0])
    assert [case.key for case in again.cases] == [case.key for case in suite.cases]


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before(tmp_path: Path, enabled: bool) -> None:
    (tmp_path / "t.yml").write_text("test_cases: 3\n")
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(DataError):
            load_suite(tmp_path / "t.yml")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_a_stub_for_an_action_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        "stub_custom_actions: {action_no: {events: []}}\ntest_cases:\n- {test_case: a, steps: [{user: hi}]}\n"
    )
    suite = load_suite(tmp_path / "t.yml")
    (found,) = asyncio.run(run_suite(load_engine(BOT), suite)).results
    assert found.status == "error" and found.failure is not None
    place = f"{tmp_path}/t.yml"
    assert found.failure.message.startswith(f"{place}:1: a stub stands for 'action_no', which is not a custom action")
    assert str(found.failure.location) == f"{place}:3"
