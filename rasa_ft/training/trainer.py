"""Trains an adapter as a recipe says, and saves it with everything that serving needs."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rasa_ft.files import fresh_folder, write_json
from rasa_ft.training import checkpoints, memory, processes, requirements
from rasa_ft.training.arguments import arguments
from rasa_ft.training.backends import model_with_adapter
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.data import TrainingData, load_data, require_libraries
from rasa_ft.training.export.merged import check_mergeable, mergeable, save_adapter, save_merged
from rasa_ft.training.identity import identity, student_prompt
from rasa_ft.training.memory import MemoryUse
from rasa_ft.training.model_card import write_cards
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.progress import OnProgress, Progress, cut_log, draw_losses, read_log
from rasa_ft.training.reporting import Report
from rasa_ft.training.static_parts import static_parts
from rasa_ft.training.steps import TurnSampler
from rasa_ft.training.template import PROMPT_FILE
from rasa_ft.training.validation import Examination, sample

log = logging.getLogger(__name__)

_CHECK_ROWS = 4
_LOG = "training_log.jsonl"


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a training run.

    Tokens are counted as in `progress.Tokens`, seconds and minutes are those of training. ``best_step``: where the best
    checkpoint is kept, the step that it is of, as are the validation figures; None where the last one is kept.
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
    best_step: int | None
    tokens_computed: int
    tokens_of_rows: int
    tokens_learned: int
    shared: bool
    memory: MemoryUse

    @property
    def minutes(self) -> float:
        """`seconds` as minutes."""
        return round(self.seconds / 60, 2)


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
    on_start: Callable[[MemoryUse], None] | None = None,
    resume: bool = False,
    final_of: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Fine-tune and save into ``out``: adapter/, merged/, training_log.jsonl, loss.png, manifest.json.

    While it runs, log and checkpoints stand in ``<out>.partial``; ``out`` appears, or is replaced, when all is done. An
    interrupted run leaves ``out`` as it was, and keeps its partial folder only if it holds a checkpoint to resume from.
    ``resume`` goes on from its newest one; what was logged since is done again. ``on_start`` is told of the device's
    memory when the model is loaded.
    ``final_of`` marks a training without held-out data, see `rasa_ft.training.final`.

    Of several `processes` the main one alone writes and calls ``on_progress``; all return the same, and together.

    Raises:
        DataError: see `load_data`; or the base model is stored quantised, so that no merged model could be made.
        MissingRequirement: see `load_data`, and `requirements.check`.
        UsageError: see `processes.check`; or there is another training to resume, see `checkpoints.check_same`.
    """
    require_libraries()
    processes.check(recipe)
    requirements.check(recipe)
    with processes.together():
        with processes.main_first():
            check_mergeable(recipe.base_model)
            data = load_data(recipe)
        with _partial_folder(recipe, out, resume=resume) as partial:
            run = _run(recipe, data, partial, on_progress, on_start)
            return _save(recipe, data, run, partial, out, final_of)


@contextmanager
def _partial_folder(recipe: TrainingRecipe, out: Path, *, resume: bool) -> Iterator[Path]:
    partial = checkpoints.partial_folder(out)
    with processes.main_first():
        if processes.is_main():
            checkpoints.begin(partial, identity(recipe), resume=resume)
    try:
        yield partial
    except BaseException:
        if processes.is_main() and checkpoints.newest(partial) is None:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if processes.is_main():
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class _Run:
    trainer: Any
    shared: bool
    seconds: float
    last: Progress
    best_step: int | None
    memory: MemoryUse


def _run(
    recipe: TrainingRecipe,
    data: TrainingData,
    partial: Path,
    on_progress: OnProgress | None,
    on_start: Callable[[MemoryUse], None] | None,
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
        start = checkpoints.newest(partial)
        with processes.main_first():
            resumed = cut_log(partial / _LOG, start.step) if start else None
        report = Report(partial / _LOG, on_progress, resumed)
        trainer = _trainer(recipe, data, model, partial, shared=shared, on_cpu=on_cpu)
        trainer.add_callback(report.callback(trainer))
        before, started = memory.in_use(), time.perf_counter()
        if on_start and processes.is_main():
            on_start(before)
        if start and start.ends_training:
            checkpoints.load_trained(trainer, start)
        else:
            trainer.train(resume_from_checkpoint=str(start.folder) if start else None)
        seconds = (resumed.seconds if resumed else 0.0) + time.perf_counter() - started
    used = replace(before, peak_gib=memory.peak_gib())
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    return _Run(trainer, shared, seconds, report.last, best, used)


def _enable_sharing(recipe: TrainingRecipe, data: TrainingData, model: Any, stack: ExitStack, *, on_cpu: bool) -> bool:
    """Switch the model to tree attention while ``stack`` lives; False if it fails the check against plain training."""
    from rasa_ft.training.fast_layers import fast_layers
    from rasa_ft.training.shared_loss import is_equal, shared_attention

    layers = stack.enter_context(ExitStack())
    if on_cpu:
        layers.enter_context(fast_layers(model))
    if recipe.prefix_sharing.self_check:
        equal, figures = is_equal(model, _rows_to_check(recipe, data))
        if not processes.all_agree(equal):
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


def turn_sampler(recipe: TrainingRecipe, data: TrainingData, *, processes: int = 1, process: int = 0) -> TurnSampler:
    """The steps of a prefix-shared training; of several processes, the part of ``process``."""
    sharing = recipe.prefix_sharing
    return TurnSampler(
        [row.group for row in data.train],
        groups_per_step=sharing.groups_per_step,
        wordings=sharing.wordings_per_group,
        seed=recipe.training.seed,
        parts=_parts(data.train, sharing.groups_per_step * processes),
        processes=processes,
        process=process,
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
    from rasa_ft.training.examined_trainer import ExaminedSFTTrainer
    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    examination = _examination(recipe, data, shared=shared)
    common: dict[str, Any] = {
        "model": model,
        "args": arguments(recipe, partial, shared=shared, on_cpu=on_cpu, examined=examination is not None),
        "train_dataset": _dataset(data.train),
        "eval_dataset": _dataset(examination.rows) if examination else None,
        "processing_class": data.tokenizer,
        "examination": examination,
    }
    if shared:
        sampler = turn_sampler(recipe, data, processes=processes.count(), process=processes.index())
        trainer: Any = SharedSFTTrainer(rows=data.train, sampler=sampler, **common)
    else:
        trainer = ExaminedSFTTrainer(**common)
    _quieten(trainer)
    _stop_early(recipe, trainer)
    return trainer


def _examination(recipe: TrainingRecipe, data: TrainingData, *, shared: bool) -> Examination | None:
    """How the model is examined while it trains; None without validation rows, or where the recipe does not want it."""
    if not data.validation or recipe.training.eval_steps is None:
        return None
    return Examination(
        sample(data.validation, recipe.evaluation.rows),
        data.tokenizer,
        end=data.end_token_id,
        max_new_tokens=recipe.evaluation.max_new_tokens,
        shared=shared,
        # Its layers keep other caches than transformers' while they train.
        generate=recipe.backend != "unsloth",
    )


def _stop_early(recipe: TrainingRecipe, trainer: Any) -> None:
    patience = recipe.evaluation.early_stopping_patience
    if patience is not None and trainer.examination is not None:
        from transformers import EarlyStoppingCallback

        trainer.add_callback(EarlyStoppingCallback(patience))


def _dataset(rows: Sequence[TrainingRow]) -> Any:
    """Token ids and labels; positions that are not learned carry -100, which the loss skips."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(row.tokens) for row in rows],
            "labels": [row.labels for row in rows],
        }
    )


def _quieten(trainer: Any) -> None:
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
    judged = next((line for line in read_log(partial / _LOG) if line["step"] == run.best_step), {})
    result = TrainingResult(
        out=out,
        adapter=out / "adapter",
        merged=out / "merged",
        steps=run.last.step,
        seconds=round(run.seconds, 1),
        loss=run.last.loss,
        validation_loss=judged.get("validation_loss", run.last.validation_loss),
        validation_exact=judged.get("validation_exact", run.last.validation_exact),
        best_step=run.best_step,
        tokens_computed=run.last.tokens_computed,
        tokens_of_rows=run.last.tokens_of_rows,
        tokens_learned=run.last.tokens_learned,
        shared=run.shared,
        memory=run.memory,
    )
    weights = processes.gathered_weights(run.trainer)
    if not processes.is_main():
        return result
    with fresh_folder(out) as draft:
        save_adapter(model, data.tokenizer, draft / "adapter", weights)
        model = mergeable(model, recipe.base_model, draft / "adapter", whole=weights is None)
        save_merged(model, data.tokenizer, data.end_token_id, draft / "merged")
        shutil.copy(partial / _LOG, draft)
        draw_losses(draft / _LOG, draft / "loss.png")
        if (partial / "runs").is_dir():
            shutil.copytree(partial / "runs", draft / "runs")
        prompt = student_prompt(recipe)
        if prompt is not None:
            shutil.copy(prompt, draft / PROMPT_FILE)
        write_json(draft / "manifest.json", _manifest(recipe, data, result, final_of))
        write_cards(draft, name=out.name)
    return result


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
            **({"best_step": result.best_step} if result.best_step else {}),
            "tokens_computed": result.tokens_computed,
            "tokens_of_rows": result.tokens_of_rows,
            "tokens_learned": result.tokens_learned,
            "prefix_sharing": result.shared,
            **result.memory.figures(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
