"""Tuned models that exist only as error rates: conversations of the example bot's sizes, mistakes that cluster in them.

In each conversation the chances of a mistake are drawn anew from beta distributions, so that the messages of one
conversation have a given correlation; a conversation passes if the student gets all its messages right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rasa_ft.evaluation.clustered import Cluster, conversations_needed
from rasa_ft.evaluation.comparisons import TurnComparison, compare_turns
from rasa_ft.evaluation.gates import Gates
from rasa_ft.evaluation.verdict import Verdict, decide

# How many tests of examples/bot/e2e_tests have 1, 2, ... 7 messages.
SIZES = (1,) * 8 + (2,) * 15 + (3,) * 36 + (4,) * 32 + (5,) * 27 + (6,) * 8 + (7,) * 5
# Gates that every student meets, so that the comparison with the teacher alone decides.
NO_GATES = Gates(train=0.01, validation=0.0001)
_PILOT = 4000

# What student and teacher made of the messages of one conversation: (student right, teacher right) each.
Conversation = tuple[tuple[bool, bool], ...]


@dataclass(frozen=True)
class Truth:
    """Shares of messages that only the teacher and only the student gets right, and the correlation of mistakes."""

    only_teacher: float
    only_student: float = 0.0
    correlation: float = 0.0

    def conversation(self, random: Random) -> Conversation:
        worse, better = (_chance(random, share, self.correlation) for share in (self.only_teacher, self.only_student))
        return tuple(_message(random.random(), worse, better) for _ in range(random.choice(SIZES)))

    def conversations(self, random: Random, count: int) -> list[Conversation]:
        return [self.conversation(random) for _ in range(count)]

    def clusters(self, random: Random, count: int) -> list[Cluster]:
        return [
            Cluster(len(seen), seen.count((True, False)), seen.count((False, True)))
            for seen in self.conversations(random, count)
        ]


def judged(conversations: Sequence[Conversation], gates: Gates) -> Verdict:
    """The verdict on a student that passes all training conversations and has these as validation."""
    passed = sum(all(student for student, _ in messages) for messages in conversations)
    return decide((102, 102), (passed, len(conversations)), gates, turns=compared(conversations, gates))


def compared(conversations: Sequence[Conversation], gates: Gates) -> TurnComparison | None:
    student, teacher = (
        {
            (str(number), position): pair[side]
            for number, messages in enumerate(conversations)
            for position, pair in enumerate(messages)
        }
        for side in (0, 1)
    )
    return compare_turns("teacher", "validation", student, teacher, gates=gates)


def stated_size(truth: Truth, seed: int, margin: float = 0.05) -> int:
    """How many conversations the sample size formula asks for when it knows the truth."""
    size = conversations_needed(truth.clusters(Random(seed), _PILOT), margin)
    assert size is not None
    return size


def shipped(truth: Truth, count: int, gates: Gates, *, students: int, seed: int) -> float:
    """Share of students with this truth that are shipped after ``count`` conversations."""
    random = Random(seed)
    verdicts = (judged(truth.conversations(random, count), gates) for _ in range(students))
    return sum(verdict.outcome == "ship" for verdict in verdicts) / students


def shipped_in_two_looks(truth: Truth, count: int, gates: Gates, *, students: int, seed: int) -> float:
    """The same for people who write the tests that a first verdict asks for, at most 300, and look once more."""
    random = Random(seed)
    ships = 0
    for _ in range(students):
        conversations = truth.conversations(random, count)
        verdict = judged(conversations, gates)
        if verdict.outcome == "not enough evidence":
            more = min(300, verdict.more_tests or 300)
            verdict = judged(conversations + truth.conversations(random, more), gates)
        ships += verdict.outcome == "ship"
    return ships / students


def _chance(random: Random, share: float, correlation: float) -> float:
    """The chance in one conversation: beta with the mean ``share``, so that two messages have the correlation."""
    if share == 0 or correlation == 0:
        return share
    weight = (1 - correlation) / correlation
    return random.betavariate(share * weight, (1 - share) * weight)


def _message(draw: float, worse: float, better: float) -> tuple[bool, bool]:
    if draw < worse:
        return (False, True)
    return (True, False) if draw > 1 - better else (True, True)
