"""Labels that do not fit the others, found without asking any model; what is suspicious is for a person to decide.

Two rules, over all wordings of all tests:

known values  a wording states what is elsewhere the value of a text slot (``York``), and its commands do not have it
neighbours    a wording is much more like wordings that mean something else than like those that mean the same

Neighbours are wordings said at such a place: the same active flow and the same question, or none. Alike are those that
share rare words and pairs of words (cosine of inverse document frequencies, in [0, 1]). A systematic mistake of the
teacher is its own neighbour and stays unseen.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import pairwise

from rasa_ft.calm.commands import Command, SetSlot
from rasa_ft.recipe.conversations import AnnotatedTurn, Doubt, RephrasedConversation, RephrasedTurn, Wording
from rasa_ft.recipe.labelling.review import Review
from rasa_ft.recipe.labelling.values import Slots, command_key
from rasa_ft.recipe.wording import normalised, states

# A word that is a value elsewhere is no value where it is none in more than this share of the wordings with it.
_MISSED = 0.2
_LONGEST_VALUE = 5
# How many neighbours of each meaning count, and how much nearer those of another one must be.
_NEIGHBOURS = 2
_MARGIN = 0.25
_ALIKE = 0.3
# What a place's wordings have in common says nothing, and costs the most time.
_COMMON = 0.05
_RARE = 50
_FINITE = ("bool", "categorical")

# What a wording means, free values apart.
Meaning = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class _Said:
    """One wording of one turn."""

    key: tuple[int, int, str]
    turn: AnnotatedTurn
    wording: Wording

    @property
    def place(self) -> tuple[str | None, str | None]:
        return (self.turn.turn.active_flow, self.turn.turn.requested_slot)


def audited(
    conversations: Sequence[RephrasedConversation], slots: Slots, review: Review
) -> tuple[RephrasedConversation, ...]:
    """The conversations with suspicious rephrasings turned into doubts; suspicious originals keep their label.

    What people have decided about is not questioned again.
    """
    said = list(_all_said(conversations))
    reasons = {**_unlike_neighbours(said, slots), **_with_unused_values(said, slots)}
    return tuple(
        replace(
            conversation,
            turns=tuple(
                _doubted(
                    turn,
                    {key[2]: reason for key, reason in reasons.items() if key[:2] == (number, index)},
                    review.at(conversation.key, index, turn.turn.text),
                )
                for index, turn in enumerate(conversation.turns)
            ),
        )
        for number, conversation in enumerate(conversations)
    )


def _all_said(conversations: Sequence[RephrasedConversation]) -> Iterator[_Said]:
    for number, conversation in enumerate(conversations):
        for index, turn in enumerate(conversation.turns):
            for wording in turn.wordings if turn.turn.annotated else ():
                yield _Said((number, index, wording.text), turn.turn, wording)


def _doubted(turn: RephrasedTurn, reasons: Mapping[str, str], decided: Iterable[str]) -> RephrasedTurn:
    reasons = {text: reason for text, reason in reasons.items() if text not in decided}
    original = turn.turn.original
    if original.text in reasons and turn.turn.doubt is None:
        doubt = Doubt(original.text, original.commands, reasons[original.text])
        turn = replace(turn, turn=replace(turn.turn, doubt=doubt))
    passing = tuple(wording for wording in turn.passing if wording.text not in reasons)
    doubts = [Doubt(said.text, said.commands, reasons[said.text]) for said in turn.passing if said.text in reasons]
    return replace(turn, passing=passing).judged(doubts)


# --- known values ----------------------------------------------------------------------------------------------------


def _with_unused_values(said: Sequence[_Said], slots: Slots) -> dict[tuple[int, int, str], str]:
    known = {value: slot for one in said for slot, value in _free_values(one.wording.commands, slots)}
    used: Counter[str] = Counter()
    unused: dict[str, list[_Said]] = defaultdict(list)
    for one in said:
        own = [value for _, value in _free_values(one.wording.commands, slots)]
        earlier = one.turn.before if one.wording.text == one.turn.text else f"{one.turn.before}\n{one.turn.text}"
        for value in sorted(set(_phrases(one.wording.text)) & known.keys()):
            if any(states(other, value) for other in own):
                used[value] += 1
            elif not states(earlier, value):
                unused[value].append(one)
    return {
        one.key: f"it says '{value}', which is a {known[value]} elsewhere and stands in no command"
        for value, found in unused.items()
        if len(found) <= _MISSED * (len(found) + used[value])
        for one in found
    }


def _free_values(commands: Iterable[Command], slots: Slots) -> Iterator[tuple[str, str]]:
    for command in commands:
        if isinstance(command, SetSlot) and command.slot in slots and slots[command.slot].type == "text":
            yield command.slot, normalised(str(command.value))


def _phrases(text: str) -> Iterator[str]:
    words = normalised(text).split()
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST_VALUE, len(words)) + 1):
            yield " ".join(words[start:end])


# --- neighbours ------------------------------------------------------------------------------------------------------


def _unlike_neighbours(said: Sequence[_Said], slots: Slots) -> dict[tuple[int, int, str], str]:
    vectors = _vectors([one.wording.text for one in said])
    places: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
    for position, one in enumerate(said):
        places[one.place].append(position)
    found = {}
    for positions in places.values():
        meanings = {position: _meaning(said[position].wording.commands, slots) for position in positions}
        for position, likeness in _alike(positions, vectors):
            rivals = _rivals(position, likeness, meanings)
            if rivals:
                examples = " and ".join(f"'{said[rival].wording.text}'" for rival in rivals)
                found[said[position].key] = f"it is more like {examples}, which mean something else"
    return found


def _rivals(position: int, likeness: Mapping[int, float], meanings: Mapping[int, Meaning]) -> list[int]:
    """The nearest wordings of another meaning, if they are much nearer than those of the same; else none."""
    own = meanings[position]
    alike: dict[Meaning, list[tuple[float, int]]] = defaultdict(list)
    for other, share in likeness.items():
        alike[meanings[other]].append((-share, other))
    near = {meaning: [other for _, other in nsmallest(_NEIGHBOURS, some)] for meaning, some in alike.items()}
    scores = {meaning: sum(likeness[other] for other in some) / _NEIGHBOURS for meaning, some in near.items()}
    others = (meaning for meaning in near if meaning != own)
    best = max(others, key=lambda meaning: (scores[meaning], sorted(meaning)), default=None)
    if best is None or len(near[best]) < _NEIGHBOURS or scores[best] < _ALIKE:
        return []
    return near[best] if scores[best] - scores.get(own, 0.0) > _MARGIN else []


def _meaning(commands: Iterable[Command], slots: Slots) -> Meaning:
    return frozenset(_without_free_value(command, slots) for command in commands)


def _without_free_value(command: Command, slots: Slots) -> tuple[str, ...]:
    key = command_key(command, slots)
    is_free = isinstance(command, SetSlot) and (command.slot not in slots or slots[command.slot].type not in _FINITE)
    return key[:2] if is_free else key


def _vectors(texts: Sequence[str]) -> list[dict[str, float]]:
    """Words and pairs of words with their weights; each vector has length 1."""
    documents = [_grams(text) for text in texts]
    frequency = Counter(gram for grams in documents for gram in grams)
    return [_unit({gram: math.log(1 + len(texts) / frequency[gram]) for gram in grams}) for grams in documents]


def _grams(text: str) -> list[str]:
    """Each once, in an order that is the same in every run, as sums of floats depend on it."""
    words = normalised(text).split()
    return list(dict.fromkeys((*words, *(" ".join(pair) for pair in pairwise(words)))))


def _unit(vector: dict[str, float]) -> dict[str, float]:
    length = math.sqrt(sum(weight * weight for weight in vector.values()))
    return {gram: weight / length for gram, weight in vector.items()}


def _alike(
    positions: Sequence[int], vectors: Sequence[Mapping[str, float]]
) -> Iterator[tuple[int, Mapping[int, float]]]:
    """Each of ``positions`` with the others that share anything but common words with it, and the cosine of that."""
    index: dict[str, list[int]] = defaultdict(list)
    for position in positions:
        for gram in vectors[position]:
            index[gram].append(position)
    most = _RARE + _COMMON * len(positions)
    for position in positions:
        likeness: dict[int, float] = defaultdict(float)
        for gram, weight in vectors[position].items():
            for other in index[gram] if len(index[gram]) <= most else ():
                likeness[other] += weight * vectors[other][gram]
        likeness.pop(position, None)
        yield position, likeness
