"""Keeps apart the control tokens that a chat template writes and text that only looks like them.

A tokenizer takes every ``<|im_end|>`` for the token, wherever it stands. Splitting the text there and encoding the
pieces one by one is no way out: tokenizers of the SentencePiece kind put a word mark before every piece. So the text
goes through a twin of the tokenizer whose control tokens have names that nobody writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from rasa_ft.errors import DataError

# Characters for private use; one that no message has stands around our names.
_PRIVATE = range(0xE000, 0xF900)


@lru_cache(maxsize=4)
def control_texts(tokenizer: Any) -> re.Pattern[str]:
    """Finds what a tokenizer takes for control tokens: special ones, and others that its chat template writes."""
    template = str(tokenizer.chat_template)
    names = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or (token.content.strip() and token.content in template)
    ]
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def filled_ids(tokenizer: Any, texts: Sequence[str], fill: Callable[[list[str]], str]) -> list[int]:
    """The ids of ``fill(texts)``, with control tokens only where ``fill`` itself writes them.

    Raises:
        DataError: a text looks like a control token, and the tokenizer is not one of the `tokenizers` library.
    """
    controls = control_texts(tokenizer)
    if not any(controls.search(text) for text in texts):
        return list(tokenizer(fill(list(texts)), add_special_tokens=False)["input_ids"])
    mark = next(chr(code) for code in _PRIVATE if not any(chr(code) in text for text in texts))
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"{mark}{len(hidden) - 1}{mark}"

    written = fill([controls.sub(hide, text) for text in texts])
    names = _names(tokenizer, mark)
    renamed = controls.sub(lambda match: names[match[0]], written)
    restored = re.sub(f"{mark}(\\d+){mark}", lambda match: hidden[int(match[1])], renamed)
    return list(_twin(tokenizer, mark).encode(restored, add_special_tokens=False).ids)


def _names(tokenizer: Any, mark: str) -> dict[str, str]:
    """What every control token is called in the twin; told apart from hidden texts by a letter."""
    tokens = (token.content for token in tokenizer.added_tokens_decoder.values())
    controls = control_texts(tokenizer)
    return {token: f"{mark}t{number}{mark}" for number, token in enumerate(tokens) if controls.fullmatch(token)}


@lru_cache(maxsize=4)
def _twin(tokenizer: Any, mark: str) -> Any:
    """A `tokenizers.Tokenizer` that gives the same ids, but for the names of its control tokens."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise DataError(
            "a message holds the text of a control token, which this base model's tokenizer cannot take for text.",
            hint="Leave such messages out, or choose a base model with a tokenizer.json.",
        )
    names = _names(tokenizer, mark)
    content = json.loads(backend.to_str())
    content.update(truncation=None, padding=None, post_processor=None)
    for token in content["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = content["model"]
    model["vocab"] = _renamed(model["vocab"], names)
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    return Tokenizer.from_str(json.dumps(content))


def _renamed(vocabulary: Any, names: dict[str, str]) -> Any:
    if isinstance(vocabulary, dict):
        return {names.get(token, token): number for token, number in vocabulary.items()}
    return [[names.get(token, token), score] for token, score in vocabulary]
