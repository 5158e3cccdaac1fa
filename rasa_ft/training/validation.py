"""A look at validation rows while a training runs: their loss, and how many answers the model gives exactly right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.probe import greedy_answers


@dataclass(frozen=True)
class Validation:
    """Mean loss over the answers of ``rows`` rows, and how many of them were generated exactly as expected.

    ``exact`` is None where the answers are longer than what is generated, as whole texts and summaries are.
    """

    rows: int
    loss: float
    exact: int | None

    @property
    def exact_share(self) -> float | None:
        """The share of exact answers, from 0 to 1."""
        return None if self.exact is None else self.exact / self.rows

    @property
    def score(self) -> float:
        """The larger, the better: more exact answers, and among equals a smaller loss."""
        return (self.exact or 0) + 1 / (2 + self.loss)


def sample(rows: Sequence[TrainingRow], limit: int) -> list[TrainingRow]:
    """The first wording of at most ``limit`` turns, spread evenly over ``rows``."""
    first = list({row.group: row for row in reversed(rows)}.values())[::-1]
    if len(first) <= limit:
        return first
    return [first[index * len(first) // limit] for index in range(limit)]


class Examination:
    """Validation rows, and how a model is asked about them.

    ``shared``: the model is in `shared_attention`, so that the rows go through together. ``generate``: answers are
    decoded token by token; otherwise one pass tells which tokens would be chosen, for models whose layers cannot be
    asked in between training steps.
    """

    def __init__(
        self,
        rows: Sequence[TrainingRow],
        tokenizer: Any,
        *,
        end: int,
        max_new_tokens: int,
        shared: bool,
        generate: bool,
    ) -> None:
        self.rows = list(rows)
        self._tokenizer = tokenizer
        self._end = end
        self._max_new_tokens = max_new_tokens
        self._shared = shared
        self._generate = generate

    def of(self, model: Any) -> Validation:
        """What ``model`` makes of the rows; it is in training mode again afterwards."""
        import torch

        model.eval()
        with torch.no_grad():
            loss = self._loss(model)
            exact = self._exact(model)
        model.train()
        return Validation(len(self.rows), loss, exact)

    def _loss(self, model: Any) -> float:
        from rasa_ft.training.shared_loss import plain_loss, score

        return score(model, self.rows)[0] if self._shared else float(plain_loss(model, self.rows))

    def _exact(self, model: Any) -> int | None:
        short = [row for row in self.rows if len(row.completion) <= self._max_new_tokens]
        if not short:
            return None
        if not self._generate:
            return sum(_would_be_exact(model, row) for row in short)
        with _own_attention(model):
            answers = greedy_answers(
                model, [row.prompt for row in short], end=self._end, max_new_tokens=self._max_new_tokens
            )
        return sum(self._is_exact(answer, row) for answer, row in zip(answers, short, strict=True))

    def _is_exact(self, answer: Sequence[int], row: TrainingRow) -> bool:
        """Whether it is the same text: a tokenizer may have several ways of writing one."""
        expected = row.completion[:-1] if row.completion[-1] == self._end else row.completion
        return bool(self._tokenizer.decode(list(answer)).strip() == self._tokenizer.decode(list(expected)).strip())


def _would_be_exact(model: Any, row: TrainingRow) -> bool:
    """Whether every token of the answer is the most likely one after those before it."""
    import torch

    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([row.tokens], device=device), use_cache=False).logits[0]
    return bool(logits[len(row.prompt) - 1 : -1].argmax(-1).tolist() == list(row.completion))


@contextmanager
def _own_attention(model: Any) -> Iterator[None]:
    """Attention that knows of padding and caches, in place of the one for packed steps, while the block lasts."""
    from rasa_ft.training import attention
    from rasa_ft.training.shared_loss import base_of

    language_model = base_of(model)
    before = language_model.config._attn_implementation
    if before != attention.NAME:
        yield
        return
    language_model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        language_model.set_attn_implementation(before)
