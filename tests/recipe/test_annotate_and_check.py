from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_engine import DOWN, Annotation, FakeEngine, FakeRephraser, annotated

from rasa_ft.calm.commands import ChitChat, Clarify, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.slots import Slot
from rasa_ft.e2e.cases import Suite
from rasa_ft.errors import DataError, LLMError
from rasa_ft.recipe.conversations import AnnotatedTurn, Judged, Wording
from rasa_ft.recipe.labelling.check import check
from rasa_ft.recipe.labelling.values import aligned
from rasa_ft.recipe.rows.replay import first_difference, replay_original
from rasa_ft.recipe.wordings.rephrase import load_rephrase_config, partial_list, rephrase, whole_list


@pytest.fixture
def annotation(engine: FakeEngine, suite: Suite) -> Annotation:
    return annotated(engine, suite)


def turn_of(annotation: Annotation, text: str) -> AnnotatedTurn:
    return next(turn for done in annotation.conversations for turn in done.turns if turn.text == text)


def test_passing_cases_in_order_and_failing_ones_with_a_reason(annotation: Annotation) -> None:
    names = [conversation.case.name for conversation in annotation.conversations]
    assert names == ["happy", "all at once", "changes the mind", "by number"]
    (skipped,) = annotation.skipped
    assert skipped.case.endswith("::wrong")
    assert "the test fails" in skipped.reason
    assert not skipped.is_error


def test_payloads_are_kept_without_a_label(annotation: Annotation) -> None:
    happy = annotation.conversations[0]
    assert [(turn.text, turn.annotated) for turn in happy.turns] == [
        ("I need a ticket", True),
        ("to Rome", True),
        ("/SetSlots(seats=2)", False),
    ]
    assert happy.turns[2].forced is None
    assert happy.typed_messages == ("I need a ticket", "to Rome")
    assert happy.setup.fixtures == (("home", "London"),)
    assert happy.turns[1].before.splitlines() == ["USER: I need a ticket", "AI: Where to?"]
    assert happy.turns[0].metadata == {"channel": "phone"}


def test_messages_after_the_last_expectation_are_cut(annotation: Annotation) -> None:
    assert len(annotation.conversations[1].turns) == 2


def test_messages_equal_to_a_button_are_not_rephrased(annotation: Annotation) -> None:
    assert not turn_of(annotation, "5").rephrase
    assert turn_of(annotation, "5").annotated
    assert turn_of(annotation, "Oslo").rephrase


def test_failed_calls_are_errors_not_failures(engine: FakeEngine, suite: Suite) -> None:
    engine.broken = frozenset({"please stop"})
    annotation = annotated(engine, suite, concurrency=1)
    errors = [skipped for skipped in annotation.skipped if skipped.is_error]
    assert [skipped.case.partition("::")[2] for skipped in errors] == ["changes the mind"]
    assert "the model is down" in errors[0].reason


@pytest.mark.parametrize(
    ("message", "rephrasing", "verdict"),
    [
        ("to Rome", "I am off to ROME", "ROME"),
        ("to Rome", "to Genoa", "missing: set slot city Rome; not in the original: set slot city Genoa"),
        ("to Rome", "a ticket to Rome", "not in the original: start flow book"),
        ("book 3 seats to Paris", "book seats to Paris", "missing: set slot seats 3"),
        ("please stop", "stop", None),
    ],
)
def test_three_outcomes(
    annotation: Annotation, engine: FakeEngine, message: str, rephrasing: str, verdict: str | None
) -> None:
    conversation = next(c for c in annotation.conversations if message in [turn.text for turn in c.turns])
    index = [turn.text for turn in conversation.turns].index(message)
    place = asyncio.run(replay_original(engine, conversation)).before[index]
    events = place.events
    outcome = asyncio.run(check(engine, place, conversation.turns[index], rephrasing))
    assert place.events == events, "the place is not changed"
    if isinstance(outcome, Judged):
        assert outcome.reason == verdict
    elif verdict:
        assert outcome.commands == (SetSlot("city", verdict),), "the label has the words of the rephrasing"
    engine.broken = frozenset({rephrasing})
    failed = asyncio.run(check(engine, place, conversation.turns[index], rephrasing))
    assert isinstance(failed, Judged)
    assert failed.is_error


def test_a_value_must_be_stated(annotation: Annotation, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = annotation.conversations[0]
    place = asyncio.run(replay_original(engine, conversation)).before[1]
    monkeypatch.setattr("fake_engine.teach", lambda text, requested: (SetSlot("city", "Rome"),))
    vague = asyncio.run(check(engine, place, conversation.turns[1], "to the eternal city"))
    assert isinstance(vague, Judged)
    assert "'Rome' for city is stated neither" in vague.reason
    engine.slots = {"city": Slot("city", "categorical", values=("Rome", "Oslo"))}
    assert isinstance(asyncio.run(check(engine, place, conversation.turns[1], "the eternal city")), Wording)


def test_multisets_not_sets(annotation: Annotation, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = annotation.conversations[1]
    place = asyncio.run(replay_original(engine, conversation)).before[1]
    monkeypatch.setattr("fake_engine.teach", lambda text, requested: (ChitChat(), ChitChat()))
    twice = asyncio.run(check(engine, place, conversation.turns[1], "weather, weather"))
    assert isinstance(twice, Judged)
    assert twice.reason == "not in the original: offtopic reply"


def test_labels_keep_the_order_of_the_original() -> None:
    original = (StartFlow("book"), SetSlot("seats", 2.0), Clarify(("a", "b")))
    said = (Clarify(("b", "a")), SetSlot("seats", "2"), StartFlow("book"))
    assert aligned(said, original, {}) == (said[2], said[1], said[0])


def test_differences_in_words() -> None:
    slot, bot, flow = ("slot", "city", "rome"), ("bot", "utter_x", ""), ("flow", "book", "started")
    assert first_difference((slot, bot), (slot, bot)) is None
    assert first_difference((slot,), (("slot", "city", "oslo"),)) == "city = oslo instead of city = rome"
    assert first_difference((slot, flow), (slot,)) == "flow book started is missing"
    assert first_difference((), (bot,)) == "bot message utter_x is new"


# --- rephrasing ------------------------------------------------------------------------------------------------------


def ask(annotation: Annotation, answer: object, number: int = 3) -> tuple[list[str], FakeRephraser]:
    rephraser = FakeRephraser({"to Rome": answer})
    turn = turn_of(annotation, "to Rome")
    return asyncio.run(rephrase(rephraser, turn, number=number, codec=codec_for("v2"))), rephraser


def test_the_question_has_place_value_and_commands(annotation: Annotation) -> None:
    texts, rephraser = ask(annotation, ["I go to Rome", "to ROME!", "Rome please", "x", "y", "z"])
    assert texts == ["I go to Rome", "Rome please", "x"], "near duplicates of the message are left out"
    (request,) = rephraser.requests
    prompt = request.messages[0]["content"]
    for part in ("AI: Where to?", "letter by letter: Rome", "set slot city Rome", "3 other ways", "next: to Rome"):
        assert part in prompt
    assert request.hints == {
        "purpose": "rephrase",
        "user_message": "to Rome",
        "active_flow": "book",
        "requested_slot": "city",
        "number": 3,
    }


def test_malformed_answers_are_asked_again_with_another_question(annotation: Annotation) -> None:
    texts, rephraser = ask(annotation, ("Sure! I am going to Rome", '["off to Rome"]'))
    assert texts == ["off to Rome"]
    assert [len(request.messages) for request in rephraser.requests] == [1, 3]


def test_what_can_be_read_of_the_last_answer_is_used(annotation: Annotation) -> None:
    texts, rephraser = ask(annotation, '["off to Rome", "Rome it is", "and one that was cut')
    assert texts == ["off to Rome", "Rome it is"]
    assert len(rephraser.requests) == 3


def test_a_model_that_is_down_is_reported(annotation: Annotation) -> None:
    with pytest.raises(LLMError):
        ask(annotation, DOWN)


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ('```json\n["a", "b"]\n```', ["a", "b"]),
        ('Here: ["a [b]"]. Done.', ["a [b]"]),
        ("[]", []),
        ('["a", 3]', None),
        ('{"a": "b"}', None),
        ("1. a\n2. b", None),
        ('["a"', None),
    ],
)
def test_reading_answers(answer: str, texts: list[str] | None) -> None:
    assert whole_list(answer) == texts


def test_reading_broken_answers() -> None:
    assert partial_list(r'x "no" ["a", "b \"c\"", "bad \q", "cut') == ["a", 'b "c"']
    assert partial_list("nothing") == []


def test_rephrase_config(tmp_path: Path) -> None:
    file = tmp_path / "rephrase.yml"
    (tmp_path / "own.jinja2").write_text("{{ message }}", encoding="utf-8")
    file.write_text("prompt_template: own.jinja2\nllm: {provider: openai, model: gpt-4o}\n", encoding="utf-8")
    config = load_rephrase_config(file, {})
    assert config.prompt_template.read_text(encoding="utf-8") == "{{ message }}"
    assert config.llm is not None
    assert config.llm.models[0].parameters["max_completion_tokens"] == 4096
    file.write_text("prompt_templat: own.jinja2\n", encoding="utf-8")
    with pytest.raises(DataError, match="Did you mean 'prompt_template'"):
        load_rephrase_config(file, {})
    file.write_text("prompt_template: none.jinja2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"none\.jinja2 does not exist"):
        load_rephrase_config(file, {})
    file.write_text("- a\n", encoding="utf-8")
    with pytest.raises(DataError, match="a mapping is needed"):
        load_rephrase_config(file, {})


def test_a_broken_template_is_one_sentence(annotation: Annotation, tmp_path: Path) -> None:
    template = tmp_path / "broken.jinja2"
    template.write_text("line\n{% if %}", encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.jinja2:2: the template is broken"):
        asyncio.run(
            rephrase(FakeRephraser(), turn_of(annotation, "Oslo"), number=1, codec=codec_for("v2"), template=template)
        )
