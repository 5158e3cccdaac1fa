"""The plots of an evaluation: PNG files for documents, and an SVG that takes the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rasa_ft.evaluation.results import ROLES, SPLITS, EvaluationResult, ModelResult
from rasa_ft.evaluation.statistics import wilson
from rasa_ft.files import write_bytes

# On paper; on the page the style sheet says which.
COLOURS = {"base": "#8b93a1", "tuned": "#3457d5", "teacher": "#14866d"}
INK = "#1d2330"
SOFT = "#c9ced8"
GATE = "#c2410c"


def save_plots(result: EvaluationResult, folder: Path) -> list[Path]:
    """Write pass_rates.png, commands.png and, where times were measured, latency.png; the files' paths."""
    figures = {"pass_rates": _pass_rates, "commands": _commands, "latency": _latency}
    written = []
    for name, draw in figures.items():
        with _figure() as pyplot:
            figure = draw(pyplot, result)
            if figure is not None:
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", dpi=160, metadata={"Software": "rasa_ft"})
                write_bytes(folder / f"{name}.png", buffer.getvalue())
                written.append(folder / f"{name}.png")
    return written


def latency_svg(result: EvaluationResult) -> str | None:
    """The answer times as an SVG element coloured by CSS variables; None if none were measured."""
    with _figure() as pyplot:
        figure = _latency(pyplot, result, size=(4.4, 2.5))
        if figure is None:
            return None
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    variables = {
        **{colour: f"var(--{role})" for role, colour in COLOURS.items()},
        INK: "var(--ink)",
        SOFT: "var(--line)",
    }
    for colour, variable in variables.items():
        svg = svg.replace(colour, variable)
    label = 'role="img" aria-label="Share of answers that came within a given time, for each model"'
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg ', lambda m: f"<svg {label} {m[1] or ''}", svg, count=1
    )


@contextmanager
def _figure() -> Iterator[Any]:
    """pyplot without a display and in our style; its figures are closed in the end."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    style: Any = {
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "svg.fonttype": "none",
        "svg.hashsalt": "rasa_ft",
    }
    with matplotlib.rc_context(style):
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def _models(result: EvaluationResult) -> list[ModelResult]:
    return [result.models[role] for role in ROLES if role in result.models]


def _pass_rates(pyplot: Any, result: EvaluationResult) -> Any:
    models = _models(result)
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 0.9 + 0.5 * len(models)), sharey=True)
    for panel, split, gate in zip(panels, reversed(SPLITS), reversed(result.verdict.gates), strict=True):
        for height, model in enumerate(reversed(models)):
            outcome = model.splits[split]
            interval = wilson(outcome.passed, outcome.total)
            colour = COLOURS[model.role]
            panel.plot([100 * interval.low, 100 * interval.high], [height] * 2, color=colour, lw=6, alpha=0.3)
            rate = 100 * outcome.passed / max(1, outcome.total)
            panel.plot(rate, height, "o", color=colour, ms=8)
            side = "left" if rate < 8 else "right" if rate > 92 else "center"
            label = panel.text(rate, height + 0.2, f"{outcome.passed} of {outcome.total}", ha=side, fontsize=8)
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        panel.axvline(100 * gate.threshold, color=GATE, lw=1.2, ls="--")
        panel.set(
            title=f"{split}: gate {100 * gate.threshold:g} %",
            xlim=(-3, 103),
            ylim=(-0.5, len(models) - 0.3),
            xlabel="conversations that pass, %",
        )
        panel.set_yticks(range(len(models)), [model.role for model in reversed(models)])
    return figure


def _commands(pyplot: Any, result: EvaluationResult) -> Any | None:
    scores = result.models["tuned"].splits["validation"].scores
    if not scores.commands:
        return None
    names = list(reversed(scores.commands))
    figure, axes = pyplot.subplots(figsize=(6.4, 0.9 + 0.3 * len(names)))
    values = [scores.commands[name].f1 for name in names]
    axes.barh(range(len(names)), values, color=COLOURS["tuned"], height=0.62)
    for height, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.text(value + 0.01, height, f"{value:.2f}  (n = {scores.commands[name].expected})", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set(xlim=(0, 1.2), xlabel="F1 of the tuned model on validation messages")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    return figure


def _latency(pyplot: Any, result: EvaluationResult, size: tuple[float, float] = (6.4, 3.0)) -> Any | None:
    times = {model.role: sorted(turn.latency for turn in model.turns if turn.latency) for model in _models(result)}
    # Recorded answers take no time, and a curve at 0 would say nothing.
    times = {role: values for role, values in times.items() if values and values[-1] >= 0.005}
    if not times:
        return None
    figure, axes = pyplot.subplots(figsize=size)
    for role, values in times.items():
        shares = [100 * (index + 1) / len(values) for index in range(len(values))]
        axes.step([0, *values], [0, *shares], where="post", color=COLOURS[role], lw=2, label=role)
    axes.set(xlabel="seconds", ylabel="answers so far, %", ylim=(0, 103), xlim=(0, None))
    axes.grid(True, color=SOFT, lw=0.5)
    axes.legend(frameon=False, loc="lower right")
    return figure
