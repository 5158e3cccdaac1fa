"""Packs the rows of one training step into a tree of token prefixes, so that shared tokens are computed once.

    prefix ── group ─┬─ row        prefix: what all rows of the step begin with (the static part of the prompt)
                     └─ row        group:  the rows of one user turn; they share transcript and state, and differ
           ── group ─┬─ row                in the wording of the last message
                     └─ row

A group is a tree of tokens of any depth: two rows share every token up to the first one in which they differ. The
packed tokens stand in one sequence without padding: the prefix, then group after group, parents before children.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True)
class TrainingRow:
    """One prompt with its answer as token ids; rows with equal ``group`` are wordings of the same turn.

    ``learned`` are spans of the prompt, from and up to a position, that are learned too: earlier answers of the same
    conversation. Only plain training knows them.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    group: Hashable = None
    learned: tuple[tuple[int, int], ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and completion, as the model reads them."""
        return self.prompt + self.completion

    @property
    def labels(self) -> list[int]:
        """What is to be predicted at each position; -100, which losses skip, where nothing is learned."""
        labels = [-100] * len(self.prompt)
        for start, end in self.learned:
            labels[start:end] = self.prompt[start:end]
        return labels + list(self.completion)


@dataclass(frozen=True)
class Group:
    """Where the tokens of a group stand in the packed sequence, and who their parents are.

    ``parents[i]`` is the index within the group of the parent of token ``i``; -1 where it is the end of the prefix.
    """

    start: int
    parents: tuple[int, ...]

    @property
    def end(self) -> int:
        """The index after the last token of the group."""
        return self.start + len(self.parents)


@dataclass(frozen=True)
class PackedStep:
    """The rows of one step as a single sequence of N tokens.

    Attributes:
        input_ids: N token ids.
        position_ids: N positions, each the number of tokens before it in its row.
        prefix_length: how many tokens at the start belong to all rows.
        groups: the trees behind the prefix, in order.
        label_positions: index of the token that predicts, one entry for every completion token of every row.
        label_ids: the token to be predicted there.
        label_rows: the row, as an index into the given ones, that the label belongs to.
        row_tokens: tokens that plain batches would compute for the same rows, padding not counted.
    """

    input_ids: tuple[int, ...]
    position_ids: tuple[int, ...]
    prefix_length: int
    groups: tuple[Group, ...]
    label_positions: tuple[int, ...]
    label_ids: tuple[int, ...]
    label_rows: tuple[int, ...]
    row_tokens: int


def pack(rows: Sequence[TrainingRow]) -> PackedStep:
    """Pack the rows of a step; rows of the same group may stand anywhere among ``rows``.

    Raises:
        ValueError: there are no rows, or a row has no prompt or no completion.
    """
    if not rows or not all(row.prompt and row.completion for row in rows):
        raise ValueError("a step needs rows, each with a prompt and a completion")
    prefix = _common_prefix([row.tokens for row in rows])
    input_ids = list(prefix)
    position_ids = list(range(len(prefix)))
    groups: list[Group] = []
    labels: list[tuple[int, int, int]] = []
    for members in _by_group(rows):
        group = _Tree(start=len(input_ids), offset=len(prefix))
        for index in members:
            row = rows[index]
            path = [*range(len(prefix)), *group.insert(row.tokens[len(prefix) :])]
            predicting = path[len(row.prompt) - 1 : -1]
            labels += [(at, label, index) for at, label in zip(predicting, row.completion, strict=True)]
        input_ids += group.tokens
        position_ids += group.positions
        groups.append(Group(group.start, tuple(group.parents)))
    return PackedStep(
        input_ids=tuple(input_ids),
        position_ids=tuple(position_ids),
        prefix_length=len(prefix),
        groups=tuple(groups),
        label_positions=tuple(at for at, _, _ in labels),
        label_ids=tuple(label for _, label, _ in labels),
        label_rows=tuple(index for _, _, index in labels),
        row_tokens=sum(len(row.tokens) for row in rows),
    )


class _Tree:
    """The tokens of one group, being collected."""

    def __init__(self, *, start: int, offset: int) -> None:
        self.start = start
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.parents: list[int] = []
        self._offset = offset
        self._children: dict[tuple[int, int], int] = {}

    def insert(self, tokens: Sequence[int]) -> list[int]:
        """Add a row's tokens behind the prefix; their indices in the packed sequence."""
        node = -1
        path = []
        for depth, token in enumerate(tokens):
            child = self._children.get((node, token))
            if child is None:
                child = len(self.tokens)
                self._children[node, token] = child
                self.tokens.append(token)
                self.parents.append(node)
                self.positions.append(self._offset + depth)
            node = child
            path.append(self.start + node)
        return path


def shared_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """With how many equal items all sequences begin; what the smallest and the largest share, all share."""
    first, last = min(sequences), max(sequences)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def _common_prefix(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens that all sequences begin with, but never a whole sequence: each group keeps at least one token."""
    return sequences[0][: min(shared_length(sequences), min(map(len, sequences)) - 1)]


def _by_group(rows: Sequence[TrainingRow]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.group, []).append(index)
    return list(groups.values())
