"""Chooses which rows a training step sees: some user turns, a few wordings of each."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence


class TurnSampler:
    """Row indices of every step of an epoch, in an order that depends on seed and epoch only.

    An epoch shows every row once. The rows of a group come in handfuls of at most ``wordings``, and a step is
    ``groups_per_step`` handfuls. (Opening messages all have the same empty history and are one large group: were each
    group shown once an epoch, they would hardly be seen at all.) Groups meet in a step only if ``parts`` (one of each
    row; by default all alike) are equal.

    Of several ``processes`` each computes ``groups_per_step`` handfuls of a step, which has so many times more; the
    sampler yields the rows of ``process``. That may be none, if a step has fewer rows than there are processes.
    """

    def __init__(
        self,
        groups: Sequence[Hashable],
        *,
        groups_per_step: int,
        wordings: int,
        seed: int,
        parts: Sequence[int] | None = None,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        self._members: dict[Hashable, list[int]] = {}
        self._parts: dict[int, list[Hashable]] = {}
        for row, group in enumerate(groups):
            if group not in self._members:
                self._parts.setdefault(parts[row] if parts else 0, []).append(group)
            self._members.setdefault(group, []).append(row)
        self._per_step = groups_per_step * processes
        self._wordings = wordings
        self._seed = seed
        self._processes, self._process = processes, process
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields; accelerate calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(-(-self._count(groups) // self._per_step) for groups in self._parts.values())

    def __iter__(self) -> Iterator[list[int]]:
        dice = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311 - a reproducible shuffle
        steps = []
        for groups in self._parts.values():
            handfuls = [handful for group in groups for handful in self._handfuls(group, dice)]
            dice.shuffle(handfuls)
            steps += [handfuls[start : start + self._per_step] for start in range(0, len(handfuls), self._per_step)]
        dice.shuffle(steps)
        for step in steps:
            yield self._share(step)

    def _share(self, step: Sequence[Sequence[int]]) -> list[int]:
        """The rows of a step that this process computes: whole handfuls, where there is one for each process."""
        rows = [row for handful in step for row in handful]
        if len(step) < self._processes:
            return rows[self._process :: self._processes]
        return [row for handful in step[self._process :: self._processes] for row in handful]

    def _count(self, groups: Sequence[Hashable]) -> int:
        return sum(-(-len(self._members[group]) // self._wordings) for group in groups)

    def _handfuls(self, group: Hashable, dice: random.Random) -> list[list[int]]:
        rows = self._members[group]
        shuffled = dice.sample(rows, len(rows))
        return [shuffled[start : start + self._wordings] for start in range(0, len(shuffled), self._wordings)]
