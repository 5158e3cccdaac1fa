"""The example assistant's training rows for benchmarks/training.py, also with a longer static prompt part."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasa_ft.training.prefix_tree import shared_length

ROOT = Path(__file__).parents[1]
ROWS = Path("4_train_test_split") / "ft_splits" / "train.jsonl"

_VERBS = ("renew", "order", "report", "update", "request", "cancel", "check", "transfer", "extend", "confirm")
_THINGS = ("parking_permit", "meal_voucher", "seat_upgrade", "newsletter", "invoice", "season_pass", "gift_card")
_SLOTS = ("permit_number", "email", "full_name", "zone [inner/middle/outer]", "start_date", "amount", "postcode")


def prepared(folder: Path, wordings: int | None = None) -> Path:
    """Rows of the example assistant in ``folder``, as shipped or with ``wordings`` behind each history.

    A second call finds them unchanged and takes a second.
    """
    bot = ROOT / "examples" / "bot"
    command = [sys.executable, "-m", "rasa_ft", "llm", "finetune", "prepare-data", str(bot / "e2e_tests")]
    more = ["--wordings-per-turn", str(wordings)] if wordings else []
    done = subprocess.run(
        [*command, "--project", str(bot), "--out", str(folder), *more], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"prepare-data failed:\n{done.stderr[-2000:]}")
    return folder


def made_up_flows(count: int) -> list[str]:
    """Lines like those of the student's prompt: a flow and its slots; the same ones for the same count."""
    dice = random.Random(0)
    names = [f"{verb}_{thing}" for thing in _THINGS for verb in _VERBS]
    numbered = [
        names[one % len(names)] + (f"_{one // len(names) + 1}" if one >= len(names) else "") for one in range(count)
    ]
    return [f"{name}: {', '.join(dice.sample(_SLOTS, dice.randint(1, 4)))}\n" for name in numbered]


def static_part(rows: Sequence[dict[str, Any]]) -> str:
    """What the prompts of all rows begin with."""
    prompts = [row["messages"][0]["content"] for row in rows]
    return prompts[0][: shared_length(prompts)]


def lengthened(rows: Sequence[dict[str, Any]], lines: Sequence[str]) -> list[dict[str, Any]]:
    """Conversational rows with ``lines`` put into the part that all their prompts begin with, at its last line end."""
    at = static_part(rows).rfind("\n") + 1
    added = "".join(lines)

    def longer(row: dict[str, Any]) -> dict[str, Any]:
        first, *rest = row["messages"]
        return {**row, "messages": [{**first, "content": first["content"][:at] + added + first["content"][at:]}, *rest]}

    return [longer(row) for row in rows]


def with_static_part(data: Path, target: Path, tokens: int, tokenizer: Any) -> Path:
    """A folder like ``data`` whose prompts all begin with about ``tokens`` tokens, by made-up flows; never shorter."""
    rows = [json.loads(line) for line in (data / ROWS).read_text(encoding="utf-8").splitlines()]
    missing = tokens - len(tokenizer(static_part(rows))["input_ids"])
    lines = made_up_flows(max(0, missing) // 5 + 1)
    while lines and len(tokenizer("".join(lines))["input_ids"]) > missing:
        lines.pop()
    target.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lengthened(rows, lines))
    (target / "train.jsonl").write_text(text, encoding="utf-8")
    return target
