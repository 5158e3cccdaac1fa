"""What a running training reports, line by line, and the curve drawn from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """State after one optimizer step; losses are means over answer tokens, in nats.

    ``validation_exact`` is the share of validation turns that greedy decoding would answer exactly right.

    ``tokens_per_second`` counts tokens that were computed; ``seconds`` counts from the first step.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    tokens: int
    tokens_per_second: float
    validation_loss: float | None = None
    validation_exact: float | None = None


OnProgress = Callable[[Progress], None]


def append_line(path: Path, progress: Progress) -> None:
    """Add one JSON line to the training log."""
    values = {key: value for key, value in asdict(progress).items() if value is not None}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(values) + "\n")


def read_log(path: Path) -> list[Mapping[str, float]]:
    """The lines of a training log; a last line that was cut off is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Trailing mean over up to ``window`` values."""
    return [sum(values[max(0, end - window) : end]) / min(window, end) for end in range(1, len(values) + 1)]


def draw_losses(log: Path, picture: Path) -> None:
    """The loss curves of a training log as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    lines = read_log(log)
    steps = [line["step"] for line in lines]
    losses = [line["loss"] for line in lines]
    checks = [line for line in lines if "validation_loss" in line]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(steps, losses, color="#9bb8d3", linewidth=0.8, label="training, each step")
    axes.plot(steps, smoothed(losses, 20), color="#1f4e79", linewidth=2, label="training, mean of 20 steps")
    if checks:
        axes.plot(
            [line["step"] for line in checks],
            [line["validation_loss"] for line in checks],
            color="#c55a11",
            marker="o",
            linewidth=1.5,
            label="validation",
        )
    axes.set(xlabel="step", ylabel="loss per answer token", yscale="log")
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(frameon=False, loc="upper right")
    if any("validation_exact" in line for line in checks):
        _draw_exact(axes, checks)
    figure.savefig(picture, dpi=150)
    pyplot.close(figure)


def _draw_exact(axes: Any, checks: Sequence[Mapping[str, float]]) -> None:
    """Exactly right validation turns, on an axis of their own at the right."""
    right = axes.twinx()
    points = [(line["step"], 100 * line["validation_exact"]) for line in checks if "validation_exact" in line]
    right.plot(*zip(*points, strict=True), color="#548235", marker="s", markersize=4, linestyle="--", linewidth=1)
    right.set_ylim(0, 100)
    right.set_ylabel("validation turns exactly right, %", color="#548235")
    right.tick_params(axis="y", colors="#548235")
