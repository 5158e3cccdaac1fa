"""A killed run does no harm; benchmarks/kill_and_resume.py does it fifty times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"


@pytest.mark.slow
def test_three_kills_do_no_harm():
    done = subprocess.run([sys.executable, str(BENCHMARK), "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 runs killed" in done.stdout
