"""``rasa llm finetune train``: a recipe and rows in, a tuned model out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rasa_ft.training.config import TrainingRecipe
    from rasa_ft.training.progress import OnProgress
    from rasa_ft.training.trainer import TrainingResult


@click.command("train")
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Output folder of prepare-data.  [default: output, if the recipe names no data]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Where the model goes.  [default: finetuned; with --final MODEL-final]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, as in training.max_steps=50. May be repeated.",
)
@click.option(
    "--final",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value="finetuned",
    metavar="[MODEL]",
    help="Train on validation rows too, with the settings of the evaluated MODEL (default: finetuned).",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of an interrupted run.")
@click.option("--if-changed", is_flag=True, help="Do nothing if OUT already is what would be made.")
@click.option(
    "--dry-run", is_flag=True, help="Check recipe and data, print sizes and a memory estimate, train nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    recipe: Path | None,
    data: Path | None,
    out: Path | None,
    overrides: tuple[str, ...],
    final: Path | None,
    resume: bool,
    if_changed: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fine-tune a model on prepared data.

    RECIPE is a YAML file; without it SmolLM2-135M is trained, which a laptop's CPU can do.
    """
    settings, final_of = _settings(recipe, overrides, data, final)
    out = out or (Path(f"{final}-final") if final else Path("finetuned"))
    if dry_run:
        _print_plan(settings, as_json=as_json)
        return

    from rasa_ft.training.trainer import is_current
    from rasa_ft.training.trainer import train as run_training

    if if_changed and is_current(settings, out):
        click.echo(f"{out} is up to date.", err=True)
        return
    with progress_bar() as on_progress:
        result = run_training(settings, out, on_progress, resume=resume, final_of=final_of)
    _print_result(result, as_json=as_json)


def _settings(
    recipe: Path | None, overrides: tuple[str, ...], data: Path | None, final: Path | None
) -> tuple[TrainingRecipe, dict[str, Any] | None]:
    """What to train, and of which evaluated model it is the final form."""
    from rasa_ft.errors import UsageError
    from rasa_ft.training.config import DEFAULT_RECIPE, load_recipe

    if final is not None:
        from rasa_ft.training.final import final_recipe

        if overrides and recipe is None:
            raise UsageError("--set changes settings, and --final trains with those that were evaluated.")
        return final_recipe(final, load_recipe(recipe, overrides) if recipe else None, data)
    settings = load_recipe(recipe or DEFAULT_RECIPE, overrides)
    if data is not None or settings.dataset.train is None:
        settings = settings.with_data(data or Path("output"))
    return settings, None


class progress_bar:  # noqa: N801 - used like a function
    """A progress bar on stderr that shows step, loss and speed; plain lines where stderr is no terminal."""

    def __enter__(self) -> OnProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("training", total=None, state="loading the model")
        self._bar.start()
        return self._show

    def _show(self, progress: object) -> None:
        from rasa_ft.training.progress import Progress

        assert isinstance(progress, Progress)  # noqa: S101
        validation = "" if progress.validation_loss is None else f", validation {progress.validation_loss:.3f}"
        state = f"loss {progress.loss:.3f}{validation}, {progress.tokens_per_second:.0f} tokens/s"
        self._bar.update(self._task, total=progress.steps, completed=progress.step, state=state)
        if not self._live and (progress.step % 25 == 0 or progress.step in {1, progress.steps}):
            click.echo(f"step {progress.step}/{progress.steps}  {state}  {progress.seconds:.0f} s", err=True)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _print_plan(settings: TrainingRecipe, *, as_json: bool) -> None:
    from dataclasses import asdict

    from rasa_ft.training.plan import make_plan

    plan = asdict(make_plan(settings))
    if as_json:
        _print(plan, as_json=True)
        return
    missing = plan.pop("missing")
    _print({name: f"{value:,}" if type(value) in (int, float) else value for name, value in plan.items()})
    for one in missing:
        click.echo(f"Not on this machine: {one}", err=True)


def _print_result(result: TrainingResult, *, as_json: bool) -> None:
    from dataclasses import asdict

    values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(result).items()}
    _print(values, as_json=as_json)
    click.echo(f"Serve it:  rasa llm finetune serve {result.merged}", err=True)


def _print(values: dict[str, object], *, as_json: bool = False) -> None:
    import json

    if as_json:
        click.echo(json.dumps(values))
        return
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key.replace('_', ' '):<{width}}  {value}")
