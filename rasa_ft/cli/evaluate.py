"""`rasa llm finetune evaluate`: the E2E tests again on base, tuned model and teacher, and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rasa_ft.cli.project import project_option

# Not imported from rasa_ft.evaluation: showing --help must not wait for it.
_TRAIN_GATE, _VALIDATION_GATE, _MARGIN, _ALPHA = 0.95, 0.80, 0.05, 0.05


@click.command()
@click.option(
    "--model", type=click.Path(path_type=Path), default="finetuned", show_default=True, help="What train wrote."
)
@click.option(
    "--data", type=click.Path(path_type=Path), default="output", show_default=True, help="What prepare-data wrote."
)
@project_option
@click.option("--endpoints", type=click.Path(path_type=Path), help="Another file than the project's endpoints.yml.")
@click.option("--out", type=click.Path(path_type=Path), default="evaluation", show_default=True, help="Where to write.")
@click.option("--train-gate", default=_TRAIN_GATE, show_default=True, help="Share of training conversations to pass.")
@click.option("--validation-gate", default=_VALIDATION_GATE, show_default=True, help="The same for validation.")
@click.option(
    "--margin", default=_MARGIN, show_default=True, help="How far behind the teacher, as a share of messages."
)
@click.option("--alpha", default=_ALPHA, show_default=True, help="Risk of passing a model that is as far behind.")
@click.option(
    "--must-pass", multiple=True, metavar="NAME", help="Test or flow that may not fail, or a pattern; several."
)
@click.option("--base-model", help="Folder or hub name; by default what the training manifest names.")
@click.option("--skip-base", is_flag=True, help="Leave the base model out.")
@click.option("--concurrency", default=16, show_default=True, type=click.IntRange(min=1), help="Calls in flight.")
@click.option("--max-tokens", default=64, show_default=True, type=click.IntRange(min=1), help="Longest answer.")
@click.option("--grammar/--no-grammar", default=True, show_default=True, help="Decode by the assistant's grammar.")
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json on stdout instead of the table.")
def evaluate(
    model: Path,
    data: Path,
    project: Path | None,
    endpoints: Path | None,
    out: Path,
    train_gate: float,
    validation_gate: float,
    margin: float,
    alpha: float,
    must_pass: tuple[str, ...],
    base_model: str | None,
    skip_base: bool,
    concurrency: int,
    max_tokens: int,
    grammar: bool,
    as_json: bool,
) -> int:
    """Re-run the training and validation E2E tests on the base model, the tuned model and the teacher.

    Writes verdict.json, report.html, turns.jsonl and plots to the folder --out. Exit code 3 if a gate is not met or the
    model is not to be shipped.
    """
    from rasa_ft.cli.project import find_project
    from rasa_ft.errors import GateNotMet
    from rasa_ft.evaluation.gates import Gates
    from rasa_ft.evaluation.summary import verdict_json
    from rasa_ft.recipe.evaluating.evaluate import EvaluateSettings
    from rasa_ft.recipe.evaluating.evaluate import evaluate as run

    settings = EvaluateSettings(
        project=find_project(data, project),
        data=data,
        model=model,
        out=out,
        endpoints=endpoints,
        base_model=base_model,
        skip_base=skip_base,
        gates=Gates(train_gate, validation_gate, margin=margin, alpha=alpha),
        must_pass=must_pass,
        concurrency=concurrency,
        max_tokens=max_tokens,
        grammar=grammar,
    )
    with EvaluationProgress() as progress:
        result = run(settings, progress=progress)
    if as_json:
        click.echo(json.dumps(verdict_json(result), indent=2, ensure_ascii=False))
    else:
        show(result)
    click.echo(f"The report is {out / 'report.html'}", err=True)
    if result.verdict.refused:
        raise GateNotMet(result.verdict.headline, hint=f"{out / 'report.html'} shows which conversations fail and why.")
    return 0


def show(result: Any) -> None:
    """Print an `EvaluationResult` as a table with the verdict below."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from rasa_ft.evaluation.report.render import ROLE_TITLES, side_by_side

    roles, rows = side_by_side(result)
    table = Table(
        box=SIMPLE, title=f"{result.assistant}: base, tuned and teacher on the same tests", title_justify="left"
    )
    table.add_column("")
    for role in roles:
        table.add_column(ROLE_TITLES[role])
    for row in rows:
        table.add_row(row.label, *(f"{text}\n[dim]{small}[/dim]" if small else text for text, small in row.cells))
    console = Console()
    console.print(table)
    colour = {"ship": "green", "do not ship": "red"}.get(result.verdict.outcome.value, "yellow")
    console.print(f"[bold {colour}]{result.verdict.headline}[/]")
    for reason in result.verdict.reasons:
        console.print(f"- {reason}", highlight=False)


class EvaluationProgress:
    """A `Progress` that draws one bar for each part of the work on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._starting: Any = None
        self._phase = ""

    def __enter__(self) -> EvaluationProgress:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.__exit__(*error)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if total == 0:
            self._waiting(stage)
            return
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done)
        if done == total and not self._console.is_terminal:
            click.echo(f"  {stage}: {done}", err=True)

    def _waiting(self, text: str) -> None:
        """A server is starting: how long that takes is not known."""
        if self._starting is None:
            self._starting = self._bars.add_task(text, total=None)
        self._bars.update(self._starting, description=text)
        phase = text.partition(" (")[0]
        if phase != self._phase and not self._console.is_terminal:
            click.echo(f"  {phase}", err=True)
        self._phase = phase
