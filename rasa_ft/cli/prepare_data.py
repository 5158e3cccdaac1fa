"""``rasa llm finetune prepare-data``: passing tests in, training data out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.project import model_option, project_option

if TYPE_CHECKING:
    from rasa_ft.recipe.summary import Summary

_STAGES = {
    "annotate": "running the tests",
    "rephrase": "asking for rephrasings",
    "check": "checking rephrasings",
    "compose": "composing conversations",
}


@click.command("prepare-data")
@click.argument("path", default="e2e_tests")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("output"), show_default=True, help="Output folder."
)
@click.option("--num-rephrases", type=click.IntRange(0), help="Rephrasings per user message; 0: none.  [default: 10]")
@click.option("--rephrase-config", type=click.Path(path_type=Path), help="YAML file with prompt_template and llm.")
@click.option("--train-frac", type=float, help="Share of the examples for training.  [default: 0.8]")
@click.option(
    "--output-format", type=click.Choice(["instruction", "conversational"]), help="Rows.  [default: instruction]"
)
@click.option("--histories", type=click.IntRange(0), help="Most new conversations per test.  [default: no limit]")
@click.option("--wordings-per-turn", type=click.IntRange(1), help="Wordings behind one history.  [default: 3]")
@click.option(
    "--exchange-fraction", type=click.FloatRange(0, 1), help="Share of new conversations with other slot values."
)
@click.option("--transplants", type=click.IntRange(0), help="Interruptions per training conversation.")
@click.option("--student-prompt", type=click.Path(path_type=Path), help="Prompt template of the model to be tuned.")
@click.option("--endpoints", type=click.Path(path_type=Path), help="Default: the project's endpoints.yml.")
@project_option
@model_option
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path), help="Default: finetune_data.yml, if any."
)
@click.option("--seed", type=int, help="Decides the split and every choice.  [default: 42]")
@click.option("--concurrency", type=click.IntRange(1), help="Model calls in flight.  [default: 8]")
@click.option("--max-calls", type=click.IntRange(0), help="Stop before more model calls than this.")
@click.option("--max-cost", type=click.FloatRange(0), help="Stop at this cost; needs prices in endpoints.yml.")
@click.option("--force", is_flag=True, help="Do it again although nothing has changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def prepare_data(
    path: str,
    out: Path,
    rephrase_config: Path | None,
    endpoints: Path | None,
    project: Path | None,
    model: Path | None,
    settings_file: Path | None,
    max_calls: int | None,
    max_cost: float | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Turn passing E2E tests into data to train and to judge a command model.

    PATH is a test file or folder, FILE::case name, or what `rasa test e2e --coverage-report` wrote. Settings come from
    the options, else from finetune_data.yml in the assistant's folder, else they are the defaults. The folder OUT is
    replaced when everything is done, and left as it was if anything fails.
    """
    from rasa_ft.cli.project import find_project
    from rasa_ft.llm.budget import Budget
    from rasa_ft.recipe.project import prepare_project, settings_for

    project = find_project(path, project, model)
    settings = settings_for(project, settings_file, **given)
    limited = max_calls is not None or max_cost is not None
    with progress_bars() as progress:
        summary = prepare_project(
            path,
            project,
            settings,
            out,
            endpoints=endpoints,
            rephrase_config=rephrase_config,
            budget=Budget(max_calls, max_cost) if limited else None,
            progress=progress,
            force=force,
        )
    if as_json:
        report = {"out": str(summary.out), "unchanged": summary.unchanged, **summary.figures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_summary(summary)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """One bar on stderr for each stage, with the time that is left; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage in _STAGES and stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=total)
            if stage in tasks:
                bars.update(tasks[stage], completed=done, total=total)

        yield show


def print_summary(summary: Summary) -> None:
    """The figures that matter on stdout, what went wrong on stderr."""
    if summary.unchanged:
        click.echo(f"{summary.out} is up to date; --force makes it again.", err=True)
    for line in _complaints(summary):
        click.echo(line, err=True)
    judged = summary["num_passing_rephrased_user_messages"] + summary["num_failing_rephrased_user_messages"]
    leakage = summary["leakage"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["train_data_points_by_kind"].items())
    lines = {
        "tests": f"{summary['num_annotated_conversations']} of {summary['num_input_e2e_tests']} give data, "
        f"{summary['num_user_messages_across_conversations']} user messages",
        "rephrasings": f"{summary['num_passing_rephrased_user_messages']} of {judged} understood as the original",
        "training": f"{summary['num_train_data_points']} rows of {summary['num_train_conversations']} tests ({kinds})",
        "validation": f"{summary['num_val_data_points']} rows of {summary['num_validation_conversations']} tests",
        "leaks": f"{leakage['of_these_found_in_training']} of {leakage['validation_messages']} validation messages "
        f"stood in training too; {leakage['training_rows_dropped']} training rows dropped",
    }
    for name, text in lines.items():
        click.echo(f"{name:<12} {text}")
    click.echo(f"{'written to':<12} {summary.out}")


def _complaints(summary: Summary) -> Iterator[str]:
    for skipped in summary["skipped_e2e_tests"]:
        yield f"Skipped {skipped['test']}: {skipped.get('error') or skipped.get('reason')}"
    dropped = summary["dropped_new_conversations"]
    if dropped:
        first = dropped[0]
        yield (
            f"{len(dropped)} new conversations went another way than their test and were dropped; "
            f"the first, of {first['test']}: {first['reason']}"
        )
    if summary["num_rephrasing_errors"]:
        yield f"{summary['num_rephrasing_errors']} model calls failed; the messages are in 2_rephrasings."
    for skill in summary["judged_but_never_trained"]:
        yield f"Only validation has: {skill}. Write another test with it."
