"""Which groups judge a model so that as many skills as possible are trained and judged both.

A skill that only one group shows has to be trained, so this group does. Of the others, some go to validation such that
each of their skills is still shown by a group that stays.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

# The search for the best choice ends after this many looks at a group, with the best one so far: a second or two.
_MOST_LOOKS = 1_000_000


@dataclass(frozen=True)
class Group:
    """What is divided as a whole: the skills that it shows, and its examples."""

    skills: frozenset[Hashable]
    weight: int


def choose_judges(groups: Sequence[Group], *, limit: float, given: Iterable[int] = ()) -> list[int]:
    """The groups for validation, by index; ``given`` ones are among them.

    They have ``limit`` examples at most, every skill of theirs is shown by another group too, and as many skills as
    possible are among theirs. What room is left then goes to groups whose skills have the smallest share of their
    groups in validation. Equal choices are made by the order of ``groups``.

    One group is always chosen: the smallest one that training can do without, even if it is above ``limit``, or else
    the one that takes the fewest skills away. The best choice is found for dozens of groups and where all skills can
    be on both sides, else a good one.
    """
    choice = _Choice(groups, limit)
    for index in given:
        choice.take(index)
    if not choice.taken:
        able = [index for index in range(len(groups)) if choice.is_free(index)]
        if not able:
            return _least_loss(groups)
        choice.limit = max(limit, min(groups[index].weight for index in able))
    for index in _Search(choice).best():
        choice.take(index)
    _fill(choice)
    return sorted(choice.taken)


def _least_loss(groups: Sequence[Group]) -> list[int]:
    """The group that takes the fewest skills from training, but not most of the examples; none if there is only one."""
    shown = Counter(skill for group in groups for skill in group.skills)
    half = sum(group.weight for group in groups) / 2

    def loss(index: int) -> tuple[bool, int, int]:
        group = groups[index]
        return group.weight > half, sum(shown[skill] == 1 for skill in group.skills), group.weight

    return [min(range(len(groups)), key=loss)] if len(groups) > 1 else []


class _Choice:
    """Groups taken for validation so far, with what that leaves for training; sets of skills are bits of a number."""

    def __init__(self, groups: Sequence[Group], limit: float) -> None:
        bits = {skill: 1 << place for place, skill in enumerate(_skills(groups))}
        self.skills = list(bits.values())
        self.masks = [sum(bits[skill] for skill in group.skills) for group in groups]
        self.weights = [max(1, group.weight) for group in groups]
        self.showing: dict[int, list[int]] = {bit: [] for bit in self.skills}
        for index, group in enumerate(groups):
            for skill in group.skills:
                self.showing[bits[skill]].append(index)
        self.left = {bit: len(indices) for bit, indices in self.showing.items()}
        self.only_one_left = sum(bit for bit, count in self.left.items() if count == 1)
        self.limit = limit
        self.weight = 0
        self.judged = 0
        self.taken: dict[int, int] = {}

    def is_free(self, index: int) -> bool:
        """Whether training can do without the group."""
        return index not in self.taken and not self.masks[index] & self.only_one_left

    def fits(self, index: int) -> bool:
        return self.weight + self.weights[index] <= self.limit

    def take(self, index: int) -> None:
        if index in self.taken:
            return
        self.taken[index] = self.judged
        self.weight += self.weights[index]
        self.judged |= self.masks[index]
        self._count(index, -1)

    def give_back(self, index: int) -> None:
        """Undo the last `take`."""
        self.judged = self.taken.pop(index)
        self.weight -= self.weights[index]
        self._count(index, 1)

    def bits_of(self, index: int) -> Iterator[int]:
        rest = self.masks[index]
        while rest:
            bit = rest & -rest
            yield bit
            rest ^= bit

    def _count(self, index: int, change: int) -> None:
        for bit in self.bits_of(index):
            self.left[bit] += change
            if self.left[bit] == 1:
                self.only_one_left |= bit
            else:
                self.only_one_left &= ~bit


def _skills(groups: Iterable[Group]) -> list[Hashable]:
    return list(dict.fromkeys(skill for group in groups for skill in sorted(group.skills, key=repr)))


class _Search:
    """Branch and bound: for the skill with the fewest groups to choose from, try each of them, then do without it."""

    def __init__(self, choice: _Choice) -> None:
        self._choice = choice
        self._start = frozenset(choice.taken)
        # Skills that only one group shows, or that are judged already, are no question.
        self._wanted = [bit for bit in choice.skills if choice.left[bit] > 1 and not bit & choice.judged]
        self._given_up = 0
        self._looks = 0
        self._best: list[int] = []
        self._fewest_missed = len(self._wanted) + 1

    def best(self) -> list[int]:
        """The groups to take that judge the most skills."""
        self._greedy()
        open_moves = [self._moves()]
        while open_moves and self._fewest_missed and self._looks < _MOST_LOOKS:
            if next(open_moves[-1], False):
                open_moves.append(self._moves())
            else:
                open_moves.pop()
        self._reset()
        return self._best

    def _reset(self) -> None:
        for index in reversed([index for index in self._choice.taken if index not in self._start]):
            self._choice.give_back(index)

    def _greedy(self) -> None:
        """A first choice: always the group with the most new skills for its weight."""
        choice = self._choice
        wanted = sum(self._wanted)
        able = list(range(len(choice.masks)))
        while able := [
            index
            for index in able
            if choice.masks[index] & wanted & ~choice.judged and choice.is_free(index) and choice.fits(index)
        ]:
            choice.take(max(able, key=lambda index: self._worth(index, wanted & ~choice.judged)))
        self._note()
        self._reset()

    def _note(self) -> None:
        missed = sum(not bit & self._choice.judged for bit in self._wanted)
        if missed < self._fewest_missed:
            self._fewest_missed = missed
            self._best = [index for index in self._choice.taken if index not in self._start]

    def _worth(self, index: int, wanted: int) -> float:
        return (self._choice.masks[index] & wanted).bit_count() / self._choice.weights[index]

    def _moves(self) -> Iterator[bool]:
        """Makes one move after the other, each undone before the next."""
        choice = self._choice
        open_skills = self._open_skills()
        if open_skills is None:
            return
        if not open_skills:
            self._note()
            return
        skill, able = min(open_skills, key=lambda found: len(found[1]))
        wanted = sum(bit for bit, _ in open_skills)
        for index in sorted(able, key=lambda index: -self._worth(index, wanted)):
            choice.take(index)
            yield True
            choice.give_back(index)
        self._given_up |= skill
        yield True
        self._given_up &= ~skill

    def _open_skills(self) -> list[tuple[int, list[int]]] | None:
        """Skills that can still be judged, with the groups to choose from; None: nothing better is to be found here."""
        choice = self._choice
        waiting = [bit for bit in self._wanted if not bit & choice.judged]
        found: list[tuple[int, list[int]]] = []
        for bit in waiting:
            self._looks += len(choice.showing[bit])
            able = [index for index in choice.showing[bit] if self._is_able(index)] if not bit & self._given_up else []
            if able:
                found.append((bit, able))
        missed = len(waiting) - len(found) + self._unaffordable(found)
        return found if missed < self._fewest_missed else None

    def _is_able(self, index: int) -> bool:
        choice = self._choice
        return choice.is_free(index) and choice.fits(index) and not choice.masks[index] & self._given_up

    def _unaffordable(self, found: Sequence[tuple[int, list[int]]]) -> int:
        """At least so many of the skills do not fit: each costs its part of the cheapest group that shows it."""
        wanted = sum(bit for bit, _ in found)
        costs = sorted(1 / max(self._worth(index, wanted) for index in able) for _, able in found)
        room = self._choice.limit - self._choice.weight
        # Sums of rounded parts must not rule out what just fits.
        room += 1e-6 * max(1.0, room)
        for affordable, cost in enumerate(costs):
            room -= cost
            if room < 0:
                return len(costs) - affordable
        return 0


def _fill(choice: _Choice) -> None:
    """Take more groups as long as they fit, those first whose skills have the smallest share in validation."""

    def share(index: int) -> float:
        bits = list(choice.bits_of(index))
        shares = [1 - choice.left[bit] / len(choice.showing[bit]) for bit in bits]
        return sum(shares) / len(shares) if shares else 0.0

    # Shares only grow, and what cannot be taken now cannot be taken later: each group is looked at few times.
    waiting = [(share(index), index) for index in range(len(choice.masks)) if index not in choice.taken]
    heapq.heapify(waiting)
    while waiting:
        known, index = heapq.heappop(waiting)
        if not choice.is_free(index) or not choice.fits(index):
            continue
        now = share(index)
        if now > known:
            heapq.heappush(waiting, (now, index))
        else:
            choice.take(index)
