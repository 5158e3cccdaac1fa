"""What a recipe needs that a machine may not have, found before anything heavy begins."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.training.base_models import is_on_disk
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.training.sources import missing_file
from rasa_ft.yaml_source import did_you_mean

_WANDB_OFF = ("offline", "disabled", "dryrun")


@dataclass(frozen=True)
class Missing:
    """Something that a recipe asks for and this machine has not, and what to do about it."""

    what: str
    remedy: str


def check(recipe: TrainingRecipe) -> None:
    """Raise unless this machine can train what the recipe says; and import Unsloth, if used, before all others.

    Asks the hub whether models and data sets may be loaded, if it is reachable.

    Raises:
        DataError: a file of rows is not there, or a name in the recipe is one that transformers does not know.
        MissingRequirement: everything that is missing, with what to do about each.
    """
    gone = [missing_file(path) for path in recipe.dataset.files if not path.exists()]
    if gone:
        raise DataError.collected(gone)
    lacking = missing(recipe)
    if lacking:
        raise MissingRequirement(
            "this recipe cannot be trained here:\n" + "\n".join(f"- {one.what}" for one in lacking),
            hint="\n  ".join(dict.fromkeys(one.remedy for one in lacking)),
        )
    if recipe.backend == "unsloth":
        import unsloth  # noqa: F401 - changes transformers, trl and peft as it is imported
    check_names(recipe)
    for name, kind in _on_hub(recipe):
        _check_access(name, kind)
    if recipe.training.project:
        os.environ.setdefault("WANDB_PROJECT", recipe.training.project)


def missing(recipe: TrainingRecipe) -> list[Missing]:
    """Hardware, packages and keys that the recipe asks for and this machine has not."""
    return list(_missing(recipe))


def _missing(recipe: TrainingRecipe) -> Iterator[Missing]:
    import torch

    cuda = torch.cuda.is_available()
    optimiser = recipe.training.optim
    of_bitsandbytes = "8bit" in optimiser or optimiser.startswith("paged_")
    uses = (
        ("backend unsloth", recipe.backend == "unsloth", "unsloth", "--set backend=peft"),
        (
            "a base model in 4 bits",
            recipe.quantization.load_in_4bit,
            "bitsandbytes",
            "--set quantization.load_in_4bit=false",
        ),
        (f"the optimiser {optimiser}", of_bitsandbytes, "bitsandbytes", "--set training.optim=adamw_torch"),
    )
    for what, used, package, without in uses:
        if used and not cuda:
            yield Missing(f"{what} needs a CUDA GPU, and this machine has none.", f"Without it: {without}")
        elif used and not _is_installed(package):
            yield Missing(f"{what} needs {package}.", "pip install 'rasa_ft[gpu]'")
    yield from _missing_trackers(recipe.training.trackers)


def _missing_trackers(trackers: Iterable[str]) -> Iterator[Missing]:
    if "tensorboard" in trackers and not (_is_installed("tensorboard") or _is_installed("tensorboardX")):
        yield Missing("report_to tensorboard needs tensorboard.", "pip install 'rasa_ft[board]'")
    without = "Without it: --set training.report_to=none"
    for name in ("mlflow", "trackio"):
        if name in trackers and not _is_installed(name):
            yield Missing(f"report_to {name} needs {name}.", f"pip install {name}. {without}")
    if "wandb" not in trackers:
        return
    if not _is_installed("wandb"):
        yield Missing("report_to wandb needs wandb.", f"pip install wandb. {without}")
    if os.environ.get("WANDB_MODE") not in _WANDB_OFF and not os.environ.get("WANDB_API_KEY"):
        yield Missing("report_to wandb needs a key.", f"Set WANDB_API_KEY in the environment or in .env. {without}")


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def check_names(recipe: TrainingRecipe) -> None:
    """Raise for optimisers, schedules and trackers that transformers does not know.

    Raises:
        DataError: all of them, each with the nearest known name.
    """
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    training = recipe.training
    trackers = {"all", "comet_ml", "mlflow", "neptune", "swanlab", "tensorboard", "trackio", "wandb"}
    asked = [
        ("optim", training.optim, {one.value for one in OptimizerNames}),
        ("lr_scheduler_type", training.lr_scheduler_type, {one.value for one in SchedulerType}),
        *(("report_to", name, trackers) for name in training.trackers),
    ]
    unknown = [
        DataError(f"training.{key}: there is no '{name}'.{did_you_mean(name, sorted(known))}")
        for key, name, known in asked
        if name not in known
    ]
    if unknown:
        raise DataError.collected(unknown)


# -- the hub -----------------------------------------------------------------------------------------------------------


def use_hub_token() -> None:
    """Let ``HUGGINGFACE_TOKEN`` stand for ``HF_TOKEN``, which is the name that the hub's library reads."""
    other = os.environ.get("HUGGINGFACE_TOKEN")
    if other and not os.environ.get("HF_TOKEN"):
        os.environ["HF_TOKEN"] = other


def _on_hub(recipe: TrainingRecipe) -> Iterator[tuple[str, str]]:
    if not is_on_disk(recipe.base_model):
        yield recipe.base_model, "model"
    for name in recipe.dataset.hub_names:
        yield name, "dataset"


def _check_access(name: str, kind: str) -> None:
    """Ask the hub whether we may load ``name``; a hub out of reach says nothing, what is needed may be in its cache."""
    import httpx
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if is_offline_mode():
        return
    noun = "data set" if kind == "dataset" else "base model"
    try:
        HfApi().auth_check(name, repo_type=kind)
    except GatedRepoError:
        ask = f"Accept its terms on its page of the hub ({'datasets/' if kind == 'dataset' else ''}{name})"
        key = "" if get_token() else ", and set HF_TOKEN in the environment or in .env"
        raise MissingRequirement(f"the {noun} {name} is gated.", hint=f"{ask}{key}.") from None
    except RepositoryNotFoundError:
        private = "" if get_token() else " Private ones need HF_TOKEN in the environment or in .env."
        raise DataError(f"the hub has no {noun} {name}.", hint=f"Check the name.{private}") from None
    except (httpx.HTTPError, OSError, ValueError):
        return
