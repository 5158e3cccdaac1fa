"""Trains an adapter as a recipe says, and saves it with everything that serving needs."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.files import fingerprint, fresh_folder, write_json
from rasa_ft.training import requirements
from rasa_ft.training.backends import model_with_adapter, precision
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.data import TrainingData, library_versions, load_data, require_libraries
from rasa_ft.training.export.merged import check_mergeable, mergeable, save_adapter, save_merged
from rasa_ft.training.model_card import write_cards
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.progress import OnProgress, Progress, draw_losses
from rasa_ft.training.reporting import Report
from rasa_ft.training.static_parts import static_parts
from rasa_ft.training.steps import TurnSampler
from rasa_ft.training.template import PROMPT_FILE, template_of_data

log = logging.getLogger(__name__)

_CHECK_ROWS = 4


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a training run.

    ``tokens_computed`` went through the model, ``tokens_of_rows`` are those of the same rows in plain batches.
    ``shared`` tells whether prefix sharing was really used.
    """

    out: Path
    adapter: Path
    merged: Path
    steps: int
    seconds: float
    loss: float
    validation_loss: float | None
    validation_exact: float | None
    tokens_computed: int
    tokens_of_rows: int
    shared: bool


def is_current(recipe: TrainingRecipe, out: Path) -> bool:
    """Whether ``out`` holds a finished model of this recipe, this data and these versions."""
    try:
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = identity(recipe)
    return (out / "merged").is_dir() and all(manifest.get(key) == value for key, value in wanted.items())


def train(
    recipe: TrainingRecipe,
    out: Path,
    on_progress: OnProgress | None = None,
    *,
    resume: bool = False,
    final_of: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Fine-tune and save into ``out``: adapter/, merged/, training_log.jsonl, loss.png, manifest.json.

    While it runs, log and checkpoints stand in ``<out>.partial``; ``out`` appears, or is replaced, when all is done. An
    interrupted run leaves ``out`` as it was, and keeps its partial folder only if it holds a checkpoint to resume from.
    ``final_of`` marks a training without held-out data, see `rasa_ft.training.final`.

    Raises:
        DataError: see `load_data`; or the base model is stored quantised, so that no merged model could be made.
        MissingRequirement: see `load_data`, and `requirements.check`.
    """
    require_libraries()
    requirements.check(recipe)
    check_mergeable(recipe.base_model)
    data = load_data(recipe)
    with _partial_folder(out, keep=resume) as partial:
        run = _run(recipe, data, partial, on_progress, resume=resume)
        return _save(recipe, data, run, partial, out, final_of)


@contextmanager
def _partial_folder(out: Path, *, keep: bool) -> Iterator[Path]:
    partial = out.with_name(f"{out.name}.partial")
    if not keep:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
    except BaseException:
        if not any(partial.glob("checkpoint-*")):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class _Run:
    trainer: Any
    shared: bool
    seconds: float
    last: Progress


def _run(
    recipe: TrainingRecipe, data: TrainingData, partial: Path, on_progress: OnProgress | None, *, resume: bool
) -> _Run:
    import torch
    from transformers import set_seed

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        from rasa_ft.training.cpu import use_all_cores

        use_all_cores()
    set_seed(recipe.training.seed)
    model = model_with_adapter(recipe)
    with ExitStack() as stack:
        shared = recipe.prefix_sharing.enabled and _enable_sharing(recipe, data, model, stack, on_cpu=on_cpu)
        report = Report(partial / "training_log.jsonl", on_progress, fresh=not resume)
        trainer = _trainer(recipe, data, model, partial, shared=shared, on_cpu=on_cpu)
        trainer.add_callback(report.callback(trainer, data, recipe.training.eval_steps))
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=resume and any(partial.glob("checkpoint-*")))
        seconds = time.perf_counter() - started
    return _Run(trainer, shared, seconds, report.last)


def _enable_sharing(recipe: TrainingRecipe, data: TrainingData, model: Any, stack: ExitStack, *, on_cpu: bool) -> bool:
    """Switch the model to tree attention while ``stack`` lives; False if it fails the check against plain training."""
    from rasa_ft.training.fast_layers import fast_layers
    from rasa_ft.training.shared_loss import is_equal, shared_attention

    layers = stack.enter_context(ExitStack())
    if on_cpu:
        layers.enter_context(fast_layers(model))
    if recipe.prefix_sharing.self_check:
        equal, figures = is_equal(model, _rows_to_check(recipe, data))
        if not equal:
            layers.close()
            log.warning("PREFIX SHARING IS OFF: it does not equal plain training here (%s). Training plainly.", figures)
            return False
        log.info("prefix sharing equals plain training (%s)", figures)
    stack.enter_context(shared_attention(model))
    return True


def _rows_to_check(recipe: TrainingRecipe, data: TrainingData) -> list[TrainingRow]:
    """A few rows of the first step, of two turns."""
    first = [data.train[index] for index in next(iter(turn_sampler(recipe, data)))]
    groups = list(dict.fromkeys(row.group for row in first))[:2]
    per_group = _CHECK_ROWS // 2
    return [row for group in groups for row in [one for one in first if one.group == group][:per_group]]


def turn_sampler(recipe: TrainingRecipe, data: TrainingData) -> TurnSampler:
    sharing = recipe.prefix_sharing
    return TurnSampler(
        [row.group for row in data.train],
        groups_per_step=sharing.groups_per_step,
        wordings=sharing.wordings_per_group,
        seed=recipe.training.seed,
        parts=_parts(data.train, sharing.groups_per_step),
    )


def _parts(rows: Sequence[TrainingRow], smallest: int) -> list[int]:
    """For each row the number of the static prompt part that its turn begins with."""
    turns = {row.group: row.prompt for row in rows}
    groups = list(turns)
    part_of = {
        groups[index]: part
        for part, members in enumerate(static_parts(list(turns.values()), smallest=smallest))
        for index in members
    }
    return [part_of[row.group] for row in rows]


def _trainer(
    recipe: TrainingRecipe, data: TrainingData, model: Any, partial: Path, *, shared: bool, on_cpu: bool
) -> Any:
    from trl.trainer.sft_trainer import SFTTrainer

    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    common: dict[str, Any] = {
        "model": model,
        "args": _arguments(recipe, partial, shared=shared, on_cpu=on_cpu),
        "train_dataset": _dataset(data.train),
        "processing_class": data.tokenizer,
    }
    if shared:
        trainer: Any = SharedSFTTrainer(rows=data.train, sampler=turn_sampler(recipe, data), **common)
    else:
        trainer = SFTTrainer(**common)
    _silence(trainer)
    return trainer


def _arguments(recipe: TrainingRecipe, partial: Path, *, shared: bool, on_cpu: bool) -> Any:
    from trl.trainer.sft_config import SFTConfig

    training = recipe.training
    ours = {"warmup_ratio", "warmup_steps", "eval_steps", "group_by_length", "project"}
    chosen = training.model_dump(exclude=ours, exclude_none=True) | precision(recipe)
    chosen["warmup_steps"] = training.warmup_ratio or training.warmup_steps or 0
    # Unsloth has put its own kind into the model.
    chosen["gradient_checkpointing"] = bool(training.gradient_checkpointing) and recipe.backend != "unsloth"
    if training.group_by_length:
        chosen["train_sampling_strategy"] = "group_by_length"
    if shared:
        # The weights are in bf16 already; autocast would only add conversions around every layer.
        chosen["bf16"] = chosen["fp16"] = False
    return SFTConfig(
        output_dir=str(partial),
        use_cpu=on_cpu,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=not shared,
        dataset_kwargs={"skip_prepare_dataset": not training.packing},
        **chosen,
    )


def _dataset(rows: Sequence[TrainingRow]) -> Any:
    """Token ids and labels; positions that are not learned carry -100, which the loss skips."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(row.tokens) for row in rows],
            "labels": [row.labels for row in rows],
        }
    )


def _silence(trainer: Any) -> None:
    """No printing by transformers: progress goes through our callback only."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def _save(
    recipe: TrainingRecipe,
    data: TrainingData,
    run: _Run,
    partial: Path,
    out: Path,
    final_of: Mapping[str, Any] | None,
) -> TrainingResult:
    model = run.trainer.accelerator.unwrap_model(run.trainer.model)
    tokens = run.last.tokens
    result = TrainingResult(
        out=out,
        adapter=out / "adapter",
        merged=out / "merged",
        steps=run.last.step,
        seconds=round(run.seconds, 1),
        loss=run.last.loss,
        validation_loss=run.last.validation_loss,
        validation_exact=run.last.validation_exact,
        tokens_computed=tokens,
        tokens_of_rows=getattr(run.trainer, "tokens_of_rows", tokens),
        shared=run.shared,
    )
    with fresh_folder(out) as draft:
        save_adapter(model, data.tokenizer, draft / "adapter")
        model = mergeable(model, recipe.base_model, draft / "adapter")
        save_merged(model, data.tokenizer, data.end_token_id, draft / "merged")
        shutil.copy(partial / "training_log.jsonl", draft)
        draw_losses(draft / "training_log.jsonl", draft / "loss.png")
        prompt = _student_prompt(recipe)
        if prompt is not None:
            shutil.copy(prompt, draft / PROMPT_FILE)
        write_json(draft / "manifest.json", _manifest(recipe, data, result, final_of))
        write_cards(draft, name=out.name)
    return result


def _student_prompt(recipe: TrainingRecipe) -> Path | None:
    found = (template_of_data(source.path) for source in recipe.dataset.train_sources if source.path is not None)
    return next((template for template in found if template is not None), None)


def _manifest(
    recipe: TrainingRecipe, data: TrainingData, result: TrainingResult, final_of: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "kind": "training",
        **identity(recipe),
        **({"without_held_out_data": True, "final_of": dict(final_of)} if final_of else {}),
        "rows": {
            "train": len(data.train),
            "validation": len(data.validation),
            "turns": data.turns,
            **({"dropped": len(data.dropped)} if data.dropped else {}),
        },
        "result": {
            "steps": result.steps,
            "seconds": result.seconds,
            "loss": result.loss,
            "validation_loss": result.validation_loss,
            "validation_exact": result.validation_exact,
            "tokens_computed": result.tokens_computed,
            "tokens_of_rows": result.tokens_of_rows,
            "prefix_sharing": result.shared,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def identity(recipe: TrainingRecipe) -> dict[str, Any]:
    """The part of a manifest that decides what a run makes: settings, inputs and versions."""
    sources = (*recipe.dataset.files, _student_prompt(recipe), Path(recipe.chat_template or ""))
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"dataset"}),
        "dataset": recipe.dataset.identity(),
        "inputs": {path.name: fingerprint(path) for path in sources if path is not None and path.is_file()},
        "versions": {
            "rasa_ft": rasa_ft.__version__,
            "python": platform.python_version(),
            **library_versions(),
        },
    }
