"""Judging one turn by its assertions; what a model worded is judged by another model.

Such a judge scores one bot message, and the assertion holds if the score reaches its threshold. Which message that is,
and what the two scores mean, follows the CALM end-to-end test format. How a score comes about is the `Judge`'s affair.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from rasa_ft.calm.events import COMPONENTS, ActionExecuted, BotUttered, Event, UserUttered
from rasa_ft.e2e.assertions import NOTHING_CONSUMED, Assertion, Mismatch, describe_bot
from rasa_ft.errors import BudgetExceeded, DataError, RasaFtError

# Scores come out of floating point arithmetic.
_DIGITS = 6


@dataclass(frozen=True)
class Judgement:
    """``score``: 1 is the best. ``evidence``: the texts that speak for it or against it."""

    score: float
    evidence: tuple[str, ...] = ()


class Judge(Protocol):
    """Scores bot messages."""

    async def relevance(self, message: str, user_message: str) -> Judgement:
        """How near ``user_message`` is to the questions that ``message`` would answer, which are the evidence.

        Raises:
            RasaFtError: there is no verdict, since a model failed or is missing.
        """

    async def groundedness(self, message: str, ground_truth: str) -> Judgement:
        """The share of the statements in ``message`` that ``ground_truth`` supports; the others are the evidence.

        Raises:
            RasaFtError: as `relevance`.
        """


class NoVerdict(Exception):
    """The judge failed, which says nothing about the bot; ``str`` says why."""

    def __init__(self, assertion: Assertion, reason: str) -> None:
        super().__init__(f"no verdict on {assertion.key}: {reason}")
        self.assertion = assertion


@dataclass(frozen=True)
class JudgedAssertion(Assertion):
    """About the first message of the turn that a model worded.

    ``utter_source`` is the component that it came from, or a custom action, of which any message will do.
    """

    threshold: float = 0.5
    utter_name: str | None = None
    utter_source: str | None = None

    def check(self, events: Sequence[Event], before: Sequence[Event] = ()) -> int | Mismatch:
        """The index of the message to be judged; ``before``: what happened in the turn before ``events``."""
        action: str | None = None
        for index, event in enumerate([*before, *events], start=-len(before)):
            if isinstance(event, ActionExecuted):
                action = event.action
            elif index >= 0 and isinstance(event, BotUttered) and event.text and self._is_meant(event, action):
                return index
        said = "; ".join(describe_bot(event) for event in events if isinstance(event, BotUttered))
        return Mismatch(f"no bot message{self._wanted()}; the bot said: {said or 'nothing'}", self.location)

    @abstractmethod
    async def judged(self, message: BotUttered, user_message: str, judge: Judge) -> Mismatch | None:
        """Why the message is not good enough; None: it is.

        Raises:
            RasaFtError: there is no verdict.
        """

    def _is_meant(self, message: BotUttered, action: str | None) -> bool:
        if self.utter_name is not None and message.utter_action != self.utter_name:
            return False
        if self.utter_source is None:
            return message.source in COMPONENTS
        return self.utter_source in (COMPONENTS.get(message.source), action)

    def _wanted(self) -> str:
        name = f" from {self.utter_name}" if self.utter_name is not None else ""
        return f"{name} worded by {self.utter_source or 'a model'}"

    def _falls_short(self, score: float) -> bool:
        return not round(score, _DIGITS) >= self.threshold  # so that no number falls short too

    def _too_low(self, what: str, found: Judgement, evidence: str) -> Mismatch:
        texts = "; ".join(f"'{text}'" for text in found.evidence) or "nothing"
        score = f"score {found.score:.3f}, threshold {self.threshold:g}"
        return Mismatch(f"the bot's message is not {what} enough: {score}; {evidence}: {texts}", self.location)


@dataclass(frozen=True)
class RelevantAssertion(JudgedAssertion):
    """The message is an answer to what the user said."""

    kind: ClassVar[str] = "generative_response_is_relevant"

    async def judged(self, message: BotUttered, user_message: str, judge: Judge) -> Mismatch | None:
        found = await judge.relevance(message.text or "", user_message)
        return self._too_low("relevant", found, "it would answer") if self._falls_short(found.score) else None


@dataclass(frozen=True)
class GroundedAssertion(JudgedAssertion):
    """The message says what is true; ``ground_truth`` None: what the bot made it from."""

    kind: ClassVar[str] = "generative_response_is_grounded"
    ground_truth: str | None = None

    async def judged(self, message: BotUttered, user_message: str, judge: Judge) -> Mismatch | None:
        truth = self.ground_truth or ground_truth_of(message)
        if truth is None:
            raise DataError(
                f"nothing is known about what {describe_bot(message)} was made from.",
                hint="Write `ground_truth` into the assertion.",
            )
        found = await judge.groundedness(message.text or "", truth)
        return self._too_low("grounded", found, "not supported") if self._falls_short(found.score) else None


def ground_truth_of(message: BotUttered) -> str | None:
    """What a message was made from: the documents that were found, or the response as it is written."""
    for key in ("search_results", "domain_ground_truth"):
        if texts := message.metadata.get(key):
            return "\n\n".join(map(str, texts))
    return None


async def check_assertions(
    assertions: Sequence[Assertion],
    events: Sequence[Event],
    *,
    session_start: Sequence[Event] = (),
    ordered: bool = False,
    judge: Judge | None = None,
) -> tuple[Assertion, Mismatch] | None:
    """Judge one turn; the first failing assertion ends it.

    Args:
        assertions: in the order of the file.
        events: the user message and what followed.
        session_start: what came before it, for the first user step of a case; seen by action, slot and bot assertions.
        ordered: each assertion must match after the event that the one before it matched.
        judge: whom the judged ones ask.

    Raises:
        NoVerdict: the judge failed.
        BudgetExceeded: it may not be asked any more.
    """
    everything = [*session_start, *events]
    position = 0
    for assertion in assertions:
        start = position if assertion.sees_session_start else max(position, len(session_start))
        if isinstance(assertion, JudgedAssertion):
            result = await _check_judged(assertion, everything, start, judge)
        else:
            result = assertion.check(everything[start:])
        if isinstance(result, Mismatch):
            return assertion, result
        if ordered and result != NOTHING_CONSUMED:
            position = start + result + 1
    return None


async def _check_judged(
    assertion: JudgedAssertion, events: Sequence[Event], start: int, judge: Judge | None
) -> int | Mismatch:
    found = assertion.check(events[start:], events[:start])
    if isinstance(found, Mismatch):
        return found
    if judge is None:
        raise NoVerdict(assertion, "there is no judge")
    message = events[start + found]
    assert isinstance(message, BotUttered)  # noqa: S101 - that is what the assertion looks for
    user_message = next((event.text for event in events if isinstance(event, UserUttered)), "")
    try:
        return await assertion.judged(message, user_message, judge) or found
    except BudgetExceeded:
        raise
    except RasaFtError as error:
        raise NoVerdict(assertion, str(error)) from error
