"""Tests and flows that may not fail, whatever the rates say: named by people, one by one or by a pattern."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from rasa_ft.errors import UsageError
from rasa_ft.yaml_source import did_you_mean


class Tested(Protocol):
    """A test that was run: its id ``file::name``, whether it passed, the flows that its conversation goes through."""

    @property
    def case(self) -> str: ...

    @property
    def passed(self) -> bool: ...

    @property
    def flows(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class MustPass:
    """One name or pattern of the list: the ids of the tests that it means, and of those that fail."""

    name: str
    tests: tuple[str, ...]
    failed: tuple[str, ...]


def check_names(names: Iterable[str], tests: Collection[str], flows: Collection[str]) -> None:
    """Refuse names that mean neither a test nor a flow of the assistant.

    Args:
        names: ids (``file::name``) or names of tests, names of flows, or patterns with ``*``, ``?`` and ``[...]``.
        tests: the ids of all tests.
        flows: the names of all flows.

    Raises:
        UsageError: a name means nothing.
    """
    known = {*tests, *map(_short, tests), *flows}
    for name in names:
        if name not in known and not any(fnmatchcase(candidate, name) for candidate in known):
            raise UsageError(
                f"'{name}' must pass, but no training or validation test and no flow has that name."
                + did_you_mean(name, sorted(known))
            )


def judge_must_pass(names: Sequence[str], tested: Sequence[Tested]) -> tuple[MustPass, ...]:
    """What became of each name: the tests so called, and those whose conversation goes through the flow so called."""
    found = []
    for name in names:
        meant = [test for test in tested if _means(name, test)]
        failed = tuple(test.case for test in meant if not test.passed)
        found.append(MustPass(name, tuple(test.case for test in meant), failed))
    return tuple(found)


def _means(name: str, test: Tested) -> bool:
    candidates = (test.case, _short(test.case), *test.flows)
    # Names may hold brackets; what is said literally is not a pattern.
    return name in candidates or any(fnmatchcase(candidate, name) for candidate in candidates)


def _short(case: str) -> str:
    return case.rpartition("::")[2]
