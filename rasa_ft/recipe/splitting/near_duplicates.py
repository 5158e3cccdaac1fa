"""Which conversations say nearly the same: groups of sets that have most of their members in common."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

# Two sets with at least this share of all their members in common (Jaccard) are near-duplicates: 7 of 10.
_SHARED, _ALL = 7, 10


def near_duplicate_groups(sets: Sequence[frozenset[str]]) -> list[list[int]]:
    """The sets by index, each group as large as chains of near-duplicates make it; in order of their first members.

    All pairs that count are found, but few of the others are compared: two near-duplicates share one of the rarest
    members of each, so that what everybody says ("yes") brings nobody together. Empty sets stay alone.

    Source: prefix filtering, Chaudhuri et al., A Primitive Operator for Similarity Joins in Data Cleaning, ICDE 2006.
    """
    same: dict[frozenset[str], list[int]] = {}
    for index, members in enumerate(sets):
        same.setdefault(members, []).append(index)
    leader = list(range(len(sets)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    def join(one: int, other: int) -> None:
        first, second = find(one), find(other)
        leader[max(first, second)] = min(first, second)

    for members, indices in same.items():
        for index in indices if members else ():
            join(indices[0], index)
    for one, other in _near_pairs([members for members in same if members]):
        join(same[one][0], same[other][0])
    groups: dict[int, list[int]] = {}
    for index in range(len(sets)):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def _near_pairs(sets: Sequence[frozenset[str]]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """Pairs of different sets; one that shares several rare members may come more than once."""
    frequency = Counter(member for members in sets for member in members)
    by_member: dict[str, list[frozenset[str]]] = defaultdict(list)
    for members in sets:
        # Of so many in common, one is among the rarest ones, whatever the other set is.
        needed = -(-_SHARED * len(members) // _ALL)
        rarest = sorted(members, key=lambda member: (frequency[member], member))[: len(members) - needed + 1]
        for member in rarest:
            by_member[member].append(members)
    for bearers in by_member.values():
        for one, other in combinations(bearers, 2):
            if _are_near(one, other):
                yield one, other


def _are_near(one: frozenset[str], other: frozenset[str]) -> bool:
    if _ALL * min(len(one), len(other)) < _SHARED * max(len(one), len(other)):
        return False
    shared = len(one & other)
    return _ALL * shared >= _SHARED * (len(one) + len(other) - shared)
