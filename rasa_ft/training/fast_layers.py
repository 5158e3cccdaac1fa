"""The layers of a Llama-type model as single autograd functions, for training on a CPU.

Same mathematics as the modules of transformers and PEFT; what is saved is memory traffic: one rounding instead of
several passes in fp32, LoRA in the base weight's precision with fp32 masters, backward passes written out. A module
that does not have the expected shape keeps its own forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def fast_layers(model: nn.Module) -> Iterator[int]:
    """Run the RMS norms, gated MLPs and LoRA layers of ``model`` fused while the block lasts; yields their number."""
    replaced: list[nn.Module] = []
    for module in model.modules():
        forward = _fast_forward(module)
        if forward is not None and "forward" not in vars(module):
            module.forward = forward
            replaced.append(module)
    try:
        yield len(replaced)
    finally:
        for module in replaced:
            del module.forward


def _fast_forward(module: Any) -> Any:
    """A replacement for ``module.forward``, or None if the module is of no known kind."""
    if _is_lora_linear(module):
        return lambda x, *args, **kwargs: _lora_forward(module, x, *args, **kwargs)
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return lambda x: _rms_norm(x, module.weight, module.variance_epsilon)
    if _is_gated_mlp(module):
        return lambda x: module.down_proj(_swiglu(module.gate_proj(x), module.up_proj(x)))
    return None


def _is_gated_mlp(module: Any) -> bool:
    names = {name for name, _ in module.named_children()}
    is_silu = isinstance(getattr(module, "act_fn", None), nn.SiLU) or type(
        getattr(module, "act_fn", None)
    ).__name__ in {"SiLUActivation"}
    return names == {"gate_proj", "up_proj", "down_proj", "act_fn"} and is_silu


def _is_lora_linear(module: Any) -> bool:
    if type(module).__module__ != "peft.tuners.lora.layer" or type(module).__name__ != "Linear":
        return False
    base = module.base_layer
    return bool(
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and not module.lora_variant
        and not any(getattr(layer, "p", 0.0) for layer in module.lora_dropout.values())
    )


def _lora_forward(module: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    if module.disable_adapters or module.merged or len(module.active_adapters) != 1 or args or kwargs:
        return type(module).forward(module, x, *args, **kwargs)
    adapter = module.active_adapters[0]
    base = module.base_layer
    return _lora_linear(
        x,
        base.weight,
        base.bias,
        module.lora_A[adapter].weight,
        module.lora_B[adapter].weight,
        module.scaling[adapter],
    )


class LoraLinear(torch.autograd.Function):
    """x W^T + b + s (x A^T) B^T with W and b frozen; A and B may be fp32 masters of a bf16 computation.

    x (…, in), W (out, in), A (r, in), B (out, r); result (…, out) in the precision of W.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, lora_a: Tensor, lora_b: Tensor, scaling: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        a = lora_a.to(weight.dtype)
        b = lora_b.to(weight.dtype) * scaling
        reduced = flat @ a.t()
        result = functional.linear(flat, weight, bias)
        result.addmm_(reduced, b.t())
        ctx.save_for_backward(flat, weight, a, b, reduced)
        ctx.scaling, ctx.shape = scaling, x.shape
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, weight, a, b, reduced = ctx.saved_tensors
        outgoing = gradient.reshape(-1, gradient.shape[-1])
        through_b = outgoing @ b
        to_a = (through_b.t() @ flat).float()
        to_b = (outgoing.t() @ reduced).float() * ctx.scaling
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (outgoing @ weight).addmm_(through_b, a).view(ctx.shape)
        return to_x, None, None, to_a, to_b, None


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * w with w frozen; x (…, width)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon)
        )
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        direction = x.float() * scale
        outgoing = (gradient * weight).float()
        mean = (outgoing * direction).mean(-1, keepdim=True)
        return torch.addcmul(outgoing, direction, mean, value=-1).mul_(scale).to(x.dtype), None, None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up, recomputing silu in the backward pass rather than keeping it."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return to_gate, functional.silu(gate).mul_(gradient)


# Untyped in torch.
_lora_linear: Any = LoraLinear.apply
_rms_norm: Any = RMSNorm.apply
_swiglu: Any = SwiGLU.apply
