"""E2E tests as dialogue understanding tests, with the commands that were observed: for a person to review."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from rasa_ft.calm.events import BotUttered
from rasa_ft.e2e import model as m
from rasa_ft.e2e.du_cases import GENERATED, DuUserStep, Vocabulary, files_of, write_du_suite
from rasa_ft.e2e.du_replay import ModelCallFailed, OutOfScope, replay
from rasa_ft.e2e.du_runner import understood
from rasa_ft.e2e.in_order import run_in_order
from rasa_ft.e2e.matching import exchanges
from rasa_ft.e2e.runner import CaseResult, SuiteResult
from rasa_ft.engine.base import Engine, Turn
from rasa_ft.errors import RasaFtError

_HEAD = """\
# To review. These E2E tests did not pass, or not in the same way again, so what stands here is not what is right:
# `commands` are those that were observed, and [] for messages that were never said. Make the commands and the bot's
# messages complete and right, then move the case to the other tests.
#
"""


@dataclass(frozen=True)
class ToReview:
    """A case whose commands need a person, and why."""

    case: m.TestCase
    reason: str


@dataclass(frozen=True)
class Conversion:
    """What became of E2E tests: ``ready`` and ``to_review`` are dialogue understanding tests, in the suite's order.

    ``left_out``: cases of which nothing is known, since they were skipped or could not be judged.
    """

    ready: tuple[m.TestCase, ...]
    to_review: tuple[ToReview, ...]
    left_out: tuple[CaseResult, ...]


async def convert(engine: Engine, result: SuiteResult, vocabulary: Vocabulary, *, concurrency: int = 8) -> Conversion:
    """Passed cases become tests, once they are seen to lead to the same bot messages again; failed ones are to review.

    No model is asked for commands. Custom actions without stubs run once more.
    """

    async def examine(found: CaseResult) -> m.TestCase | ToReview | CaseResult:
        if found.status in ("skipped", "error"):
            return found
        case = du_case(found, vocabulary)
        if found.failure is not None:
            return ToReview(case, f"{found.failure.location}: {found.failure.message}")
        reason = await _difference(engine, case)
        return case if reason is None else ToReview(case, reason)

    examined = await run_in_order(result.results, examine, concurrency=concurrency, is_last=lambda _: False)
    return Conversion(
        tuple(item for item in examined if isinstance(item, m.TestCase)),
        tuple(item for item in examined if isinstance(item, ToReview)),
        tuple(item for item in examined if isinstance(item, CaseResult)),
    )


async def _difference(engine: Engine, case: m.TestCase) -> str | None:
    """Why the case would not pass even if every message is understood as it says; None: it would."""
    try:
        conversation = await engine.start(m.Suite((case,)).setup(case))
        _, broken = await replay(conversation, case)
    except (RasaFtError, ModelCallFailed, OutOfScope) as error:
        return f"played again, it ends with an error: {error}"
    return f"played again, it goes otherwise: {broken.message}" if broken is not None else None


# --- one case --------------------------------------------------------------------------------------------------------


def du_case(result: CaseResult, vocabulary: Vocabulary) -> m.TestCase:
    """The conversation that a case had: what the bot said first, each message with its commands, all that followed.

    Where a failed case stopped, the bot messages are those that the E2E test expects, if it expects any; messages
    after that have no commands.
    """
    return replace(result.case, steps=tuple(_steps(result, vocabulary)))


def _steps(result: CaseResult, vocabulary: Vocabulary) -> Iterator[m.Step]:
    start = [event for event in result.start_events if isinstance(event, BotUttered)]
    yield from (_bot_step(result.case, message, vocabulary) for message in start)
    expected = [_bot_steps(exchange.expectations) for exchange in exchanges(result.case.steps) if exchange.user]
    last = len(result.turns) - 1
    for index, (step, turn) in enumerate(zip_longest(result.case.user_steps, result.turns)):
        yield _user_step(step, turn, vocabulary)
        if turn is None or (index == last and not result.passed and expected[index]):
            yield from expected[index]
        else:
            yield from (_bot_step(step, message, vocabulary) for message in turn.bot_messages)


def _bot_steps(steps: Iterable[m.Step]) -> list[m.Step]:
    return [step for step in steps if isinstance(step, m.BotStep | m.UtterStep)]


def _user_step(step: m.UserStep, turn: Turn | None, vocabulary: Vocabulary) -> DuUserStep:
    commands = understood(turn, vocabulary.codec) if turn is not None else ()
    return DuUserStep(step.location, step.text, step.metadata, own_metadata=step.own_metadata, commands=commands)


def _bot_step(place: m.Step | m.TestCase, message: BotUttered, vocabulary: Vocabulary) -> m.Step:
    if message.utter_action in vocabulary.responses:
        return m.UtterStep(place.location, str(message.utter_action))
    text = (message.text or "").strip()
    if message.source == "search" or not text:  # worded by a model, or no words at all
        return m.UtterStep(place.location, GENERATED)
    return m.BotStep(place.location, text)


# --- files -----------------------------------------------------------------------------------------------------------


def review_path(out: Path) -> Path:
    """Where the cases to review go: beside the file or folder of the others."""
    return out.with_name(f"{out.stem}_to_review{out.suffix}")


def write_conversion(conversion: Conversion, out: Path, vocabulary: Vocabulary) -> list[Path]:
    """Write the tests to ``out`` and those to review to `review_path`, each with the reason at the top of its file.

    Returns:
        The files, in order.
    """
    review = review_path(out)
    cases = [item.case for item in conversion.to_review]
    heads = _heads(conversion.to_review, files_of(cases, review))
    return [
        *write_du_suite(conversion.ready, out, vocabulary.codec),
        *write_du_suite(cases, review, vocabulary.codec, heads),
    ]


def _heads(items: Sequence[ToReview], files: Mapping[Path, Sequence[m.TestCase]]) -> dict[Path, str]:
    reasons = {id(item.case): item.reason for item in items}
    return {
        file: _HEAD + "".join(f"# {_one_line(f'{case.name}: {reasons[id(case)]}')}\n" for case in cases)
        for file, cases in files.items()
    }


def _one_line(text: str) -> str:
    """For a comment: blanks for line breaks, and no character that YAML cannot hold."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
