"""Stage 2a: ask a language model for other wordings, one call for each message."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import SetSlot
from rasa_ft.calm.dsl import Codec
from rasa_ft.calm.templates import TemplateFailure, fill
from rasa_ft.errors import DataError, Location
from rasa_ft.files import exists
from rasa_ft.llm.client import LLM, Request
from rasa_ft.llm.config import REPHRASER_DEFAULTS, ModelGroup, resolve_group
from rasa_ft.recipe.conversations import AnnotatedTurn
from rasa_ft.recipe.wording import contains_literally, distinct
from rasa_ft.yaml_source import did_you_mean, load_yaml, location_of

DEFAULT_TEMPLATE = Path(__file__).with_name("prompts") / "rephrase.jinja2"
_ATTEMPTS = 3
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPLAINT = "That is not a JSON list of strings. Answer with the JSON list and nothing else."


@dataclass(frozen=True)
class RephraseConfig:
    """What a ``--rephrase-config`` file says; ``llm`` None if it names no model."""

    prompt_template: Path = DEFAULT_TEMPLATE
    llm: ModelGroup | None = None


def load_rephrase_config(path: Path, groups: Mapping[str, ModelGroup]) -> RephraseConfig:
    """Read ``prompt_template`` (relative to the file's folder or the working folder) and ``llm``.

    Raises:
        DataError: unknown keys, no such template, an unknown or broken model.
    """
    content = load_yaml(path) or {}
    known = ("prompt_template", "llm")
    if not isinstance(content, Mapping):
        raise DataError("a mapping is needed.", location=Location(path, 1))
    for key in content:
        if key not in known:
            raise DataError(f"unknown key '{key}'.{did_you_mean(key, known)}", location=location_of(content, key))
    llm = resolve_group(content["llm"], groups, defaults=REPHRASER_DEFAULTS) if "llm" in content else None
    return RephraseConfig(_template(content, path), llm)


def _template(content: Mapping[str, Any], path: Path) -> Path:
    if "prompt_template" not in content:
        return DEFAULT_TEMPLATE
    name = str(content["prompt_template"])
    found = next((file for file in (path.parent / name, Path(name)) if exists(file) and file.is_file()), None)
    if found is None:
        raise DataError(f"{name} does not exist.", location=location_of(content, "prompt_template"))
    return found


async def rephrase(
    llm: LLM, turn: AnnotatedTurn, *, number: int, codec: Codec, template: Path = DEFAULT_TEMPLATE
) -> list[str]:
    """Up to ``number`` wordings of a message, each different from the others and from the original.

    A malformed answer is asked for again; what can be read of the last one is used.

    Raises:
        LLMError: the model could not be asked.
    """
    prompt = _prompt(turn, number=number, codec=codec, template=template)
    hints = {
        "purpose": "rephrase",
        "user_message": turn.text,
        "active_flow": turn.turn.active_flow,
        "requested_slot": turn.turn.requested_slot,
        "number": number,
    }
    messages: tuple[Mapping[str, str], ...] = ({"role": "user", "content": prompt},)
    answer = ""
    for _ in range(_ATTEMPTS):
        answer = (await llm.complete(Request(messages, hints=hints))).text
        texts = whole_list(answer)
        if texts is not None:
            return distinct(texts, turn.text)[:number]
        # Another question than before, so that no store can give the same answer again.
        messages = (*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": _COMPLAINT})
    return distinct(partial_list(answer), turn.text)[:number]


def whole_list(answer: str) -> list[str] | None:
    """The JSON list of texts in an answer, prose and code fences around it ignored; None if there is none."""
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


def _prompt(turn: AnnotatedTurn, *, number: int, codec: Codec, template: Path) -> str:
    values = [command.value for command in turn.turn.parsed if isinstance(command, SetSlot)]
    stated = [value for value in values if isinstance(value, str) and contains_literally(turn.text, value)]
    try:
        source = template.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{template} is not UTF-8 text.") from None
    except OSError as error:
        raise DataError(f"cannot read {template}: {error.strerror}.") from None
    variables = {
        "transcript": turn.before,
        "message": turn.text,
        "number": number,
        "values": list(dict.fromkeys(stated)),
        "commands": codec.dump(turn.turn.parsed),
    }
    try:
        return fill(source, variables)
    except TemplateFailure as error:
        raise DataError(f"the template is broken: {error}", location=Location(template, error.line)) from None
