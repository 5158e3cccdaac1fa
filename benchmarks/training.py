"""Prefix sharing against plain TRL on the example assistant's rows: tokens, time, memory, gradients, loss curves.

    python benchmarks/training.py tokens                     counted over an epoch; no training
    python benchmarks/training.py gradients                  of one step, in fp32 and bf16
    python benchmarks/training.py speed --precision bf16     seconds a step and peak memory
    python benchmarks/training.py lengths --plain-rows 4     the same with 400 to 3 200 static tokens
    python benchmarks/training.py curves --steps 20          loss of a run, once each way

Each writes training-<mode>.json into --out, then training.md and the pictures from all results found there; so the
whole can be measured in pieces. `--wordings recipe` trains as shipped; `--wordings 10` prepares ten wordings behind
each history, and a step takes them all, with the message itself. Exit code 1 if gradients differ more than they may.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training_data import ROOT, prepared, with_static_part
from training_report import GRADIENT_TARGET, Result, compared, curve, kept, write_report
from training_run import Measured, Run, measured, recipe_of
from training_trainers import gradient_difference

from rasa_ft.training.cpu import cores
from rasa_ft.training.data import library_versions, load_data
from rasa_ft.training.prefix_tree import pack

WORK = ROOT / ".rasa_ft" / "training-benchmark"
LENGTHS = (400, 800, 1600, 3200)
Measure = Callable[[Run], Measured]


@dataclass(frozen=True)
class Case:
    """Rows to train on, and the run that everything else varies."""

    name: str
    run: Run


def cases(options: argparse.Namespace) -> list[Case]:
    """One of each ``--wordings``, with its data prepared."""
    return [_case(options, wordings) for wordings in options.wordings]


def _case(options: argparse.Namespace, wordings: str) -> Case:
    number = None if wordings == "recipe" else int(wordings)
    data = options.data or prepared(options.work / wordings, number)
    settings = tuple(options.settings)
    if number:
        settings += (f"prefix_sharing.wordings_per_group={number + 1}",)
    run = Run(
        kind="shared",
        data=str(data),
        settings=settings,
        steps=options.steps,
        micro_batch=options.micro_batch,
        padding_free=options.padding_free,
        autocast=options.autocast,
    )
    sharing = recipe_of(run).prefix_sharing
    turns = f"{sharing.groups_per_step} turns of up to {sharing.wordings_per_group} wordings"
    return Case(f"{'as shipped' if number is None else f'{number} wordings'}: {turns}", run)


def both(case: Case, run: Run, options: argparse.Namespace, measure: Measure) -> tuple[Measured, Measured]:
    """Plain and shared, in this order."""
    plain = measure(replace(run, kind="plain", rows=options.plain_rows))
    print(f"{case.name}: plain TRL {sum(plain.seconds):.0f} s for {sum(plain.rows)} rows", flush=True)
    shared = measure(replace(run, kind="shared"))
    print(f"{case.name}: prefix sharing {sum(shared.seconds):.0f} s for {sum(shared.rows)} rows", flush=True)
    return plain, shared


def tokens(options: argparse.Namespace, measure: Measure) -> list[Result]:
    """What one epoch computes."""
    from rasa_ft.training.trainer import turn_sampler

    results = []
    for case in cases(options):
        recipe = recipe_of(case.run)
        data = load_data(recipe)
        steps = [[data.train[index] for index in step] for step in turn_sampler(recipe, data)]
        packed = [pack(step) for step in steps]
        of_rows, computed = sum(one.row_tokens for one in packed), sum(len(one.input_ids) for one in packed)
        results.append(
            {
                "name": case.name,
                "steps": len(steps),
                "rows_of_a_step": round(sum(map(len, steps)) / len(steps), 1),
                "static_tokens": round(sum(one.prefix_length for one in packed) / len(packed)),
                "row_tokens": round(of_rows / len(packed)),
                "shared_tokens": round(computed / len(packed)),
                "fewer_tokens": round(of_rows / computed, 2),
            }
        )
    return results


def gradients(options: argparse.Namespace, measure: Measure) -> list[Result]:
    """Each way's gradient of the first step against that of plain TRL in fp32."""
    case = cases(options)[0]
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "plain-fp32.safetensors"
        for precision in options.precision:
            for kind in ("plain", "shared"):
                path = Path(folder) / f"{kind}-{precision}.safetensors"
                run = replace(case.run, kind=kind, precision=precision, steps=1, warm_up=False, gradients=str(path))
                found = measure(run)
                difference = gradient_difference(exact, path)
                name = f"{'plain TRL' if kind == 'plain' else 'prefix sharing'}, {precision}"
                print(
                    f"{name}: loss {found.losses[0]:.7f}, relative difference of the gradient {difference:.1e}",
                    flush=True,
                )
                judged = precision == "fp32"
                values = {"rows": found.rows[0], "loss": found.losses[0], "difference": difference, "judged": judged}
                results.append({"name": name, **values})
    return results


def speed(options: argparse.Namespace, measure: Measure) -> list[Result]:
    """Seconds of a step, for each precision and case."""
    results = []
    for precision in options.precision:
        for case in cases(options):
            run = replace(case.run, precision=precision)
            plain, shared = both(case, run, options, measure)
            result = compared(f"{case.name}, {precision}", plain, shared)
            if options.tree:
                tree = measure(replace(run, kind="tree"))
                result["shared_seconds_without_fast_layers"] = round(sum(tree.seconds) / len(tree.seconds), 2)
            results.append(result)
    return results


def lengths(options: argparse.Namespace, measure: Measure) -> list[Result]:
    """`speed` with longer static parts."""
    from rasa_ft.training.base_models import load_tokenizer

    results = []
    precision = options.precision[-1]
    for case in cases(options):
        tokenizer = load_tokenizer(recipe_of(case.run).base_model)
        for length in options.lengths:
            with tempfile.TemporaryDirectory() as folder:
                data = with_static_part(Path(case.run.data), Path(folder), length, tokenizer)
                settings = (*case.run.settings, f"training.max_length={2 * length + 2048}")
                run = replace(case.run, data=str(data), settings=settings, precision=precision)
                plain, shared = both(case, run, options, measure)
            results.append(compared(f"{case.name}, {precision}, {length}", plain, shared))
    return results


def curves(options: argparse.Namespace, measure: Measure) -> list[Result]:
    """The loss of every step of a whole run of so many steps, its schedule included."""
    case = cases(options)[0]
    precision = options.precision[-1]
    run = replace(case.run, precision=precision, warm_up=False)
    whole = argparse.Namespace(**{**vars(options), "plain_rows": None})
    plain, shared = both(case, run, whole, measure)
    return [curve(f"{case.name}, {precision}", precision, plain, shared)]


MODES = {one.__name__: one for one in (tokens, gradients, speed, lengths, curves)}


def about() -> dict[str, Any]:
    """What every result is kept with."""
    versions = {
        name: version for name, version in library_versions().items() if name in ("torch", "transformers", "trl")
    }
    return {"cores": cores(), "when": datetime.now(UTC).isoformat(timespec="minutes"), "versions": versions}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=list(MODES))
    parser.add_argument("--out", type=Path, default=WORK / "results", help="folder of the results")
    parser.add_argument("--work", type=Path, default=WORK, help="prepared data")
    parser.add_argument("--data", type=Path, help="output folder of prepare-data, in place of the example's")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a change to the recipe")
    parser.add_argument("--wordings", nargs="+", default=["recipe"], help="recipe, or how many are prepared")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=1, help="steps that are timed, after one that warms up")
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, help="static tokens")
    parser.add_argument("--plain-rows", type=int, help="time plain training on so many rows of each step only")
    parser.add_argument("--micro-batch", type=int, default=4, help="plain: rows at once")
    parser.add_argument("--padding-free", action="store_true", help="plain: TRL's padding_free")
    parser.add_argument("--autocast", action="store_true", help="plain in bf16: TRL's bf16=True")
    parser.add_argument("--tree", action="store_true", help="speed: also sharing without the fused layers")
    options = parser.parse_args(arguments)
    if options.mode == "gradients" and options.precision[0] != "fp32":
        parser.error("gradients are compared with those in fp32, which has to come first")
    return options


def main(arguments: Sequence[str] | None = None, measure: Measure = measured) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    options = parsed(arguments)
    results = MODES[options.mode](options, measure)
    kept(options.out, options.mode, results, about())
    print(write_report(options.out))
    return int(any(one.get("judged") and one["difference"] > GRADIENT_TARGET for one in results))


if __name__ == "__main__":
    sys.exit(main())
