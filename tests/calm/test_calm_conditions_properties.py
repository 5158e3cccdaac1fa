"""No predicate and no document gets anything but an answer or a `ConditionError` out of the condition language."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rasa_ft.calm.flows.conditions import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    ConditionError,
    comparisons,
    evaluate,
    holds,
    parse_errors,
    references,
    render,
)
from rasa_ft.calm.templates import TemplateFailure, fill, template_syntax_error

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "names", "x"]), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=5,
)
documents = st.fixed_dictionaries(
    {
        "slots": st.dictionaries(st.sampled_from(["a", "b", "city"]), values, max_size=3),
        "context": st.dictionaries(st.sampled_from(["flow_id", "names", "a"]), values, max_size=3),
    }
)

# Texts made of the language's own words, so that many of them are valid or nearly so.
_WORDS = (
    *("slots.a", "slots.b", "slots.city", "slots.a.x.y", "context.names", "slots", "context", "ghost", "a.b"),
    *("'text'", '"a"', "''", "'['", "'(a+)+$'", "3", "-1.5", "0007", "1" * 400),
    *("true", "FALSE", "null", "undefined", "empty", "and", "OR", "not", "is", "is not", "contains", "matches"),
    *("=", "==", "!=", "<", "<=", ">", ">=", "(", ")", "{", "}", "{'x' 'y'}", "#", "\n", "&&", "!", "'", '"', ":", ";"),
    *("{{ context.a }}", "{{ slots.a }}", "{% if slots.a %}", "{% endif %}", "{{", "}}", "{%", "%}", "{#", "\x00", "é"),
)
from_words = st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join)
_operands = st.sampled_from(_WORDS[:26])
_comparisons = st.builds(
    "{} {} {}".format,
    _operands,
    st.sampled_from(["=", "is", "is not", "<", ">=", "!=", "contains", "matches"]),
    _operands,
)
well_formed = st.recursive(
    _comparisons | _operands,
    lambda inner: (
        st.builds("({})".format, inner)
        | st.builds("not {}".format, inner)
        | st.builds("{} and {}".format, inner, inner)
        | st.builds("{} or {}".format, inner, inner)
    ),
    max_leaves=6,
)
predicates = st.text(max_size=60) | from_words | well_formed


@given(predicates, documents)
@example("slots.a matches 3", {"slots": {}, "context": {}})
@example("{{'x'}} contains 'x'", {"slots": {}, "context": {}})
@example("slots.a < 3", {"slots": {"a": float("nan")}, "context": {}})
def test_every_predicate_is_true_false_or_explained(predicate: str, document: dict[str, Any]) -> None:
    variables = {"context": document["context"], "slots": document["slots"]}
    for template in (None, variables):
        assert holds(predicate, document, template) in (True, False)
        try:
            assert isinstance(evaluate(predicate, document, template), bool)
        except ConditionError as error:
            assert str(error)
    errors = parse_errors(predicate)
    assert len(errors) <= 1
    if errors:
        assert 0 < len(errors[0]) < 400
    else:
        references(predicate)
        comparisons(predicate)


@given(predicates, documents)
def test_evaluation_changes_nothing_and_is_repeatable(predicate: str, document: dict[str, Any]) -> None:
    before = repr(document)
    variables = {"context": document["context"], "slots": document["slots"]}
    assert holds(predicate, document, variables) == holds(predicate, document, variables)
    assert repr(document) == before


@pytest.mark.parametrize(
    "predicate",
    [
        "(" * 4000 + "slots.a" + ")" * 4000,
        "(" * 9000,
        "not " * 2000 + "slots.a",
        " and ".join(["slots.a"] * 1000),
        " or ".join(["slots.a"] * 100_000),
        "{" * 4000 + "}" * 4000,
        "slots.a = {" + "1 " * 4000 + "}",
        "slots." + "a." * 4000,
        "& " * 4000,
        ") " * 4000,
        "9" * 9000 + " = slots.a",
        "slots.a matches '" + "(" * 3000 + ")" * 3000 + "'",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ " + "[" * 150 + "]" * 150 + " }}",
        "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ 10 ** 9 * [1] }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ range(10 ** 9) | list }}",
        "{% for i in range(99999) %}{{ '%0999d' % i }}{% endfor %}",
    ],
    ids=lambda text: text[:20],
)
def test_nothing_takes_long_or_runs_out_of_stack(predicate: str) -> None:
    document = {"slots": {"a": "x"}, "context": {}}
    before = time.process_time()
    parse_errors(predicate)
    holds(predicate, document, document)
    assert time.process_time() - before < 5


def test_limits_are_far_from_what_people_write() -> None:
    document = {"slots": {"a": True}, "context": {}}
    assert evaluate(" and ".join(["slots.a"] * (MAX_DEPTH - 1)), document)
    (error,) = parse_errors(" and ".join(["slots.a"] * (MAX_DEPTH + 1)))
    assert f"more than {MAX_DEPTH} levels" in error
    (error,) = parse_errors("slots.a = '" + "x" * MAX_CHARACTERS + "'")
    assert f"longer than {MAX_CHARACTERS} characters" in error


@pytest.mark.parametrize(
    "predicate",
    [
        "__import__('os').system('touch gone')",
        "slots.__class__.__mro__",
        "exec('1')",
        "slots.a.__class__",
        "lambda: 1",
        "slots.a[0]",
        "open('x')",
    ],
)
def test_a_predicate_has_no_calls_and_no_attributes(predicate: str) -> None:
    document = {"slots": {"a": "x"}, "context": {}}
    assert not holds(predicate, document)
    assert not holds(f"{predicate} is not undefined", document)


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ slots.a['__class__'] }}",
        "{{ slots['a']|attr('__class__') }}",
        "{{ '{0.__class__}'.format(slots) }}",
        "{{ '{0.__class__.__mro__}'.format_map({'0': slots}) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ lipsum.__globals__ }}",
        "{% include 'pyproject.toml' %}",
        "{% import 'pyproject.toml' as x %}",
        "{% extends 'pyproject.toml' %}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ (slots|list).__iter__.__self__ }}",
        "{{ context.clear() if false }}{{ ().__doc__ }}",
    ],
)
def test_a_template_reaches_no_code_and_no_files(template: str) -> None:
    document = {"slots": {"a": "x"}, "context": {"b": 1}}
    try:
        written = fill(template, document)
    except TemplateFailure:
        return
    assert not any(word in written for word in ("<class", "function", "object at", "project", "/", "tuple("))


def test_a_template_may_be_too_deep_to_check() -> None:
    assert template_syntax_error("{{ " + "(" * 3000 + ")" * 3000 + " }}") == "it is nested too deeply"


def test_a_template_cannot_change_the_conversation() -> None:
    tags = ["a"]
    document = {"slots": {"tags": tags, "deep": {"tags": tags}}, "context": {"names": ["n"]}}
    wild = "{% set _ = slots.tags.append('b') %}{% set _ = slots.deep.update(x=1) %}{{ context.names.clear() }}true"
    assert render(wild, document) == "Nonetrue"
    assert document == {"slots": {"tags": ["a"], "deep": {"tags": ["a"]}}, "context": {"names": ["n"]}}


@given(st.text(max_size=80) | from_words)
def test_any_text_is_a_template_or_explained(text: str) -> None:
    if (problem := template_syntax_error(text)) is not None:
        assert problem
        with pytest.raises(TemplateFailure):
            fill(text, {})
    else:
        try:
            assert isinstance(fill(text, {"slots": {}, "context": {}}), str)
        except TemplateFailure as error:
            assert str(error)
            assert error.line >= 1
