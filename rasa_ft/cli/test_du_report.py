"""What ``rasa test du`` prints: failed messages first, the commands after them, one line of summary at the end."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rasa_ft.calm.dsl import Codec
from rasa_ft.cli.terminal import visible
from rasa_ft.cli.test_report import outcome_parts
from rasa_ft.e2e.du_results import PERCENTILES, conversation_until, lines, measures, scores
from rasa_ft.e2e.du_runner import DuResult, DuSuiteResult, JudgedStep
from rasa_ft.evaluation.commands import CommandScores

# Without a terminal: wide enough that nothing of a table is cut.
_PLAIN_WIDTH = 160
_DIFF_STYLES = {"+": "green", "-": "red"}


def print_report(result: DuSuiteResult, codec: Codec, component: str) -> None:
    """For people, on stdout; ``component`` is the name of the command generator."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for found in result.results:
        for step in found.steps:
            if not step.passed:
                _print_step(console, found, step, codec)
        _print_broken(console, found)
    measured = scores(result)
    if measured.commands:
        console.print(_command_table(measured))
    taken = measures(result, component)
    if any(taken.values()):
        console.print(_measures_table(taken))
    for found in result.results:
        if found.status != "passed":
            console.print(Text(visible(f"{found.status.upper()} {found.case.id}")), soft_wrap=True)
            if found.skipped:
                console.print(Text(visible(f"  {found.skipped}"), style="yellow"), soft_wrap=True)
    console.print(_summary(result, measured))


def _print_step(console: Console, found: DuResult, step: JudgedStep, codec: Codec) -> None:
    console.rule(f"[bold]{escape(visible(found.case.name))}", align="left", style="red")
    console.print(Text(f"{step.step.location}: the message is understood otherwise"), soft_wrap=True)
    for line in conversation_until(found, step):
        console.print(Text(visible(f"  {line}")), soft_wrap=True)
    table = Table("expected", "predicted")
    expected, predicted = (lines(commands, codec) for commands in (step.step.commands, step.predicted))
    for index in range(max(len(expected), len(predicted))):
        table.add_row(*(escape(visible(side[index])) if index < len(side) else "" for side in (expected, predicted)))
    console.print(table)


def _print_broken(console: Console, found: DuResult) -> None:
    if found.broken is None:
        return
    console.rule(f"[bold]{escape(visible(found.case.name))}", align="left", style="yellow")
    console.print(Text(visible(f"{found.broken.location}: {found.broken.message}")), soft_wrap=True)
    for line in found.broken.diff:
        console.print(Text(visible(f"  {line}"), style=_DIFF_STYLES.get(line[:1], "")), soft_wrap=True)


def _command_table(measured: CommandScores) -> Table:
    table = Table("command", title="Commands", title_justify="left")
    for column in ("expected", "right", "surplus", "missed", "precision", "recall", "F1"):
        table.add_column(column, justify="right")
    for name, count in measured.commands.items():
        ratios = (f"{value:.3f}" for value in (count.precision, count.recall, count.f1))
        table.add_row(name, *map(str, (count.expected, count.tp, count.fp, count.fn)), *ratios)
    table.add_section()
    averages = f"macro {measured.macro:.3f}, micro {measured.micro:.3f}, weighted {measured.weighted:.3f}"
    table.add_row("F1 of all", *[""] * 6, averages)
    return table


def _measures_table(taken: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table("of a message", *PERCENTILES, title="Time and tokens", title_justify="left")
    for kind, by_reader in taken.items():
        for reader, shares in by_reader.items():
            name, form = _measure(kind, reader)
            table.add_row(name, *(form.format(value) for value in shares.values()))
    return table


def _measure(kind: str, reader: str) -> tuple[str, str]:
    """What a row is called and how its values are written."""
    if kind != "latency":
        return f"{kind.replace('_', ' ')}s", "{:.0f}"
    return ("message to commands", "{:.3f} s") if reader == "total" else (f"answer to {reader}", "{:.0f} ms")


def _summary(result: DuSuiteResult, measured: CommandScores) -> Text:
    parts = outcome_parts([found.status for found in result.results], len(result.left_out))
    unjudged = sum(found.not_judged for found in result.results if found.status != "skipped")
    messages = f"{measured.exact} of {measured.turns} messages as expected"
    if unjudged:
        messages += f", {unjudged} not judged"
    style = "bold green" if result.all_passed else "bold red"
    return Text(f"{messages}; {', '.join(parts)} in {result.seconds:.1f} s", style=style)
