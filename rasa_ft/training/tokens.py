"""Turns rows into token ids exactly as the chat endpoint builds them; only the answer is learned.

A chat endpoint tokenises ``apply_chat_template(messages, add_generation_prompt=True)`` and generates from there until
an end token. So does a training row: the same prompt ids, the ids of the answer tokenised on its own, the end token.
Templates that insert a system message of their own (SmolLM2's does) do so in both places.

What users wrote stays text: ``<|im_end|>`` in a message is learned as these ten characters, never as the token that
ends a turn. A chat endpoint may take it for the token all the same; such a message is not the place to learn that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.rows import Example, Message

_SHOWN = 10
# Stands for a special token of a message while the template is filled: private characters around its number.
_MASK = re.compile("\ue000(\\d+)\ue001")
_PROBE = "start flow x"


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """The ids after which a chat endpoint lets the model continue."""
    special = _control_texts(tokenizer)
    hidden: list[str] = []
    masked = [{**message, "content": _masked(message["content"], special, hidden)} for message in messages]
    text = tokenizer.apply_chat_template(masked, tokenize=False, add_generation_prompt=True)
    pieces = _MASK.split(text)
    ids: list[int] = []
    for index, piece in enumerate(pieces):
        ids += _text_ids(tokenizer, hidden[int(piece)]) if index % 2 else _ids(tokenizer, piece)
    return tuple(ids)


@lru_cache(maxsize=4)
def _control_texts(tokenizer: Any) -> re.Pattern[str]:
    """Finds what the tokenizer takes for control tokens, and what looks like our own mask."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), _MASK.pattern]))


def _masked(text: str, special: re.Pattern[str], hidden: list[str]) -> str:
    """``text`` with a number in place of every control token, which goes to ``hidden``."""

    def mask(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\ue000{len(hidden) - 1}\ue001"

    return special.sub(mask, text)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _text_ids(tokenizer: Any, text: str) -> list[int]:
    """As `_ids`, with special tokens in the text taken for what they look like."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def end_token_id(tokenizer: Any) -> int:
    """The token with which the chat template ends an assistant's turn.

    Raises:
        DataError: the template puts nothing after the answer, or drops the answer.
    """
    question = {"role": "user", "content": "x"}
    opened = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    closed = tokenizer.apply_chat_template([question, {"role": "assistant", "content": _PROBE}], tokenize=False)
    tail = closed.rpartition(_PROBE)[2].lstrip() if closed.startswith(opened.rstrip()) else ""
    ids = _ids(tokenizer, tail)
    if not ids:
        raise DataError(
            "the base model's chat template does not end an assistant's turn with a token.",
            hint="Choose an instruction-tuned base model.",
        )
    return int(ids[0])


def encode(tokenizer: Any, examples: Sequence[Example], max_length: int) -> list[TrainingRow]:
    """Token ids of every example; rows of the same turn have the same group.

    Raises:
        DataError: rows are longer than ``max_length``; their answers would be cut.
    """
    end = end_token_id(tokenizer)
    rows = [_row(tokenizer, example, end) for example in examples]
    too_long = [
        (example, len(row.tokens)) for example, row in zip(examples, rows, strict=True) if len(row.tokens) > max_length
    ]
    if too_long:
        raise _too_long(too_long, max_length)
    return rows


def _row(tokenizer: Any, example: Example, end: int) -> TrainingRow:
    answer = _text_ids(tokenizer, example.completion)
    return TrainingRow(prompt_ids(tokenizer, example.messages), (*answer, end), example.turn)


def _too_long(rows: Sequence[tuple[Example, int]], max_length: int) -> DataError:
    listing = "\n".join(f"- {example.location}: {length} tokens" for example, length in rows[:_SHOWN])
    more = f"\n- and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    longest = max(length for _, length in rows)
    return DataError(
        f"{len(rows)} rows are longer than max_length {max_length}, so their answers would be cut:\n{listing}{more}",
        hint=f"Set training.max_length to {longest} or more, or shorten the prompt.",
    )
