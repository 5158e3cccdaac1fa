"""Dialogue understanding tests on disk: conversations in which every message says what it should be understood as.

The files are those of E2E tests but for their steps: ``user`` with ``commands`` (a list of command lines in the syntax
of the assistant's generator, maybe empty), ``utter`` and ``bot``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.e2e import model as m
from rasa_ft.e2e.cases import Format, load_suite
from rasa_ft.e2e.problems import Problems
from rasa_ft.e2e.schema import Names, bot_step, e2e_steps, is_dialogue_understanding_file, read_message, utter_step
from rasa_ft.e2e.writing import suite_as_yaml
from rasa_ft.engine.base import Setup
from rasa_ft.files import write_text
from rasa_ft.yaml_source import did_you_mean, dump_yaml

# Stands for any bot message that a model worded.
GENERATED = "placeholder_generated_answer"
STEP_KINDS = ("user", "utter", "bot")
_EXAMPLES = {"v1": "StartFlow(some_flow)", "v2": "start flow some_flow", "v3": "start flow some_flow"}


@dataclass(frozen=True)
class DuUserStep(m.UserStep):
    """A message and all commands that it should be understood as."""

    commands: tuple[Command, ...] = ()


@dataclass(frozen=True)
class GoldConversation:
    """A case as a script: each message of ``turns`` with its metadata and all commands that it should be understood as.

    Nothing is said about whether these commands lead to the bot messages that the case lists.
    """

    case: m.TestCase
    setup: Setup
    turns: tuple[DuUserStep, ...]


def gold_conversations(suite: m.Suite) -> tuple[GoldConversation, ...]:
    """The cases of a suite from `load_du_suite`, in its order."""
    return tuple(
        GoldConversation(case, suite.setup(case), tuple(step for step in case.steps if isinstance(step, DuUserStep)))
        for case in suite.cases
    )


@dataclass(frozen=True)
class Vocabulary:
    """What the steps of a test may say about one assistant; ``responses`` are names, built-in ones included."""

    codec: Codec
    responses: Collection[str]


def load_du_suite(path: Path | str, vocabulary: Vocabulary) -> m.Suite:
    """Read ``FILE``, ``FOLDER`` or either with ``::case name``; every user step is a `DuUserStep`.

    E2E tests in a folder are left out, with a warning.

    Raises:
        DataError: nothing there, or every problem of every file, with file and line.
    """

    def read_steps(
        problems: Problems, names: Names, steps: Any, index: int, case_metadata: m.Metadata | None
    ) -> Iterator[m.Step]:
        return _steps(problems, names, steps, index, case_metadata, vocabulary)

    form = Format("dialogue understanding test", "an E2E test: no step has `commands`", _is_e2e_file, read_steps)
    return load_suite(path, form)


def load_any_suite(path: Path | str, vocabulary: Vocabulary) -> m.Suite:
    """As `load_du_suite`, with the E2E tests at ``path`` too: cases without any ``commands``.

    Raises:
        DataError: nothing there, or every problem of every file, with file and line.
    """

    def read_steps(
        problems: Problems, names: Names, steps: Any, index: int, case_metadata: m.Metadata | None
    ) -> Iterator[m.Step]:
        if any(isinstance(step, Mapping) and "commands" in step for step in steps):
            return _steps(problems, names, steps, index, case_metadata, vocabulary)
        return e2e_steps(problems, names, steps, index, case_metadata)

    return load_suite(path, Format("test", "", lambda data: False, read_steps))


def _is_e2e_file(data: Mapping[str, Any]) -> bool:
    return not is_dialogue_understanding_file(data)


def _steps(
    problems: Problems,
    names: Names,
    steps: Any,
    index: int,
    case_metadata: m.Metadata | None,
    vocabulary: Vocabulary,
) -> Iterator[m.Step]:
    entry = problems.mapping(steps, index, "a step")
    if entry is None:
        return
    kinds = [kind for kind in STEP_KINDS if kind in entry]
    if len(kinds) != 1:
        what = f"not {' and '.join(kinds)}" if kinds else f"not {', '.join(map(str, entry)) or 'nothing'}"
        problems.add(
            f"a step of a dialogue understanding test has exactly one of {', '.join(STEP_KINDS)}, {what}.",
            steps,
            index,
        )
        return
    allowed = ("user", "metadata", "commands") if kinds == ["user"] else kinds
    problems.keys(entry, allowed, f"a {kinds[0]} step of a dialogue understanding test")
    if kinds == ["user"]:
        said = read_message(problems, names, steps, index, case_metadata)
        yield DuUserStep(
            said.location,
            said.text,
            said.metadata,
            own_metadata=said.own_metadata,
            commands=_commands(problems, steps, index, vocabulary.codec),
        )
    elif kinds == ["bot"]:
        yield from bot_step(problems, steps, index)
    else:
        yield from _utter(problems, steps, index, vocabulary.responses)


def _utter(problems: Problems, steps: Any, index: int, responses: Collection[str]) -> Iterator[m.Step]:
    for step in utter_step(problems, steps, index):
        name = step.utter if isinstance(step, m.UtterStep) else ""
        if name and name != GENERATED and name not in responses:
            known = (*responses, GENERATED)
            problems.add(f"'{name}' is not a response of the domain.{did_you_mean(name, known)}", steps[index], "utter")
        yield step


def _commands(problems: Problems, steps: Any, index: int, codec: Codec) -> tuple[Command, ...]:
    entry = steps[index]
    if "commands" not in entry:
        problems.add("a user step needs `commands`, a list; [] where none is expected.", steps, index)
        return ()
    found: list[Command] = []
    lines = problems.items(entry, "commands", "`commands`", empty=True)
    for position in range(len(lines)):
        line = problems.text(lines, position, "an entry of `commands`")
        if line is None:
            continue
        commands = codec.parse(line)
        if not commands:
            hint = f"This assistant's generator writes commands such as `{_EXAMPLES.get(codec.version, '')}`."
            problems.add(f"'{line}' is not a command.", lines, position, hint)
        found += commands
    return tuple(dict.fromkeys(found))


# --- writing ---------------------------------------------------------------------------------------------------------


def write_du_suite(
    cases: Sequence[m.TestCase], path: Path, codec: Codec, heads: Mapping[Path, str] | None = None
) -> list[Path]:
    """Write cases of `DuUserStep` so that reading them gives the same tests.

    A path that ends in .yml or .yaml becomes one file; anything else a folder with one file per source file.

    Args:
        heads: comment lines for the top of a file.

    Returns:
        The files, in order.
    """
    files = files_of(cases, path)
    for file, group in files.items():
        write_text(file, (heads or {}).get(file, "") + dump_yaml(du_suite_as_yaml(group, codec)))
    return list(files)


def files_of(cases: Iterable[m.TestCase], path: Path) -> dict[Path, list[m.TestCase]]:
    """Which cases go into which file below ``path``; see `write_du_suite`."""
    groups: dict[Path, list[m.TestCase]] = {}
    one_file = path.suffix in (".yml", ".yaml")
    for case in cases:
        groups.setdefault(path if one_file else path / (case.source or case.file.name), []).append(case)
    return groups


def du_suite_as_yaml(cases: Sequence[m.TestCase], codec: Codec) -> dict[str, Any]:
    """The content of one test file with these cases."""
    content = suite_as_yaml(cases)
    for case, written in zip(cases, content["test_cases"], strict=True):
        written["steps"] = [_step(step, entry, codec) for step, entry in zip(case.steps, written["steps"], strict=True)]
    return content


def _step(step: m.Step, entry: dict[str, Any], codec: Codec) -> dict[str, Any]:
    return {**entry, "commands": codec.dump(step.commands).splitlines()} if isinstance(step, DuUserStep) else entry
