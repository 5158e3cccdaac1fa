"""How much the wordings of a message differ from each other: figures for people who choose a rephraser.

Words are those of `rasa_ft.recipe.wording.normalised` texts; characters of scripts that are written without blanks
count as words. A figure that too few or too short texts do not allow is None.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import exp, fsum, log, sqrt
from statistics import fmean

from rasa_ft.llm.embeddings import Embedder
from rasa_ft.recipe.wording import normalised

# Hiragana, katakana and Chinese characters.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_LONGEST_NGRAM = 4

Words = Sequence[str]


@dataclass(frozen=True)
class Diversity:
    """Figures of the wordings of one message, or their means over several.

    Attributes:
        distinct_1: different words by words in all; 1 if no word occurs twice.
        distinct_2: the same of pairs of neighbouring words.
        self_bleu: 0 (nothing in common) to 1 (all wordings are equal).
        length_ratio: words of a wording by words of the message, in the mean.
        spread: mean distance (1 - cosine, 0 to 2) of the embeddings of two wordings.
    """

    distinct_1: float | None = None
    distinct_2: float | None = None
    self_bleu: float | None = None
    length_ratio: float | None = None
    spread: float | None = None


def diversity(original: str, wordings: Sequence[str], vectors: Sequence[Sequence[float]] = ()) -> Diversity:
    """The figures of the wordings of one message; ``vectors``: their embeddings, if there are any."""
    texts = [words(wording) for wording in wordings]
    length = len(words(original))
    return Diversity(
        distinct_1=distinct_ngrams(texts, 1),
        distinct_2=distinct_ngrams(texts, 2),
        self_bleu=self_bleu(texts),
        length_ratio=fmean(len(text) for text in texts) / length if texts and length else None,
        spread=mean_distance(vectors),
    )


def averaged(found: Iterable[Diversity]) -> Diversity:
    """The mean of each figure over those who have it."""
    found = list(found)
    columns = {
        field.name: [value for value in (getattr(one, field.name) for one in found) if value is not None]
        for field in fields(Diversity)
    }
    return Diversity(**{name: fmean(values) for name, values in columns.items() if values})


async def spread(texts: Sequence[str], embedder: Embedder) -> float | None:
    """`mean_distance` of the texts' embeddings.

    Raises:
        LLMError: the embedder fails.
        MissingRequirement: it is not installed.
    """
    return mean_distance(await embedder.embed(texts)) if len(texts) > 1 else None


def words(text: str) -> list[str]:
    return _WORD.findall(normalised(text))


def distinct_ngrams(texts: Sequence[Words], n: int) -> float | None:
    """Different n-grams of all texts by their number.

    Source: Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016.
    """
    ngrams = [ngram for text in texts for ngram in _ngrams(text, n)]
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def self_bleu(texts: Sequence[Words]) -> float | None:
    """The mean of each text's `bleu` against all others.

    Source: Zhu et al., Texygen: A Benchmarking Platform for Text Generation Models, SIGIR 2018.
    """
    if len(texts) < 2:
        return None
    return fmean(bleu(text, [*texts[:index], *texts[index + 1 :]]) for index, text in enumerate(texts))


def bleu(text: Words, references: Sequence[Words]) -> float:
    """BLEU of one text, 0 to 1.

    N-grams up to 4 words, up to the length of a shorter text. The first length without a match counts as half a match,
    the next as a quarter, and so on; no word in common is 0.

    Sources: Papineni et al., BLEU, ACL 2002; for the smoothing, method 3 of Chen and Cherry, A Systematic Comparison of
    Smoothing Techniques for Sentence-Level BLEU, WMT 2014.
    """
    precisions: list[float] = []
    half = 1.0
    for n in range(1, min(_LONGEST_NGRAM, len(text)) + 1):
        matches = _clipped_matches(text, references, n)
        if matches == 0 and n == 1:
            return 0.0
        if matches == 0:
            half /= 2
        precisions.append((matches or half) / (len(text) - n + 1))
    if not precisions or not references:
        return 0.0
    nearest = min((len(reference) for reference in references), key=lambda length: (abs(length - len(text)), length))
    brevity = min(1.0, exp(1 - nearest / len(text)))
    return brevity * exp(fmean(map(log, precisions)))


def mean_distance(vectors: Sequence[Sequence[float]]) -> float | None:
    """Mean of 1 - cosine over all pairs; a vector of zeros is at right angles to every other."""
    count = len(vectors)
    if count < 2:
        return None
    units = [_unit(vector) for vector in vectors]
    # The squared length of the sum is the sum of all cosines, each pair twice and each vector with itself.
    total = fsum(fsum(column) ** 2 for column in zip(*units, strict=True))
    alone = fsum(value * value for unit in units for value in unit)
    return max(0.0, 1 - (total - alone) / (count * (count - 1)))


def _ngrams(text: Words, n: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]


def _clipped_matches(text: Words, references: Sequence[Words], n: int) -> int:
    """N-grams of ``text`` that a reference has, each no more often than the reference that has it most often."""
    allowed: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        allowed |= Counter(_ngrams(reference, n))
    return (Counter(_ngrams(text, n)) & allowed).total()


def _unit(vector: Sequence[float]) -> list[float]:
    norm = sqrt(fsum(value * value for value in vector))
    return [value / norm for value in vector] if norm else [0.0] * len(vector)
