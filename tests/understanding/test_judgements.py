"""Reading a judge's answers and scoring them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.understanding import judgements as j

texts = st.text(min_size=1).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["questions", "statements", "score", "x"]), inner),
)
vectors = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3)


@given(st.lists(texts, min_size=3, max_size=3), st.sampled_from(["{}", "```json\n{}\n```", "Sure:\n```\n{}\n``` "]))
def test_questions_in_any_dress(questions: list[str], dress: str) -> None:
    answer = dress.replace("{}", json.dumps({"questions": questions, "why": 1}))
    assert j.questions_in(answer) == tuple(question.strip() for question in questions)


@given(st.lists(st.tuples(texts, st.booleans()), min_size=1))
def test_statements_and_their_share(entries: list[tuple[str, bool]]) -> None:
    written = [{"statement": text, "score": int(supported)} for text, supported in entries]
    statements = j.statements_in(json.dumps({"statements": written}))
    assert statements == tuple(j.Statement(text.strip(), supported) for text, supported in entries)
    found = j.groundedness(statements)
    assert found.score == pytest.approx(sum(supported for _, supported in entries) / len(entries))
    assert found.evidence == tuple(text.strip() for text, supported in entries if not supported)


@given(st.text() | values.map(json.dumps) | values.map(lambda value: f"```json\n{json.dumps(value)}\n```"))
def test_whatever_is_answered_is_read_or_refused(answer: str) -> None:
    for read in (j.questions_in, j.statements_in):
        try:
            assert read(answer)
        except j.UnusableAnswer as error:
            assert "not" in str(error) or "no" in str(error) or "empty" in str(error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('Here: {"questions": ["a", "b", "c"]}', "it is not JSON"),  # neither alone nor in a block
        ('["a", "b", "c"]', 'not a JSON object with a list "questions"'),
        ('{"questions": "a, b, c"}', 'not a JSON object with a list "questions"'),
        ('{"questions": ["a", "b"]}', "not a list of 3 texts"),
        ('{"questions": ["a", "b", " "]}', "not a list of 3 texts"),
        ('{"questions": ["a", "b", 3]}', "not a list of 3 texts"),
    ],
)
def test_unusable_questions(answer: str, reason: str) -> None:
    with pytest.raises(j.UnusableAnswer, match=reason):
        j.questions_in(answer)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ([], '"statements" is empty'),
        (["a"], 'no text "statement"'),
        ([{"score": 1}], 'no text "statement"'),
        ([{"statement": "a"}], "neither 0 nor 1"),
        ([{"statement": "a", "score": "1"}], "neither 0 nor 1"),
        ([{"statement": "a", "score": 0.5}], "neither 0 nor 1"),
        ([{"statement": "a", "score": 1}, {"statement": "b", "score": [1]}], "neither 0 nor 1"),
    ],
)
def test_unusable_statements(statements: list[Any], reason: str) -> None:
    with pytest.raises(j.UnusableAnswer, match=reason):
        j.statements_in(json.dumps({"statements": statements}))


@given(vectors, vectors)
def test_similarity_is_a_cosine(one: list[float], other: list[float]) -> None:
    found = j.similarity(one, other)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(j.similarity(other, one))
    if math.hypot(*one) > 1e-3:
        assert j.similarity(one, [2 * x for x in one]) == pytest.approx(1)
        assert j.similarity(one, [-x for x in one]) == pytest.approx(-1)
    assert j.similarity(one, [0.0, 0.0, 0.0]) == 0


def test_relevance_is_the_mean() -> None:
    found = j.relevance([1.0, 0.0], [("same", [3.0, 0.0]), ("else", [0.0, 2.0]), ("same", [1.0, 1.0])])
    assert found.score == pytest.approx((1 + 0 + math.sqrt(0.5)) / 3)
    assert found.evidence == ("same", "else", "same")


def test_prompts_show_the_texts_as_they_are() -> None:
    message, truth = "It is {{ 6 * 7 }} & <b>.", "{% if x %}"
    assert f"<reply>\n{message}\n</reply>" in j.relevance_prompt(message)
    prompt = j.groundedness_prompt(message, truth)
    assert f"<reply>\n{message}\n</reply>" in prompt and f"<sources>\n{truth}\n</sources>" in prompt
    again = j.insisting(prompt, "it is not JSON")
    assert again.startswith(prompt) and "it is not JSON" in again.removeprefix(prompt)
