"""The list of flows is rendered once for as long as it stays the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from desk_assistant import Talk
from jinja2 import TemplateAssertionError
from jinja2.sandbox import SandboxedEnvironment

from rasa_ft.calm.events import SlotSet
from rasa_ft.calm.shown import ShownList
from rasa_ft.calm.templates import TemplateFailure, render
from rasa_ft.understanding import rendering
from rasa_ft.understanding.rendering import STUDENT, TEACHER, prompt_variables
from rasa_ft.understanding.shared_loops import SharedLoops

FLOWS = [{"name": name, "slots": [{"name": f"{name}_slot"}]} for name in ("one", "two")]


class Counting(SharedLoops):
    """Counts how often the filter ``seen`` is run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.filters["seen"] = self._seen

    def _seen(self, value: object) -> object:
        self.count += 1
        return value


def rendered(text: str, flows: list[dict[str, object]], times: int = 2, **variables: object) -> tuple[list[str], int]:
    """What each of several renderings gives, and how many flows were gone through in all."""
    environment = Counting()
    template = environment.from_string(text)
    return [
        render(template, {"available_flows": flows, "number": number, **variables}) for number in range(times)
    ], environment.count


@pytest.mark.parametrize(
    "text",
    [
        "{% for flow in available_flows %}{{ flow.name | seen }}{% endfor %}",
        "{% for flow in available_flows -%}\n {{ loop.index }}{{ flow.name | seen }}\n{%- endfor %} {{ number }}",
        "{% for f in available_flows if f.name %}{% set x = f.name | seen %}{{ x }}{% else %}none{% endfor %}",
        "{% for f in available_flows %}{{ f.name | seen }}{% for s in f.slots %}{{ s.name }}{% endfor %}{% endfor %}",
    ],
)
def test_a_shared_list_is_gone_through_once_with_the_same_result(text: str):
    shared, count = rendered(text, ShownList(FLOWS))
    assert count == len(FLOWS)
    plain, count = rendered(text, FLOWS)
    assert count == 2 * len(FLOWS)
    assert shared == plain
    ordinary = SandboxedEnvironment()
    ordinary.filters["seen"] = lambda value: value
    assert shared == [ordinary.from_string(text).render(available_flows=FLOWS, number=number) for number in range(2)]


@pytest.mark.parametrize(
    "text",
    [
        "{% for flow in available_flows %}{{ flow.name | seen }}{{ number }}{% endfor %}",
        "{% set n = number %}{% for flow in available_flows %}{{ flow.name | seen }}{{ n }}{% endfor %}",
        "{% for flow in available_flows %}{{ flow.name | seen }}{{ flow.name | random }}{% endfor %}",
        "{% for flow in available_flows %}{{ flow.name | seen }}{{ lipsum(n=1, html=false) }}{% endfor %}",
        "{% if number < 9 %}{% for flow in available_flows %}{{ flow.name | seen }}{% endfor %}{% endif %}",
        "{% for flow in available_flows | list %}{{ flow.name | seen }}{% endfor %}",
        "{% set ns = namespace(a=0) %}{% for flow in available_flows %}{% set ns.a = ns.a + 1 %}"
        "{{ flow.name | seen }}{% endfor %}{{ ns.a }}",
    ],
)
def test_what_depends_on_more_is_rendered_each_time(text: str):
    assert rendered(text, ShownList(FLOWS))[1] == 2 * len(FLOWS)


def test_two_loops_over_one_list_do_not_mix():
    loops = "{% for flow in available_flows %}{{ flow.name }}{% endfor %}|"
    assert rendered(loops + loops.replace("flow.name", "loop.index"), ShownList(FLOWS))[0] == ["onetwo|12|"] * 2


def test_a_broken_loop_names_its_line():
    text = "a\nb\n{% for flow in available_flows %}\n{{ flow.name | nonsense }}\n{% endfor %}"
    with pytest.raises(TemplateAssertionError, match="nonsense") as caught:
        SharedLoops().from_string(text)
    assert caught.value.lineno == 4
    template = SharedLoops().from_string(text.replace("| nonsense", ".x.y"))
    with pytest.raises(TemplateFailure, match="has no attribute 'x'"):
        render(template, {"available_flows": ShownList(FLOWS)})


@pytest.mark.parametrize("template", [TEACHER, STUDENT])
def test_our_own_templates_render_the_flows_once(template: Path, talk: Talk):
    flows = prompt_variables("hello", talk.conversation.tracker, talk.engine.runtime)["available_flows"]
    conversation = talk.conversation
    first = asyncio.run(conversation.prompt("hello", template))
    texts = dict(flows.texts)
    assert len(texts) >= 1
    second = asyncio.run(conversation.prompt("good day", template))
    assert flows.texts == texts
    assert second == first.replace("hello", "good day")
    assert any(text in second for text in texts.values())


def test_flows_are_described_once_for_all_conversations(talk: Talk, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    new = rendering._new_flow
    monkeypatch.setattr(rendering, "_new_flow", lambda flow, *rest: made.append(flow.id) or new(flow, *rest))
    runtime, start = talk.engine.runtime, talk.conversation.tracker
    runtime.memo.clear()
    before = prompt_variables("hello", start, runtime)["available_flows"]
    assert made == [flow["name"] for flow in before]
    made.clear()
    talk.turn("start flow meeting; set slot name Ann")
    assert prompt_variables("hello", talk.conversation.tracker, runtime)["available_flows"] is before
    assert made == []
    # A slot that is asked for before it is filled is shown from then on: this flow alone is described anew.
    after = prompt_variables("hello", start.apply(SlotSet("visits", 3)), runtime)["available_flows"]
    assert made == ["count_visits"]
    assert sum(one is other for one, other in zip(before, after, strict=True)) == len(before) - 1


def test_few_lists_are_kept(talk: Talk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "_RECENT_LISTS", 2)
    runtime, tracker = talk.engine.runtime, talk.conversation.tracker
    runtime.memo.clear()
    ids = [flow.id for flow in runtime.user_flows if flow.guard is None]

    def shown(index: int) -> ShownList:
        return prompt_variables("x", tracker, runtime, retrieved=ids[: index + 1])["available_flows"]  # type: ignore[no-any-return]

    first, second = shown(0), shown(1)
    assert shown(0) is first
    shown(2)
    assert shown(0) is first
    assert shown(1) is not second
