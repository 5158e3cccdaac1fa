"""TRL's SFTTrainer on packed steps. Imports torch and trl: load it where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader

from rasa_ft.training.examined_trainer import ExaminedSFTTrainer
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.shared_loss import Batch, base_of, collate, shared_loss
from rasa_ft.training.steps import TurnSampler


class SharedSFTTrainer(ExaminedSFTTrainer):
    """SFTTrainer whose batches are packed steps and whose loss is `shared_loss`; everything else is TRL's."""

    def __init__(self, *, rows: Sequence[TrainingRow], sampler: TurnSampler, **arguments: Any) -> None:
        self.rows = rows
        self.sampler = sampler
        super().__init__(**arguments)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's packed steps in the sampler's order."""
        dtype = base_of(self.model).get_output_embeddings().weight.dtype
        loader: Any = DataLoader(
            range(len(self.rows)),  # type: ignore[arg-type]
            batch_sampler=self.sampler,
            collate_fn=lambda indices: self._packed(indices, dtype),
        )
        # As for one process: the sampler has divided the rows already.
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def _packed(self, indices: Sequence[int], dtype: torch.dtype) -> Batch:
        """The packed rows. A process without rows computes one of which nothing is learned: all step together."""
        if indices:
            return collate([self.rows[index] for index in indices], dtype)
        idle = collate([min(self.rows, key=lambda row: len(row.tokens))], dtype)
        return idle | {name: idle[name][:0] for name in ("label_positions", "label_ids", "label_rows")}

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean loss of the step's answers.

        Of several processes, each gives its part of the sum over the answers of all, times their number: the mean over
        processes, which is what is logged and what gradients become, is the loss of one process with all rows.
        """
        loss = shared_loss(model, inputs)
        processes = self.accelerator.num_processes
        if processes == 1:
            return loss
        learned = torch.tensor(len(inputs["label_ids"]), device=self.accelerator.device)
        mean: torch.Tensor = loss * (processes * learned / self.accelerator.reduce(learned))
        return mean

    def count(self, inputs: Batch) -> torch.Tensor:
        """Tokens of a packed step: computed once each; those of its rows; and those that are learned."""
        counts = [inputs["input_ids"].numel(), inputs["row_tokens"], len(inputs["label_ids"])]
        return torch.tensor(counts, device=self.accelerator.device)
