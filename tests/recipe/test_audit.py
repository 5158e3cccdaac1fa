"""Labels that do not fit the others, found among conversations that are made up for that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rasa_ft.calm.commands import CancelFlow, Command, SetSlot, StartFlow
from rasa_ft.calm.slots import Slot
from rasa_ft.e2e.cases import TestCase, UserStep
from rasa_ft.engine.base import Setup, Turn
from rasa_ft.errors import Location
from rasa_ft.recipe.conversations import (
    AnnotatedConversation,
    AnnotatedTurn,
    Doubt,
    RephrasedConversation,
    RephrasedTurn,
    Wording,
)
from rasa_ft.recipe.labelling.audit import audited
from rasa_ft.recipe.labelling.review import Entry, Review

SLOTS = {"city": Slot("city", "text"), "sure": Slot("sure", "bool")}
PLACE = Location(Path("t.yml"), 1)
BOOK, CANCEL = (StartFlow("book"),), (StartFlow("cancel"),)
BUYING = ["I want to buy a ticket", "please sell me a ticket", "buy a ticket for me", "one ticket to buy please"]
CALLING_OFF = ["I have to call off my trip", "please call off the trip", "call off a trip for me", "my trip is off"]


def said(
    name: str, commands: tuple[Command, ...], texts: Iterable[str], flow: str | None = None, before: str = ""
) -> RephrasedConversation:
    """A conversation of one message; the first of ``texts`` is the test's own."""
    first, *others = texts
    case = TestCase(name, PLACE.file, PLACE, (UserStep(PLACE, first),))
    turn = AnnotatedTurn(Turn(first, "prompt", "", commands, commands, (), flow), True, True, before)
    rephrased = RephrasedTurn(turn, tuple(Wording(text, commands) for text in others))
    return RephrasedConversation(AnnotatedConversation(case, Setup(), (turn,)), (rephrased,))


def doubts(conversations: list[RephrasedConversation], review: Review | None = None) -> list[Doubt]:
    found = []
    for conversation in audited(conversations, SLOTS, review or Review()):
        for turn in conversation.turns:
            found += [*turn.doubts, *([turn.turn.doubt] if turn.turn.doubt else [])]
    return found


def test_a_wording_among_those_of_another_meaning() -> None:
    odd = "please call off my trip"
    conversations = [said("a", BOOK, [*BUYING, odd]), said("b", CANCEL, CALLING_OFF)]
    (doubt,) = doubts(conversations)
    assert (doubt.text, doubt.commands, doubt.other) == (odd, BOOK, None)
    assert "it is more like 'I have to call off my trip' and 'please call off the trip'" in doubt.reason
    (turn,) = audited(conversations, SLOTS, Review())[0].turns
    assert [wording.text for wording in turn.passing] == BUYING[1:]


def test_a_label_of_a_test_stays_and_is_told() -> None:
    odd = said("c", BOOK, ["please call off my trip"])
    conversations = [said("a", BOOK, BUYING), said("b", CANCEL, CALLING_OFF), odd]
    (turn,) = audited(conversations, SLOTS, Review())[2].turns
    assert turn.turn.doubt is not None
    assert turn.wordings == (Wording("please call off my trip", BOOK),)


def test_what_was_decided_is_not_questioned_again() -> None:
    odd = "please call off my trip"
    conversations = [said("a", BOOK, [*BUYING, odd]), said("b", CANCEL, CALLING_OFF)]
    entry = Entry("t.yml::a", 1, odd, BUYING[0], (), BOOK, decision="accept")
    assert doubts(conversations, Review((entry,))) == []


def test_only_the_same_place_counts() -> None:
    odd = "please call off my trip"
    assert doubts([said("a", BOOK, [*BUYING, odd]), said("b", CANCEL, CALLING_OFF, flow="pay")]) == []


def test_one_message_is_no_majority() -> None:
    assert doubts([said("a", BOOK, [*BUYING, "call off the trip"]), said("b", CANCEL, ["call off the trip"])]) == []


def test_free_values_are_no_meaning_and_yes_and_no_are() -> None:
    rome, oslo = (SetSlot("city", "Rome"),), (SetSlot("city", "Oslo"),)
    texts = ["the town of {}", "make the town {}", "{} is the town", "town {}"]
    towns = [
        said(value, label, [text.format(value) for text in texts]) for value, label in (("Rome", rome), ("Oslo", oslo))
    ]
    assert doubts(towns) == []
    yes, no = (SetSlot("sure", "yes"),), (SetSlot("sure", False),)
    agreed = said("y", yes, ["go on then", "yes go on", "do go on", "no do not do that now"])
    refused = said("n", no, ["no do not do that", "do not do that now", "no do not do it now"])
    assert [doubt.text for doubt in doubts([agreed, refused])] == ["no do not do that now"]


def test_a_value_that_no_command_has() -> None:
    trips = [
        said(str(number), (StartFlow("book"), SetSlot("city", "Ulm")), [f"{word} Ulm"], flow=str(number))
        for number, word in enumerate(["to", "for", "going to", "a ticket to", "near"])
    ]
    lacking = said("x", BOOK, ["a seat", "a seat to ulm"], flow="other")
    (doubt,) = doubts([*trips, lacking])
    assert (doubt.text, doubt.reason) == (
        "a seat to ulm",
        "it says 'ulm', which is a city elsewhere and stands in no command",
    )
    known = said("x", BOOK, ["a seat", "a seat to ulm"], flow="other", before="AI: Trains go to Ulm.")
    assert doubts([*trips, known]) == []
    assert doubts([trips[0], lacking]) == [], "what is seldom a value may be any word"


def test_nothing_and_texts_of_signs() -> None:
    assert audited([], SLOTS, Review()) == ()
    assert doubts([said("a", (CancelFlow(),), ["?!", "...", "!"]), said("b", BOOK, ["?!"])]) == []
