"""Every check has a stable name, and every name a check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import rasa_ft
from rasa_ft.calm.checks.rules import RULES

PACKAGE = Path(rasa_ft.__file__).parent
# Names that are put together where they are reported.
PUT_TOGETHER = {
    "f'duplicate-flow-{what}'": {"duplicate-flow-name", "duplicate-flow-description"},
    "f'duplicate-{kind}'": {"duplicate-slot", "duplicate-response"},
    "f'unknown-{kind}'": {"unknown-action", "unknown-response"},
}
# Handed on, with these names among them.
HANDED_ON = {"rule": {"wrong-type", "invalid-branch", "missing-else", "unreadable-file", "invalid-model"}}
HANDED_ON["RULE"] = {"out-of-scope"}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield file, node


def is_report(call: ast.Call) -> bool:
    function = call.func
    is_method = isinstance(function, ast.Attribute) and function.attr in ("error", "warning", "fatal")
    return is_method and ast.unparse(function.value).endswith("report")


def rules_of(call: ast.Call) -> set[str]:
    value = next(keyword.value for keyword in call.keywords if keyword.arg == "rule")
    if isinstance(value, ast.Constant):
        return {value.value}
    return {**PUT_TOGETHER, **HANDED_ON}[ast.unparse(value)]


def test_every_report_names_its_rule() -> None:
    without = [
        f"{file.name}:{call.lineno}"
        for file, call in calls()
        if is_report(call) and not any(keyword.arg == "rule" for keyword in call.keywords)
    ]
    assert without == []


def test_every_rule_is_listed_and_used() -> None:
    named = {rule for _, call in calls() if is_report(call) for rule in rules_of(call)}
    handed_on = {
        keyword.value.value
        for _, call in calls()
        for keyword in call.keywords
        if keyword.arg == "rule" and isinstance(keyword.value, ast.Constant) and not is_report(call)
    }
    every = named | handed_on | HANDED_ON["rule"]
    assert every == set(RULES)


def test_names_are_in_one_style() -> None:
    assert all(rule == rule.lower() and "_" not in rule and " " not in rule for rule in RULES)


def test_the_documentation_lists_every_rule() -> None:
    text = (PACKAGE.parent / "docs" / "validation.md").read_text(encoding="utf-8").partition("## Checks")[2]
    listed = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text, flags=re.MULTILINE)
    assert dict(listed) == dict(RULES)
