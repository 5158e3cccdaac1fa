"""What is said while a training runs: a log line, a call of ``on_progress``, a look at the validation set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rasa_ft.training.data import TrainingData
from rasa_ft.training.progress import OnProgress, Progress, append_line

_VALIDATION_ROWS = 48


class Report:
    """Turns the trainer's log events into `Progress`, log lines and looks at the validation set."""

    def __init__(self, path: Path, on_progress: OnProgress | None, *, fresh: bool) -> None:
        self._path = path
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self.last = Progress(0, 0, float("nan"), 0.0, 0.0, 0, 0.0)
        if fresh:
            path.unlink(missing_ok=True)

    def callback(self, trainer: Any, data: TrainingData, every: int | None) -> Any:
        """A transformers callback; the class is made here because its base is a heavy import."""
        from transformers import TrainerCallback

        report = self

        class Callback(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                report._started = time.perf_counter()

            def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
                if logs and "loss" in logs:
                    due = every is not None and (state.global_step % every == 0 or state.global_step == state.max_steps)
                    report._add(state, logs, trainer, _validation(trainer, data) if due else {})

        return Callback()

    def _add(self, state: Any, logs: dict[str, Any], trainer: Any, validation: dict[str, float]) -> None:
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
            **validation,
        )
        append_line(self._path, self.last)
        if self._on_progress:
            self._on_progress(self.last)


def _validation(trainer: Any, data: TrainingData) -> dict[str, float]:
    """Loss, and share of exact answers where rows are packed, on up to 48 validation turns spread over the set."""
    import torch

    from rasa_ft.training.shared_loss import plain_loss, score
    from rasa_ft.training.shared_trainer import SharedSFTTrainer

    rows = list({row.group: row for row in reversed(data.validation)}.values())[::-1]
    rows = rows[:: max(1, -(-len(rows) // _VALIDATION_ROWS))]
    if not rows:
        return {}
    model = trainer.model
    model.eval()
    if isinstance(trainer, SharedSFTTrainer):
        loss, exact = score(model, rows)
        found = {"validation_loss": round(loss, 5), "validation_exact": round(sum(exact) / len(exact), 4)}
    else:
        with torch.no_grad():
            found = {"validation_loss": round(float(plain_loss(model, rows)), 5)}
    model.train()
    return found
