"""Checks of flows against each other and the domain, and of the domain itself."""

from pathlib import Path

import pytest

from rasa_ft.calm.checks.domain_validation import check_domain
from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.dialogue.payloads import parse_set_slots
from rasa_ft.calm.flows.loading import parse_flows
from rasa_ft.calm.flows.validation import check_flows
from rasa_ft.calm.project.assistant import builtin_domain, builtin_flows
from rasa_ft.calm.project.domain import load_domain

DOMAIN = """\
slots:
  city: {type: text}
  size: {type: categorical, values: [small, large]}
  flag: {type: bool}
  given: {type: text, initial_value: x}
  things: {type: list}
responses:
  utter_ask_city: [{text: Where?}]
  utter_ask_size: [{text: How big?}]
  utter_ask_flag: [{text: Really?}]
  utter_no: [{text: "No {value}"}]
actions: [action_do]
"""


@pytest.fixture
def check(tmp_path):
    """All findings, as text, for an assistant made of the texts of flows and domain."""

    def check(flows="", domain="", endpoints=None):
        path = tmp_path / "domain.yml"
        path.write_text(DOMAIN + domain if domain.startswith("\n") else domain or DOMAIN)
        own = load_domain(path).over(builtin_domain())
        parsed = parse_flows(f"flows:\n{flows}", Path("flows.yml")) if flows else {}
        merged = {**parsed, **{name: flow for name, flow in builtin_flows().items() if name not in parsed}}
        report = Report()
        check_flows(merged, own, report)
        check_domain(own, endpoints or {}, report)
        return [f"{finding.severity}: {finding}" for finding in report.findings]

    return check


def steps(*lines, keys=""):
    body = "".join(f"      {line}\n" for line in lines)
    return f"  f:\n    description: a flow\n{keys}    steps:\n{body}"


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


def test_the_default_patterns_are_consistent(check):
    assert check() == []


def test_a_good_flow_has_no_findings(check):
    flow = steps(
        "- collect: city",
        "  rejections:",
        '    - if: slots.city is "Rome" or {{slots.city}} = 3',
        "      utter: utter_no",
        "- collect: given",
        "- action: action_do",
        "  next:",
        '    - if: slots.size = "small" and context.flow_id is not null',
        "      then: END",
        "    - if: slots.flag is true or slots.flag = null",
        "      then: END",
        "    - else:",
        "      - action: flow_g",
        "      - action: action_listen",
        "      - action: utter_{{context.x}}",
        "      - link: pattern_human_handoff",
        keys="    if: slots.flag\n    persisted_slots: [city]\n",
    )
    assert (
        check(
            flow
            + "  g: {description: other, if: false, steps: [{call: h}]}\n"
            + "  h: {description: h, steps: [{noop: true, next: END}]}\n"
        )
        == []
    )


@pytest.mark.parametrize(
    ("flow", "finding"),
    [
        (
            steps("- collect: cty"),
            "error: flows.yml:5: flow 'f' uses slot 'cty', which is not in the domain. Did you mean 'city'?",
        ),
        (steps("- set_slots: [{cty: 1}]"), "error: flows.yml:5: flow 'f' uses slot 'cty'"),
        (steps("- set_slots: [{things: []}]"), "of type list"),
        (
            steps("- action: action_dont"),
            "uses action 'action_dont', which is not in the domain. Did you mean 'action_do'?",
        ),
        (
            steps("- action: utter_ask_cty"),
            "uses response 'utter_ask_cty', which is not in the domain. Did you mean 'utter_ask_city'?",
        ),
        (steps("- action: flow_ghost"), "uses action 'flow_ghost'"),
        (
            steps("- collect: city", "  utter: utter_ask_cities"),
            "collects 'city', but there is neither response 'utter_ask_cities' nor action 'action_ask_city'",
        ),
        (steps("- collect: given", "  ask_before_filling: true"), "neither response"),
        (
            steps("- link: pattern_human_handof"),
            "links to flow 'pattern_human_handof', which does not exist. Did you mean 'pattern_human_handoff'?",
        ),
        (steps("- link: pattern_chitchat"), "flow 'f' cannot link to 'pattern_chitchat'"),
        (steps("- call: ghost"), "calls flow 'ghost', which does not exist"),
        (steps("- call: pattern_search"), "patterns cannot be called"),
        (steps("- call: f"), "in a circle: f -> f"),
        (steps("- action: action_do", keys="    if: slots.\n    name: x\n"), "names the unknown slot ''"),
        (
            steps("- action: action_do", keys="    if: slots.flag and\n"),
            "the condition 'slots.flag and' of flow 'f' is malformed: it ends too early.",
        ),
        (steps("- action: action_do", keys="    persisted_slots: [city]\n"), "persists slot 'city', but no step"),
        (
            steps("- collect: city", "  reset_after_flow_ends: false", keys="    persisted_slots: [city]\n"),
            "and has 'reset_after_flow_ends: false'",
        ),
        (
            steps("- collect: city", "  rejections: [{if: slots.city, utter: utter_nope}]"),
            "response 'utter_nope', which is not in the domain. Did you mean 'utter_no'?",
        ),
        (
            steps("- collect: city", "  rejections:", "    - if: slots.flag", "      utter: utter_no"),
            "warning: flows.yml:7: a rejection of flow 'f' names 'slots.flag', but rejections see only 'city'.",
        ),
        (
            steps("- collect: city", "  rejections:", "    - if: slots.city &", "      utter: utter_no"),
            "a rejection in flow 'f' is malformed: '&' is not understood",
        ),
    ],
)
def test_findings_in_flows(check, flow, finding):
    assert finding in only(check(flow))


def branch(condition):
    return steps("- action: action_do", "  next:", f"    - if: {condition}", "      then: END", "    - else: END")


@pytest.mark.parametrize(
    ("condition", "finding"),
    [
        (
            "slots.cty",
            "error: flows.yml:7: the condition of a branch of flow 'f' names the unknown slot 'cty'. Did",
        ),
        ("slots.city is Rome", "'Rome' in the condition of a branch of flow 'f' is neither text nor a known value."),
        (
            'slots.size is "smal"',
            "error: flows.yml:7: the condition of a branch of flow 'f' compares slot 'size' with 'smal', which is not",
        ),
        (
            'slots.flag is "true"',
            "error: flows.yml:7: the condition of a branch of flow 'f' compares the bool slot 'flag' with 'true'; use",
        ),
        (
            'slots.size is "smal" or slots.city is "x"',
            "warning: flows.yml:7: the condition of a branch of flow 'f' compares slot 'size'",
        ),
        (
            'slots.flag = 1 or slots.city is "x"',
            "warning: flows.yml:7: the condition of a branch of flow 'f' compares the bool slot",
        ),
        ("(slots.flag", "malformed: it ends too early"),
    ],
)
def test_findings_in_conditions(check, condition, finding):
    assert finding in only(check(branch(condition)))


@pytest.mark.parametrize(
    "condition",
    [
        "slots.size",
        "slots.size is null",
        'slots.size > "a"',
        "slots.{{context.x}} is y",
        "slots.city.part",
        "context.any.thing",
    ],
)
def test_conditions_without_findings(check, condition):
    assert check(branch(condition)) == []


def test_flows_must_differ(check):
    action = "steps: [{action: action_do}]"
    findings = check(
        f"  a: {{name: N, description: Pay a bill., nlu_trigger: [{{intent: i}}], {action}}}\n"
        f"  b: {{name: N, description: pay a bill, nlu_trigger: [{{intent: i}}], {action}}}\n"
    )
    assert [finding.split(": ", 2)[2] for finding in findings] == [
        "flow 'b' has the same name as flow 'a'.",
        "flow 'b' has the same description as flow 'a'.",
        "flow 'b' is started by intent 'i' like flow 'a'.",
    ]


def test_called_flows_must_return(check):
    flow = (
        steps("- call: g")
        + "  g: {description: g, steps: [{link: h}]}\n  h: {description: h, steps: [{action: action_do}]}\n"
    )
    assert "calls flow 'g', which has a 'link' step" in only(check(flow))


def test_patterns_link_more_and_call_nothing(check):
    def pattern(name, step):
        return f"  {name}: {{description: own, steps: [{step}]}}\n" + steps("- action: action_do")

    assert check(pattern("pattern_search", "{link: pattern_chitchat}")) == []
    assert check(pattern("pattern_chitchat", "{link: f}")) == []
    assert "cannot link to 'pattern_restart'" in only(check(pattern("pattern_search", "{link: pattern_restart}")))
    assert "cannot call a flow" in only(check(pattern("pattern_search", "{call: f}")))
    assert "'pattern_internal_error' cannot link" in only(check(pattern("pattern_internal_error", "{link: f}")))


def test_two_ways_to_ask(check):
    findings = check(steps("- collect: city"), "\n".join([DOMAIN.replace("[action_do]", "[action_ask_city]")]))
    assert "asked by both 'utter_ask_city' and 'action_ask_city'" in only(findings)


def test_an_action_may_ask(check):
    domain = "slots: {city: {type: text}}\nactions: [action_ask_city]"
    assert check(steps("- collect: city"), domain) == []


def test_placeholders_of_responses_that_steps_say(check):
    domain = """\
slots: {city: {type: text}}
responses:
  utter_a: [{text: "{cty} {city}"}, {text: "{{ x }}", metadata: {template: jinja}}, {image: y}]
  utter_b: [{text: "{fare} comes from an action"}]
"""
    finding = only(check(steps("- action: utter_a"), domain))
    assert "warning" in finding
    assert (
        "response 'utter_a' shows {cty}, which is not a slot: its text will be said unfilled. Did you mean 'city'?"
        in finding
    )


@pytest.mark.parametrize(
    ("domain", "finding"),
    [
        ("slots: {a: {type: float, initial_value: many}}", "the initial value 'many' of slot 'a' is not a valid float"),
        ("slots: {csat_score: {type: categorical, values: [good, bad]}}", "'csat_score' must have the values"),
        (
            "slots: {a: {type: text, mappings: [{type: controlled, run_action_every_turn: x}]}}",
            "runs action 'x' every turn",
        ),
        (
            "slots: {a: {type: text, validation: {rejections: [{if: slots.a, utter: utter_x}]}}}",
            "names response 'utter_x', which does not exist",
        ),
        (
            "slots: {a: {type: text, validation: {rejections: []}}}",
            "names response 'utter_ask_a', which does not exist",
        ),
        (
            "slots:\n  b: {type: text}\n  a: {type: text, validation: {rejections: [{if: slots.b, utter: utter_x}]}}",
            "rejections see only 'a'",
        ),
        (
            "responses: {utter_x: [{text: a, condition: context.x}]}",
            "'context.x' in the condition of response 'utter_x'",
        ),
        ("responses: {utter_x: [{text: a, condition: slots.x}]}", "names the unknown slot 'x'"),
        (
            "responses: {utter_x: [{text: a, condition: [{type: slot, name: x, value: 1}]}]}",
            "names the unknown slot 'x'",
        ),
        ("responses: {utter_x: [{text: 'a {}'}]}", "has an empty placeholder"),
        ("responses: {utter_x: [{text: a, translation: {de: '{}'}}]}", "has an empty placeholder"),
        ("responses: {utter_x: [{text: '{{ a', metadata: {template: jinja}}]}", "is not a jinja template: line 1"),
        ("responses: {utter_x: [{text: a, metadata: {rephrase: true}}]}", "is to be rephrased, but"),
        ("responses: {utter_x: [{text: a, buttons: [{title: b, payload: some words}]}]}", "warning"),
        (
            "responses: {utter_x: [{text: a, buttons: [{title: b, payload: '/SetSlots'}]}]}",
            "the payload /SetSlots of response 'utter_x' is malformed",
        ),
        (
            "responses: {utter_x: [{text: a, buttons: [{title: b, payload: '/SetSlots(csat_score=1,csat_score=2)'}]}]}",
            "sets 'csat_score' twice",
        ),
        (
            "responses: {utter_x: [{text: a, buttons: [{title: b, payload: '/SetSlots(csat_scor=1)'}]}]}",
            "unknown slot 'csat_scor'. Did you mean 'csat_score'?",
        ),
    ],
)
def test_findings_in_the_domain(check, domain, finding):
    assert any(finding in found for found in check(domain=domain))


@pytest.mark.parametrize(
    "domain",
    [
        "slots: {a: {type: text, mappings: [{type: controlled, run_action_every_turn: x}]}}\nactions: [x]",
        "slots: {a: {type: text, validation: {rejections: []}}}\nactions: [action_ask_a]",
        "responses: {utter_x: [{text: a, buttons: [{title: b, payload: '/greet'}]}]}",
        "responses: {utter_x: [{text: a, buttons: [{title: c, payload: '/SetSlots(csat_score={x})'}]}]}",
        "slots: {a: {type: text}}\nresponses: {utter_x: [{text: a, condition: [{type: slot, name: a, value: 1}]}]}",
        "slots: {a: {type: text}}\nresponses: {utter_x: [{text: '{{ a }}', metadata: {template: jinja}}]}",
    ],
)
def test_domains_without_findings(check, domain):
    assert check(domain=domain) == []


def test_a_rephraser_may_rephrase(check):
    domain = "responses: {utter_x: [{text: a, metadata: {rephrase: true}}]}"
    assert check(domain=domain, endpoints={"nlg": {"type": "rephrase"}}) == []


@pytest.mark.parametrize(
    ("payload", "pairs"),
    [
        ("/SetSlots(a=1)", (("a", "1"),)),
        (" /SetSlots( a = b c , d='x', e=[1, 2] )", (("a", "b c"), ("d", "'x'"), ("e", "[1, 2]"))),
        ("/SetSlots(a=None, b=NULL, c=undefined, d=)", (("a", None), ("b", None), ("c", None), ("d", ""))),
        (f"/SetSlots({','.join(f'a{n}=1' for n in range(10))})", tuple((f"a{n}", "1") for n in range(10))),
        (f"/SetSlots({','.join(f'a{n}=1' for n in range(11))})", None),
        ("/SetSlots()", None),
        ("/SetSlots(a)", None),
        ("/SetSlots(a=1", None),
        ("/SetSlots(a=(1))", None),
        ("/SetSlot(a=1)", None),
        ("SetSlots(a=1)", None),
    ],
)
def test_payloads(payload, pairs):
    assert parse_set_slots(payload) == pairs
