"""What templates may read but not change."""

import copy
import json

import pytest

from rasa_ft.calm.shown import Shown, ShownList
from rasa_ft.calm.templates import Sandbox, TemplateFailure, render

DATA = Shown({"name": "x", "slots": ShownList([Shown({"name": "a", "items": 1})])})


def filled(text: str) -> str:
    return render(Sandbox().from_string(text), {"flow": DATA, "own": {"keys": 1}})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{ flow.name }}{{ flow['name'] }}{{ flow.get('name') }}", "xxx"),
        ("{{ flow.slots[0].name }}{{ flow.slots | length }}", "a1"),
        ("{{ flow.missing }}{{ flow.missing is defined }}", "False"),
        ("{% for key, value in flow.items() %}{{ key }};{% endfor %}", "name;slots;"),
        ("{{ flow.slots[0]['items'] }}{{ own['keys'] }}", "11"),
        ("{{ own.keys() | list }}", "['keys']"),
        ("{{ flow | tojson }}", json.dumps(DATA, sort_keys=True)),
        ("{{ (flow.slots + [1]) | length }}", "2"),
    ],
)
def test_templates_read_it_like_any_mapping(text: str, shown: str):
    assert filled(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{{ flow.update({'name': 'y'}) }}",
        "{{ flow.pop('name') }}",
        "{{ flow.clear() }}",
        "{{ flow.setdefault('a', 1) }}",
        "{{ flow.slots.append(1) }}",
        "{{ flow.slots.sort() }}",
    ],
)
def test_templates_cannot_change_it(text: str):
    before = copy.copy(dict(DATA))
    with pytest.raises(TemplateFailure, match="cannot be changed"):
        filled(text)
    assert before == DATA


def test_unsafe_attributes_stay_out_of_reach():
    assert filled("{{ flow.__class__ }}{{ flow['__class__'] }}") == ""
    with pytest.raises(TemplateFailure):
        filled("{{ flow.__class__.__mro__ }}")
