"""What an evaluation has found, as data: turns, conversations, models. `rasa_ft.evaluation.report` renders it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rasa_ft.evaluation.commands import CommandScores
from rasa_ft.evaluation.statistics import percentile
from rasa_ft.evaluation.verdict import Verdict

# In the order in which they are shown.
ROLES = ("base", "tuned", "teacher")
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class TurnResult:
    """A model's answer to one message in the teacher's history.

    ``expected`` (the teacher's) and ``predicted`` are commands as text, one a line. ``error`` tells why there was no
    answer; ``latency`` is in seconds as the client saw it, waiting in the server's queue included.
    """

    split: str
    case: str
    position: int
    message: str
    expected: tuple[str, ...]
    predicted: tuple[str, ...]
    exact: bool
    active_flow: str | None = None
    requested_slot: str | None = None
    answer: str | None = None
    error: str | None = None
    latency: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class SaidTurn:
    """A message of a conversation as it went with the model: the teacher's commands and the model's, one a line.

    ``expected`` is None where the teacher gave none (it was not asked, or its own conversation had ended).
    """

    message: str
    expected: tuple[str, ...] | None
    predicted: tuple[str, ...]


@dataclass(frozen=True)
class CaseOutcome:
    """How one E2E test ended. ``case`` is ``file::name``, ``place`` is ``file:line``, ``failure`` says what was missed.

    ``diff`` lines begin with ``+`` (expected), ``-`` (happened instead) or a blank (agreed).
    ``unanswered``: the model server failed in it, so that it says nothing about the model. ``flows``: those that the
    teacher's conversation goes through.
    """

    split: str
    case: str
    passed: bool
    place: str = ""
    failure: str | None = None
    diff: tuple[str, ...] = ()
    unanswered: bool = False
    turns: tuple[SaidTurn, ...] = ()
    flows: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitResult:
    """One model on one part of the tests; ``skipped``: tests left out since they need a part that is not run."""

    cases: tuple[CaseOutcome, ...]
    turns: tuple[TurnResult, ...]
    scores: CommandScores
    skipped: int = 0

    @property
    def passed(self) -> int:
        return sum(case.passed for case in self.cases)

    @property
    def total(self) -> int:
        return len(self.cases)


@dataclass(frozen=True)
class ModelResult:
    """One model. ``role`` is base, tuned or teacher; ``source`` says where its answers came from."""

    role: str
    name: str
    source: str
    splits: Mapping[str, SplitResult] = field(default_factory=dict)
    startup_seconds: float | None = None
    seconds: float | None = None

    @property
    def turns(self) -> tuple[TurnResult, ...]:
        return tuple(turn for split in self.splits.values() for turn in split.turns)

    def latency(self, share: float) -> float | None:
        """A percentile (``share`` from 0 to 1) of the answer times in seconds."""
        return percentile(_known(turn.latency for turn in self.turns), share)

    def tokens(self, kind: str, share: float) -> float | None:
        """A percentile of the ``prompt`` or ``completion`` tokens of a call."""
        return percentile(_known(getattr(turn, f"{kind}_tokens") for turn in self.turns), share)


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that the verdict rests on. ``created`` is an ISO time; ``settings`` are shown as they are."""

    assistant: str
    engine: str
    created: str
    models: Mapping[str, ModelResult]
    verdict: Verdict
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
