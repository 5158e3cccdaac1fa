"""What a running training reports, line by line, and the curve drawn from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rasa_ft.files import write_text


@dataclass(frozen=True)
class Tokens:
    """Tokens that went through a training.

    ``computed`` went through the model, padding included; ``of_rows`` are those of the same rows in plain batches
    without padding; of these, ``learned`` are the ones that the loss is made of.
    """

    computed: int = 0
    of_rows: int = 0
    learned: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.computed + other.computed, self.of_rows + other.of_rows, self.learned + other.learned)


@dataclass(frozen=True)
class Progress:
    """State after one optimizer step; losses are means over answer tokens, in nats.

    ``validation_exact`` is the share of validation turns that greedy decoding answers exactly right. Tokens are counted
    as in `Tokens`, and their speeds without the time of validation; a resumed run goes on counting. ``seconds`` are all
    since the first step, ``eta_seconds`` those that are left at the pace so far. ``memory_gib`` is what this process
    has reserved on the GPU, or on a CPU its resident memory.
    """

    step: int = 0
    steps: int = 0
    loss: float = math.nan
    learning_rate: float = 0.0
    seconds: float = 0.0
    eta_seconds: float = 0.0
    tokens_computed: int = 0
    tokens_of_rows: int = 0
    tokens_learned: int = 0
    tokens_per_second: float = 0.0
    row_tokens_per_second: float = 0.0
    learned_tokens_per_second: float = 0.0
    memory_gib: float = 0.0
    validation_loss: float | None = None
    validation_exact: float | None = None

    @property
    def tokens(self) -> Tokens:
        """All tokens up to this step."""
        return Tokens(self.tokens_computed, self.tokens_of_rows, self.tokens_learned)


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


def cut_log(path: Path, step: int) -> Progress:
    """Leave the lines up to ``step`` in a training log, as if the run had stopped there; the last of them."""
    kept = [line for line in read_log(path) if line.get("step", step + 1) <= step] if path.is_file() else []
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    known = {field.name for field in fields(Progress)}
    # Log lines hold numbers only, in the fields that they came from.
    last: dict[str, Any] = {key: value for key, value in (kept[-1] if kept else {}).items() if key in known}
    return Progress(**last)


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
