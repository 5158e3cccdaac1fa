"""When two values are the same, and when a label has no ground in the words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import Clarify, Command, SetSlot, StartFlow
from rasa_ft.calm.slots import Slot
from rasa_ft.recipe.labelling.grounding import Wordings, objection
from rasa_ft.recipe.labelling.values import agree, aligned, value_key, without

SLOTS = {
    "city": Slot("city", "text"),
    "seats": Slot("seats", "float"),
    "window": Slot("window", "bool"),
    "card": Slot("card", "categorical", values=("Gold", "Silver")),
    "tags": Slot("tags", "list"),
    "extra": Slot("extra", "any"),
}


@pytest.mark.parametrize(
    ("slot", "one", "other"),
    [
        ("seats", "150", "150.0"),
        ("seats", "150.0", 150),
        ("seats", "many", "Many!"),
        ("window", "true", True),
        ("window", "yes", "True"),
        ("window", "no", "0"),
        ("card", "gold", "GOLD"),
        ("city", "New York!", "new york"),
        ("city", None, "undefined"),
        ("tags", "a", ["A"]),
        ("extra", "4", 4.0),
        ("not in the domain", "4", 4.0),
    ],
)
def test_spellings_of_one_value(slot: str, one: object, other: object) -> None:
    assert value_key(SLOTS.get(slot), one) == value_key(SLOTS.get(slot), other)


@pytest.mark.parametrize(
    ("slot", "one", "other"),
    [
        ("seats", 1, True),
        ("seats", "2075550141", "2075550142"),
        ("window", "true", "false"),
        ("window", "true", "maybe"),
        ("card", "gold", "silver"),
        ("city", "007", "7"),
        ("city", "4.0", "4"),
        ("city", "Rome", None),
    ],
)
def test_different_values(slot: str, one: object, other: object) -> None:
    assert (value_key(SLOTS[slot], one) == value_key(SLOTS[slot], other)) is (slot == "seats" and other is True)


@given(st.sampled_from(sorted(SLOTS)), st.one_of(st.text(), st.floats(), st.booleans(), st.none(), st.integers()))
def test_every_value_has_a_key(slot: str, value: object) -> None:
    assert value_key(SLOTS[slot], value) == value_key(SLOTS[slot], value)


def test_commands_agree_as_multisets() -> None:
    book, gold, two = StartFlow("book"), SetSlot("card", "gold"), SetSlot("seats", "2")
    assert agree((book, two), (SetSlot("seats", 2.0), book), SLOTS)
    assert not agree((book, book), (book, two), SLOTS)
    assert without((book, book, gold), (book, SetSlot("card", "Gold")), SLOTS) == (book,)
    assert aligned((SetSlot("seats", 2), book), (book, two), SLOTS) == (book, SetSlot("seats", 2))
    assert agree((Clarify(("a", "b")),), (Clarify(("b", "a")),), SLOTS)


def found(original: str, text: str, *commands: Command, before: str = "") -> str:
    objected = objection(Wordings(text, original, before), commands, SLOTS)
    return "fine" if objected is None else f"{'wrong' if objected.is_sure else 'doubt'}: {objected.reason}"


ROME, FOUR, TWO = SetSlot("city", "Rome"), SetSlot("seats", "4"), SetSlot("seats", 2.0)
DATE, NOON = SetSlot("city", "2025-01-16"), SetSlot("city", "12:40")


@pytest.mark.parametrize(
    ("original", "text", "command"),
    [
        ("to Rome", "I'm off to ROME!", ROME),
        # The teacher's own words, in the original too.
        ("tomorrow", "the day after this one", DATE),
        ("tomorrow", "on 16 January", DATE),
        ("on 16 January", "January 16th it is", DATE),
        ("the eternal city", "where the pope lives", ROME),
        # Numbers in words, and hidden ones.
        ("4 seats", "four seats", FOUR),
        ("four of us", "we are 4", FOUR),
        ("24 seats", "twenty-four seats", SetSlot("seats", "24")),
        ("my wife and I", "the two of us", TWO),
        ("2 seats", "my wife and I", TWO),
        ("the noon one", "four of them, and the noon one", NOON),
        ("1200 seats", "1,200 seats", SetSlot("seats", "1200")),
        ("at 3 in the city", "at three in the city", SetSlot("city", "3")),
        # What cannot be stated or need not be.
        ("no", "rather not", SetSlot("window", False)),
        ("gold please", "the yellow one", SetSlot("card", "gold")),
        ("gold please", "gold, not silver", SetSlot("card", "gold")),
        ("whatever", "I do not know", SetSlot("city", None)),
        ("a b", "c d", SetSlot("tags", ["a", "b"])),
    ],
)
def test_what_has_a_ground(original: str, text: str, command: SetSlot) -> None:
    assert found(original, text, command) == "fine"


@pytest.mark.parametrize(
    ("original", "text", "command", "complaint"),
    [
        ("to Rome", "to Genoa", ROME, "wrong: 'Rome' for city is stated neither in it nor before"),
        ("to Rome", "to the eternal city", ROME, "wrong: 'Rome' for city is stated neither in it nor before"),
        ("4 seats", "5 seats", FOUR, "wrong: 4 for seats is stated neither in it nor before"),
        ("4 seats", "five seats", FOUR, "doubt: 4 for seats is stated neither in it nor before"),
        ("4 seats", "some seats", FOUR, "doubt: 4 for seats is stated neither in it nor before"),
        ("my wife and I", "we are three", TWO, "doubt: it says '3', not 2 for seats"),
        ("on 16 January", "on 17 January", DATE, "doubt: it says '17', not '2025-01-16' for city"),
        ("gold please", "silver please", SetSlot("card", "gold"), "doubt: it says 'Silver', not 'Gold' for card"),
        ("a ticket", "a ticket for train 604", StartFlow("book"), "doubt: no command has '604'"),
    ],
)
def test_a_changed_text_with_the_old_label(original: str, text: str, command: Command, complaint: str) -> None:
    assert found(original, text, command) == complaint


def test_what_was_said_before() -> None:
    offer = "AI: There are trains to Rome and Genoa, at 12:40 and 17:05."
    assert found("to Rome", "to the first one", ROME, before=offer) == "fine"
    assert found("to Rome", "let us take Genoa", ROME, before=offer).startswith("doubt: it says 'genoa', not 'Rome'")
    assert found("at 12:40", "the 17:05 one", NOON, before=offer).startswith("doubt: it says '17:05'")
    assert found("4 seats", "as many as I said", FOUR, before="USER: 4 of us") == "fine"
    assert found("a ticket", "one for 17:05 too", StartFlow("book"), before=offer) == "fine"


def test_what_is_sure_goes_first() -> None:
    assert found("gold to Rome", "silver to Genoa", SetSlot("card", "gold"), ROME).startswith("wrong: 'Rome'")
