"""``rasa llm finetune prepare-data``: passing tests in, training data out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasa_ft.cli.prepare_data_progress import print_estimate, progress_bars, told_at_the_end
from rasa_ft.cli.project import model_option, project_option

if TYPE_CHECKING:
    from rasa_ft.recipe.summary import Summary


@click.command("prepare-data")
@click.argument("path", default="e2e_tests")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("output"), show_default=True, help="Output folder."
)
@click.option("--num-rephrases", type=click.IntRange(0), help="Rephrasings per user message; 0: none.  [default: 10]")
@click.option(
    "--refills", type=click.IntRange(0), help="Further questions while rephrasings are missing.  [default: 2]"
)
@click.option("--rephrase-config", type=click.Path(path_type=Path), help="YAML file with prompt_template and llm.")
@click.option("--train-frac", type=float, help="Share of the examples for training.  [default: 0.8]")
@click.option(
    "--holdout-flows",
    metavar="FLOW,…",
    callback=lambda context, option, value: value and tuple(name.strip() for name in value.split(",") if name.strip()),
    help="Only judged, never trained: every conversation with one of these flows.",
)
@click.option(
    "--output-format",
    type=click.Choice(["instruction", "conversational", "prompt-completion", "openai", "tools", "sharegpt", "alpaca"]),
    help="Of the rows.  [default: instruction]",
)
@click.option("--base-model", help="Measure the rows with its tokenizer; too long ones are an error.")
@click.option("--max-length", type=click.IntRange(1), help="Tokens of the longest row.  [default: 2048]")
@click.option("--too-long", type=click.Choice(["error", "drop"]), help="What to do with longer rows.")
@click.option("--histories", type=click.IntRange(0), help="Most new conversations per test.  [default: no limit]")
@click.option("--wordings-per-turn", type=click.IntRange(1), help="Wordings behind one history.  [default: 3]")
@click.option(
    "--exchange-fraction", type=click.FloatRange(0, 1), help="Share of new conversations with other slot values."
)
@click.option("--transplants", type=click.IntRange(0), help="Interruptions per training conversation.")
@click.option("--recheck", type=click.FloatRange(0, 1), help="Share of new rows that the teacher confirms once more.")
@click.option(
    "--second-opinion", metavar="GROUP", help="Model group that reads every message too; again: the teacher once more."
)
@click.option("--review", type=click.Path(path_type=Path), help="Decisions about labels.  [default: OUT/review.yml]")
@click.option("--audit/--no-audit", default=None, help="Look for labels that do not fit the others.  [default: audit]")
@click.option("--scrub", is_flag=True, default=None, help="Replace personal data in the tests before all else.")
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
@click.option("--estimate", "only_estimate", is_flag=True, help="Tell calls, tokens and cost; ask nothing.")
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
    only_estimate: bool,
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
    from rasa_ft.recipe.project import Spending, estimate_project, prepare_project, settings_for

    project = find_project(path, project, model)
    settings = settings_for(project, settings_file, **given)
    sources = {"endpoints": endpoints, "rephrase_config": rephrase_config}
    if only_estimate:
        print_estimate(estimate_project(path, project, settings, **sources), as_json=as_json)
        return
    spending = Spending(Budget(max_calls, max_cost))
    with told_at_the_end(spending.meter), progress_bars(spending.meter) as progress:
        summary = prepare_project(
            path, project, settings, out, spending=spending, progress=progress, force=force, **sources
        )
    if as_json:
        report = {"out": str(summary.out), "unchanged": summary.unchanged, **summary.figures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_summary(summary)


def print_summary(summary: Summary) -> None:
    """The figures that matter on stdout, what went wrong on stderr."""
    from rasa_ft.evaluation.report.render import percent

    if summary.unchanged:
        click.echo(f"{summary.out} is up to date; --force makes it again.", err=True)
    for line in _complaints(summary):
        click.echo(line, err=True)
    judged = summary["num_passing_rephrased_user_messages"] + summary["num_failing_rephrased_user_messages"]
    overlap = summary["overlap"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["train_data_points_by_kind"].items())
    lines = {
        "tests": f"{summary['num_annotated_conversations']} of {summary['num_input_e2e_tests']} give data, "
        f"{summary['num_user_messages_across_conversations']} user messages",
        "rephrasings": f"{summary['num_passing_rephrased_user_messages']} of {judged} understood as the original",
        "training": f"{summary['num_train_data_points']} rows of {summary['num_train_conversations']} tests ({kinds})",
        "validation": f"{summary['num_val_data_points']} rows of {summary['num_validation_conversations']} tests",
        "overlap": f"{overlap['of_these_found_in_training']} of {overlap['validation_messages']} validation messages "
        f"stand in training; {percent(overlap['near_duplicate_share'], 1)} have a near duplicate there",
    }
    replaced = dict(summary["scrubbed"])
    if replaced:
        tests = replaced.pop("tests")
        lines["scrubbed"] = f"{sum(replaced.values())} personal data in {tests} tests replaced"
    for name, text in lines.items():
        click.echo(f"{name:<12} {text}")
    click.echo(f"{'written to':<12} {summary.out}; what the data are like: {summary.out / 'data_card.html'}")


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
    rows = summary["dropped_rows"]
    if rows:
        reason = rows[0].get("error") or rows[0].get("reason")
        yield f"{len(rows)} rows were dropped; the first, of {rows[0]['test']}: {reason}"
    if summary["num_rephrasing_errors"]:
        yield f"{summary['num_rephrasing_errors']} model calls failed; the messages are in 2_rephrasings."
    doubts = summary["num_rephrasings_in_doubt"], summary["num_user_messages_in_doubt"]
    if any(doubts):
        yield (
            f"Labels of {doubts[0]} rephrasings (left out) and {doubts[1]} messages (kept) are in doubt: decide in "
            f"{summary.out / 'review.yml'} and run this again."
        )
    outdated = summary["outdated_review_decisions"]
    if outdated:
        first = outdated[0]
        yield (
            f"{len(outdated)} decisions are about messages that are not there any more; the first: "
            f"{first['test']}, turn {first['turn']}: '{first['message']}'"
        )
    for skill in summary["judged_but_never_trained"]:
        yield f"Only validation has: {skill}. Write another test with it."
    unjudged = summary["trained_but_never_judged"]
    if unjudged:
        yield f"{len(unjudged)} skills are trained but never judged, such as {unjudged[0]['skill']}: see the data card."
