"""Chooses which rows a training step sees: some user turns, a few wordings of each."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence


class TurnSampler:
    """Row indices of every step of an epoch, in an order that depends on seed and epoch only.

    An epoch visits every group once. In each epoch a group shows its next ``wordings`` rows, so that all wordings of a
    turn come up equally often; a group with fewer rows shows them all. Groups meet in a step only if ``parts`` (one of
    each row; by default all alike) are equal.
    """

    def __init__(
        self,
        groups: Sequence[Hashable],
        *,
        groups_per_step: int,
        wordings: int,
        seed: int,
        parts: Sequence[int] | None = None,
    ) -> None:
        self._members: dict[Hashable, list[int]] = {}
        self._parts: dict[int, list[Hashable]] = {}
        for row, group in enumerate(groups):
            if group not in self._members:
                self._parts.setdefault(parts[row] if parts else 0, []).append(group)
            self._members.setdefault(group, []).append(row)
        self._per_step = groups_per_step
        self._wordings = wordings
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields; accelerate calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(-(-len(groups) // self._per_step) for groups in self._parts.values())

    def __iter__(self) -> Iterator[list[int]]:
        dice = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311 - a reproducible shuffle
        steps = []
        for groups in self._parts.values():
            order = dice.sample(groups, len(groups))
            steps += [order[start : start + self._per_step] for start in range(0, len(order), self._per_step)]
        dice.shuffle(steps)
        for chosen in steps:
            yield [row for group in chosen for row in self._wordings_of(group)]

    def _wordings_of(self, group: Hashable) -> list[int]:
        rows = self._members[group]
        count = min(self._wordings, len(rows))
        first = self._epoch * count
        # Where one shuffled round ends and the next begins, the same row may come up twice.
        return list(dict.fromkeys(self._at(rows, position) for position in range(first, first + count)))

    def _at(self, rows: list[int], position: int) -> int:
        return self._shuffled(rows, position // len(rows))[position % len(rows)]

    def _shuffled(self, rows: list[int], cycle: int) -> list[int]:
        return random.Random(f"{self._seed}/{rows[0]}/{cycle}").sample(rows, len(rows))  # noqa: S311
