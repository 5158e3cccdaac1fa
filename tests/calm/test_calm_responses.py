import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_ft.calm.events import BotUttered, Button
from rasa_ft.calm.responses import (
    Response,
    Scope,
    SlotCondition,
    Variation,
    fill_jinja,
    fill_placeholders,
    placeholders,
    render_response,
    render_variation,
    select_variation,
)
from rasa_ft.calm.templates import template_syntax_error

SCOPE = Scope(slots={"name": "Ada", "amount": 55.0, "unset": None}, context={"name": "lost", "flow_id": "pay"})


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Hi {name}, {amount} and {unset}", "Hi Ada, 55.0 and None"),
        ("in {flow_id}", "in pay"),
        ("{{name}}", "{name}"),
        ("no names", "no names"),
        ("{name} {ghost}", "{name} {ghost}"),
        ("{amount:.2f}", "{amount:.2f}"),
        ("{name!r}", "{name!r}"),
        ("{name.upper}", "{name.upper}"),
        ("{name} {}", "{name} {}"),
        ('{"json": 1}', '{"json": 1}'),
        ("half {", "half {"),
    ],
)
def test_placeholders_are_filled_all_or_none(text, filled):
    assert fill_placeholders(text, SCOPE) == filled


def test_arguments_win_over_slots():
    assert fill_placeholders("{name}", Scope({"name": "slot"}, {}, {"name": "argument"})) == "argument"


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_filled(text):
    assert isinstance(fill_placeholders(text, SCOPE), str)
    assert isinstance(fill_jinja(text, SCOPE), str)


def test_jinja_texts():
    assert fill_jinja("{{ name }} {{ ghost }}{{ context.flow_id }}", SCOPE) == "Ada pay"
    assert fill_jinja("{{ value }}", Scope({}, {}, {"value": 3})) == "3"
    assert fill_jinja("{{ 1 / 0 }}", SCOPE) == "{{ 1 / 0 }}"
    assert fill_jinja("{{ name.__class__.__mro__ }}", SCOPE) == "{{ name.__class__.__mro__ }}"


def test_template_syntax():
    assert template_syntax_error("{{ a | some_filter_of_the_caller }}") is None
    assert "line 2" in template_syntax_error("a\n{{ b")


def test_names_in_braces():
    assert placeholders("{a} {} {b:x} {{c}}") == ("a", "", "b")
    assert placeholders("{a") == ()


def response(*variations):
    return Response("utter_x", variations)


def chosen(response_, channel="rest", slots=None):
    variation = select_variation(response_, Scope(slots or {}), channel=channel, rng=random.Random(0))
    return variation.text if variation else None


def test_the_first_group_that_is_not_empty_wins():
    everything = response(
        Variation("plain"),
        Variation("conditional", condition="slots.a"),
        Variation("channel", channel="rest"),
        Variation("both", condition="slots.a", channel="rest"),
    )
    assert chosen(everything, slots={"a": True}) == "both"
    assert chosen(everything, slots={"a": False}) == "channel"
    assert chosen(everything, "sms", {"a": True}) == "conditional"
    assert chosen(everything, "sms") == "plain"
    assert chosen(response(Variation("conditional", condition="slots.a"))) is None
    assert chosen(response(Variation("other", channel="sms"))) is None


def test_older_conditions_ignore_case():
    old = response(Variation("x", condition=(SlotCondition("a", True), SlotCondition("b", "Yes"))))
    assert chosen(old, slots={"a": "true", "b": "yes"}) == "x"
    assert chosen(old, slots={"a": "true"}) is None


def test_chance_is_the_callers():
    many = response(*(Variation(str(number)) for number in range(20)))

    def draw(seed):
        rng = random.Random(seed)
        return [select_variation(many, SCOPE, channel="rest", rng=rng).text for _ in range(10)]

    assert draw(1) == draw(1)
    assert len(set(draw(1))) > 1


def test_translations_are_preferred():
    texts = response(Variation("hello"), Variation("hi {name}", translation={"de": "Hallo {name}"}))
    scope = Scope({"language": "de", "name": "Ada"})
    for seed in range(5):
        message = render_response({"utter_x": texts}, "utter_x", scope, channel="rest", rng=random.Random(seed))
        assert message.text == "Hallo Ada"


def test_every_part_is_filled():
    variation = Variation(
        text="Hi {name}",
        buttons=(
            {"title": "{name}", "payload": "/SetSlots(who={name})", "translation": {"de": "Ja"}},
            {"title": "No", "payload": "/no", "translation": {"de": {"title": "Nein"}}},
        ),
        quick_replies=("{name}",),
        image="http://x/{name}",
        attachment={"url": "{name}"},
        custom={"deep": [{"n": "{name}", "v": 1}]},
    )
    assert render_variation("utter_x", variation, SCOPE) == BotUttered(
        text="Hi Ada",
        buttons=(Button("Ada", "/SetSlots(who=Ada)"), Button("No", "/no")),
        utter_action="utter_x",
        quick_replies=("Ada",),
        image="http://x/Ada",
        attachment={"url": "Ada"},
        custom={"deep": [{"n": "Ada", "v": 1}]},
    )
    german = render_variation("utter_x", variation, Scope({"name": "Ada", "language": "de"}))
    assert [button.title for button in german.buttons] == ["Ja", "Nein"]


def test_jinja_variations():
    variation = Variation(text="{{ context.flow_id }}", metadata={"template": "jinja", "rephrase": True})
    assert render_variation("utter_x", variation, SCOPE).text == "pay"
    assert variation.rephrase
    assert variation.rephrase_prompt is None
    assert not Variation("x").rephrase


def test_no_such_response_says_nothing(caplog):
    assert render_response({}, "utter_x", SCOPE, channel="rest", rng=random.Random(0)) is None
    assert "utter_x" in caplog.text


def test_no_variation_applies():
    never = {"utter_x": response(Variation("x", condition="false"))}
    assert render_response(never, "utter_x", SCOPE, channel="rest", rng=random.Random(0)) is None
    spare = Response("utter_internal_error_rasa", (Variation("oops"),))
    message = render_response(
        {**never, "utter_internal_error_rasa": spare}, "utter_x", SCOPE, channel="rest", rng=random.Random(0)
    )
    assert message == BotUttered("oops", utter_action="utter_x")
