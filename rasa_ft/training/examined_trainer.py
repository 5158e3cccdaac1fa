"""TRL's SFTTrainer that counts tokens and is examined on validation rows. Imports torch and trl: load it where used."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_trainer import SFTTrainer

from rasa_ft.training.progress import Tokens
from rasa_ft.training.validation import Examination, Validation


class ExaminedSFTTrainer(SFTTrainer):
    """SFTTrainer whose evaluation is an `Examination`; it counts the `Tokens` of all processes.

    The checkpoint of the best evaluation is saved, whatever the save steps are, if the best one is to be loaded at the
    end.
    """

    def __init__(self, *, examination: Examination | None = None, **arguments: Any) -> None:
        self.examination = examination
        self.last_validation: Validation | None = None
        # On the device: reading it would make a GPU wait at every step.
        self._counted: Tensor | None = None
        super().__init__(**arguments)

    @property
    def tokens(self) -> Tokens:
        """The tokens since this process began to train; all processes have to ask."""
        if self._counted is None:
            return Tokens()
        counted = self._counted
        if self.accelerator.num_processes > 1:
            counted = self.accelerator.reduce(counted)
        return Tokens(*counted.tolist())

    def count(self, inputs: dict[str, Any]) -> Tensor:
        """Tokens of a batch: computed, padding included; those of its rows; and those that are learned."""
        ids, labels = inputs["input_ids"], inputs["labels"]
        mask = inputs.get("attention_mask")
        of_rows = torch.tensor(ids.numel(), device=ids.device) if mask is None else mask.sum()
        return torch.stack([torch.tensor(ids.numel(), device=ids.device), of_rows, (labels[..., 1:] != -100).sum()])

    def training_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Tensor:
        """One batch forward and backward, as TRL does it; counted."""
        counted = self.count(inputs)
        self._counted = counted if self._counted is None else self._counted + counted
        trl: Any = super()  # untyped in TRL
        loss: Tensor = trl.training_step(model, inputs, *arguments, **options)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and exact answers of the examination's rows, as ``eval_loss``, ``eval_exact`` and ``eval_score``."""
        assert self.examination is not None  # noqa: S101 - evaluation is off without one
        started = time.perf_counter()
        found = self._agreed(self.examination.of(self.model))
        self.last_validation = found
        metrics = {"eval_loss": found.loss, "eval_score": found.score, "eval_runtime": time.perf_counter() - started}
        if found.exact_share is not None:
            metrics["eval_exact"] = found.exact_share
        # TRL logs what a model in training mode computed as training's.
        model: Any = self.model
        model.eval()
        self.log(metrics)
        model.train()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        best = self.state.best_metric
        if self.args.load_best_model_at_end and (best is None or found.score > best):
            self.control.should_save = True
        return metrics

    def _agreed(self, found: Validation) -> Validation:
        """The main process's figures in all processes: they have to save and to stop together."""
        if self.accelerator.num_processes == 1:
            return found
        from accelerate.utils import broadcast_object_list

        figures = [found]
        broadcast_object_list(figures)
        return figures[0]
