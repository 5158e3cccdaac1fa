"""Attention over a packed step (`prefix_tree.PackedStep`): every token sees the prefix and its own ancestors.

`register` makes it known to transformers as `NAME`; a model whose attention implementation is set to that name uses it
whenever it is called with ``prefix_tree=…``, and plain causal attention otherwise.

The work is done piece by piece: the prefix in blocks, then group after group, each a small dense matrix product, a
softmax and a second product. On a CPU in bf16 that is about twice as fast as torch's scaled_dot_product_attention
(docs/log.md), which is why the backward pass is written out too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rasa_ft.training.prefix_tree import Group, PackedStep

NAME = "rasa_ft_prefix_tree"
# Rows of the causal prefix handled at once: block i needs only the keys up to its own end.
_BLOCK = 128


@dataclass(frozen=True)
class Piece:
    """Queries ``start`` to ``end`` see the first ``shared`` keys, and keys ``start`` to ``end`` where ``bias`` is 0.

    ``bias`` (end - start, end - start) is 0 or -inf.
    """

    start: int
    end: int
    shared: int
    bias: Tensor


@dataclass(frozen=True)
class TreeMask:
    """Who sees whom in one packed step, as pieces that cover the sequence in order."""

    pieces: tuple[Piece, ...]

    def to(self, device: Any, **_: Any) -> TreeMask:
        """The same mask on ``device``; accelerate calls this when it moves a batch."""
        moved = tuple(Piece(one.start, one.end, one.shared, one.bias.to(device)) for one in self.pieces)
        return TreeMask(moved)


def tree_mask(step: PackedStep, dtype: torch.dtype) -> TreeMask:
    """The mask of a packed step, for query and key states of ``dtype``."""
    blocks = [
        Piece(start, end := min(start + _BLOCK, step.prefix_length), start, _causal(end - start, dtype))
        for start in range(0, step.prefix_length, _BLOCK)
    ]
    trees = [Piece(group.start, group.end, step.prefix_length, _ancestors(group, dtype)) for group in step.groups]
    return TreeMask((*blocks, *trees))


def _causal(length: int, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype).triu_(1)


def _ancestors(group: Group, dtype: torch.dtype) -> Tensor:
    length = len(group.parents)
    seen = torch.eye(length, dtype=torch.bool)
    for token, parent in enumerate(group.parents):
        if parent >= 0:
            seen[token] |= seen[parent]
    return torch.zeros(length, length, dtype=dtype).masked_fill_(~seen, float("-inf"))


def register() -> None:
    """Make `NAME` a choice for ``model.set_attn_implementation``."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    prefix_tree: TreeMask | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention in the form that transformers calls: (1, heads, N, width) in, (1, N, heads, width) out."""
    if prefix_tree is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    apply: Any = TreeAttention.apply
    return apply(query, key, value, scaling, prefix_tree), None


class TreeAttention(torch.autograd.Function):
    """softmax(scaling * Q K^T + mask) V, exact, over the pieces of a `TreeMask`.

    Query (1, H, N, d); key and value (1, K, N, d), H a multiple of K (grouped-query attention). Result (1, N, H, d).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: TreeMask) -> Tensor:
        _, heads, length, width = query.shape
        kv_heads = key.shape[1]
        per_kv = heads // kv_heads
        scaled = query[0].mul(scaling)
        output = query.new_empty(length, kv_heads, per_kv, width)
        weights = []
        for piece in mask.pieces:
            seen = _Seen(piece, kv_heads, per_kv, width)
            scores = torch.bmm(seen.queries(scaled), seen.keys(key[0]).transpose(1, 2))
            seen.own(scores).add_(piece.bias)
            probabilities = torch.softmax(scores, -1)
            result = torch.bmm(probabilities, seen.keys(value[0]))
            output[piece.start : piece.end] = seen.by_token(result)
            weights.append(probabilities)
        ctx.save_for_backward(scaled, key, value, *weights)
        ctx.mask, ctx.scaling = mask, scaling
        return output.view(1, length, heads, width)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        scaled, key, value, *weights = ctx.saved_tensors
        heads, length, width = scaled.shape
        kv_heads = key.shape[1]
        per_kv = heads // kv_heads
        to_query = torch.empty(length, kv_heads, per_kv, width, dtype=scaled.dtype, device=scaled.device)
        # Sums over many pieces: kept in fp32.
        to_key = torch.zeros(kv_heads, length, width, dtype=torch.float32, device=scaled.device)
        to_value = torch.zeros_like(to_key)
        by_head = gradient[0].transpose(0, 1)
        for piece, probabilities in zip(ctx.mask.pieces, weights, strict=True):
            seen = _Seen(piece, kv_heads, per_kv, width)
            outgoing = seen.queries(by_head)
            seen.add_keys(to_value, torch.bmm(probabilities.transpose(1, 2), outgoing))
            to_weights = torch.bmm(outgoing, seen.keys(value[0]).transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weights, probabilities, -1, probabilities.dtype)
            to_query[piece.start : piece.end] = seen.by_token(torch.bmm(to_scores, seen.keys(key[0])))
            seen.add_keys(to_key, torch.bmm(to_scores.transpose(1, 2), seen.queries(scaled)))
        to_query = to_query.mul_(ctx.scaling).view(1, length, heads, width).transpose(1, 2)
        return to_query, to_key.to(key.dtype)[None], to_value.to(value.dtype)[None], None, None


class _Seen:
    """Views and copies of states for one piece, heads that share a key head side by side."""

    def __init__(self, piece: Piece, kv_heads: int, per_kv: int, width: int) -> None:
        self.piece = piece
        self.length = piece.end - piece.start
        self.shape = (kv_heads, per_kv, self.length, width)

    def queries(self, states: Tensor) -> Tensor:
        """(H, N, d) to (K, H/K * piece, d)."""
        kv_heads, per_kv, length, width = self.shape
        return states[:, self.piece.start : self.piece.end].reshape(kv_heads, per_kv * length, width)

    def keys(self, states: Tensor) -> Tensor:
        """(K, N, d) to (K, shared + piece, d)."""
        piece = self.piece
        if piece.shared == piece.start:
            return states[:, : piece.end]
        return torch.cat((states[:, : piece.shared], states[:, piece.start : piece.end]), 1)

    def own(self, scores: Tensor) -> Tensor:
        """The scores that the bias applies to: the last part of each row, as (K, H/K, piece, piece)."""
        kv_heads, per_kv, length, _ = self.shape
        return scores.view(kv_heads, per_kv, length, -1)[..., self.piece.shared :]

    def by_token(self, result: Tensor) -> Tensor:
        """(K, H/K * piece, d) to (piece, K, H/K, d)."""
        return result.view(self.shape).permute(2, 0, 1, 3)

    def add_keys(self, total: Tensor, part: Tensor) -> None:
        """Add gradients of `keys` to those of the states."""
        piece = self.piece
        total[:, : piece.shared] += part[:, : piece.shared]
        total[:, piece.start : piece.end] += part[:, piece.shared :]
