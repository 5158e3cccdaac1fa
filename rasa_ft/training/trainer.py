"""Trains an adapter as a recipe says, and saves it with everything that serving needs."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasa_ft
from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.files import fingerprint, fresh_folder, write_json
from rasa_ft.training.base_models import load_model, load_tokenizer
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.progress import OnProgress, Progress, append_line, draw_losses
from rasa_ft.training.rows import read_examples
from rasa_ft.training.steps import TurnSampler
from rasa_ft.training.tokens import encode, end_token_id

log = logging.getLogger(__name__)

PROMPT_FILE = "student_prompt.jinja2"
_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")
_CHECK_ROWS = 4
_VALIDATION_ROWS = 48


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
    tokens_computed: int
    tokens_of_rows: int
    shared: bool


@dataclass(frozen=True)
class TrainingData:
    """Encoded rows of both sets and the tokenizer that made them."""

    tokenizer: Any
    end_token_id: int
    train: list[TrainingRow]
    validation: list[TrainingRow]

    @property
    def turns(self) -> int:
        """Number of different user turns in the training set."""
        return len({row.group for row in self.train})


def load_data(recipe: TrainingRecipe) -> TrainingData:
    """Read and encode the rows that a recipe names.

    Raises:
        DataError: no training file is named, a file is broken, or rows are too long.
        MissingRequirement: the training libraries or the base model are not installed.
    """
    require_libraries()
    if recipe.dataset.train is None:
        raise DataError("no training data: the recipe has no dataset.train.", hint="Give --data output/.")
    examples = read_examples(recipe.dataset.train)
    held_out = read_examples(recipe.dataset.validation) if recipe.dataset.validation else []
    tokenizer = load_tokenizer(recipe.base_model)
    limit = recipe.training.max_length
    return TrainingData(
        tokenizer=tokenizer,
        end_token_id=end_token_id(tokenizer),
        train=encode(tokenizer, examples, limit),
        validation=encode(tokenizer, held_out, limit),
    )


def require_libraries() -> None:
    """Raise unless everything that training imports is installed.

    Raises:
        MissingRequirement: names what is missing and the command that installs it.
    """
    missing = [name for name in (*_LIBRARIES, "datasets") if not _version(name)]
    if missing:
        raise MissingRequirement(
            f"training needs {', '.join(missing)}.", hint="pip install 'rasa_ft[train]' -c constraints/cpu.txt"
        )


def train(
    recipe: TrainingRecipe, out: Path, on_progress: OnProgress | None = None, *, resume: bool = False
) -> TrainingResult:
    """Fine-tune and save into ``out``: adapter/, merged/, training_log.jsonl, loss.png, manifest.json.

    While it runs, log and checkpoints stand in ``<out>.partial``; ``out`` appears, or is replaced, when all is done. An
    interrupted run leaves ``out`` as it was, and keeps its partial folder only if it holds a checkpoint to resume from.

    Raises:
        DataError: see `load_data`.
        MissingRequirement: see `load_data`.
    """
    data = load_data(recipe)
    with _partial_folder(out, keep=resume) as partial:
        run = _run(recipe, data, partial, on_progress, resume=resume)
        return _save(recipe, data, run, partial, out)


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
    model = _with_adapter(recipe)
    with ExitStack() as stack:
        shared = recipe.prefix_sharing.enabled and _enable_sharing(recipe, data, model, stack, on_cpu=on_cpu)
        report = _Report(partial / "training_log.jsonl", on_progress, fresh=not resume)
        trainer = _trainer(recipe, data, model, partial, shared=shared, on_cpu=on_cpu)
        trainer.add_callback(report.callback(trainer, data, recipe))
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=resume and any(partial.glob("checkpoint-*")))
        seconds = time.perf_counter() - started
    return _Run(trainer, shared, seconds, report.last)


def _with_adapter(recipe: TrainingRecipe) -> Any:
    from peft import LoraConfig, get_peft_model

    dtype = "bfloat16" if recipe.training.bf16 else "float16" if recipe.training.fp16 else "float32"
    model = load_model(recipe.base_model, dtype=dtype)
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **recipe.lora.model_dump()))


def _enable_sharing(recipe: TrainingRecipe, data: TrainingData, model: Any, stack: ExitStack, *, on_cpu: bool) -> bool:
    """Switch the model to tree attention for as long as ``stack`` lives; False if the check against plain training fails."""
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
    first = [data.train[index] for index in next(iter(_sampler(recipe, data)))]
    groups = list(dict.fromkeys(row.group for row in first))[:2]
    per_group = _CHECK_ROWS // 2
    return [row for group in groups for row in [one for one in first if one.group == group][:per_group]]


def _sampler(recipe: TrainingRecipe, data: TrainingData) -> TurnSampler:
    sharing = recipe.prefix_sharing
    return TurnSampler(
        [row.group for row in data.train],
        groups_per_step=sharing.groups_per_step,
        wordings=sharing.wordings_per_group,
        seed=recipe.training.seed,
    )


def _trainer(
    recipe: TrainingRecipe, data: TrainingData, model: Any, partial: Path, *, shared: bool, on_cpu: bool
) -> Any:
    from trl import SFTTrainer

    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    common: dict[str, Any] = {
        "model": model,
        "args": _arguments(recipe, partial, shared=shared, on_cpu=on_cpu),
        "train_dataset": _dataset(data.train),
        "processing_class": data.tokenizer,
    }
    if shared:
        trainer = SharedSFTTrainer(rows=data.train, sampler=_sampler(recipe, data), **common)
    else:
        trainer = SFTTrainer(**common)
    _silence(trainer)
    return trainer


def _arguments(recipe: TrainingRecipe, partial: Path, *, shared: bool, on_cpu: bool) -> Any:
    from trl import SFTConfig

    chosen = recipe.training.model_dump(exclude={"warmup_ratio", "warmup_steps", "eval_steps"}, exclude_none=True)
    chosen["warmup_steps"] = recipe.training.warmup_ratio or recipe.training.warmup_steps or 0
    if shared:
        # The weights are in bf16 already; autocast would only add conversions around every layer.
        chosen["bf16"] = chosen["fp16"] = False
    return SFTConfig(
        output_dir=str(partial),
        use_cpu=on_cpu,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=not shared,
        dataset_kwargs={"skip_prepare_dataset": True},
        **chosen,
    )


def _dataset(rows: Sequence[TrainingRow]) -> Any:
    """Token ids and labels; prompt positions carry -100, which the loss skips."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(row.tokens) for row in rows],
            "labels": [[-100] * len(row.prompt) + list(row.completion) for row in rows],
        }
    )


def _silence(trainer: Any) -> None:
    """No printing by transformers: progress goes through our callback only."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


class _Report:
    """Turns the trainer's log events into `Progress`, log lines and validation losses."""

    def __init__(self, path: Path, on_progress: OnProgress | None, *, fresh: bool) -> None:
        self._path = path
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self.last = Progress(0, 0, float("nan"), 0.0, 0.0, 0, 0.0)
        if fresh:
            path.unlink(missing_ok=True)

    def callback(self, trainer: Any, data: TrainingData, recipe: TrainingRecipe) -> Any:
        """A transformers callback; the class is made here because its base is a heavy import."""
        from transformers import TrainerCallback

        report = self

        class Callback(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                report._started = time.perf_counter()

            def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
                if logs and "loss" in logs:
                    every = recipe.training.eval_steps
                    due = every is not None and (state.global_step % every == 0 or state.global_step == state.max_steps)
                    report._add(state, logs, trainer, _validation_loss(trainer, data) if due else None)

        return Callback()

    def _add(self, state: Any, logs: dict[str, Any], trainer: Any, validation_loss: float | None) -> None:
        seconds = time.perf_counter() - self._started
        tokens = getattr(trainer, "tokens_computed", None) or int(logs.get("num_tokens", 0))
        self.last = Progress(
            step=state.global_step,
            steps=state.max_steps,
            loss=float(logs["loss"]),
            learning_rate=float(logs.get("learning_rate", 0.0)),
            seconds=round(seconds, 2),
            tokens=tokens,
            tokens_per_second=round(tokens / seconds, 1) if seconds else 0.0,
            validation_loss=validation_loss,
        )
        append_line(self._path, self.last)
        if self._on_progress:
            self._on_progress(self.last)


def _validation_loss(trainer: Any, data: TrainingData) -> float | None:
    """Loss on up to 48 validation turns, one wording each, spread over the set; None without validation data."""
    import torch

    from rasa_ft.training.shared_loss import collate, plain_loss, shared_loss
    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    rows = list({row.group: row for row in reversed(data.validation)}.values())[::-1]
    rows = rows[:: max(1, -(-len(rows) // _VALIDATION_ROWS))]
    if not rows:
        return None
    model = trainer.model
    model.eval()
    with torch.no_grad():
        if isinstance(trainer, SharedSFTTrainer):
            batch = collate(rows, next(model.base_model.parameters()).dtype)
            device = next(model.parameters()).device
            loss = shared_loss(model, {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()})
        else:
            loss = plain_loss(model, rows)
    model.train()
    return round(float(loss), 5)


def _save(recipe: TrainingRecipe, data: TrainingData, run: _Run, partial: Path, out: Path) -> TrainingResult:
    from rasa_ft.training.export import save_adapter, save_merged

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
        tokens_computed=tokens,
        tokens_of_rows=getattr(run.trainer, "tokens_of_rows", tokens),
        shared=run.shared,
    )
    with fresh_folder(out) as draft:
        save_adapter(model, data.tokenizer, draft / "adapter")
        save_merged(model, data.tokenizer, data.end_token_id, draft / "merged")
        shutil.copy(partial / "training_log.jsonl", draft)
        draw_losses(draft / "training_log.jsonl", draft / "loss.png")
        prompt = _student_prompt(recipe)
        if prompt is not None:
            shutil.copy(prompt, draft / PROMPT_FILE)
        write_json(draft / "manifest.json", _manifest(recipe, data, result))
    return result


def _student_prompt(recipe: TrainingRecipe) -> Path | None:
    """The prompt template that the rows were rendered with, in the data's folder or up to two above it."""
    if recipe.dataset.train is None:
        return None
    places = list(recipe.dataset.train.resolve().parents)[:3]
    return next((folder / PROMPT_FILE for folder in places if (folder / PROMPT_FILE).is_file()), None)


def _manifest(recipe: TrainingRecipe, data: TrainingData, result: TrainingResult) -> dict[str, Any]:
    sources = [path for path in (recipe.dataset.train, recipe.dataset.validation) if path is not None]
    return {
        "kind": "training",
        "recipe": recipe.model_dump(mode="json"),
        "inputs": {path.name: fingerprint(path) for path in sources},
        "rows": {"train": len(data.train), "validation": len(data.validation), "turns": data.turns},
        "result": {
            "steps": result.steps,
            "seconds": result.seconds,
            "loss": result.loss,
            "validation_loss": result.validation_loss,
            "tokens_computed": result.tokens_computed,
            "tokens_of_rows": result.tokens_of_rows,
            "prefix_sharing": result.shared,
        },
        "versions": {
            "rasa_ft": rasa_ft.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _LIBRARIES},
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
