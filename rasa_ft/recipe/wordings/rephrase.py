"""Stage 2a: ask a language model for other wordings, message by message."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.templates import TemplateFailure, fill
from rasa_ft.errors import DataError, Location, RequestRejected
from rasa_ft.llm.client import LLM, Request
from rasa_ft.recipe.conversations import AnnotatedTurn
from rasa_ft.recipe.wording import contains_literally, distinct
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig, read_template
from rasa_ft.recipe.wordings.rephrase_config import load_rephrase_config as load_rephrase_config

# Wordings in one answer. More take longer than a model's `timeout` allows, and begin to resemble each other.
MOST_AT_ONCE = 20
_ATTEMPTS = 3
_DEFAULTS = RephraseConfig()
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPLAINT = 'That cannot be read. Answer with the JSON and nothing else: {"wordings": ["...", "..."]}'
# https://platform.openai.com/docs/guides/structured-outputs; lengths of lists are not understood everywhere.
_ANSWER_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "wordings",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"wordings": {"type": "array", "items": {"type": "string"}}},
            "required": ["wordings"],
            "additionalProperties": False,
        },
    },
}
# Models that take no answer format, by id, as long as they live; they need not be hashable.
_without_format: WeakValueDictionary[int, LLM] = WeakValueDictionary()


async def rephrase(
    llm: LLM,
    turn: AnnotatedTurn,
    *,
    number: int,
    codec: Codec,
    config: RephraseConfig = _DEFAULTS,
    avoid: Sequence[str] = (),
    round: int = 0,
    template: Path | None = None,
) -> list[str]:
    """Up to ``number`` wordings of a message, no two of them nearly equal, nor one to the original or to ``avoid``.

    A malformed answer is asked for again; what can be read of the last one is used. More than `MOST_AT_ONCE` wordings
    are asked for in several calls.

    The template gets ``transcript``, ``message``, ``number``, ``values`` (to be kept literally), ``commands``,
    ``languages`` and ``ways`` (how to say each wording). Wordings to avoid are added to whatever it prints.

    Args:
        avoid: wordings that are known already, good or bad; the model is shown them.
        round: 0 for the first question about a message; each further one is another question, so that no store
            answers it with what it has.
        template: used in place of the configuration's.

    Raises:
        LLMError: the model could not be asked.
        BudgetExceeded: no further call is allowed.
        DataError: the template is broken.
    """
    if template is not None:
        config = replace(config, prompt_template=template)
    source = read_template(config.prompt_template)
    found: list[str] = []
    asked = 0
    for part, ways in enumerate(_parts(config.manners(turn.text, number, round=round))):
        known = [*avoid, *found]
        prompt = _prompt(turn, ways, source=source, codec=codec, config=config) + _further(known, round, part)
        texts = await _texts(llm, prompt, _hints(turn, number=len(ways), round=round, asked=asked))
        found += distinct(texts, turn.text, *known)[: len(ways)]
        asked += len(ways)
    return found


def whole_list(answer: str) -> list[str] | None:
    """The JSON list of texts in an answer, whatever is around it ignored (prose, code fences, an object); None if
    there is none."""
    start, end = answer.find("["), answer.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        value = json.loads(answer[start : end + 1])
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else None


def partial_list(answer: str) -> list[str]:
    """Every complete JSON text after the first bracket, as in a list that was cut off."""
    texts = []
    for match in _TEXT.finditer(answer[max(answer.find("["), 0) :]):
        try:
            texts.append(json.loads(match[0]))
        except json.JSONDecodeError:
            continue
    return texts


# --- the question ----------------------------------------------------------------------------------------------------


def _parts(manners: Sequence[str]) -> list[Sequence[str]]:
    """Parts of about equal size, none above `MOST_AT_ONCE`."""
    if not manners:
        return []
    size = ceil(len(manners) / ceil(len(manners) / MOST_AT_ONCE))
    return [manners[start : start + size] for start in range(0, len(manners), size)]


def _prompt(turn: AnnotatedTurn, ways: Sequence[str], *, source: str, codec: Codec, config: RephraseConfig) -> str:
    values = [command.value for command in turn.commands if isinstance(command, SetSlot)]
    stated = [value for value in values if isinstance(value, str) and contains_literally(turn.text, value)]
    variables = {
        "transcript": turn.before,
        "message": turn.text,
        "number": len(ways),
        "values": list(dict.fromkeys(stated)),
        "commands": codec.dump(turn.commands),
        "ways": [way or "as you like" for way in ways] if any(ways) else [],
        "languages": list(config.languages),
    }
    try:
        return fill(source, variables)
    except TemplateFailure as error:
        place = Location(config.prompt_template, error.line)
        raise DataError(f"the template is broken: {error}", location=place) from None


def _further(known: Sequence[str], round: int, part: int) -> str:
    """What makes a further question another one, whatever the template prints."""
    lines = []
    if known:
        lines = ["These versions exist already. Write new ones that say it in other words than every one of them:"]
        lines += [f"- {text}" for text in known]
    if round or part:
        lines.append(f"(Request {round + 1}, part {part + 1}.)")
    return "\n\n" + "\n".join(lines) if lines else ""


def _hints(turn: AnnotatedTurn, *, number: int, round: int, asked: int) -> dict[str, Any]:
    hints = {
        "purpose": "rephrase",
        "user_message": turn.text,
        "active_flow": turn.turn.active_flow,
        "requested_slot": turn.turn.requested_slot,
        "number": number,
    }
    return hints | ({"round": round} if round else {}) | ({"asked": asked} if asked else {})


# --- the answer ------------------------------------------------------------------------------------------------------


async def _texts(llm: LLM, prompt: str, hints: Mapping[str, Any]) -> list[str]:
    """The texts of the first readable answer, else what can be read of the last one."""
    messages: tuple[Mapping[str, str], ...] = ({"role": "user", "content": prompt},)
    answer = ""
    for _ in range(_ATTEMPTS):
        answer = await _answer(llm, messages, hints)
        texts = whole_list(answer)
        if texts is not None:
            return texts
        # Another question than before, so that no store can give the same answer again.
        messages = (*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": _COMPLAINT})
    return partial_list(answer)


async def _answer(llm: LLM, messages: tuple[Mapping[str, str], ...], hints: Mapping[str, Any]) -> str:
    """Ask with an answer format, and without one where the server refuses that; from then on always without."""
    plain = Request(messages, hints=hints)
    if _without_format.get(id(llm)) is llm:
        return (await llm.complete(plain)).text
    try:
        return (await llm.complete(replace(plain, parameters={"response_format": _ANSWER_FORMAT}))).text
    except RequestRejected:
        answer = (await llm.complete(plain)).text
    # Only now is it sure that the format was at fault, and not the prompt.
    _without_format[id(llm)] = llm
    return answer
