"""Stage 4a: which conversations train the model and which judge it, without one leaking into the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rasa_ft.calm.commands import SetSlot, StartFlow
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import AnnotatedConversation, DataPoint, RephrasedConversation
from rasa_ft.recipe.parallel import seeded
from rasa_ft.recipe.wording import jaccard, normalised

# Conversations that share this much of what their users typed stay on one side.
_NEAR_DUPLICATE = 0.7
# How far the validation part may exceed its share to take in one more group.
_SLACK = 1.05

# Something to be learnt: (command, flow, slot).
Skill = tuple[str, str, str]
Conversation = TypeVar("Conversation", AnnotatedConversation, RephrasedConversation)


@dataclass(frozen=True)
class Split:
    """Both parts in the suite's order; ``groups`` gives the key of each conversation's group of near-duplicates.

    ``only_in_validation``: skills that the model is judged on but never shown. ``not_in_validation``: skills without a
    verdict.
    """

    train: tuple[RephrasedConversation, ...]
    validation: tuple[RephrasedConversation, ...]
    groups: Mapping[str, str]
    only_in_validation: tuple[Skill, ...]
    not_in_validation: tuple[Skill, ...]


@dataclass(frozen=True)
class Leakage:
    """Overlap of wording between the two parts, before anything was dropped.

    ``validation_messages``: distinct messages that validation users typed; ``seen_in_training`` of them also stood in
    training rows as the message to understand. Those training rows were dropped, and so were rephrasings in
    validation rows that training has.
    """

    validation_messages: int
    seen_in_training: int
    train_rows_dropped: int
    validation_rows_dropped: int


@dataclass(frozen=True)
class _Group:
    key: str
    members: tuple[RephrasedConversation, ...]
    skills: frozenset[Skill]
    weight: int


def split(conversations: Sequence[RephrasedConversation], *, train_frac: float, seed: int) -> Split:
    """Divide by groups of near-duplicate conversations.

    Groups that show new skills go to training first, then validation is filled to its share of the examples with those
    that have most skills to judge, then everything else goes to training. Equal choices are made by ``seed``.

    Raises:
        DataError: validation would be empty although ``train_frac`` is below 1.
    """
    groups = _groups(conversations)
    order = list(groups)
    seeded(seed, "split").shuffle(order)
    total = sum(group.weight for group in groups)
    if train_frac >= 1:
        chosen: list[_Group] = []
    else:
        covering = _cover(order, limit=train_frac * total)
        rest = [group for group in order if group not in covering]
        chosen = _judges(rest, limit=(1 - train_frac) * total)
        if not chosen:
            raise DataError(
                f"{len(conversations)} conversations in {len(groups)} groups are too few to set some aside.",
                hint="Write more tests, or lower --train-frac.",
            )
    validation = {member.key for group in chosen for member in group.members}
    train_skills = _skills(group for group in groups if group not in chosen)
    validation_skills = _skills(chosen)
    return Split(
        train=tuple(conversation for conversation in conversations if conversation.key not in validation),
        validation=tuple(conversation for conversation in conversations if conversation.key in validation),
        groups={member.key: group.key for group in groups for member in group.members},
        only_in_validation=tuple(sorted(validation_skills - train_skills)),
        not_in_validation=tuple(sorted(train_skills - validation_skills)) if chosen else (),
    )


def skills_of(conversation: AnnotatedConversation) -> frozenset[Skill]:
    """What the labels of a conversation show; a slot set along with a flow's start belongs to that flow."""
    skills: set[Skill] = set()
    for turn in conversation.turns:
        flow = turn.turn.active_flow or ""
        for command in turn.turn.parsed if turn.annotated else ():
            if isinstance(command, StartFlow):
                flow = command.flow
            slot = command.slot if isinstance(command, SetSlot) else ""
            skills.add((command.name, flow, slot))
    return frozenset(skills)


def without_leaks(
    train: Sequence[DataPoint], validation: Sequence[DataPoint], judges: Iterable[AnnotatedConversation]
) -> tuple[list[DataPoint], list[DataPoint], Leakage]:
    """Both parts without what the other has.

    Training rows whose own message a validation user types are dropped; so are rephrasings in validation rows that are
    left in training. Case, punctuation and blanks do not count.
    """
    typed = {normalised(text) for conversation in judges for text in conversation.typed_messages}
    kept = [point for point in train if normalised(point.message) not in typed]
    learnt = {normalised(point.message) for point in kept}
    unseen = [point for point in validation if normalised(point.message) not in learnt]
    leakage = Leakage(
        validation_messages=len(typed),
        seen_in_training=len(typed & {normalised(point.message) for point in train}),
        train_rows_dropped=len(train) - len(kept),
        validation_rows_dropped=len(validation) - len(unseen),
    )
    return kept, unseen, leakage


def _groups(conversations: Sequence[RephrasedConversation]) -> list[_Group]:
    messages = [_messages(conversation) for conversation in conversations]
    leader = list(range(len(conversations)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for later in range(len(conversations)):
        for earlier in range(later):
            if jaccard(messages[earlier], messages[later]) >= _NEAR_DUPLICATE:
                one, other = find(earlier), find(later)
                leader[max(one, other)] = min(one, other)
    members: dict[int, list[RephrasedConversation]] = {}
    for index, conversation in enumerate(conversations):
        members.setdefault(find(index), []).append(conversation)
    return [_group(group) for group in members.values()]


def _group(members: Sequence[RephrasedConversation]) -> _Group:
    return _Group(
        key=members[0].key,
        members=tuple(members),
        skills=frozenset(skill for member in members for skill in skills_of(member.conversation)),
        weight=sum(len(turn.wordings) for member in members for turn in member.turns if turn.turn.annotated),
    )


def _messages(conversation: RephrasedConversation) -> frozenset[str]:
    return frozenset(normalised(text) for text in conversation.conversation.typed_messages)


def _cover(order: Sequence[_Group], *, limit: float) -> list[_Group]:
    """Groups that together show as many skills as fit into ``limit``, the most new ones per example first."""
    chosen: list[_Group] = []
    known: frozenset[Skill] = frozenset()
    weight = 0.0
    while True:
        useful = [group for group in order if group.skills - known and weight + group.weight <= limit]
        if not useful:
            return chosen or sorted(order, key=lambda group: group.weight)[:1]
        best = max(useful, key=lambda group: len(group.skills - known) / group.weight)
        chosen.append(best)
        known |= best.skills
        weight += best.weight


def _judges(order: Sequence[_Group], *, limit: float) -> list[_Group]:
    """Groups up to ``limit`` examples, the most new skills per example first, then as they come; at least one."""
    chosen: list[_Group] = []
    known: frozenset[Skill] = frozenset()
    weight = 0.0
    left = list(order)
    while left:
        fitting = [group for group in left if weight + group.weight <= limit * _SLACK]
        if not fitting:
            break
        best = max(fitting, key=lambda group: len(group.skills - known) / group.weight)
        left.remove(best)
        chosen.append(best)
        known |= best.skills
        weight += best.weight
    return chosen or sorted(order, key=lambda group: group.weight)[:1]


def _skills(groups: Iterable[_Group]) -> frozenset[Skill]:
    return frozenset(skill for group in groups for skill in group.skills)
