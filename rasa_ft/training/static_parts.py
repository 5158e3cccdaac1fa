"""Which user turns begin with the same static prompt part, and should therefore meet in a training step.

An assistant's prompts do not all begin alike: a flow that is offered to some users only, or a slot that is listed once
it has been set, changes the list of flows. Were such turns mixed in a step, their common prefix would end at the first
difference, and everything behind it would be computed once a turn instead of once a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from rasa_ft.training.prefix_tree import shared_length

Tokens = tuple[int, ...]

# A division must lengthen the shared prefix by this share of the prompt: steps of one kind of turn only learn worse.
_GAIN = 0.1


def static_parts(prompts: Sequence[Tokens], *, smallest: int) -> list[list[int]]:
    """Partition ``prompts`` (token ids, one of each turn) into sets that begin alike; sorted indices.

    Sets with fewer than ``smallest`` members, a step's worth, are not made; what is left over stays together.
    """
    if not prompts:
        return []
    gain = _GAIN * sum(map(len, prompts)) / len(prompts)
    _, divided = _divide(list(range(len(prompts))), prompts, smallest, gain)
    return sorted((sorted(members) for members in divided), key=lambda members: members[0])


def _divide(members: list[int], prompts: Sequence[Tokens], smallest: int, gain: float) -> tuple[float, list[list[int]]]:
    """The best division of ``members``, and the sum of shared lengths over its members, less ``gain`` a division."""
    shared = _shared(members, prompts)
    whole = float(shared * len(members)), [members]
    children: dict[int | None, list[int]] = {}
    for index in members:
        prompt = prompts[index]
        children.setdefault(prompt[shared] if shared < len(prompt) else None, []).append(index)
    large = [child for child in children.values() if len(child) >= smallest]
    if len(children) < 2 or not large:
        return whole
    rest = [index for child in children.values() if len(child) < smallest for index in child]
    divided = [_divide(child, prompts, smallest, gain) for child in large]
    if rest:
        divided.append((float(_shared(rest, prompts) * len(rest)), [rest]))
    value = sum(one for one, _ in divided)
    parts = [part for _, parts in divided for part in parts]
    return (value, parts) if value >= whole[0] + gain * len(members) else whole


def _shared(members: Sequence[int], prompts: Sequence[Tokens]) -> int:
    return shared_length([prompts[index] for index in members])
