"""How often the verdict is wrong: students at the margin that are shipped, and good students that are not.

2 000 simulated students for each line, judged by the code that judges real ones. Their mistakes cluster in
conversations of the example bot's sizes (tests/simulated_students.py).

- False ship: students who get exactly 5 points fewer messages right than the teacher, the margin. The gates are taken
  away, so that only the comparison protects. Target: at most 5 % are shipped. A line may exceed it by two standard
  errors of the simulation (1 point).
- Two looks: the same, when people write the tests that a first verdict asks for and then look again. Every look is a
  chance to be lucky, so this is higher; shown, no target.
- Power: good students, judged with as many conversations as the sample size formula asks for when it knows their
  rates, default gates included. Target: at least 80 % are shipped.

Exit code 1 if a target is missed. Run it as `python benchmarks/verdict_calibration.py`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulated_students import NO_GATES, Truth, shipped, shipped_in_two_looks, stated_size

from rasa_ft.evaluation.gates import Gates

STUDENTS = 2000
MOST_FALSE, NOISE, LEAST_POWER = 0.05, 0.01, 0.80
ALWAYS_RIGHT, ERRS_TOO = "teacher always right", "teacher errs too"
AT_MARGIN = (
    (ALWAYS_RIGHT, Truth(0.05)),
    (ALWAYS_RIGHT, Truth(0.05, correlation=0.2)),
    (ALWAYS_RIGHT, Truth(0.05, correlation=0.3)),
    (ERRS_TOO, Truth(0.08, 0.03, correlation=0.2)),
)
GOOD = (Truth(0.0), Truth(0.01), Truth(0.01, correlation=0.3), Truth(0.02, correlation=0.2))


def main() -> int:
    started = time.process_time()
    worst_false = max(false_ships())
    lowest_power = min(powers())
    print(f"\nworst false ship {worst_false:.1%}, lowest power {lowest_power:.1%}, ", end="")
    print(f"{time.process_time() - started:.0f} s of CPU time")
    return int(worst_false > MOST_FALSE + NOISE or lowest_power < LEAST_POWER - NOISE)


def false_ships() -> list[float]:
    print("students 5 points behind, shipped     correlation  conversations  one look  two looks")
    rates = []
    for name, truth in AT_MARGIN:
        for count in (29, 100):
            rates.append(shipped(truth, count, NO_GATES, students=STUDENTS, seed=1))
            twice = shipped_in_two_looks(truth, count, NO_GATES, students=STUDENTS // 10, seed=2)
            print(f"{name:37} {truth.correlation:11} {count:14} {rates[-1]:9.1%} {twice:10.1%}", flush=True)
    return rates


def powers() -> list[float]:
    print("\ngood students, shipped  correlation  points behind  conversations stated  shipped")
    rates = []
    for truth in GOOD:
        count = stated_size(truth, seed=3)
        rates.append(shipped(truth, count, Gates(), students=STUDENTS, seed=4))
        behind = 100 * truth.only_teacher
        print(f"{'':23} {truth.correlation:11} {behind:14.0f} {count:21} {rates[-1]:8.1%}", flush=True)
    return rates


if __name__ == "__main__":
    sys.exit(main())
