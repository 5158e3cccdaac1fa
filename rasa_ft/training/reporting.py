"""What is said while a training runs: a log line and a call of ``on_progress`` for each step that is logged.

Every process of a training counts, since the tokens are those of all; the main one alone says anything.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasa_ft.training import memory, processes
from rasa_ft.training.progress import OnProgress, Progress, Tokens, append_line


class Report:
    """Turns the trainer's log events into `Progress` and lines of the training log.

    ``resumed`` is where an interrupted run stood, from which steps, seconds and tokens are counted on.
    """

    def __init__(self, path: Path, on_progress: OnProgress | None, resumed: Progress | None = None) -> None:
        self._path = path
        self._on_progress = on_progress
        self._before = resumed or Progress()
        self._started = time.perf_counter()
        self._examining = 0.0
        self.last = self._before
        if resumed is None and processes.is_main():
            path.unlink(missing_ok=True)

    def callback(self, trainer: Any) -> Any:
        """A transformers callback; the class is made here because its base is a heavy import."""
        from transformers import TrainerCallback

        report = self

        class Callback(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                report._started = time.perf_counter()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                # What is examined or saved has a line in the log: a resumed run counts on from there.
                control.should_log |= control.should_evaluate or control.should_save

            on_epoch_end = on_step_end

            def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
                if logs and "loss" in logs:
                    report._note(state, logs, trainer.tokens)
                    if not control.should_evaluate:
                        report._say()

            def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
                report._add_validation(given["metrics"])
                report._say()

        return Callback()

    def _note(self, state: Any, logs: dict[str, Any], tokens: Tokens) -> None:
        before = self._before
        seconds = time.perf_counter() - self._started
        working = max(seconds - self._examining, 1e-9)
        done = state.global_step - before.step
        total = before.tokens + tokens
        self.last = Progress(
            step=state.global_step,
            steps=state.max_steps,
            loss=float(logs["loss"]),
            learning_rate=float(logs.get("learning_rate", 0.0)),
            seconds=round(before.seconds + seconds, 2),
            eta_seconds=round(seconds / max(done, 1) * (state.max_steps - state.global_step), 1),
            tokens_computed=total.computed,
            tokens_of_rows=total.of_rows,
            tokens_learned=total.learned,
            tokens_per_second=round(tokens.computed / working, 1),
            row_tokens_per_second=round(tokens.of_rows / working, 1),
            learned_tokens_per_second=round(tokens.learned / working, 1),
            memory_gib=memory.used_gib(),
        )

    def _add_validation(self, metrics: dict[str, float]) -> None:
        self._examining += metrics["eval_runtime"]
        exact = metrics.get("eval_exact")
        self.last = replace(
            self.last,
            validation_loss=round(metrics["eval_loss"], 5),
            validation_exact=None if exact is None else round(exact, 4),
        )

    def _say(self) -> None:
        if processes.is_main():
            append_line(self._path, self.last)
            if self._on_progress:
                self._on_progress(self.last)
