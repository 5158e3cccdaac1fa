"""How long `rasa-ft --help` takes: the median of ten starts, and as a ratio to a bare Python start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def median_seconds(command: list[str], runs: int = 10) -> float:
    """The median wall time of ``runs`` runs, after one to warm the disk."""
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def main() -> None:
    bare = median_seconds([sys.executable, "-c", "pass"])
    ours = median_seconds([sys.executable, "-m", "rasa_ft", "--help"])
    print(f"rasa-ft --help: {ours:.3f} s (median of 10), {ours / bare:.1f} x a bare Python start ({bare:.3f} s)")


if __name__ == "__main__":
    main()
