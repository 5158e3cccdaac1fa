"""End-to-end tests on disk: `load_suite` reads files and folders, `write_suite` writes them again.

The dataclasses are those of `rasa_ft.e2e.model`, exported here too.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e.judge_schema import is_assistant
from rasa_ft.e2e.model import (
    BotStep,
    Fixture,
    JudgeSettings,
    Metadata,
    SlotWasNotSetStep,
    SlotWasSetStep,
    Step,
    Suite,
    TestCase,
    UserStep,
    UtterStep,
)
from rasa_ft.e2e.origins import restored
from rasa_ft.e2e.problems import Problems
from rasa_ft.e2e.schema import (
    Conftest,
    FileContent,
    Names,
    StepReader,
    build_cases,
    is_dialogue_understanding_file,
    read_conftest,
    read_file,
)
from rasa_ft.e2e.stub_schema import StubRule
from rasa_ft.e2e.writing import case_as_yaml, write_suite
from rasa_ft.engine.base import Stub
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean

__all__ = [
    "BotStep",
    "Fixture",
    "Metadata",
    "SlotWasNotSetStep",
    "SlotWasSetStep",
    "Step",
    "Suite",
    "TestCase",
    "UserStep",
    "UtterStep",
    "case_as_yaml",
    "load_suite",
    "write_suite",
]


@dataclass(frozen=True)
class Format:
    """One kind of test: E2E tests, or those of `rasa_ft.e2e.du_cases`.

    ``others``: whether a file's content is of another kind, which ``other`` names; it is left out of a folder.
    """

    kind: str
    other: str
    others: Callable[[Mapping[str, Any]], bool]
    read_steps: StepReader | None = None


E2E = Format("E2E test", "a dialogue understanding test", is_dialogue_understanding_file)


def load_suite(path: Path | str, form: Format = E2E) -> Suite:
    """Read ``FILE``, ``FOLDER``, ``FILE::case name`` or ``FOLDER::case name``.

    Returns:
        The cases in the order of files and lines, with fixtures (the file's and those of all ``conftest.yml`` from the
        file's folder up), metadata and stubs resolved. A name that a file uses twice gets a number. Cases that were
        collected in one file, such as passed.yml, have the names and sources of their own files; ``case name`` may be
        either name.

    Raises:
        DataError: nothing there, or files break the format; then every problem of every file, with file and line.
    """
    with _uncollected():
        return _loaded(path, form)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: it walks all that was read again and again, a third of the time for a large file."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _loaded(path: Path | str, form: Format) -> Suite:
    root, wanted = _split(str(path))
    contents, warnings = _read_files(root, form)
    chain = _ConftestChain()
    cases: list[TestCase] = []
    pool = _first_definitions(contents)
    for content in contents:
        names = Names({**chain.fixtures(content.file), **content.fixtures}, {**pool, **content.metadata})
        found = _distinct(build_cases(content, names, form.read_steps), warnings)
        cases.extend(chain.with_judge(case) if case.judged_assertions else case for case in found)
    _raise_all([*(content.problems for content in contents), *chain.problems])
    cases = _with_stubs(cases, contents, warnings)
    warnings.extend(f"{case.location}: {_MIXED}" for case in cases if _mixes_styles(case))
    warnings.extend(warning for case in cases for warning in _metadata_clashes(case))
    originals = restored(cases, {content.file: content.comments for content in contents})
    return Suite(tuple(_select(cases, originals, wanted, root, form)), tuple(warnings))


_MIXED = "the case has assertions, so its bot, utter and slot steps are not looked at."


def _split(path: str) -> tuple[Path, str | None]:
    """The file or folder and the case; ``passed`` stands for passed.yml too, since some tools make a folder of it."""
    root, separator, name = path.partition("::")
    file = Path(f"{root}.yml")
    return file if file.is_file() and not Path(root).exists() else Path(root), name if separator else None


# --- files -----------------------------------------------------------------------------------------------------------


def _read_files(root: Path, form: Format) -> tuple[list[FileContent], list[str]]:
    if root.is_file():
        return [read_file(root, root.name)], []
    if not root.is_dir():
        raise DataError(f"{root} does not exist.", hint="Give a test file, a folder of test files, or FILE::case name.")
    contents, warnings = [], []
    for file in _test_files(root):
        content = read_file(file, file.relative_to(root).as_posix())
        if not content.problems.errors and form.others(content.data):
            warnings.append(f"{file}: left out, it is {form.other}.")
        else:
            contents.append(content)
    if not contents:
        raise DataError(f"{root} holds no {form.kind}s.", hint="They are .yml files with a line `test_cases:`.")
    return contents, warnings


def _test_files(root: Path) -> list[Path]:
    """Files with a line ``test_cases:`` below ``root``, links followed, each real folder once."""
    found: list[Path] = []
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        found.extend(Path(folder) / name for name in names if name.endswith((".yml", ".yaml")))
    return sorted(file for file in found if _has_cases(file))


def _has_cases(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # so that reading it says what is wrong
    return any(line.lstrip().startswith("test_cases:") for line in text.splitlines())


class _ConftestChain:
    """What the conftest files above a test file say, each file read once."""

    def __init__(self) -> None:
        self.problems: list[Problems] = []
        self._read: dict[Path, Conftest] = {}

    def fixtures(self, file: Path) -> dict[str, Fixture]:
        """Outermost folder first, so that the nearest definition wins."""
        found: dict[str, Fixture] = {}
        for folder in reversed(file.resolve().parents):
            found.update(self._of(folder).fixtures)
        return found

    def with_judge(self, case: TestCase) -> TestCase:
        """``case`` with the judge that the nearest conftest file names, up to the assistant's own folder."""
        return replace(case, judge=self._judge(case.file))

    def _judge(self, file: Path) -> JudgeSettings | None:
        for folder in file.resolve().parents:
            found = self._of(folder).judge
            if found is not None or is_assistant(folder):
                return found
        return None

    def _of(self, folder: Path) -> Conftest:
        if folder not in self._read:
            candidates = (folder / name for name in ("conftest.yml", "conftest.yaml"))
            conftest = next((file for file in candidates if file.is_file()), None)
            self._read[folder] = Conftest()
            if conftest is not None and not _is_eval_folder(folder):
                self._read[folder], problems = read_conftest(_as_typed(conftest))
                self.problems.append(problems)
        return self._read[folder]


def _is_eval_folder(folder: Path) -> bool:
    """``<assistant>/eval/conftest.yml`` belongs to another tool."""
    return folder.name == "eval" and (folder.parent / "config.yml").is_file()


def _as_typed(file: Path) -> Path:
    """Relative to the working folder where that is shorter to read."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


# --- names -----------------------------------------------------------------------------------------------------------


def _first_definitions(contents: Sequence[FileContent]) -> dict[str, Metadata]:
    """Metadata of all files by name; a file's own definitions come before these."""
    pool: dict[str, Metadata] = {}
    for content in contents:
        for name, metadata in content.metadata.items():
            pool.setdefault(name, metadata)
    return pool


def _distinct(cases: Iterable[TestCase], warnings: list[str]) -> list[TestCase]:
    """Cases of one file with different names, so that ``file::name`` means one case."""
    cases = list(cases)
    taken = {case.name for case in cases}
    numbers: dict[str, int] = {}  # the last one that a name got; so far used names only
    found = []
    for case in cases:
        name = case.name
        if name in numbers:
            numbers[name] = next(n for n in itertools.count(numbers[name] + 1) if f"{name} {n}" not in taken)
            case = replace(case, name=f"{name} {numbers[name]}")
            warnings.append(f"{case.location}: a second case is named '{name}', read as '{case.name}'.")
        taken.add(case.name)
        numbers.setdefault(case.name, 1)
        found.append(case)
    return found


def _select(
    cases: list[TestCase], originals: list[TestCase], wanted: str | None, root: Path, form: Format
) -> list[TestCase]:
    """Those of the ``originals`` that are wanted by that name or by the one that ``cases`` have for them."""
    if wanted is None:
        if not cases:
            raise DataError(
                f"{root} holds no {form.kind} cases.", location=Location(root, 1) if root.is_file() else None
            )
        return originals
    last = wanted.rpartition("::")[2]
    found = [
        original for case, original in zip(cases, originals, strict=True) if {case.name, original.name} & {wanted, last}
    ]
    if not found:
        suggestion = did_you_mean(last, [case.name for case in cases])
        raise DataError(f"no case of {root} is named '{last}'.{suggestion}")
    return found


def _mixes_styles(case: TestCase) -> bool:
    return case.uses_assertions and any(not isinstance(step, UserStep) for step in case.steps)


def _metadata_clashes(case: TestCase) -> Iterator[str]:
    """One text for each step whose metadata says something else than the case's."""
    shared = case.case_metadata
    for step in case.user_steps:
        own = step.own_metadata
        if shared is None or own is None:
            continue
        clashes = [key for key in own.values if key in shared.values and own.values[key] != shared.values[key]]
        if clashes:
            keys = ", ".join(clashes)
            yield f"{step.location}: {keys} of metadata '{own.name}' goes before that of '{shared.name}'."


def _raise_all(problems: Iterable[Problems]) -> None:
    errors = [error for group in problems for error in group.errors]
    if errors:
        raise DataError.collected(sorted(errors, key=_by_place))


def _by_place(error: DataError) -> tuple[str, int]:
    return (str(error.location.file), error.location.line) if error.location else ("", 0)


# --- stubs -----------------------------------------------------------------------------------------------------------


def _with_stubs(cases: list[TestCase], contents: Sequence[FileContent], warnings: list[str]) -> list[TestCase]:
    """Each case with the stubs that its own file has for it, so that a file plays the same alone and in a folder."""
    found = []
    for content in contents:
        own = [case for case in cases if case.file == content.file]
        case_names = {name for case in own for name in _scopes(case)}
        file_names = {content.file.name, content.file.stem}
        unknown = sorted({rule.scope for rule in content.stubs if rule.scope} - case_names - file_names)
        if unknown:
            warnings.append(f"{content.file}: stubs for cases that are not in this file: {', '.join(unknown)}.")
        for case in own:
            stubs = _stubs_of(case, content.stubs, {None, *(file_names - case_names)})
            found.append(replace(case, stubs=stubs) if stubs else case)
    return found


def _stubs_of(case: TestCase, rules: Sequence[StubRule], file_scopes: set[str | None]) -> Mapping[str, Stub]:
    """Stubs for one case, the case's own before those of its file."""
    of_file = {rule.action: rule.stub for rule in rules if rule.scope in file_scopes}
    of_case = {rule.action: rule.stub for rule in rules if rule.scope in _scopes(case)}
    return {**of_file, **of_case}


def _scopes(case: TestCase) -> set[str]:
    """How a stub may name a case; blanks are not allowed in its key by all readers of the format."""
    return {case.name, case.name.replace(" ", "_")}
