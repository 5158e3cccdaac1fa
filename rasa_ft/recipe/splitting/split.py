"""Stage 4a: which conversations train the model and which judge it, without one leaking into the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rasa_ft.calm.commands import Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.events import FlowStarted
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import AnnotatedConversation, RephrasedConversation
from rasa_ft.recipe.parallel import seeded
from rasa_ft.recipe.splitting import stratify
from rasa_ft.recipe.splitting.near_duplicates import near_duplicate_groups
from rasa_ft.recipe.wording import normalised

# How far the validation part may exceed its share to take in one more group.
_SLACK = 1.05

# Why a skill is trained and not judged.
ONE_TEST = "only one test shows it"
ONE_GROUP = "the tests that show it say nearly the same"
NEEDED = "each test that shows it is also the only one for something else"
NO_ROOM = "the tests that show it do not fit into the validation share"

# Something to be learnt: (command, flow, slot).
Skill = tuple[str, str, str]


@dataclass(frozen=True)
class Split:
    """Both parts in the suite's order; ``groups`` gives the key of each conversation's group of near-duplicates.

    Attributes:
        only_in_validation: answers (`answer_of`) that the model has to give but is never shown, those of held-out
            tests left out.
        not_in_validation: skills without a verdict, and why.
        held_out: keys of the conversations that are in validation since they are about a flow that is held out, or
            are near-duplicates of such.
    """

    train: tuple[RephrasedConversation, ...]
    validation: tuple[RephrasedConversation, ...]
    groups: Mapping[str, str]
    only_in_validation: tuple[Skill, ...]
    not_in_validation: Mapping[Skill, str]
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Group:
    key: str
    members: tuple[RephrasedConversation, ...]
    skills: frozenset[Skill]
    weight: int


def split(
    conversations: Sequence[RephrasedConversation],
    *,
    train_frac: float,
    seed: int,
    holdout_flows: Collection[str] = (),
) -> Split:
    """Divide by groups of near-duplicate conversations, so that whatever can be is both trained and judged.

    All answers are trained (`answer_of`). Of them, and of all skills that several groups show, as many as fit into
    validation's share of the examples are judged, too (`stratify.choose_judges`). What only one group shows of a
    command in a flow, with the command itself trained elsewhere, may go to either side: kept for training, it would
    leave the easy tests to validation. Equal choices are made by ``seed``.

    Args:
        holdout_flows: conversations in which one of these is started, or offered in a clarification, go to validation.

    Raises:
        DataError: validation would be empty although ``train_frac`` is below 1, or training would; or no conversation
            starts one of ``holdout_flows``.
    """
    groups = _groups(conversations)
    seeded(seed, "split").shuffle(groups)
    held = _held_out(groups, holdout_flows)
    chosen = [*held]
    if train_frac < 1:
        room = (1 - train_frac) * sum(group.weight for group in groups) * _SLACK
        items = _items(groups)
        given = [index for index, group in enumerate(groups) if group in held]
        chosen = [groups[index] for index in stratify.choose_judges(items, limit=room, given=given)]
        if not chosen:
            raise DataError(
                f"{len(conversations)} conversations in {len(groups)} groups are too few to set some aside.",
                hint="Write more tests that differ from each other.",
            )
    return _divided(conversations, groups, chosen, held)


def _divided(
    conversations: Sequence[RephrasedConversation],
    groups: Sequence[_Group],
    chosen: Sequence[_Group],
    held: Sequence[_Group],
) -> Split:
    judges = {group.key for group in chosen}
    of_group = {member.key: group.key for group in groups for member in group.members}
    held_out = {member.key for group in held for member in group.members}
    trained = _skills(group for group in groups if group.key not in judges)
    by_choice = _skills(group for group in chosen if group not in held)
    return Split(
        train=tuple(done for done in conversations if of_group[done.key] not in judges),
        validation=tuple(done for done in conversations if of_group[done.key] in judges),
        groups=of_group,
        only_in_validation=tuple(sorted({*map(answer_of, by_choice)} - {*map(answer_of, trained)})),
        not_in_validation=_reasons(trained - _skills(chosen), groups) if chosen else {},
        held_out=tuple(done.key for done in conversations if done.key in held_out),
    )


def skills_of(conversation: AnnotatedConversation) -> frozenset[Skill]:
    """What the labels of a conversation show."""
    return frozenset(
        skill
        for turn in conversation.turns
        if turn.annotated
        for skill in command_skills(turn.commands, turn.turn.active_flow)
    )


def command_skills(commands: Iterable[Command], active_flow: str | None) -> Iterator[Skill]:
    """One for each command of a message; a slot set along with a flow's start belongs to that flow."""
    flow = active_flow or ""
    for command in commands:
        if isinstance(command, StartFlow):
            flow = command.flow
        yield command.name, flow, command.slot if isinstance(command, SetSlot) else ""


def answer_of(skill: Skill) -> Skill:
    """What a skill is apart from where it is needed: the flow only counts where the answer names it."""
    command, flow, slot = skill
    return command, flow if command == StartFlow.name else "", slot


def in_words(skill: Skill) -> str:
    """``set slot city in book_ticket``."""
    command, flow, slot = skill
    if command == StartFlow.name:
        return f"{command} {flow}"
    return command + (f" {slot}" if slot else "") + (f" in {flow}" if flow else "")


def _groups(conversations: Sequence[RephrasedConversation]) -> list[_Group]:
    messages = [frozenset(map(normalised, done.conversation.typed_messages)) for done in conversations]
    return [_group([conversations[index] for index in indices]) for indices in near_duplicate_groups(messages)]


def _group(members: Sequence[RephrasedConversation]) -> _Group:
    return _Group(
        key=members[0].key,
        members=tuple(members),
        skills=frozenset(skill for member in members for skill in skills_of(member.conversation)),
        weight=sum(len(turn.wordings) for member in members for turn in member.turns),
    )


def _items(groups: Sequence[_Group]) -> list[stratify.Group]:
    """The groups with what is to be on both sides: answers, and skills that can be."""
    shown = Counter(skill for group in groups for skill in group.skills)

    def item(group: _Group) -> stratify.Group:
        # An answer in no flow is a skill, too, and not the same as the answer in any flow.
        answers = {("answer", answer_of(skill)) for skill in group.skills}
        skills = {("skill", skill) for skill in group.skills if shown[skill] > 1}
        return stratify.Group(frozenset(answers | skills), group.weight)

    return [item(group) for group in groups]


def _held_out(groups: Sequence[_Group], flows: Collection[str]) -> list[_Group]:
    named = {
        group.key: frozenset().union(*(_flows(member.conversation) for member in group.members)) for group in groups
    }
    unused = sorted(set(flows) - frozenset().union(*named.values()))
    if unused:
        raise DataError(
            f"flow {unused[0]} cannot be held out: no conversation starts it.",
            hint="Write a test that does, or take it from holdout_flows.",
        )
    held = [group for group in groups if named[group.key] & set(flows)]
    if held and len(held) == len(groups):
        raise DataError(
            f"nothing is left to train on: all {len(groups)} groups of conversations start a flow that is held out, "
            "or say nearly the same as one that does.",
            hint="Hold out fewer flows, or write tests for others.",
        )
    return held


def _flows(conversation: AnnotatedConversation) -> frozenset[str]:
    """Flows that the conversation starts, by a command, a call or a link, or that a label names."""
    started = {
        event.flow_id
        for turn in conversation.turns
        for event in turn.turn.events
        if isinstance(event, FlowStarted) and event.flow_id
    }
    commands = [command for turn in conversation.turns for command in (*turn.turn.parsed, *turn.commands)]
    labels = {command.flow for command in commands if isinstance(command, StartFlow)}
    offered = {flow for command in commands if isinstance(command, Clarify) for flow in command.options}
    return frozenset(started | labels | offered)


def _skills(groups: Iterable[_Group]) -> frozenset[Skill]:
    return frozenset(skill for group in groups for skill in group.skills)


def _reasons(skills: Collection[Skill], groups: Sequence[_Group]) -> dict[Skill, str]:
    """Why each of ``skills`` is not judged."""
    items = _items(groups)
    shown = Counter(skill for item in items for skill in item.skills)
    showing: dict[Skill, list[stratify.Group]] = defaultdict(list)
    for group, item in zip(groups, items, strict=True):
        for skill in group.skills:
            showing[skill].append(item)
    tests = Counter(skill for group in groups for member in group.members for skill in skills_of(member.conversation))

    def reason(skill: Skill) -> str:
        if tests[skill] == 1:
            return ONE_TEST
        if len(showing[skill]) == 1:
            return ONE_GROUP
        spare = any(all(shown[other] > 1 for other in item.skills) for item in showing[skill])
        return NO_ROOM if spare else NEEDED

    return {skill: reason(skill) for skill in sorted(skills)}
