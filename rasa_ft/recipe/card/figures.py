"""What a data card says: the figures of the data as tables, without a word of layout."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from rasa_ft.calm.commands import Command, StartFlow
from rasa_ft.calm.dsl import Codec
from rasa_ft.recipe.conversations import DataPoint, RephrasedConversation
from rasa_ft.recipe.labelling.annotate import Skipped
from rasa_ft.recipe.rows.lengths import Distribution, RowLength
from rasa_ft.recipe.splitting.overlap import Overlap
from rasa_ft.recipe.splitting.split import Skill, Split, answer_of, command_skills, skills_of
from rasa_ft.recipe.wordings.diversity import Diversity, diversity

# So many bars at most; wider ones stand for more.
_MOST_BARS = 24
# Of short texts nothing can be told.
_FEWEST_WORDINGS = 3


@dataclass(frozen=True)
class Material:
    """All that a card is made of.

    Attributes:
        title: the assistant's name.
        params: the content of params.yaml.
        summary: the content of result_summary.yaml.
        diversity: of every message with rephrasings.
        counted: the rows' lengths in tokens; empty: they were not measured.
    """

    title: str
    params: Mapping[str, Any]
    summary: Mapping[str, Any]
    parts: Split
    skipped: Sequence[Skipped]
    train: Sequence[DataPoint]
    validation: Sequence[DataPoint]
    overlap: Overlap
    diversity: Sequence[TurnDiversity]
    codec: Codec
    counted: Sequence[RowLength] = ()

    @property
    def conversations(self) -> tuple[RephrasedConversation, ...]:
        return (*self.parts.train, *self.parts.validation)

    @property
    def points(self) -> tuple[DataPoint, ...]:
        return (*self.train, *self.validation)


@dataclass(frozen=True)
class Counts:
    """How often something stands in the rows of both parts."""

    train: int = 0
    validation: int = 0


@dataclass(frozen=True)
class SkillRow:
    """``tests``: how many show it; ``remark``: what is special about it, if anything; ``lacking``: it should not be."""

    skill: Skill
    tests: int
    rows: Counts
    remark: str = ""
    lacking: bool = False

    @property
    def flow(self) -> str:
        """Empty for what belongs to none."""
        return self.skill[1]


@dataclass(frozen=True)
class TestYield:
    """A test and what became of it.

    ``wanted``: rephrasings that were asked for; ``unchecked``: those whose check failed; ``rows``: rows that it gave.
    """

    __test__ = False  # not for pytest to collect

    test: str
    part: str
    wanted: int
    accepted: int
    rejected: int
    doubtful: int
    unchecked: int
    rows: int

    @property
    def share(self) -> float | None:
        """Accepted by wanted rephrasings; None: none were wanted."""
        return min(1.0, self.accepted / self.wanted) if self.wanted else None


@dataclass(frozen=True)
class Bin:
    """Rows from ``start`` on, up to the next bin."""

    start: int
    counts: Counts


@dataclass(frozen=True)
class Lengths:
    """Lengths of all rows' prompts or answers, in ``unit``; each bin is ``width`` wide."""

    what: str
    unit: str
    bins: tuple[Bin, ...]
    width: int
    distribution: Distribution | None


@dataclass(frozen=True)
class TurnDiversity:
    """The accepted wordings of one message."""

    test: str
    message: str
    wordings: int
    figures: Diversity


@dataclass(frozen=True)
class Card:
    """Tables of a data card; what has no rows was not measured or is empty."""

    commands: Mapping[str, Counts]
    skills: tuple[SkillRow, ...]
    kinds: Mapping[str, Counts]
    yields: tuple[TestYield, ...]
    lengths: tuple[Lengths, ...]
    diversity: tuple[TurnDiversity, ...]
    doubts: int = 0


def card_of(material: Material) -> Card:
    """The tables, each in the order in which people want to read it."""
    commands, skills = _by_command(material)
    turns = [turn for done in material.conversations for turn in done.turns]
    return Card(
        commands=commands,
        skills=tuple(_skill_rows(material, skills)),
        kinds=_counted(lambda point: [point.kind], material),
        yields=tuple(_yields(material)),
        lengths=tuple(_lengths(material)),
        diversity=tuple(sorted(material.diversity, key=_sameness)),
        doubts=sum(len(turn.doubts) + (turn.turn.doubt is not None) for turn in turns),
    )


def turn_diversity(conversations: Sequence[RephrasedConversation]) -> Iterator[TurnDiversity]:
    """The figures of every message with accepted rephrasings."""
    for done in conversations:
        for turn in done.turns:
            texts = [wording.text for wording in turn.passing]
            if texts:
                yield TurnDiversity(done.key, turn.turn.text, len(texts), diversity(turn.turn.text, texts))


def _sameness(turn: TurnDiversity) -> tuple[bool, float]:
    """The most uniform ones first, those with too few wordings last."""
    figure = turn.figures.self_bleu
    return turn.wordings < _FEWEST_WORDINGS or figure is None, -(figure or 0.0)


def _counted(names_of: Callable[[DataPoint], Sequence[Any]], material: Material) -> dict[Any, Counts]:
    """Rows of both parts by name, the most frequent first; a row counts once for each name."""
    train, validation = (
        Counter(name for point in points for name in set(names_of(point)))
        for points in (material.train, material.validation)
    )
    names = sorted({*train, *validation}, key=lambda name: (-train[name] - validation[name], name))
    return {name: Counts(train[name], validation[name]) for name in names}


def _by_command(material: Material) -> tuple[dict[str, Counts], dict[Skill, Counts]]:
    @cache
    def parsed(completion: str) -> tuple[Command, ...]:
        return tuple(material.codec.parse(completion))

    active = {
        (done.key, index): turn.turn.turn.active_flow
        for done in material.conversations
        for index, turn in enumerate(done.turns)
    }

    def skills(point: DataPoint) -> list[Skill]:
        return list(command_skills(parsed(point.completion), active.get((point.conversation, point.turn))))

    commands = _counted(lambda point: [command.name for command in parsed(point.completion)], material)
    return commands, _counted(skills, material)


def _skill_rows(material: Material, rows: Mapping[Skill, Counts]) -> Iterator[SkillRow]:
    """All that tests show, by flow, those outside of any flow last; messages put elsewhere add rows, but no skills."""
    parts = material.parts
    tests = Counter(skill for done in material.conversations for skill in skills_of(done.conversation))
    trained = {answer_of(skill) for done in parts.train for skill in skills_of(done.conversation)}
    for skill in sorted(tests, key=lambda skill: (not skill[1], skill[1], skill[0] != StartFlow.name, skill)):
        counts = rows.get(skill, Counts())
        remark, lacking = "", True
        if answer_of(skill) in parts.only_in_validation:
            remark = "never trained"
        elif skill in parts.not_in_validation:
            remark = parts.not_in_validation[skill]
        elif answer_of(skill) not in trained:
            remark, lacking = "held out", False
        elif not counts.train:
            remark, lacking = "trained in other flows only", False
        yield SkillRow(skill, tests[skill], counts, remark, bool(remark) and lacking)


def _yields(material: Material) -> Iterator[TestYield]:
    """The lowest first."""
    number = int(material.params["parameters"]["num_rephrases"])
    rows = Counter(point.conversation for point in material.points)
    found = []
    for part, conversations in (("training", material.parts.train), ("validation", material.parts.validation)):
        for done in conversations:
            found.append(
                TestYield(
                    test=done.key,
                    part=part,
                    wanted=number * sum(turn.turn.rephrase for turn in done.turns),
                    accepted=sum(len(turn.passing) for turn in done.turns),
                    rejected=sum(len(turn.failing) for turn in done.turns),
                    doubtful=sum(len(turn.doubts) for turn in done.turns),
                    unchecked=sum(judged.is_error for turn in done.turns for judged in turn.rejected),
                    rows=rows[done.key],
                )
            )
    yield from sorted(found, key=lambda test: (test.share is None, test.share or 0.0, test.test))


def _lengths(material: Material) -> Iterator[Lengths]:
    """Of prompts and answers: in tokens where they were counted, else in characters."""
    parts = {id(point): "train" for point in material.train} | {
        id(point): "validation" for point in material.validation
    }
    unit = "tokens" if material.counted else "characters"
    if material.counted:
        known = [row for row in material.counted if id(row.point) in parts]
        prompts = [(parts[id(row.point)], row.prompt) for row in known]
        answers = [(parts[id(row.point)], row.completion) for row in known]
    else:
        prompts = [(parts[id(point)], len(point.prompt)) for point in material.points]
        answers = [(parts[id(point)], len(point.completion)) for point in material.points]
    for what, measured in (("Prompts", prompts), ("Answers", answers)):
        if measured:
            width = _bin_width([length for _, length in measured])
            distribution = Distribution.of([length for _, length in measured])
            yield Lengths(what, unit, tuple(_bins(measured, width)), width, distribution)


def _bin_width(values: Sequence[int]) -> int:
    """1, 2 or 5 times a power of ten, so that there are at most `_MOST_BARS` bins."""
    spread = max(values) - min(values) + 1
    width = 1
    for factor in _steps():
        if -(-spread // width) < _MOST_BARS:
            break
        width = factor
    return width


def _steps() -> Iterator[int]:
    power = 1
    while True:
        yield from (2 * power, 5 * power, 10 * power)
        power *= 10


def _bins(measured: Sequence[tuple[str, int]], width: int) -> Iterator[Bin]:
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for part, length in measured:
        counts[part][length // width] += 1
    places = [place for counter in counts.values() for place in counter]
    for place in range(min(places), max(places) + 1):
        yield Bin(place * width, Counts(counts["train"][place], counts["validation"][place]))
