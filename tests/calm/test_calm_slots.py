import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_ft.calm.slots import MappingCondition, Slot, SlotMapping, coerce, is_nullish, is_valid, slot_document

BOOL = Slot("flag", "bool")
FLOAT = Slot("amount", "float")
CATEGORY = Slot("size", "categorical", values=("Small", "large", "3"))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0.0, False),
        (2, False),
        ("1", True),
        ("0", False),
        ("7", False),
        (" TRUE ", True),
        ("yes", True),
        ("No", False),
        ("maybe", "maybe"),
        ([1], [1]),
        (None, None),
    ],
)
def test_bool_values(value, stored):
    assert coerce(BOOL, value) == stored
    assert type(coerce(BOOL, value)) is type(stored)
    assert is_valid(BOOL, value) == (stored is None or isinstance(stored, bool))


@pytest.mark.parametrize(("value", "stored"), [("55", 55.0), (" 5 ", 5.0), (3, 3.0), ("-1e2", -100.0)])
def test_numbers_become_floats(value, stored):
    assert coerce(FLOAT, value) == stored
    assert isinstance(coerce(FLOAT, value), float)
    assert is_valid(FLOAT, value)


@pytest.mark.parametrize("value", ["five", "", "nan", "inf", "1e999", [1], {}, 10**400])
def test_what_is_not_a_number_stays_and_is_invalid(value):
    assert coerce(FLOAT, value) == value
    assert not is_valid(FLOAT, value)


def test_bounds_count_only_together():
    both = Slot("amount", "float", min_value=1, max_value=3)
    assert [is_valid(both, value) for value in (0.9, 1, 3, 3.1)] == [False, True, True, False]
    assert is_valid(Slot("amount", "float", min_value=1), 0)
    assert is_valid(Slot("amount", "float", max_value=1), 2)


def test_categories_are_spelled_as_in_the_domain():
    assert coerce(CATEGORY, "sMALL") == "Small"
    assert coerce(CATEGORY, 3) == "3"
    assert coerce(CATEGORY, "huge") == "huge"
    assert is_valid(CATEGORY, "LARGE")
    assert not is_valid(CATEGORY, "huge")


def test_lists_text_and_any():
    assert coerce(Slot("l", "list"), "a") == ["a"]
    assert coerce(Slot("l", "list"), ["a", 1]) == ["a", 1]
    assert coerce(Slot("l", "list"), ("a",)) == ["a"]
    assert coerce(Slot("t", "text"), 55) == 55
    assert coerce(Slot("x", "any"), {"a": 1}) == {"a": 1}
    assert all(is_valid(Slot("s", kind), "whatever") for kind in ("text", "list", "any"))


@settings(deadline=None)
@given(
    st.sampled_from([BOOL, FLOAT, CATEGORY, Slot("l", "list"), Slot("t", "text")]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
)
def test_coercion_is_idempotent_and_keeps_validity(slot, value):
    stored = coerce(slot, value)
    assert is_valid(slot, stored) == is_valid(slot, value)
    assert repr(coerce(slot, stored)) == repr(stored)
    if slot.type == "float" and is_valid(slot, value):
        json.dumps(stored, allow_nan=False)


def test_nullish_texts_are_exact():
    assert all(map(is_nullish, [None, "", "[missing information]", "[missing]", "None", "undefined", "null"]))
    assert not any(map(is_nullish, ["none", "NULL", "Undefined", 0, False, " "]))


def test_who_may_fill_a_slot():
    controlled = SlotMapping("controlled")
    assert Slot("a", "text").is_llm_fillable
    assert not Slot("a", "text", mappings=(controlled,)).is_llm_fillable
    assert Slot("a", "text", mappings=(controlled, SlotMapping("from_llm"))).is_llm_fillable
    assert Slot("a", "text", mappings=(SlotMapping("from_text"),)).has_mapping("from_text")


def test_mapping_conditions():
    def slot(*conditions):
        return Slot("a", "text", mappings=(SlotMapping("from_llm", conditions=conditions),))

    in_flow = MappingCondition(active_flow="book")
    in_step = MappingCondition(active_flow="pay", requested_slot="a")
    assert slot().mapping_allowed(None, None)
    assert slot(in_flow).mapping_allowed("book", None)
    assert not slot(in_flow).mapping_allowed(None, None)
    assert slot(in_flow, in_step).mapping_allowed("pay", "a")
    assert not slot(in_flow, in_step).mapping_allowed("pay", "b")
    assert not slot(MappingCondition(active_loop="form")).mapping_allowed("book", "a")


def test_document_for_custom_actions():
    slot = Slot(
        "amount",
        "float",
        min_value=0,
        max_value=9,
        initial_value=1.0,
        mappings=(SlotMapping("controlled", (MappingCondition(active_flow="pay"),), run_action_every_turn="action_x"),),
    )
    assert slot_document(slot) == {
        "type": "float",
        "mappings": [
            {"type": "controlled", "conditions": [{"active_flow": "pay"}], "run_action_every_turn": "action_x"}
        ],
        "min_value": 0,
        "max_value": 9,
        "initial_value": 1.0,
    }
    assert slot_document(CATEGORY)["values"] == ["Small", "large", "3"]
