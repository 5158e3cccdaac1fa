"""An evaluation as JSON: `verdict.json` for programs, `turns.jsonl` for people who want to see every answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rasa_ft.evaluation.commands import CommandScores
from rasa_ft.evaluation.comparisons import Comparison, TurnComparison
from rasa_ft.evaluation.gates import GateResult
from rasa_ft.evaluation.must_pass import MustPass
from rasa_ft.evaluation.results import EvaluationResult, ModelResult, SplitResult
from rasa_ft.evaluation.statistics import Interval, wilson

# Rises when a field changes its meaning or goes; fields may be added at any time. docs/verdict.md describes them.
SCHEMA = "rasa_ft/verdict/1"


def verdict_json(result: EvaluationResult) -> dict[str, Any]:
    """The content of verdict.json. Rates are fractions, times are seconds, intervals are [low, high]."""
    verdict = result.verdict
    return {
        "schema": SCHEMA,
        "outcome": verdict.outcome.value,
        "gates_met": verdict.gates_met,
        "headline": verdict.headline,
        "reasons": list(verdict.reasons),
        "more_tests": verdict.more_tests,
        "gates": [_gate(gate) for gate in verdict.gates],
        "turns": None if verdict.turns is None else _turns(verdict.turns),
        "must_pass": [_must_pass(wanted) for wanted in verdict.must_pass],
        "comparisons": [_comparison(comparison) for comparison in verdict.comparisons],
        "models": {role: _model(model) for role, model in result.models.items()},
        "assistant": result.assistant,
        "engine": result.engine,
        "created": result.created,
        "settings": dict(result.settings),
    }


def turn_rows(result: EvaluationResult) -> Iterator[dict[str, Any]]:
    """One row for each message and model: what was expected, what the model said, how long it took."""
    for role, model in result.models.items():
        for turn in model.turns:
            yield {"model": role, **asdict(turn)}


def _gate(gate: GateResult) -> dict[str, Any]:
    return {
        "split": gate.split,
        "threshold": gate.threshold,
        "passed": gate.passed,
        "total": gate.total,
        "rate": _rounded(gate.rate),
        "interval": _interval(gate.interval),
        "met": gate.met,
        "proven": gate.proven,
        "more_tests": gate.more,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    pairs = comparison.pairs
    return {
        "other": comparison.other,
        "split": comparison.split,
        "conversations": pairs.total,
        "both_pass": pairs.both,
        "only_tuned_passes": pairs.only_first,
        "only_other_passes": pairs.only_second,
        "difference": _rounded(comparison.difference),
        "interval": _interval(comparison.interval),
        "mcnemar_p": _rounded(comparison.p_value),
        "margin": comparison.margin,
        "not_worse_than_margin": comparison.not_worse,
        "conversations_needed": comparison.needed,
    }


def _turns(turns: TurnComparison) -> dict[str, Any]:
    return {
        "other": turns.other,
        "split": turns.split,
        "finding": turns.finding.value,
        "conversations": turns.conversations,
        "messages": turns.rates.messages,
        "only_tuned_right": turns.rates.only_first,
        "only_other_right": turns.rates.only_second,
        "difference": _rounded(turns.difference),
        "interval": _interval(turns.interval),
        "margin": turns.margin,
        "alpha": turns.alpha,
        "design_effect": _rounded(turns.design_effect),
        "conversations_needed": turns.needed,
        "more_conversations": turns.more,
    }


def _must_pass(wanted: MustPass) -> dict[str, Any]:
    return {"name": wanted.name, "tests": list(wanted.tests), "failed": list(wanted.failed)}


def _model(model: ModelResult) -> dict[str, Any]:
    return {
        "name": model.name,
        "source": model.source,
        "splits": {split: _split(outcome) for split, outcome in model.splits.items()},
        "latency_seconds": {f"p{share:.0f}": _rounded(model.latency(share / 100)) for share in (50.0, 90.0, 99.0)},
        "prompt_tokens_p50": model.tokens("prompt", 0.5),
        "completion_tokens_p50": model.tokens("completion", 0.5),
        "startup_seconds": _rounded(model.startup_seconds, 1),
        "seconds": _rounded(model.seconds, 1),
    }


def _split(outcome: SplitResult) -> dict[str, Any]:
    return {
        "conversations": {
            "passed": outcome.passed,
            "total": outcome.total,
            "rate": _rounded(outcome.passed / outcome.total if outcome.total else None),
            "interval": _interval(wilson(outcome.passed, outcome.total)),
            "failed": [case.case for case in outcome.cases if not case.passed],
            "skipped": outcome.skipped,
        },
        "turns": {
            "exact": outcome.scores.exact,
            "total": outcome.scores.turns,
            "rate": _rounded(outcome.scores.exact_rate),
        },
        "commands": _commands(outcome.scores),
    }


def _commands(scores: CommandScores) -> dict[str, Any]:
    return {
        "f1_micro": _rounded(scores.micro),
        "f1_macro": _rounded(scores.macro),
        "f1_weighted": _rounded(scores.weighted),
        "per_command": {
            name: {
                "tp": count.tp,
                "fp": count.fp,
                "fn": count.fn,
                "total_count": count.expected,
                "precision": _rounded(count.precision),
                "recall": _rounded(count.recall),
                "f1": _rounded(count.f1),
            }
            for name, count in scores.commands.items()
        },
        "confusion": [
            {"expected": expected, "predicted": predicted, "count": count}
            for (expected, predicted), count in scores.confusion.items()
        ],
    }


def _interval(interval: Interval) -> list[float]:
    return [round(interval.low, 4), round(interval.high, 4)]


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
