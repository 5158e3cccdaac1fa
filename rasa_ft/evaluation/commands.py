"""How well predicted commands agree with expected ones: precision, recall and F1 per command, and exact turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rasa_ft.calm.commands import Clarify, Command, SetSlot

NOTHING = "nothing"


@dataclass(frozen=True)
class CommandCounts:
    """True positives, false positives and false negatives of one command; undefined ratios are 0."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def expected(self) -> int:
        """How often the command was expected."""
        return self.tp + self.fn

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class CommandScores:
    """Agreement over many turns.

    ``commands`` maps names such as ``set_slot`` to counts, the most often expected first. ``confusion`` counts pairs
    (expected name, predicted name) of commands that did not match; ``nothing`` stands for a missing partner.
    """

    commands: dict[str, CommandCounts] = field(default_factory=dict)
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)
    exact: int = 0
    turns: int = 0

    @property
    def exact_rate(self) -> float:
        """Share of turns in which all commands agree."""
        return _ratio(self.exact, self.turns)

    @property
    def micro(self) -> float:
        """F1 of the summed counts."""
        counts = self.commands.values()
        return CommandCounts(sum(c.tp for c in counts), sum(c.fp for c in counts), sum(c.fn for c in counts)).f1

    @property
    def macro(self) -> float:
        """Mean of the F1 of all commands."""
        return _ratio(sum(count.f1 for count in self.commands.values()), len(self.commands))

    @property
    def weighted(self) -> float:
        """Mean of the F1 of all commands, weighted by how often each was expected."""
        counts = self.commands.values()
        return _ratio(sum(c.f1 * c.expected for c in counts), sum(c.expected for c in counts))


def label(command: Command) -> str:
    """The name under which a command is counted, e.g. ``set_slot``."""
    return command.name.replace(" ", "_")


def same_command(expected: Command, predicted: Command) -> bool:
    """Whether a prediction counts as the expected command.

    Slots: same name, and values equal as text whatever their case. Clarification: the same options in any order, or
    any options when none were expected.
    """
    if isinstance(expected, SetSlot) and isinstance(predicted, SetSlot):
        return expected.slot == predicted.slot and _value(expected.value) == _value(predicted.value)
    if isinstance(expected, Clarify) and isinstance(predicted, Clarify):
        return not expected.options or sorted(expected.options) == sorted(predicted.options)
    return expected == predicted


def same_commands(expected: Sequence[Command], predicted: Sequence[Command]) -> bool:
    """Whether the two lists agree one to one, in any order."""
    _, missed, surplus = _pair(expected, predicted)
    return not missed and not surplus


def score_commands(turns: Iterable[tuple[Sequence[Command], Sequence[Command]]]) -> CommandScores:
    """Scores of (expected, predicted) command lists, one pair a turn.

    Every turn is compared as such, so that a case in which the conversation stopped early does not count as right.
    """
    hits: Counter[str] = Counter()
    surpluses: Counter[str] = Counter()
    misses: Counter[str] = Counter()
    confusion: Counter[tuple[str, str]] = Counter()
    exact = total = 0
    for expected, predicted in turns:
        matched, missed, surplus = _pair(expected, predicted)
        hits.update(map(label, matched))
        misses.update(map(label, missed))
        surpluses.update(map(label, surplus))
        confusion.update(_confused(missed, surplus))
        exact += not missed and not surplus
        total += 1
    names = sorted({*hits, *misses, *surpluses}, key=lambda name: (-hits[name] - misses[name], name))
    counts = {name: CommandCounts(hits[name], surpluses[name], misses[name]) for name in names}
    return CommandScores(counts, dict(confusion.most_common()), exact, total)


def _pair(
    expected: Sequence[Command], predicted: Sequence[Command]
) -> tuple[list[Command], list[Command], list[Command]]:
    """Matched (as expected), missed and surplus commands; each prediction matches once."""
    surplus = list(predicted)
    matched, missed = [], []
    # A clarification that expects any options takes what the particular ones have left.
    for command in sorted(expected, key=lambda command: isinstance(command, Clarify) and not command.options):
        partner = next((index for index, other in enumerate(surplus) if same_command(command, other)), None)
        if partner is None:
            missed.append(command)
        else:
            matched.append(command)
            del surplus[partner]
    return matched, missed, surplus


def _confused(missed: Sequence[Command], surplus: Sequence[Command]) -> list[tuple[str, str]]:
    """What stands where a command was missed: the same command with other content first, then whatever is left."""
    left = [label(command) for command in surplus]
    pairs: list[tuple[str, str]] = []
    others: list[str] = []
    for name in map(label, missed):
        if name in left:
            left.remove(name)
            pairs.append((name, name))
        else:
            others.append(name)
    length = max(len(others), len(left))
    others += [NOTHING] * (length - len(others))
    left += [NOTHING] * (length - len(left))
    return pairs + list(zip(others, left, strict=True))


def _value(value: object) -> str:
    return str(value).strip().casefold()


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
