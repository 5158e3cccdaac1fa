"""``rasa llm finetune run``: the whole loop, as the commands that it consists of."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import click


@click.command("run")
@click.argument("project", type=click.Path(path_type=Path), default=Path())
@click.option("--tests", type=click.Path(path_type=Path), help="E2E tests.  [default: e2e_tests in the project]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("rasa_ft_run"), show_default=True)
@click.option("--recipe", type=click.Path(path_type=Path), help="Training recipe.  [default: SmolLM2-135M]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the recipe.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides split, variants and adapter.")
@click.option("--skip-base", is_flag=True, help="Do not evaluate the base model.")
def run(
    project: Path,
    tests: Path | None,
    out: Path,
    recipe: Path | None,
    overrides: tuple[str, ...],
    seed: int,
    skip_base: bool,
) -> None:
    """Test, prepare data, train, serve and evaluate, for the assistant in PROJECT (its folder, or an archive).

    Each stage is a command of its own, shown as it is run, and can be repeated by itself. What is unchanged is not
    done again. Exit code 3 if the tuned model misses a gate.
    """
    from rasa_ft.cli import evaluate, prepare_data, test, train

    if tests is None and project.is_file():
        raise click.UsageError(f"{project} is an archive, which holds no tests: name them with --tests.")
    coverage, data, model = out / "coverage", out / "data", out / "model"
    settings = [f"training.seed={seed}", *overrides]
    began = time.monotonic()
    _stage(
        "test e2e",
        test.e2e,
        _argument(tests or project / "e2e_tests"),
        **{"--coverage-report": True, "--coverage-output-path": coverage, "--project": project},
    )
    _stage(
        "llm finetune prepare-data",
        prepare_data.prepare_data,
        _argument(coverage / "passed.yml"),
        **{"--project": project, "--out": data, "--seed": seed},
    )
    _stage(
        "llm finetune train",
        train.train,
        [str(recipe)] if recipe else [],
        **{"--data": data, "--out": model, "--set": settings, "--if-changed": True},
    )
    try:
        _stage(
            "llm finetune evaluate",
            evaluate.evaluate,
            [],
            **{
                "--project": project,
                "--data": data,
                "--model": model,
                "--out": out / "evaluation",
                "--skip-base": skip_base,
            },
        )
    finally:
        click.echo(f"\n{(time.monotonic() - began) / 60:.0f} minutes in all. Where to look next:", err=True)
        for name, place in {
            "the verdict, as a page": out / "evaluation" / "report.html",
            "the tuned model": model / "merged",
            "what it learned from": data / "result_summary.yaml",
            "coverage of the tests": coverage / "coverage_report_for_passed_tests.csv",
        }.items():
            if place.exists():
                click.echo(f"  {name:<24} {place}", err=True)
        if (model / "merged").exists():
            click.echo(f"  {'serve it':<24} rasa llm finetune serve {model}", err=True)


def _argument(path: Path) -> list[str]:
    return [str(path)]


def _stage(name: str, command: click.Command, arguments: list[str], **options: Any) -> None:
    """Show a command as one would type it, then run it; a stage that fails ends the run with its exit code."""
    words = arguments + [word for option, value in options.items() for word in _words(option, value)]
    click.secho(f"\n$ rasa {name} {shlex.join(words)}", bold=True, err=True)
    code = command.main(words, prog_name=f"rasa {name}", standalone_mode=False)
    # Tests that fail give no data but stop nothing: the next stage goes on with those that passed.
    if code and command.name != "e2e":
        raise click.exceptions.Exit(code)


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in (option, str(one))]
