"""What a run of dialogue understanding tests says, as data: the file of ``rasa test du`` and its ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e.du_runner import PAYLOADS, DuResult, DuSuiteResult, JudgedStep
from rasa_ft.e2e.runner import Failure
from rasa_ft.e2e.transcript import describe_step
from rasa_ft.engine.base import Turn
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
        prompts: with the texts of prompts and answers of failed steps.
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
        "number_of_tests_not_run": len(result.left_out),
        "number_of_passed_user_utterances": measured.exact,
        "number_of_failed_user_utterances": measured.turns - measured.exact,
        "number_of_unevaluated_user_utterances": sum(found.not_judged for found in judged),
        "command_metrics": _command_metrics(measured),
        **measures(result, component),
        "names_of_passed_tests": passed,
        "names_of_failed_tests": failed,
        "names_of_tests_with_errors": errors,
        "names_of_tests_not_run": [case.id for case in result.left_out],
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


def measures(result: DuSuiteResult, component: str) -> dict[str, dict[str, dict[str, float]]]:
    """Percentiles of what the judged messages took: ``latency``, ``prompt_token`` and ``completion_token``.

    Latency is in seconds for ``total``, the way from message to commands, and in milliseconds for the answer that
    ``component`` waited for. Only what was measured is there; messages that no model read are not counted.
    """
    asked = [step for step in result.steps if step.seconds is not None]
    own: dict[str, list[float | None]] = {
        "latency": [_milliseconds(step.turn.latency) for step in asked],
        "prompt_token": [step.turn.prompt_tokens for step in asked],
        "completion_token": [step.turn.completion_tokens for step in asked],
    }
    found = {kind: {component: _percentiles(values)} for kind, values in own.items()}
    found["latency"] = {"total": _percentiles([step.seconds for step in asked]), **found["latency"]}
    return {kind: {name: shares for name, shares in by.items() if shares} for kind, by in found.items()}


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


def _percentiles(values: Sequence[float | None]) -> dict[str, float]:
    """``p50``, ``p90`` and ``p99`` of the values that are known; empty where none is."""
    known = [value for value in values if value is not None]
    found = {name: percentile(known, share) for name, share in PERCENTILES.items()}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _failed_step(found: DuResult, step: JudgedStep, codec: Codec, component: str, prompts: bool) -> dict[str, Any]:
    reader = component if step.turn.prompt is not None else PAYLOADS
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
    if step.turn.prompt is not None:
        document["prompts"] = [_prompt(step.turn, step.turn.prompt, component, prompts)]
    return document


def _prompt(turn: Turn, prompt: str, component: str, texts: bool) -> dict[str, Any]:
    measured = {
        "latency": turn.latency,  # seconds
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
    }
    return {
        "component_name": component,
        **({"user_prompt": prompt, "answer": turn.answer} if texts else {}),
        "llm_response_metadata": {name: value for name, value in measured.items() if value is not None},
    }


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
