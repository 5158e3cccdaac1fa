"""The folder of a running training: checkpoints to go on from, and what they belong to.

A checkpoint is complete when its trainer_state.json can be read, which is written last: a process that is killed while
it saves leaves one that is not.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.errors import UsageError
from rasa_ft.files import write_json

log = logging.getLogger(__name__)

_RUN = "run.json"
_STATE = "trainer_state.json"
_NUMBER = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder, the number of steps done, and what its trainer_state.json says."""

    folder: Path
    step: int
    state: Mapping[str, Any]

    @property
    def ends_training(self) -> bool:
        """Whether it was saved after the last step, so that nothing is left to be trained."""
        control = self.state.get("stateful_callbacks", {}).get("TrainerControl", {})
        return bool(control.get("args", {}).get("should_training_stop"))


def partial_folder(out: Path) -> Path:
    """Where log and checkpoints of a training that goes to ``out`` stand while it runs."""
    return out.with_name(f"{out.name}.partial")


def begin(partial: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Make the folder of a training ready: empty, or with the complete checkpoints that it is resumed from.

    ``identity`` tells what is trained, see `check_same`.

    Raises:
        UsageError: see `check_same`.
    """
    before = newest(partial)
    if resume:
        check_same(partial, identity)
        remove_incomplete(partial)
        if before is None:
            log.warning("There is no checkpoint in %s to resume from: training begins at the first step.", partial)
    else:
        if before is not None:
            log.warning("Training begins at the first step; --resume would have gone on from step %d.", before.step)
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / _RUN, identity)


def newest(partial: Path) -> Checkpoint | None:
    """The complete checkpoint of most steps in a training's partial folder."""
    found = [checkpoint for folder in partial.glob("checkpoint-*") if (checkpoint := _read(folder)) is not None]
    return max(found, key=lambda one: one.step, default=None)


def remove_incomplete(partial: Path) -> None:
    """Remove what a killed process had begun to save."""
    for folder in partial.glob("checkpoint-*"):
        if _read(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Checkpoint | None:
    number = _NUMBER.fullmatch(folder.name)
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Checkpoint(folder, int(number[1]), state) if number and isinstance(state, dict) else None


def check_same(partial: Path, identity: Mapping[str, Any]) -> None:
    """Raise if the checkpoints in ``partial`` belong to a training of another recipe, other data or other libraries.

    Raises:
        UsageError: names what is different.
    """
    try:
        before = json.loads((partial / _RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    different = _different(before, json.loads(json.dumps(identity)))
    if different:
        raise UsageError(
            f"the training in {partial} cannot be resumed: {', '.join(different)} changed since it was interrupted.",
            hint="Put that back, or train from the start: leave out --resume.",
        )


def _different(before: Any, now: Any, name: str = "") -> list[str]:
    """Dotted names of the values in which two JSON objects differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [name]
    keys = list(dict.fromkeys((*before, *now)))
    inside = [_different(before.get(key), now.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
    return [found for names in inside for found in names]


def load_trained(trainer: Any, checkpoint: Checkpoint) -> None:
    """Give ``trainer`` the adapter that training ended with, and its state; nothing is trained.

    TRL's trainer would make another step.
    """
    from transformers.trainer_callback import TrainerState

    trainer.state = TrainerState.load_from_json(str(checkpoint.folder / _STATE))
    best = checkpoint.folder.with_name(f"checkpoint-{trainer.state.best_global_step}")
    kept = best if trainer.args.load_best_model_at_end and best.is_dir() else checkpoint.folder
    trainer.model.load_adapter(str(kept), trainer.model.active_adapter)
