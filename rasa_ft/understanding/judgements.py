"""What a judge is asked and what its answers come to: prompts, strict reading of JSON, scores.

The two scores are those of CALM's end-to-end tests: mean similarity of three invented questions to the message of the
user, and the share of supported statements.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasa_ft.e2e.judging import Judgement
from rasa_ft.understanding.rendering import PROMPTS, render_prompt

RELEVANCE_PROMPT = PROMPTS / "judge_relevance.jinja2"
GROUNDEDNESS_PROMPT = PROMPTS / "judge_groundedness.jinja2"
QUESTIONS = 3
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


class UnusableAnswer(ValueError):
    """The judge did not answer in the form that was asked for; ``str`` says what is wrong with it."""


@dataclass(frozen=True)
class Statement:
    """One claim of a message, and whether the ground truth supports it."""

    text: str
    supported: bool


def relevance_prompt(message: str) -> str:
    """Asks what a user may have said to get ``message`` as the answer."""
    return render_prompt(RELEVANCE_PROMPT, {"message": message, "number": QUESTIONS})


def groundedness_prompt(message: str, ground_truth: str) -> str:
    """Asks for the statements of ``message``, each compared with ``ground_truth``."""
    return render_prompt(GROUNDEDNESS_PROMPT, {"message": message, "ground_truth": ground_truth})


def insisting(prompt: str, reason: str) -> str:
    """The prompt once more, after an answer that was unusable for that ``reason``."""
    return f"{prompt.rstrip()}\n\nAn earlier answer could not be used: {reason}. Answer with the JSON object alone."


def questions_in(answer: str) -> tuple[str, ...]:
    """The invented questions.

    Raises:
        UnusableAnswer: it is not an object with that many texts.
    """
    questions = _entries(answer, "questions")
    if len(questions) != QUESTIONS or not all(_is_text(question) for question in questions):
        raise UnusableAnswer(f'"questions" is not a list of {QUESTIONS} texts')
    return tuple(question.strip() for question in questions)


def statements_in(answer: str) -> tuple[Statement, ...]:
    """The statements; at least one.

    Raises:
        UnusableAnswer: it is not an object with a list of statements that are scored 0 or 1.
    """
    entries = _entries(answer, "statements")
    if not entries:
        raise UnusableAnswer('"statements" is empty')
    return tuple(map(_statement, entries))


def relevance(user_message: Sequence[float], questions: Sequence[tuple[str, Sequence[float]]]) -> Judgement:
    """The mean cosine similarity of the questions' vectors to that of the user's message, from -1 to 1."""
    scores = [similarity(user_message, vector) for _, vector in questions]
    return Judgement(math.fsum(scores) / len(scores), tuple(text for text, _ in questions))


def groundedness(statements: Sequence[Statement]) -> Judgement:
    """The share of supported statements, from 0 to 1; the evidence are the others."""
    unsupported = tuple(statement.text for statement in statements if not statement.supported)
    return Judgement(1 - len(unsupported) / len(statements), unsupported)


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors; 0 if one has no direction."""
    length = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / length if length else 0.0


def _entries(answer: str, key: str) -> list[Any]:
    content = _parsed(answer)
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UnusableAnswer(f'it is not a JSON object with a list "{key}"')
    return entries


def _parsed(answer: str) -> Any:
    """The JSON that ``answer`` is, or that stands in its fenced block."""
    fenced = _FENCED.search(answer)
    for text in (answer, fenced[1] if fenced else ""):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    raise UnusableAnswer("it is not JSON")


def _statement(entry: Any) -> Statement:
    if not isinstance(entry, dict) or not _is_text(entry.get("statement")):
        raise UnusableAnswer('an entry of "statements" has no text "statement"')
    if entry.get("score") not in (0, 1):
        raise UnusableAnswer('a "score" is neither 0 nor 1')
    return Statement(entry["statement"].strip(), entry["score"] == 1)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
