"""What a run of dialogue understanding tests says, as data: the file of ``rasa test du`` and its ``--json``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.du_runner import PAYLOADS, DuResult, DuSuiteResult, JudgedStep
from rasa_ft.e2e.runner import Failure
from rasa_ft.e2e.transcript import describe_step
from rasa_ft.evaluation.commands import CommandScores, score_commands
from rasa_ft.evaluation.statistics import percentile

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def scores(result: DuSuiteResult) -> CommandScores:
    """Agreement of all judged messages; what was not judged counts neither way."""
    return score_commands((step.step.commands, step.predicted) for step in result.steps)


def du_document(
    result: DuSuiteResult, codec: Codec, *, component: str, config: Mapping[str, Any], prompts: bool = False
) -> dict[str, Any]:
    """The results file.

    Args:
        component: the name of the command generator.
        config: its configuration, without secrets.
        prompts: with the prompts of failed steps.
    """
    measured = scores(result)
    judged = [found for found in result.results if found.status != "skipped"]
    passed = [found.case.id for found in judged if found.status == "passed"]
    failed = [found.case.id for found in judged if found.status == "failed"]
    errors = [found.case.id for found in judged if found.status == "error"]
    return {
        "accuracy": {
            "test_cases": _share(len(passed), len(passed) + len(failed)),
            "user_utterances": measured.exact_rate,
        },
        "f1_score": {"macro": measured.macro, "micro": measured.micro, "weighted_average": measured.weighted},
        "number_of_passed_tests": len(passed),
        "number_of_failed_tests": len(failed),
        "number_of_tests_with_errors": len(errors),
        "number_of_skipped_tests": len(result.results) - len(judged),
        "number_of_passed_user_utterances": measured.exact,
        "number_of_failed_user_utterances": measured.turns - measured.exact,
        "number_of_unevaluated_user_utterances": sum(found.not_judged for found in judged),
        "command_metrics": _command_metrics(measured),
        "latency": {
            "total": _percentiles(step.seconds for step in result.steps),
            **_by_component(result.steps, component, lambda step: _milliseconds(step.turn.latency)),
        },
        "prompt_token": _by_component(result.steps, component, lambda step: step.turn.prompt_tokens),
        "completion_token": _by_component(result.steps, component, lambda step: step.turn.completion_tokens),
        "names_of_passed_tests": passed,
        "names_of_failed_tests": failed,
        "names_of_tests_with_errors": errors,
        "failed_test_steps": [
            _failed_step(found, step, codec, component, prompts)
            for found in judged
            for step in found.steps
            if not step.passed
        ],
        "tests_not_judged_to_the_end": [_broken(found, found.broken) for found in judged if found.broken is not None],
        "skipped_tests": [
            {"test_case": found.case.id, "reason": found.skipped} for found in result.with_status("skipped")
        ],
        "llm_command_generator_config": dict(config),
    }


def conversation_until(found: DuResult, step: JudgedStep) -> list[str]:
    """The test's lines up to a message, as they are replayed."""
    return [describe_step(earlier) for earlier in found.case.steps[: step.index + 1]]


def lines(commands: Sequence[Command], codec: Codec) -> list[str]:
    """Commands as the generator writes them."""
    return codec.dump(commands).splitlines()


def _command_metrics(measured: CommandScores) -> dict[str, Any]:
    return {
        name: {
            "tp": count.tp,
            "fp": count.fp,
            "fn": count.fn,
            "total_count": count.expected,
            "precision": count.precision,
            "recall": count.recall,
            "f1_score": count.f1,
        }
        for name, count in measured.commands.items()
    }


def _by_component(
    steps: Iterable[JudgedStep], component: str, value: Callable[[JudgedStep], float | None]
) -> dict[str, dict[str, float]]:
    """Percentiles by the component that read the messages; only where there is something to measure."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for step in steps:
        number = value(step)
        if number is not None:
            values[_reader(step, component)].append(number)
    return {name: _percentiles(numbers) for name, numbers in values.items()}


def _reader(step: JudgedStep, component: str) -> str:
    return component if step.turn.prompt is not None else PAYLOADS


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    known = list(values)
    found = {name: percentile(known, share) for name, share in PERCENTILES.items()}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _failed_step(found: DuResult, step: JudgedStep, codec: Codec, component: str, prompts: bool) -> dict[str, Any]:
    reader = _reader(step, component)
    document: dict[str, Any] = {
        "file": str(step.step.location.file),
        "test_case": found.case.name,
        "conversation": conversation_until(found, step),
        "failed_user_utterance": step.step.text,
        "error_line": step.step.location.line,
        "pass_status": False,
        "expected_commands": lines(step.step.commands, codec),
        "predicted_commands": [{"component": reader, "commands": lines(step.predicted, codec)}],
    }
    if prompts and step.turn.prompt is not None:
        document["prompts"] = [
            {"component": reader, "user_prompt": step.turn.prompt, "answer": step.turn.answer},
        ]
    return document


def _broken(found: DuResult, broken: Failure) -> dict[str, Any]:
    document: dict[str, Any] = {
        "test_case": found.case.id,
        "error": found.status == "error",
        "error_path": str(broken.location),
        "message": broken.message,
    }
    return {**document, "difference": list(broken.diff)} if broken.diff else document


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
