"""What benchmarks/training.py found, as ratios, Markdown and pictures. Pure but for the files it is told to write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training_run import Measured

from rasa_ft.files import write_json, write_text

Result = dict[str, Any]

FEWER_TARGET, FASTER_TARGET, GRADIENT_TARGET = 10.0, 8.0, 1e-5
ORDER = ("tokens", "gradients", "speed", "lengths", "curves")
_SMOOTHED = 10


def compared(name: str, plain: Measured, shared: Measured) -> Result:
    """Prefix sharing against plain training of the same steps.

    Where plain training had only some of each step's rows, its times are scaled up by the tokens of the rows: its work
    is the same for each row. Times are of a mean step.
    """
    scale = sum(shared.row_tokens) / sum(plain.row_tokens)
    steps = len(shared.seconds)
    return {
        "name": name,
        "steps": steps,
        "rows_of_a_step": round(sum(shared.rows) / steps, 1),
        "plain_rows_timed": sum(plain.rows),
        "rows_timed": sum(shared.rows),
        "static_tokens": shared.static,
        "plain_tokens": round(sum(plain.executed) * scale / steps),
        "shared_tokens": round(sum(shared.executed) / steps),
        "fewer_tokens": round(sum(plain.executed) * scale / sum(shared.executed), 2),
        "fewer_tokens_without_padding": round(sum(shared.row_tokens) / sum(shared.executed), 2),
        "plain_seconds": round(sum(plain.seconds) * scale / steps, 2),
        "shared_seconds": round(sum(shared.seconds) / steps, 2),
        "faster": round(sum(plain.seconds) * scale / sum(shared.seconds), 2),
        "less_cpu_time": round(sum(plain.cpu_seconds) * scale / sum(shared.cpu_seconds), 2),
        "plain_peak_mib": plain.peak_mib,
        "shared_peak_mib": shared.peak_mib,
        "load_before": [plain.load, shared.load],
        "plain_settings": settings_of(plain),
    }


def settings_of(plain: Measured) -> str:
    """How TRL was set up, in words."""
    run = plain.run
    kinds = ["padding-free" if run.padding_free else "padded", f"micro-batches of {run.micro_batch}"]
    return ", ".join(kinds + (["autocast"] if run.autocast and run.precision == "bf16" else []))


def kept(out: Path, mode: str, results: Iterable[Result], about: Mapping[str, Any]) -> list[Result]:
    """Write the results of a mode; those that an earlier call wrote under other names stay."""
    path = out / f"training-{mode}.json"
    found: dict[str, Result] = {one["name"]: one for one in read(out, mode)}
    found |= {one["name"]: {**one, **about} for one in results}
    write_json(path, {"mode": mode, "results": list(found.values())})
    return list(found.values())


def read(out: Path, mode: str) -> list[Result]:
    """The results that were written for a mode, if any."""
    path = out / f"training-{mode}.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []


def write_report(out: Path) -> str:
    """Write training.md and the pictures from whatever results are in ``out``; the text."""
    results = {mode: read(out, mode) for mode in ORDER}
    text = markdown(results)
    write_text(out / "training.md", text)
    if results["lengths"]:
        draw_lengths(results["lengths"], out / "training-lengths.png")
    for one in results["curves"]:
        draw_curves(one, out / f"training-curves-{one['precision']}.png")
    return text


def markdown(results: Mapping[str, Sequence[Result]]) -> str:
    """All results as one page of tables."""
    parts = ["# Prefix sharing against plain TRL\n", _ABOUT]
    parts += [_SECTIONS[mode](results[mode]) for mode in ORDER if results.get(mode)]
    return "\n".join(parts)


_ABOUT = """Written by `benchmarks/training.py`: TRL's SFTTrainer with its own collator, attention and loss beside
prefix sharing, on the example assistant's rows, with the same recipe, seed, rows and order of rows; each run in a
process of its own. Ratios are within one run of the benchmark; absolute times are of the machine and the moment.
"""


def _tokens(results: Sequence[Result]) -> str:
    rows = [
        (
            one["name"],
            one["steps"],
            one["rows_of_a_step"],
            one["static_tokens"],
            one["row_tokens"],
            one["shared_tokens"],
            _judged(one["fewer_tokens"], one["fewer_tokens"] >= FEWER_TARGET),
        )
        for one in results
    ]
    head = ("", "steps of an epoch", "rows a step", "static tokens", "tokens of its rows", "computed", "times fewer")
    return (
        f"## Tokens computed\n\nCounted over a whole epoch, padding left out. Wanted: {FEWER_TARGET:g} times fewer.\n\n"
        + table(head, rows)
    )


def _gradients(results: Sequence[Result]) -> str:
    rows = [
        (
            one["name"],
            one["rows"],
            f"{one['loss']:.6f}",
            _judged(f"{one['difference']:.1e}", one["difference"] <= GRADIENT_TARGET or not one["judged"]),
        )
        for one in results
    ]
    return (
        "## Gradients\n\nOf the first step, relative to plain TRL in fp32. "
        f"Wanted in fp32: at most {GRADIENT_TARGET:g}.\n\n"
        + table(("", "rows", "loss", "norm of the difference by norm"), rows)
    )


def _speed(results: Sequence[Result]) -> str:
    return (
        "## Time of a step, and memory\n\nFrom the end of a step to the end of the next, optimizer included; memory is "
        f"the most the process ever had. Wanted: {FASTER_TARGET:g} times as fast on two cores.\n\n"
        + _comparison(results)
    )


def _lengths(results: Sequence[Result]) -> str:
    return (
        "## Longer static parts\n\nThe same rows with made-up flows added to the list that all prompts begin with.\n\n"
        + _comparison(results)
        + "\n![times fewer tokens and times as fast by the length of the static part](training-lengths.png)\n"
    )


def _comparison(results: Sequence[Result]) -> str:
    rows = [
        (
            one["name"],
            one["static_tokens"],
            f"{one['steps']} of {one['rows_of_a_step']:g} rows",
            one["plain_rows_timed"],
            f"{one['plain_tokens']} / {one['shared_tokens']}",
            one["fewer_tokens"],
            f"{one['plain_seconds']:.1f} / {one['shared_seconds']:.1f}",
            _judged(one["faster"], one["faster"] >= FASTER_TARGET),
            one["less_cpu_time"],
            f"{one['plain_peak_mib']} / {one['shared_peak_mib']}",
        )
        for one in results
    ]
    head = (
        "",
        "static tokens",
        "steps timed",
        "rows timed plainly",
        "tokens a step, plain / shared",
        "times fewer",
        "s a step, plain / shared",
        "times as fast",
        "times less CPU time",
        "peak MiB, plain / shared",
    )
    notes = {f"{one['plain_settings']}" for one in results}
    loads = [load for one in results for load in one["load_before"]]
    busy = f"Load average before the runs: {min(loads):.1f} to {max(loads):.1f} on {results[0]['cores']} cores."
    part = (
        " Where fewer rows were timed plainly than the steps have, times and tokens are scaled up to all of them."
        if any(one["plain_rows_timed"] < one["rows_timed"] for one in results)
        else ""
    )
    return table(head, rows) + f"\nPlain TRL: {'; '.join(sorted(notes))}. {busy}{part}\n"


def _curves(results: Sequence[Result]) -> str:
    rows = [
        (
            one["name"],
            one["steps"],
            one["rows"],
            f"{one['plain_last']:.4f} / {one['shared_last']:.4f}",
            f"{one['largest_difference']:.1e}",
            f"{one['plain_minutes']:.1f} / {one['shared_minutes']:.1f}",
        )
        for one in results
    ]
    head = (
        "",
        "steps",
        "rows",
        f"mean loss of the last {_SMOOTHED} steps, plain / shared",
        "largest difference of a step's loss",
        "minutes, plain / shared",
    )
    pictures = [f"\n![loss by step and by time](training-curves-{one['precision']}.png)\n" for one in results]
    return (
        "## Loss curves\n\nThe same rows in the same order, once each way.\n\n" + table(head, rows) + "".join(pictures)
    )


_SECTIONS: Mapping[str, Callable[[Sequence[Result]], str]] = {
    "tokens": _tokens,
    "gradients": _gradients,
    "speed": _speed,
    "lengths": _lengths,
    "curves": _curves,
}


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _judged(value: Any, good: bool) -> str:
    return str(value) if good else f"{value} (missed)"


def curve(name: str, precision: str, plain: Measured, shared: Measured) -> Result:
    """Both loss curves and how far they are apart."""

    def last(found: Measured) -> float:
        tail = found.losses[-_SMOOTHED:]
        return sum(tail) / len(tail)

    return {
        "name": name,
        "precision": precision,
        "steps": len(shared.losses),
        "rows": sum(shared.rows),
        "plain_last": round(last(plain), 5),
        "shared_last": round(last(shared), 5),
        "largest_difference": max(abs(a - b) for a, b in zip(plain.losses, shared.losses, strict=True)),
        "plain_minutes": round(sum(plain.seconds) / 60, 2),
        "shared_minutes": round(sum(shared.seconds) / 60, 2),
        "load_before": [plain.load, shared.load],
        "plain": {"losses": plain.losses, "seconds": plain.seconds},
        "shared": {"losses": shared.losses, "seconds": shared.seconds},
    }


def draw_lengths(results: Sequence[Result], picture: Path) -> None:
    """Ratios by the length of the static part."""
    figure, axes = _figure(1)
    ordered = sorted(results, key=lambda one: one["static_tokens"])
    lengths = [one["static_tokens"] for one in ordered]
    for key, label, colour in (
        ("fewer_tokens", "fewer tokens computed", "#9bb8d3"),
        ("faster", "as fast", "#1f4e79"),
    ):
        axes[0].plot(lengths, [one[key] for one in ordered], color=colour, marker="o", linewidth=2, label=label)
    axes[0].set(xlabel="tokens that all prompts begin with", ylabel="times", ylim=(0, None))
    _saved(figure, axes, picture)


def draw_curves(result: Result, picture: Path) -> None:
    """Loss by step, where the curves lie on each other, and by minutes, where they do not."""
    figure, axes = _figure(2)
    for kind, label, colour, width in (
        ("plain", "plain TRL", "#c55a11", 3.0),
        ("shared", "prefix sharing", "#1f4e79", 1.2),
    ):
        losses, seconds = result[kind]["losses"], result[kind]["seconds"]
        minutes = [sum(seconds[: step + 1]) / 60 for step in range(len(seconds))]
        axes[0].plot(range(1, len(losses) + 1), losses, color=colour, linewidth=width, label=label)
        axes[1].plot(minutes, losses, color=colour, linewidth=width, label=label)
    axes[0].set(xlabel="step", ylabel="loss per answer token", yscale="log")
    axes[1].set(xlabel="minutes", yscale="log")
    _saved(figure, axes, picture)


def _figure(panels: int) -> tuple[Any, Sequence[Any]]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(6 * panels, 4), layout="constrained", squeeze=False)
    return figure, axes[0]


def _saved(figure: Any, axes: Sequence[Any], picture: Path) -> None:
    from matplotlib import pyplot

    for one in axes:
        one.grid(True, which="both", alpha=0.2)
        one.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
