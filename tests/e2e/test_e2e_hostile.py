"""Test files made to break the reader: one clear error each, in little time and memory."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rasa_ft.e2e import schema
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.runner import run_suite
from rasa_ft.engine.embedded import load_engine
from rasa_ft.errors import DataError

BOT = Path(__file__).parents[2] / "examples/bot"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# The most memory of a process that reads a file, in MB.
MEASURE = """
import json, sys
from pathlib import Path
from rasa_ft.e2e.cases import load_suite
from rasa_ft.errors import DataError
try:
    said = len(load_suite(Path(sys.argv[1])).cases)
except DataError as error:
    said = str(error)
# ru_maxrss would count the process that this one was forked from.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([said, int(peak.split()[1]) / 1024]))
"""


def large(file: Path, megabytes: float) -> int:
    """A file of so many MB; gives the number of cases."""
    case = "- test_case: case {}\n  steps: [{{user: {}}}, {{bot: done}}]\n"
    cases = [case.format(n, "word " * 1000) for n in range(int(megabytes * 1e6 / 5050))]
    file.write_text("test_cases:\n" + "".join(cases), encoding="utf-8")
    return len(cases)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (BOMB + "test_cases: *i\n", "its aliases make it too large"),
        (b"test_cases:\n- {test_case: \xff\xfe, steps: [{user: hi}]}\n", "is not UTF-8 text"),
        ("test_cases:\n- test_case: a\n", "a test case needs `steps`"),
        ("test_cases:\n- test_case: a\n  steps: []\n", "`steps` is empty"),
        ("test_cases:\n- test_case: a\n  steps:\n", "`steps` must be a list"),
    ],
    ids=["bomb", "not UTF-8", "no steps", "empty steps", "null steps"],
)
def test_one_clear_error_at_once(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    file = tmp_path / "t.yml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = time.process_time()
    with pytest.raises(DataError) as caught:
        load_suite(tmp_path)
    assert time.process_time() - before < 5
    assert complaint in str(caught.value) and str(file) in str(caught.value)
    assert not caught.value.parts and len(str(caught.value)) < 400


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
def test_a_large_file_is_read_within_500_mb(tmp_path: Path) -> None:
    number = large(tmp_path / "t.yml", schema.MAX_FILE_MB - 0.1)
    words = [sys.executable, "-c", MEASURE, str(tmp_path / "t.yml")]
    said, memory = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    assert said == number
    assert memory < 500


def test_a_larger_file_is_refused_at_once(tmp_path: Path) -> None:
    large(tmp_path / "t.yml", 10)
    before = time.process_time()
    with pytest.raises(DataError, match=r"t\.yml:1: the file has 10 MB; at most 8 MB are read"):
        load_suite(tmp_path / "t.yml")
    assert time.process_time() - before < 5


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
    assert "a stub stands for 'action_no', which is not a custom action" in found.failure.message
    assert str(found.failure.location) == f"{tmp_path}/t.yml:3"
