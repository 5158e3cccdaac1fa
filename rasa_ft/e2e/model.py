"""End-to-end tests as data: what a file says once fixtures, metadata and stubs are resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.e2e.assertions import Assertion
from rasa_ft.e2e.judging import JudgedAssertion
from rasa_ft.engine.base import Setup, Stub
from rasa_ft.errors import Location


@dataclass(frozen=True)
class Fixture:
    """Slots that a conversation starts with, under the name that the test file or a conftest file gave them."""

    name: str
    slots: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Metadata:
    """Named data that goes along with a user message."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    location: Location


@dataclass(frozen=True)
class UserStep(Step):
    """A message to send.

    ``metadata`` is what is sent along: the case's, overridden by the step's own (``own_metadata``).
    """

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    assertions: tuple[Assertion, ...] = ()
    assertion_order_enabled: bool = False
    own_metadata: Metadata | None = None


@dataclass(frozen=True)
class BotStep(Step):
    """A bot message with exactly this text is expected in the turn."""

    text: str


@dataclass(frozen=True)
class UtterStep(Step):
    """A bot message made from this domain response is expected in the turn."""

    utter: str


@dataclass(frozen=True)
class SlotWasSetStep(Step):
    """A slot event is expected; without ``has_value`` any event of the slot will do."""

    slot: str
    value: Any = None
    has_value: bool = False


@dataclass(frozen=True)
class SlotWasNotSetStep(Step):
    """A slot event is forbidden; without ``has_value`` every event of the slot is."""

    slot: str
    value: Any = None
    has_value: bool = False


@dataclass(frozen=True)
class JudgeSettings:
    """Who judges what models worded: ``llm`` and ``embeddings`` as a conftest file has them; None: the default."""

    location: Location
    llm: Mapping[str, Any] | None = None
    embeddings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TestCase:
    """One conversation.

    ``file`` is the path as typed (below the folder as typed), so that ``id`` can be pasted after ``rasa test e2e``.
    ``source`` is the file's path below the loaded folder: the same on every machine. ``is_copy``: it was read from a
    file in which cases of other files were collected, such as passed.yml; ``name``, ``source`` and ``id`` are then
    those of the original, ``file`` and ``location`` those of the copy. ``stubs`` are those that hold for this case: the
    file's, overridden by its own; None when there are none and custom actions run for real. ``judge`` is that of the
    nearest conftest file, if the case needs one; it is no part of what makes two cases equal.
    """

    __test__ = False  # not for pytest to collect

    name: str
    file: Path
    location: Location
    steps: tuple[Step, ...]
    fixture_sets: tuple[Fixture, ...] = ()
    stubs: Mapping[str, Stub] | None = None
    case_metadata: Metadata | None = None
    source: str = ""
    is_copy: bool = False
    judge: JudgeSettings | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        return self.key if self.is_copy else f"{self.file}::{self.name}"

    @property
    def key(self) -> str:
        """As `id`, but the same wherever the tests are checked out: for hashing and for sorting."""
        return f"{self.source or self.file.name}::{self.name}"

    @property
    def fixtures(self) -> tuple[tuple[str, Any], ...]:
        """Slots set before the first message, in order; a later one wins."""
        return tuple(pair for fixture in self.fixture_sets for pair in fixture.slots)

    @property
    def user_steps(self) -> tuple[UserStep, ...]:
        return tuple(step for step in self.steps if isinstance(step, UserStep))

    @property
    def uses_assertions(self) -> bool:
        """Whether the case is judged by assertions; bot, utter and slot steps are then not looked at."""
        return any(step.assertions for step in self.user_steps)

    @property
    def judged_assertions(self) -> tuple[JudgedAssertion, ...]:
        """Those that a language model judges."""
        listed = (assertion for step in self.user_steps for assertion in step.assertions)
        return tuple(assertion for assertion in listed if isinstance(assertion, JudgedAssertion))


@dataclass(frozen=True)
class Suite:
    """All cases of a file or folder in the order of files and lines.

    ``warnings`` are for the user: what was read but will not be used as one might expect.
    """

    cases: tuple[TestCase, ...]
    warnings: tuple[str, ...] = ()

    def setup(self, case: TestCase) -> Setup:
        """How the engine begins the conversation of ``case``."""
        return Setup(fixtures=case.fixtures, stubs=case.stubs)

    def subset(self, cases: tuple[TestCase, ...] | list[TestCase]) -> Suite:
        """The same suite with only these cases."""
        return replace(self, cases=tuple(cases))
