"""An embedder for tests: texts are alike as far as they share words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from rasa_ft.errors import LLMUnavailable


class WordEmbedder:
    """One dimension for each word it has met (room for 500), counted and normalised; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.is_down = False
        self._words: dict[str, int] = {}

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.is_down:
            raise LLMUnavailable("the embedding server is down.")
        self.calls.append(list(texts))
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * 500
        for word, count in Counter(re.findall(r"\w+", text.lower())).items():
            vector[self._words.setdefault(word, len(self._words))] = count
        length = math.hypot(*vector) or 1.0
        return [value / length for value in vector]
