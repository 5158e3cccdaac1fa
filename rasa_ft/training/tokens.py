"""Turns rows into token ids exactly as the chat endpoint builds them; only the answer is learned.

A chat endpoint tokenises ``apply_chat_template(messages, add_generation_prompt=True)`` and generates from there until
an end token. So does a training row: the same prompt ids, the ids of the answer tokenised on its own, the end token.
Templates that insert a system message of their own (SmolLM2's does) do so in both places.

What users wrote stays text: ``<|im_end|>`` in a message is learned as these ten characters, never as the token that
ends a turn. A chat endpoint may take it for the token all the same; such a message is not the place to learn that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rasa_ft.errors import DataError, Location
from rasa_ft.training.control_tokens import filled_ids
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.rows import Example, Message

_SHOWN = 10
_PROBE = "start flow x"


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """The ids after which a chat endpoint lets the model continue."""

    def fill(contents: list[str]) -> str:
        filled = [{**message, "content": text} for message, text in zip(messages, contents, strict=True)]
        return str(tokenizer.apply_chat_template(filled, tokenize=False, add_generation_prompt=True))

    return tuple(filled_ids(tokenizer, [message["content"] for message in messages], fill))


def _answer_ids(tokenizer: Any, text: str) -> list[int]:
    return filled_ids(tokenizer, [text], "".join)


def end_token_id(tokenizer: Any) -> int:
    """The token with which the chat template ends an assistant's turn.

    Raises:
        DataError: the template puts nothing after the answer, or drops the answer.
    """
    question = {"role": "user", "content": "x"}
    opened = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    closed = tokenizer.apply_chat_template([question, {"role": "assistant", "content": _PROBE}], tokenize=False)
    tail = closed.rpartition(_PROBE)[2].lstrip() if closed.startswith(opened.rstrip()) else ""
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
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
    rows = [encode_example(tokenizer, example, end) for example in examples]
    too_long = [
        (example, len(row.tokens)) for example, row in zip(examples, rows, strict=True) if len(row.tokens) > max_length
    ]
    if too_long:
        raise too_long_error([(example.location, length) for example, length in too_long], max_length)
    return rows


def encode_example(tokenizer: Any, example: Example, end: int) -> TrainingRow:
    """Token ids of one example; ``end`` is the token that ends an answer."""
    answer = _answer_ids(tokenizer, example.completion)
    return TrainingRow(prompt_ids(tokenizer, example.messages), (*answer, end), example.turn)


def too_long_error(rows: Sequence[tuple[Location, int]], max_length: int) -> DataError:
    """What is said about rows of more than ``max_length`` tokens, given with their lengths."""
    listing = "\n".join(f"- {place}: {length} tokens" for place, length in rows[:_SHOWN])
    more = f"\n- and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    longest = max(length for _, length in rows)
    return DataError(
        f"{len(rows)} rows are longer than max_length {max_length}, so their answers would be cut:\n{listing}{more}",
        hint=f"Set training.max_length to {longest} or more, or shorten the prompt.",
    )
