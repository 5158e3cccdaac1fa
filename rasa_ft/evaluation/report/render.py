"""The evaluation as one HTML page that needs nothing else: no scripts, no fonts, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from rasa_ft.evaluation.commands import CommandCounts, CommandScores
from rasa_ft.evaluation.report.plots import latency_svg
from rasa_ft.evaluation.results import ROLES, SPLITS, CaseOutcome, EvaluationResult, ModelResult
from rasa_ft.evaluation.statistics import Interval, wilson

SPLIT_TITLES = {"validation": "Validation tests", "train": "Training tests"}
# A number and its sign stay on one line.
PERCENT = "\N{NO-BREAK SPACE}%"
ROLE_TITLES = {"base": "Base", "tuned": "Tuned", "teacher": "Teacher"}


def render_report(result: EvaluationResult) -> str:
    """The page as text; every number on it is also in verdict.json."""
    environment = Environment(
        loader=PackageLoader("rasa_ft.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, seconds=seconds, short=short_case)
    roles, rows = side_by_side(result)
    return environment.get_template("report.html.jinja2").render(
        result=result,
        verdict=result.verdict,
        roles=roles,
        titles=ROLE_TITLES,
        split_titles=SPLIT_TITLES,
        panels=list(_panels(result, roles)),
        rows=rows,
        commands=[(split, list(_command_rows(result, split))) for split in reversed(SPLITS)],
        confusion=_confusion(result.models["tuned"]),
        failures=[(split, _failures(result.models["tuned"], split)) for split in reversed(SPLITS)],
        latency_plot=latency_svg(result),
    )


def side_by_side(result: EvaluationResult) -> tuple[list[str], list[Row]]:
    """The roles that were examined and, for each, what the table says about it."""
    roles = [role for role in ROLES if role in result.models]
    return roles, list(_rows(result, roles))


def percent(rate: float | None, digits: int = 0) -> str:
    """``0.975`` as ``98 %``; what is less than all is never shown as 100, nor what is more than nothing as 0."""
    if rate is None:
        return "–"
    shown = round(100 * rate, digits)
    if (shown == 100 and rate < 1) or (shown == 0 and rate > 0):
        return percent(rate, digits + 1) if digits < 2 else f"{'<' if shown else '>'} {shown:g}{PERCENT}"
    return f"{shown:.{digits}f}{PERCENT}"


def seconds(value: float | None) -> str:
    """``0.4321`` as ``0.4 s``, ``0.04321`` as ``43 ms``."""
    if value is None or value == 0:
        return "–"
    return (
        f"{1000 * value:.0f}\N{NO-BREAK SPACE}ms"
        if value < 0.1
        else f"{value:.{1 if value < 10 else 0}f}\N{NO-BREAK SPACE}s"
    )


def short_case(case: str) -> str:
    """The name of a case without its file."""
    return case.rpartition("::")[2]


@dataclass(frozen=True)
class Bar:
    """One model's pass rate in a panel."""

    role: str
    passed: int
    total: int
    rate: float
    interval: Interval


@dataclass(frozen=True)
class Panel:
    """The pass rates of all models on one split, with the gate."""

    split: str
    threshold: float
    met: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Row:
    """A line of the side-by-side table: a text, maybe a smaller one, for each model."""

    label: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CommandRow:
    """One command: the tuned model's counts, and the base model's F1 where there is one."""

    name: str
    counts: CommandCounts
    base_f1: float | None


def _panels(result: EvaluationResult, roles: list[str]) -> Iterator[Panel]:
    for gate in reversed(result.verdict.gates):
        outcomes = [(role, result.models[role].splits[gate.split]) for role in roles]
        bars = tuple(
            Bar(role, split.passed, split.total, split.passed / max(1, split.total), wilson(split.passed, split.total))
            for role, split in outcomes
        )
        yield Panel(gate.split, gate.threshold, gate.met, bars)


def _rows(result: EvaluationResult, roles: list[str]) -> Iterator[Row]:
    models = [result.models[role] for role in roles]
    for split in reversed(SPLITS):
        yield Row(SPLIT_TITLES[split], tuple(_passed(model, split) for model in models))
    for split in reversed(SPLITS):
        label = "Exact messages, " + ("validation" if split == "validation" else "training")
        yield Row(label, tuple(_exact(model, split) for model in models))
    yield Row("Commands, F1, validation", tuple(_f1(model) for model in models))
    yield Row("Answer time, median", tuple((seconds(model.latency(0.5)), _slow(model)) for model in models))
    yield Row("Tokens in + out, median", tuple(_tokens(model) for model in models))


def _passed(model: ModelResult, split: str) -> tuple[str, str]:
    outcome = model.splits[split]
    if not outcome.total:
        return "–", "no tests"
    interval = wilson(outcome.passed, outcome.total)
    between = f"{percent(interval.low).removesuffix(PERCENT)}–{percent(interval.high)}"
    return percent(outcome.passed / outcome.total), f"{outcome.passed} of {outcome.total} ({between})"


def _exact(model: ModelResult, split: str) -> tuple[str, str]:
    scores = model.splits[split].scores
    if model.role == "teacher":
        return "–", "the yardstick"
    if not scores.turns:
        return "–", "not asked"
    return percent(scores.exact_rate), f"{scores.exact} of {scores.turns}"


def _f1(model: ModelResult) -> tuple[str, str]:
    scores = model.splits["validation"].scores
    if model.role == "teacher":
        return "–", "the yardstick"
    return f"{scores.micro:.2f}", f"macro {scores.macro:.2f}"


def _slow(model: ModelResult) -> str:
    slow = model.latency(0.9)
    return f"90 % within {seconds(slow)}" if slow else "nothing was asked"


def _tokens(model: ModelResult) -> tuple[str, str]:
    prompt, completion = model.tokens("prompt", 0.5), model.tokens("completion", 0.5)
    return ("–", "") if prompt is None else (f"{prompt:.0f} + {completion or 0:.0f}", "")


def _command_rows(result: EvaluationResult, split: str) -> Iterator[CommandRow]:
    base = result.models.get("base")
    scores = base.splits[split].scores if base else CommandScores()
    for name, counts in result.models["tuned"].splits[split].scores.commands.items():
        yield CommandRow(name, counts, scores.commands.get(name, CommandCounts()).f1 if scores.turns else None)


def _confusion(model: ModelResult, most: int = 8) -> list[tuple[str, str, int]]:
    pairs: dict[tuple[str, str], int] = {}
    for split in model.splits.values():
        for pair, count in split.scores.confusion.items():
            pairs[pair] = pairs.get(pair, 0) + count
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(*pair, count) for pair, count in ordered[:most]]


def _failures(model: ModelResult, split: str) -> list[CaseOutcome]:
    return [case for case in model.splits[split].cases if not case.passed]
