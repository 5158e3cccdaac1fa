import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_ft.calm.flows.conditions import (
    Comparison,
    ConditionError,
    comparisons,
    evaluate,
    holds,
    parse_errors,
    references,
)

DOCUMENT = {
    "slots": {
        "yes": True,
        "no": False,
        "unset": None,
        "city": "Rome",
        "count": 3.0,
        "blank": "",
        "tags": ["a", "b"],
        "none": [],
    },
    "context": {"reason": "x", "names": ["n"], "slot": "city"},
}


@pytest.mark.parametrize(
    "predicate",
    [
        None,
        True,
        "slots.yes",
        "TRUE",
        "not slots.no",
        "not slots.unset",
        "not slots.blank and not slots.none",
        'slots.city is "Rome"',
        "slots.city = 'Rome'",
        'slots.city == "Rome"',
        'slots.city is not "Paris"',
        'slots.city != "rome"',
        "slots.count >= 3 and slots.count < 3.5 and slots.count > -1",
        "slots.yes = 1",
        "slots.yes is true",
        "slots.unset = null",
        "slots.city is not null",
        "slots.ghost is undefined",
        "slots.ghost != null",
        'slots.ghost != "Rome"',
        'slots.city matches "^R.m"',
        'slots.city matches "om"',
        'slots.city contains "om"',
        'slots.tags contains "b"',
        "slots.blank is empty",
        "{'x' 'y'} contains 'y'",
        'context.reason is "x"',
        # equal precedence, right-associative: a and (b or c), a or (b and c)
        "slots.yes and slots.no or slots.yes",
        "slots.yes or slots.no and slots.no",
        "slots.yes # a comment",
    ],
)
def test_true(predicate):
    assert holds(predicate, DOCUMENT)


@pytest.mark.parametrize(
    "predicate",
    [
        False,
        "false",
        "slots.no",
        "slots.unset",
        "slots.ghost",
        "slots.city is Rome",
        'slots.city = "rome"',
        'slots.yes = "true"',
        "slots.ghost = null",
        "slots.ghost < 3",
        "slots.count matches '3'",
        # no and (yes or yes)
        "slots.no and slots.yes or slots.yes",
    ],
)
def test_false(predicate):
    assert not holds(predicate, DOCUMENT)


@pytest.mark.parametrize("predicate", ["slots.unset < 3", 'slots.count > "a"', "slots.city.o", "slots.unset.x", "a b"])
def test_what_cannot_be_evaluated_is_false_and_logged(predicate, caplog):
    assert not holds(predicate, DOCUMENT)
    assert predicate in caplog.text
    with pytest.raises(ConditionError):
        evaluate(predicate, DOCUMENT)


def test_jinja_is_filled_first_if_there_are_variables():
    predicate = 'slots.{{context.slot}} is "Rome"'
    assert holds(predicate, DOCUMENT, {"context": DOCUMENT["context"]})
    assert not holds(predicate, DOCUMENT)
    assert holds("{% if slots.city %}slots.yes{% endif %}", DOCUMENT, {"slots": DOCUMENT["slots"]})
    # an empty name leaves a reference that is undefined
    assert not holds("slots.{{context.nothing}} is not undefined", DOCUMENT, {"context": {}})


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ context.slot", "{% nonsense %}", "{{ ().__class__.mro() }}"])
def test_broken_templates(template):
    with pytest.raises(ConditionError):
        evaluate(template, DOCUMENT, {"context": DOCUMENT["context"]})


@pytest.mark.parametrize(
    ("predicate", "complaint"),
    [
        ("", "ends too early"),
        ("slots.a is", "ends too early"),
        ("(slots.a", "ends too early"),
        ("slots.a && slots.b", "'&&'"),
        ("!slots.a", "not understood"),
        ("slots.a slots.b", "'slots.b' is out of place at character 9"),
        ("slots.a matches '['", "not a regular expression"),
        ("slots.a contains (slots.a = 1)", "Contains"),
        ("{{ slots.a", "end of"),
    ],
)
def test_parse_errors(predicate, complaint):
    (error,) = parse_errors(predicate)
    assert complaint in error


@pytest.mark.parametrize(
    "predicate", [None, True, "slots.a", "slots.{{context.x}} is 3", "{% if slots.a %}true{% endif %}"]
)
def test_nothing_to_complain_about(predicate):
    assert parse_errors(predicate) == ()


def test_references():
    predicate = "slots.a = {'x' slots.c 3} and slots.b is not null or not (slots.d matches 'q') and slots.a"
    assert references(predicate) == ("slots.a", "slots.c", "slots.b", "slots.d")
    assert references("slots.{{context.x}}") == ()
    assert references(None) == references(True) == ()


def test_comparisons():
    assert comparisons("'x' < slots.a and slots.b is not true or slots.c == slots.d and slots.e and 1 = 2") == (
        Comparison("slots.a", ">", "x"),
        Comparison("slots.b", "!=", True),
    )
    assert comparisons("slots.n >= 3") == (Comparison("slots.n", ">=", 3.0),)


@settings(deadline=None)
@given(st.text(alphabet="slots.ab cd'\"()={}<>!andornt0123#\n", max_size=40))
def test_any_text_either_parses_or_is_explained(predicate):
    errors = parse_errors(predicate)
    if errors:
        assert errors[0]
        assert not holds(predicate, DOCUMENT)
    else:
        references(predicate)
        comparisons(predicate)
        assert holds(predicate, DOCUMENT) in (True, False)
