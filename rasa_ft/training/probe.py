"""Exact-match accuracy of a model on fine-tuning rows, in this process: a quick look between experiments.

The verdict of a run comes from re-running E2E tests through a server; this only tells whether that is worth while.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.training.prefix_tree import shared_length
from rasa_ft.training.rows import Example
from rasa_ft.training.tokens import encode, end_token_id, prompt_ids

_BATCH = 24


@dataclass(frozen=True)
class Miss:
    """A row that was answered differently."""

    example: Example
    answer: str


@dataclass(frozen=True)
class ProbeResult:
    """How many of ``rows`` were not answered exactly as expected, and some of them."""

    rows: int
    wrong: int
    misses: tuple[Miss, ...]

    @property
    def accuracy(self) -> float:
        """Share of exact answers."""
        return 1 - self.wrong / self.rows


def probe(
    model: Path | Any,
    examples: Sequence[Example],
    *,
    limit: int | None = None,
    tokenizer: Any = None,
    shown_misses: int = 20,
    max_new_tokens: int = 64,
) -> ProbeResult:
    """How many completions of ``examples``, evenly thinned to ``limit``, are the model's greedy answers.

    Args:
        model: a folder with model and tokenizer, or a loaded model; then ``tokenizer`` is needed.
        examples: the rows; at least one.
        limit: at most so many rows.
        tokenizer: the loaded model's tokenizer.
        shown_misses: of so many wrong rows the answers are decoded, which takes longer than the rest.
        max_new_tokens: answers are cut after so many tokens.
    """
    if isinstance(model, Path):
        from rasa_ft.training.base_models import load_model, load_tokenizer

        model, tokenizer = load_model(str(model)), load_tokenizer(str(model))
    if limit is not None and limit < len(examples):
        examples = [examples[index * len(examples) // limit] for index in range(limit)]
    wrong = [example for example, right in zip(examples, _exact(model, tokenizer, examples), strict=True) if not right]
    shown = wrong[:shown_misses]
    prompts = [prompt_ids(tokenizer, example.messages) for example in shown]
    answers = greedy_answers(model, prompts, end=end_token_id(tokenizer), max_new_tokens=max_new_tokens)
    texts = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
    return ProbeResult(len(examples), len(wrong), tuple(map(Miss, shown, texts)))


def _exact(model: Any, tokenizer: Any, examples: Sequence[Example]) -> list[bool]:
    """For every example whether its completion is the greedy answer; prompts that begin alike go through together."""
    from rasa_ft.training.shared_loss import score, shared_attention

    model.eval()
    rows = encode(tokenizer, examples, max_length=sys.maxsize)
    order = sorted(range(len(rows)), key=lambda index: rows[index].prompt)
    right = [False] * len(rows)
    with shared_attention(model):
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            _, exact = score(model, [rows[index] for index in chosen])
            for index, one in zip(chosen, exact, strict=True):
                right[index] = one
    return right


def greedy_answers(model: Any, prompts: Sequence[tuple[int, ...]], *, end: int, max_new_tokens: int) -> list[list[int]]:
    """The most likely continuation of every prompt up to ``end``, without it; the common prefix is computed once."""
    import torch

    if not prompts:
        return []
    model.eval()
    shared = min(shared_length(prompts), min(map(len, prompts)) - 1)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers: list[list[int]] = [[] for _ in prompts]
    with torch.no_grad():
        static = _prefilled(model, prompts[0][:shared])
        if static is None:
            shared = 0
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            tails = [list(prompts[index][shared:]) for index in chosen]
            for index, answer in zip(chosen, _decode(model, static, shared, tails, end, max_new_tokens), strict=True):
                answers[index] = answer
    return answers


def _prefilled(model: Any, prefix: Sequence[int]) -> Any:
    """The cache after ``prefix``; None where there is nothing to share, or a layer keeps something else than that."""
    import torch
    from transformers.cache_utils import DynamicLayer

    if not prefix:
        return None
    cache = model(input_ids=torch.tensor([prefix], device=_device(model)), use_cache=True).past_key_values
    return cache if all(type(layer) is DynamicLayer for layer in cache.layers) else None


def _device(model: Any) -> Any:
    return next(model.parameters()).device


def _decode(
    model: Any, static: Any, shared: int, tails: list[list[int]], end: int, max_new_tokens: int
) -> list[list[int]]:
    """One batch, padded on the left between the shared prefix and the tails."""
    import torch

    device = _device(model)
    width = max(map(len, tails))
    lengths = torch.tensor([len(tail) for tail in tails], device=device)
    inputs = torch.tensor([[0] * (width - len(tail)) + tail for tail in tails], device=device)
    places = torch.arange(width, device=device)[None]
    seen = places >= width - lengths[:, None]
    attention_mask = torch.cat((seen.new_ones(len(tails), shared), seen), 1).long()
    positions = (shared + places - (width - lengths)[:, None]).clamp(min=0)
    cache = _cache(model, static, len(tails))
    answers: list[list[int]] = [[] for _ in tails]
    open_rows = set(range(len(tails)))
    for _ in range(max_new_tokens):
        result = model(
            input_ids=inputs,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        best = result.logits[:, -1].argmax(-1)
        for row, token in _still_open(open_rows, best.tolist(), end):
            answers[row].append(token)
        if not open_rows:
            break
        inputs, positions = best[:, None], positions[:, -1:] + 1
        attention_mask = torch.cat((attention_mask, attention_mask.new_ones(len(tails), 1)), 1)
    return answers


def _still_open(open_rows: set[int], tokens: list[int], end: int) -> Iterator[tuple[int, int]]:
    for row in sorted(open_rows):
        if tokens[row] == end:
            open_rows.discard(row)
        else:
            yield row, tokens[row]


def _cache(model: Any, static: Any, rows: int) -> Any:
    """A cache of ``rows`` copies of the shared prefix."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    if static is not None:
        for index, layer in enumerate(static.layers):
            cache.update(layer.keys.repeat(rows, 1, 1, 1), layer.values.repeat(rows, 1, 1, 1), index)
    return cache
