"""TRL's SFTTrainer on packed steps. Imports torch and trl: load it where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl.trainer.sft_trainer import SFTTrainer

from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.shared_loss import Batch, base_of, collate, shared_loss
from rasa_ft.training.steps import TurnSampler


class SharedSFTTrainer(SFTTrainer):
    """SFTTrainer whose batches are packed steps and whose loss is `shared_loss`; everything else is TRL's."""

    def __init__(self, *, rows: Sequence[TrainingRow], sampler: TurnSampler, **arguments: Any) -> None:
        self.rows = rows
        self.sampler = sampler
        self.tokens_computed = 0
        self.tokens_of_rows = 0
        super().__init__(**arguments)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Packed steps in the sampler's order."""
        dtype = base_of(self.model).get_output_embeddings().weight.dtype
        loader: Any = DataLoader(
            range(len(self.rows)),  # type: ignore[arg-type]
            batch_sampler=self.sampler,
            collate_fn=lambda indices: collate([self.rows[index] for index in indices], dtype),
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean loss of the step's answers."""
        self.tokens_computed += inputs["input_ids"].numel()
        self.tokens_of_rows += inputs["row_tokens"]
        return shared_loss(model, inputs)
