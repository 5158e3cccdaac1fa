"""``rasa llm finetune train``: a recipe and rows in, a tuned model out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rasa_ft.training.config import TrainingRecipe
    from rasa_ft.training.memory import MemoryUse
    from rasa_ft.training.progress import OnProgress
    from rasa_ft.training.progress import Progress as TrainingProgress
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
    from rasa_ft.training.processes import is_main

    settings, final_of = _settings(recipe, overrides, data, final)
    out = out or (Path(f"{final}-final") if final else Path("finetuned"))
    if dry_run:
        if is_main():
            _print_plan(settings, as_json=as_json)
        return

    from rasa_ft.training.trainer import is_current
    from rasa_ft.training.trainer import train as run_training

    if if_changed and is_current(settings, out):
        if is_main():
            click.echo(f"{out} is up to date.", err=True)
        return
    try:
        with progress_bar() if is_main() else nullcontext() as on_progress:
            result = run_training(settings, out, on_progress, on_start=_print_start, resume=resume, final_of=final_of)
    except KeyboardInterrupt:
        if is_main():
            click.echo(_after_interruption(out), err=True)
        raise click.exceptions.Exit(130) from None
    if is_main():
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


def _after_interruption(out: Path) -> str:
    """What is left of an interrupted training, and the way on."""
    from rasa_ft.training.checkpoints import newest, partial_folder

    kept = newest(partial_folder(out))
    if kept is None:
        return (
            "Interrupted before the first checkpoint: nothing is kept.\n"
            "  --set training.save_strategy=steps --set training.save_steps=50 makes one every 50 steps."
        )
    return f"Interrupted. Step {kept.step} is kept: the same command with --resume goes on from there."


class progress_bar:  # noqa: N801 - used like a function
    """A progress bar on stderr that shows step, loss and speed; plain lines where stderr is no terminal."""

    def __enter__(self) -> OnProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
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
        state = _state(progress)
        self._bar.update(self._task, total=progress.steps, completed=progress.step, state=state)
        examined = progress.validation_loss is not None
        if not self._live and (progress.step % 25 == 0 or progress.step in {1, progress.steps} or examined):
            click.echo(f"step {progress.step}/{progress.steps}  {state}", err=True)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _state(progress: TrainingProgress) -> str:
    """Losses, speed, memory and time of a training in one line."""
    parts = [f"loss {progress.loss:.3f}"]
    if progress.validation_loss is not None:
        parts.append(f"validation {progress.validation_loss:.3f}")
    if progress.validation_exact is not None:
        parts.append(f"{100 * progress.validation_exact:.0f} % exact")
    parts += [f"{progress.tokens_per_second:.0f} tokens/s", f"{progress.memory_gib:.1f} GiB"]
    return f"{', '.join(parts)}  {_time(progress.seconds)}, {_time(progress.eta_seconds)} left"


def _time(seconds: float) -> str:
    """Hours, minutes and seconds, as in 1:02:03 or 0:45."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _print_start(memory: MemoryUse) -> None:
    click.echo(
        f"Training on {memory.device}: {memory.total_gib} GiB of memory, "
        f"{memory.before_gib} GiB in use with the model loaded.",
        err=True,
    )


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

    figures = {**asdict(result), "minutes": result.minutes}
    values = {key: str(value) if isinstance(value, Path) else value for key, value in figures.items()}
    del values["memory"]
    _print(values | result.memory.figures(), as_json=as_json)
    click.echo(f"Serve it:  rasa llm finetune serve {result.merged}", err=True)


def _print(values: dict[str, object], *, as_json: bool = False) -> None:
    import json

    if as_json:
        click.echo(json.dumps(values))
        return
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key.replace('_', ' '):<{width}}  {value}")
