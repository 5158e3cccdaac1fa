"""Loss of a packed step, and the check that it equals plain training. Imports torch: load it where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rasa_ft.training import attention
from rasa_ft.training.prefix_tree import TrainingRow, pack

# Largest accepted differences between shared and plain, relative. In bf16 two correct orders of the same sums differ by
# about a hundredth in the gradient; a wrong mask or position is off by an order of magnitude more.
_TOLERANCE = {torch.float32: (1e-4, 1e-3), torch.bfloat16: (0.02, 0.15), torch.float16: (0.02, 0.15)}

Batch = dict[str, Any]


def collate(rows: Sequence[TrainingRow], dtype: torch.dtype) -> Batch:
    """A packed step: ids and positions (1, N); positions, ids and rows of labels (L,); mask; plain token count."""
    step = pack(rows)
    return {
        "input_ids": torch.tensor([step.input_ids]),
        "position_ids": torch.tensor([step.position_ids]),
        "label_positions": torch.tensor(step.label_positions),
        "label_ids": torch.tensor(step.label_ids),
        "label_rows": torch.tensor(step.label_rows),
        "prefix_tree": attention.tree_mask(step, dtype),
        "row_tokens": step.row_tokens,
    }


def to_device(batch: Batch, device: Any) -> Batch:
    """The batch with its tensors and mask on ``device``."""
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}


def base_of(model: Any) -> Any:
    """The causal language model inside PEFT's and accelerate's wrappers."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """Logits (L, vocabulary), in fp32, of the tokens that predict a label; the LM head sees no others."""
    # Through the model as it is wrapped: DDP averages gradients only of what went through its own forward.
    output = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        prefix_tree=batch["prefix_tree"],
        use_cache=False,
        logits_to_keep=batch["label_positions"],
    )
    logits: Tensor = output.logits[0]
    return logits.float()


def shared_loss(model: Any, batch: Batch) -> Tensor:
    """Mean cross-entropy over the answers of a packed step; 0 if nothing in it is learned."""
    total = functional.cross_entropy(answer_logits(model, batch), batch["label_ids"], reduction="sum")
    return total / max(len(batch["label_ids"]), 1)


def score(model: Any, rows: Sequence[TrainingRow]) -> tuple[float, list[bool]]:
    """Mean loss on ``rows``, and for each whether greedy decoding would give exactly its answer.

    It would if every token of the answer is the most likely one after those before it, which a single pass tells. The
    model must be in `shared_attention`.
    """
    first = next(base_of(model).parameters())
    batch = to_device(collate(rows, first.dtype), first.device)
    with torch.no_grad():
        logits = answer_logits(model, batch)
    loss = functional.cross_entropy(logits, batch["label_ids"])
    right = logits.argmax(-1) == batch["label_ids"]
    wrong_rows = set(batch["label_rows"][~right].tolist())
    return float(loss), [index not in wrong_rows for index in range(len(rows))]


def plain_loss(model: Any, rows: Sequence[TrainingRow]) -> Tensor:
    """The same loss computed row by row with the model's ordinary attention."""
    device = next(base_of(model).parameters()).device
    total = torch.zeros((), device=device)
    for row in rows:
        tokens = torch.tensor([row.tokens], device=device)
        logits = model(input_ids=tokens, use_cache=False).logits[0, len(row.prompt) - 1 : -1]
        labels = torch.tensor(row.completion, device=device)
        total = total + functional.cross_entropy(logits.float(), labels, reduction="sum")
    return total / sum(len(row.completion) for row in rows)


@contextmanager
def shared_attention(model: Any) -> Iterator[None]:
    """Tree attention instead of the model's own while the block lasts."""
    language_model = base_of(model)
    before = language_model.config._attn_implementation
    attention.register()
    language_model.set_attn_implementation(attention.NAME)
    try:
        yield
    finally:
        language_model.set_attn_implementation(before)


def difference(model: Any, rows: Sequence[TrainingRow]) -> tuple[float, float]:
    """Relative difference of loss and of gradient (norm of the difference by norm) between shared and plain training.

    Gradients are left cleared. The LoRA matrices B are zero at the start, which hides the gradient of A: they are given
    small values for the comparison.
    """
    dtype = base_of(model).get_output_embeddings().weight.dtype
    device = next(model.parameters()).device
    batch = to_device(collate(rows, dtype), device)
    with _nonzero_parameters(model):
        plain, plain_gradients = _loss_and_gradients(model, lambda: plain_loss(model, rows))
        with shared_attention(model):
            shared, shared_gradients = _loss_and_gradients(model, lambda: shared_loss(model, batch))
    distance = sum(float((a - b).square().sum()) for a, b in zip(plain_gradients, shared_gradients, strict=True))
    size = sum(float(a.square().sum()) for a in plain_gradients)
    return abs(shared - plain) / max(abs(plain), 1e-12), (distance / max(size, 1e-24)) ** 0.5


def is_equal(model: Any, rows: Sequence[TrainingRow]) -> tuple[bool, str]:
    """Whether shared training gives plain training's loss and gradient on ``rows``, and the figures as text."""
    dtype = base_of(model).get_output_embeddings().weight.dtype
    by_loss, by_gradient = difference(model, rows)
    loss_limit, gradient_limit = _TOLERANCE.get(dtype, _TOLERANCE[torch.bfloat16])
    figures = f"relative difference of loss {by_loss:.1e}, of gradients {by_gradient:.1e}"
    return by_loss <= loss_limit and by_gradient <= gradient_limit, figures


def _loss_and_gradients(model: Any, compute: Callable[[], Tensor]) -> tuple[float, list[Tensor]]:
    model.zero_grad(set_to_none=True)
    loss: Any = compute()
    loss.backward()
    gradients = [parameter.grad.detach().clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad(set_to_none=True)
    return float(loss.detach()), gradients


@contextmanager
def _nonzero_parameters(model: Any) -> Iterator[None]:
    """Random values in trainable matrices that are all zero, taken back at the end."""
    generator = torch.Generator().manual_seed(0)
    filled = []
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.detach().any():
            noise = torch.randn(parameter.shape, generator=generator) * 0.02
            parameter.data.copy_(noise.to(parameter.device, parameter.dtype))
            filled.append(parameter)
    try:
        yield
    finally:
        for parameter in filled:
            parameter.data.zero_()
