from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk_assistant import Talk

from rasa_ft.errors import DataError
from rasa_ft.understanding.rendering import HISTORY_LINES, STUDENT, TEACHER, prompt_variables, render_prompt

NOON = datetime(2030, 5, 6, 12, tzinfo=UTC)

EVERYTHING = """\
{{ available_flows | length }} {% for flow in available_flows %}{{ flow.name }}:{{ flow.description }}
{%- for slot in flow.slots %} {{ slot.name }}/{{ slot.description }}/{{ slot.allowed_values }}{% endfor %};
{% endfor %}
current {{ current_flow }} {{ current_slot }} {{ current_slot_type }} {{ current_slot_description }} \
{{ current_slot_allowed_values }}
{% for slot in flow_slots %}{{ slot.name }}={{ slot.value }}({{ slot.type }}, {{ slot.allowed_values }})
{% endfor %}
{{ current_conversation }}
"{{ user_message | to_json_escaped_string }}"
{{ current_datetime.strftime("%Y-%m-%d %H:%M") if current_datetime }}
"""


def variables(talk: Talk, text: str = "hello", now: datetime | None = None):
    return prompt_variables(text, talk.conversation.tracker, talk.engine.runtime, now)


def test_a_template_that_prints_everything(talk, tmp_path: Path):
    template = tmp_path / "all.jinja2"
    template.write_text(EVERYTHING)
    talk.turn("start flow meeting; set slot name Ann", text='I am "Ann"')
    assert render_prompt(template, variables(talk, 'about\n"desks"', NOON)) == (
        "11 book_desk:Reserve a desk. day/day of the booking/None kind/None/['standing', 'sitting'] height/None/None;\n"
        "plan_visit:Announce a guest. guest/None/None day/day of the visit/None;\n"
        "park_car:Get a parking space. plate/None/None floor/None/None;\n"
        "meeting:Arrange a meeting. name/None/None topic/None/None;\n"
        "leave_note:Write something down. note/None/None;\n"
        "give_reason:Say why. reason/None/None;\n"
        "get_badge:Order a badge. day/None/None badge/None/None;\n"
        "count_visits:Count visits.;\n"
        "broken:Runs an action that fails. plate/None/None;\n"
        "refused:Runs an action that refuses.;\n"
        "turning:Goes round for ever.;\n"
        "\ncurrent meeting topic text None None\n"
        "name=Ann(text, None)\n"
        "topic=undefined(text, None)\n"
        '\nUSER: I am "Ann"\nAI: What about?\nUSER: about "desks"\n'
        '"about \\"desks\\""\n'
        "2030-05-06 12:00"
    )


def test_nothing_is_under_way(talk):
    shown = variables(talk)
    assert shown["current_flow"] is shown["current_slot"] is shown["current_slot_type"] is None
    assert shown["flow_slots"] == []
    assert shown["current_conversation"] == "\nUSER: hello"  # as rasa-pro: an empty line where nothing was said before
    assert "current_datetime" not in shown


def test_the_student_sees_no_empty_line_where_nothing_was_said(talk):
    assert "Conversation:\nFlow: none" in render_prompt(STUDENT, variables(talk))
    talk.turn("start flow meeting")
    assert "Conversation:\nUSER: " in render_prompt(STUDENT, variables(talk))


def test_slots_asked_before_filling_are_hidden_until_they_are_asked(talk):
    def of_booking(shown):
        return [
            slot["name"] for flow in shown["available_flows"] if flow["name"] == "book_desk" for slot in flow["slots"]
        ]

    assert "confirm" not in of_booking(variables(talk))
    talk.say("start flow book_desk; set slot day friday; set slot kind sitting")
    shown = variables(talk)
    assert shown["current_slot"] == "confirm"
    assert shown["current_slot_allowed_values"] == "[True, False]"
    assert {
        "name": "confirm",
        "value": "undefined",
        "type": "bool",
        "allowed_values": "[True, False]",
        "description": None,
    } in shown["flow_slots"]


def test_flows_whose_guard_fails_are_not_offered(talk, new_talk):
    def names(shown):
        return {flow["name"] for flow in shown["available_flows"]}

    assert "members_only" not in names(variables(talk))
    assert "members_only" in names(variables(new_talk(fixtures=(("member", True),))))
    talk.say("start flow meeting")
    assert "identify" in names(variables(talk))  # under way, though it can only be called


def test_patterns_are_never_offered(talk):
    talk.say("provide info")
    shown = variables(talk)
    assert shown["current_flow"] == "pattern_completed"
    assert shown["current_slot"] == "continue_conversation"
    assert not [flow for flow in shown["available_flows"] if flow["name"].startswith("pattern_")]


def test_buttons_stand_in_the_transcript(talk):
    talk.turn("start flow book_desk; set slot day friday; set slot kind sitting", text="book\na desk")
    assert variables(talk)["current_conversation"].split("\n") == [
        "USER: book a desk",
        'AI: friday, sitting. Right? button 1: "Yes", button 2: "No"',
        "USER: hello",
    ]


def test_only_the_last_lines_are_shown(talk):
    for number in range(15):
        talk.turn("cannot handle", text=f"message {number}")
    lines = variables(talk)["current_conversation"].split("\n")
    assert len(lines) == HISTORY_LINES + 1
    assert lines[0] == "USER: message 5"


def test_the_clock_may_be_mocked(new_talk):
    talk = new_talk(fixtures=(("mocked_datetime", "2020-01-02T03:04:05"),))
    assert variables(talk, now=NOON)["current_datetime"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    wrong = new_talk(fixtures=(("mocked_datetime", "tomorrow"),))
    assert variables(wrong, now=NOON)["current_datetime"] == NOON


@pytest.mark.parametrize("template", [TEACHER, STUDENT])
def test_our_own_prompts_end_with_what_changes(talk, template: Path):
    first = render_prompt(template, variables(talk, "I want a desk"))
    second = render_prompt(template, variables(talk, "get me a parking space"))
    common = next(index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert common > 0.8 * len(first)
    assert "book_desk" in first
    assert "I want a desk" in first


def test_templates_that_fail_say_where(talk, tmp_path: Path):
    template = tmp_path / "broken.jinja2"
    template.write_text("fine\n{% if %}")
    with pytest.raises(DataError) as error:
        render_prompt(template, variables(talk))
    assert (error.value.location.file, error.value.location.line) == (template, 2)
    template.write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(DataError):
        render_prompt(template, variables(talk))
    with pytest.raises(DataError, match="does not exist"):
        render_prompt(tmp_path / "none.jinja2", {})
