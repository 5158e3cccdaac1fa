"""What a training will be before it begins: rows, tokens, steps, trainable parameters, and memory.

The estimate of memory, in bytes, of one GPU (source of the activations: Korthikanti et al. 2022, arXiv 2205.05198,
section 4.1, without the attention matrix, which today's kernels do not keep):

    base model     2 a parameter in 16 bits, 4 in 32; in 4 bits 0.5 and the scales of the blocks (4/64; with double
                   quantisation 1/64 + 4/16384), embeddings and output layer in 16
    adapter        4 a trainable parameter for its weight, 4 for its gradient, 8 for AdamW's averages (2 in 8 bits)
    activations    34 x hidden size x layers x the longest step's tokens; with gradient checkpointing 2 x hidden size x
                   layers x tokens, and 34 x hidden size x tokens for the layer at hand
    the loss       2 x 4096 tokens x 32768 of the vocabulary at most, the piece that TRL computes at once; with prefix
                   sharing 12 x answer tokens x vocabulary
    the rest       1 GiB for libraries and buffers

Tokens of the longest step: the longest rows of a batch, padded alike; or what prefix sharing computes for the first.
On a CPU, TRL's loss takes 34 bytes in place of 2, and freed memory is kept for the next step: expect about twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasa_ft.training import processes
from rasa_ft.training.base_models import load_config
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.data import TrainingData, load_data
from rasa_ft.training.prefix_tree import pack
from rasa_ft.training.requirements import check_names, missing

_GIB = 2**30
_PER_ACTIVATION, _PER_LAYER_INPUT = 34, 2
_LOSS_TOKENS, _LOSS_VOCABULARY, _PER_LOGIT, _PER_SHARED_LOGIT = 4096, 32768, 2, 12
_REST = _GIB


@dataclass(frozen=True)
class Plan:
    """Sizes of a training. Tokens are of training rows; memory is an estimate in GiB by the formula above.

    ``missing`` says what this machine lacks for it.
    """

    base_model: str
    train_rows: int
    train_turns: int
    validation_rows: int
    dropped_rows: int
    row_tokens_mean: float
    row_tokens_p95: int
    row_tokens_max: int
    max_length: int
    epoch_tokens: int
    steps: int
    parameters: int
    trainable_parameters: int
    prefix_sharing: bool
    memory_gib: float
    memory_base_model_gib: float
    memory_adapter_gib: float
    memory_activations_gib: float
    memory_loss_gib: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What goes through the model at once: tokens, padding included, and how many of them are learned at most."""

    tokens: int
    learned: int


def make_plan(recipe: TrainingRecipe) -> Plan:
    """What training as ``recipe`` says would be; loads data, tokenizer and the base model's configuration, no weights.

    Raises:
        DataError: see `load_data` and `requirements.check_names`.
        MissingRequirement: the training libraries are not installed.
    """
    data = load_data(recipe)
    check_names(recipe)
    lengths = sorted(len(row.tokens) for row in data.train)
    model = _shapes(recipe)
    total, trainable, wide = _parameters(model)
    base, adapter = _base_bytes(recipe, total - trainable, wide), _adapter_bytes(recipe, trainable)
    step = longest_step(recipe, data)
    activations = _activation_bytes(recipe, model.config, step.tokens)
    loss = _loss_bytes(recipe, model.config, step)
    return Plan(
        base_model=recipe.base_model,
        train_rows=len(data.train),
        train_turns=data.turns,
        validation_rows=len(data.validation),
        dropped_rows=len(data.dropped),
        row_tokens_mean=round(sum(lengths) / len(lengths), 1),
        row_tokens_p95=percentile(lengths, 95),
        row_tokens_max=lengths[-1],
        max_length=recipe.training.max_length,
        epoch_tokens=sum(lengths),
        steps=optimizer_steps(recipe, _batches(recipe, data)),
        parameters=total - trainable,
        trainable_parameters=trainable,
        prefix_sharing=recipe.prefix_sharing.enabled,
        memory_gib=_gib(base + adapter + activations + loss + _REST),
        memory_base_model_gib=_gib(base),
        memory_adapter_gib=_gib(adapter),
        memory_activations_gib=_gib(activations),
        memory_loss_gib=_gib(loss),
        missing=tuple(f"{one.what} {one.remedy}" for one in missing(recipe)),
    )


def percentile(ordered: Sequence[int], share: int) -> int:
    """The smallest of the ordered values that ``share`` percent of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def optimizer_steps(recipe: TrainingRecipe, batches: int) -> int:
    """How many times the weights are changed, as transformers' trainer counts, with ``batches`` in an epoch."""
    training = recipe.training
    if training.max_steps > 0:
        return training.max_steps
    per_epoch = max(math.ceil(batches / training.gradient_accumulation_steps), 1)
    return math.ceil(training.num_train_epochs * per_epoch)


def _batches(recipe: TrainingRecipe, data: TrainingData) -> int:
    from rasa_ft.training.trainer import turn_sampler

    if recipe.prefix_sharing.enabled:
        return len(turn_sampler(recipe, data, processes=processes.count()))
    training = recipe.training
    rows = len(data.train)
    if training.packing:
        rows = math.ceil(sum(len(row.tokens) for row in data.train) / training.max_length)
    return math.ceil(rows / (training.per_device_train_batch_size * processes.count()))


def longest_step(recipe: TrainingRecipe, data: TrainingData) -> Step:
    """The largest batch of a training, or with prefix sharing its first step."""
    from rasa_ft.training.trainer import turn_sampler

    if recipe.prefix_sharing.enabled:
        first = next(iter(turn_sampler(recipe, data)))
        packed = pack([data.train[index] for index in first])
        return Step(len(packed.input_ids), len(packed.label_ids))
    training = recipe.training
    longest = training.max_length if training.packing else max(len(row.tokens) for row in data.train)
    tokens = longest * min(training.per_device_train_batch_size, len(data.train))
    return Step(tokens, tokens)


def _shapes(recipe: TrainingRecipe) -> Any:
    """The model with its adapter as shapes only, without memory for weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(load_config(recipe.base_model))
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **recipe.lora.model_dump()))


def _parameters(model: Any) -> tuple[int, int, int]:
    """Numbers of parameters: all, trainable, and those of embeddings and output layer, which are never quantised."""
    ends = {id(layer.weight): layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    everything = list(model.parameters())
    return (
        sum(one.numel() for one in everything),
        sum(one.numel() for one in everything if one.requires_grad),
        sum(weight.numel() for weight in ends.values()),
    )


def _base_bytes(recipe: TrainingRecipe, parameters: int, wide: int) -> float:
    quantization, training = recipe.quantization, recipe.training
    if quantization.load_in_4bit:
        scales = 1 / 64 + 4 / 16384 if quantization.bnb_4bit_use_double_quant else 4 / 64
        return (parameters - wide) * (0.5 + scales) + wide * 2
    return parameters * (2 if training.bf16 or training.fp16 else 4)


def _adapter_bytes(recipe: TrainingRecipe, trainable: int) -> float:
    return trainable * (4 + 4 + (2 if "8bit" in recipe.training.optim else 8))


def _activation_bytes(recipe: TrainingRecipe, config: Any, tokens: int) -> float:
    text = config.get_text_config()
    hidden, layers = int(text.hidden_size), int(text.num_hidden_layers)
    if recipe.training.gradient_checkpointing:
        return tokens * hidden * (_PER_LAYER_INPUT * layers + _PER_ACTIVATION)
    return tokens * hidden * _PER_ACTIVATION * layers


def _loss_bytes(recipe: TrainingRecipe, config: Any, step: Step) -> float:
    vocabulary = int(config.get_text_config().vocab_size)
    if recipe.prefix_sharing.enabled:
        return _PER_SHARED_LOGIT * step.learned * vocabulary
    return _PER_LOGIT * min(step.learned, _LOSS_TOKENS) * min(vocabulary, _LOSS_VOCABULARY)


def _gib(size: float) -> float:
    return round(size / _GIB, 2)
