"""Suggested tests as files, one for each flow, with remarks; replaced by the next ones until somebody changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rasa_ft.e2e.suggestions.skeletons import Suggestion
from rasa_ft.e2e.suggestions.suggest import Suggestions
from rasa_ft.e2e.writing import suite_as_yaml
from rasa_ft.errors import UsageError
from rasa_ft.files import fingerprint, write_text
from rasa_ft.yaml_source import dump_yaml

_MARK = "# Suggested by rasa test e2e --suggest-tests, "
_HEAD = """\
# Write every message that begins with TODO: and move the finished tests to your others. Until then they are skipped.
# The next suggestions replace this file as long as it is not changed.
"""


def check_folder(folder: Path, groups: Iterable[str]) -> None:
    """Make sure that suggestions about ``groups`` (flows and others) could be written into ``folder``.

    Raises:
        UsageError: it is no folder, or a file of that name is not from here or was changed since.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", hint="Name a folder for the suggested tests.")
    files = [file_of(folder, group) for group in groups]
    changed = [file for file in files if file.exists() and not _is_untouched(file)]
    if changed:
        names = ", ".join(file.name for file in changed)
        raise UsageError(
            f"{folder} holds files that suggested tests would replace: {names}.",
            hint="Move what you have written to your other tests, or name another folder.",
        )


def write_suggestions(folder: Path, suggestions: Suggestions) -> list[Path]:
    """Write ``<flow>.yml`` for each flow with suggestions, and remove unchanged files of earlier suggestions.

    Returns:
        The files, in order.

    Raises:
        UsageError: as `check_folder`; then nothing was written.
    """
    groups = suggestions.groups
    check_folder(folder, groups)
    written = [file_of(folder, group) for group in groups]
    for file, cases in zip(written, groups.values(), strict=True):
        write_text(file, suggestions_yaml(cases))
    for file in sorted(folder.glob("*.yml")):
        if file not in written and _is_untouched(file):
            file.unlink()
    return written


def suggestions_yaml(cases: Sequence[Suggestion]) -> str:
    """A test file with these cases and what there is to know about them."""
    data = suite_as_yaml([suggestion.case for suggestion in cases])
    lines = ["", *(dump_yaml({"fixtures": data["fixtures"]}).splitlines() if "fixtures" in data else ()), "test_cases:"]
    for suggestion, written in zip(cases, data["test_cases"], strict=True):
        lines += [*_case_lines(suggestion, written), ""]
    text = _HEAD + "\n".join(lines)
    return f"{_MARK}{fingerprint(text)[:16]}\n{text}"


def _case_lines(suggestion: Suggestion, written: dict[str, object]) -> list[str]:
    head = {key: value for key, value in written.items() if key != "steps"}
    lines = ["  # Leads to:", *(f"  #   {line}" for line in suggestion.about), *_item(head, ""), "    steps:"]
    steps = written["steps"]
    assert isinstance(steps, list)  # noqa: S101 - our own
    for index, step in enumerate(steps):
        lines += [f"      # {line}" for line in suggestion.remarks.get(index, ())]
        lines += _item(step, "    ")
    return [*lines, *(f"      # {line}" for line in suggestion.remarks.get(len(steps), ()))]


def _item(value: object, indent: str) -> list[str]:
    """One item of a list, as it stands below a key of the file, moved to the right by ``indent``."""
    return [f"{indent}{line}" if line else line for line in dump_yaml([value]).splitlines()]


def file_of(folder: Path, group: str) -> Path:
    """Where the suggestions about ``group`` stand."""
    # A file of that name would be read as fixtures for all tests beside it.
    return folder / f"{'conftest_flow' if group == 'conftest' else group}.yml"


def _is_untouched(file: Path) -> bool:
    """Whether the file is from here and still as it was written."""
    try:
        first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return False
    return first == f"{_MARK}{fingerprint(rest)[:16]}"
