"""What the loader and the validator of CALM object to: one test for each thing, named after it.

Each breaks a good assistant in one place, and expects one finding: severity, rule, line, and the marked word.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from validation_project import CONFIG, DOMAIN, ENDPOINTS, FLOWS, Project, findings, flow, inspect, marked

E, W = "error", "warning"


def with_slot(text: str) -> str:
    return DOMAIN.replace("slots:\n", f"slots:\n  {text}\n")


def with_response(text: str) -> str:
    return DOMAIN.replace("responses:\n", f"responses:\n  {text}\n")


def with_pattern(name: str, *steps: str) -> str:
    return flow(*steps, flow_id=name)


SECOND_FLOW = "  also:\n    description: {}\n    steps: [{{action: action_do}}]\n"

# name of the row: (changed files, severity, rule, line, marked word)
VALIDATOR = {
    "domain is empty": ({"domain": "version: '3.1'\n"}, E, "no-domain", 0, ""),
    "nothing asks for a collected slot": (
        {"flows": flow("- collect: fast"), "domain": with_slot("fast: {type: bool}")},
        E,
        "missing-ask",
        9,
        "fast",
    ),
    "nothing asks for a slot with an initial value that is asked before filling": (
        {
            "flows": flow("- collect: fast", "  ask_before_filling: true"),
            "domain": with_slot("fast: {type: bool, initial_value: true}"),
        },
        E,
        "missing-ask",
        9,
        "fast",
    ),
    "the utter of a collect step does not exist": (
        {"flows": flow("- collect: city", "  utter: utter_ask_town")},
        E,
        "missing-ask",
        9,
        "city",
    ),
    "a response and an action both ask": (
        {"domain": DOMAIN.replace("[action_do]", "[action_do, action_ask_city]")},
        E,
        "ambiguous-ask",
        5,
        "city",
    ),
    "a collected slot is missing": ({"flows": flow("- collect: cty")}, E, "unknown-slot", 9, "cty"),
    "a slot that is set is missing": (
        {"flows": flow("- set_slots:", "    - flag: true", "    - cty: 1")},
        E,
        "unknown-slot",
        11,
        "cty",
    ),
    "a list is collected": (
        {"flows": flow("- collect: things"), "domain": with_response("utter_ask_things: [{text: a}]")},
        E,
        "list-slot",
        9,
        "things",
    ),
    "a list is set": ({"flows": flow("- set_slots: [{things: []}]")}, E, "list-slot", 9, "things"),
    "an action is not in the domain": ({"flows": flow("- action: action_dont")}, E, "unknown-action", 9, "action_dont"),
    "a response is not in the domain": ({"flows": flow("- action: utter_yes")}, E, "unknown-response", 9, "utter_yes"),
    "a linked flow does not exist": ({"flows": flow("- link: bok")}, E, "unknown-flow", 9, "bok"),
    "two flows have one name": (
        {"flows": flow("- action: action_do", keys="    name: book\n")},
        E,
        "duplicate-flow-name",
        8,
        "name",
    ),
    "a flow has the name of a pattern": (
        {"flows": flow("- action: action_do", keys="    name: book\n", flow_id="pattern_search")},
        E,
        "duplicate-flow-name",
        8,
        "name",
    ),
    "two flows have one description but for punctuation": (
        {"flows": FLOWS + SECOND_FLOW.format('"Book a room!"')},
        E,
        "duplicate-flow-description",
        7,
        "description",
    ),
    "a condition does not parse": (
        {
            "flows": flow(
                "- action: action_do", "  next:", "    - if: slots.flag and", "      then: END", "    - else: END"
            )
        },
        E,
        "invalid-condition",
        11,
        "slots.flag and",
    ),
    "a guard does not parse": (
        {"flows": flow("- action: action_do", keys="    if: slots.flag is\n")},
        E,
        "invalid-condition",
        8,
        "slots.flag is",
    ),
    "a condition names another namespace": (
        {"flows": flow("- action: action_do", keys="    if: slot.flag\n")},
        E,
        "unknown-reference",
        8,
        "slot.flag",
    ),
    "a condition names an unknown slot": (
        {"flows": flow("- action: action_do", keys="    if: slots.flga\n")},
        E,
        "unknown-slot",
        8,
        "flga",
    ),
    "a categorical slot is compared with a value it never has": (
        {"flows": flow("- action: action_do", keys="    if: slots.size = 'smal'\n")},
        E,
        "impossible-comparison",
        8,
        "smal",
    ),
    "a bool slot is compared with something else": (
        {"flows": flow("- action: action_do", keys="    if: slots.flag = 'maybe'\n")},
        E,
        "impossible-comparison",
        8,
        "maybe",
    ),
    "a persisted slot is not used by the flow": (
        {"flows": flow("- collect: city", keys="    persisted_slots: [size]\n")},
        E,
        "unused-persisted-slot",
        8,
        "size",
    ),
    "a persisted slot is also kept in the old way": (
        {"flows": flow("- collect: city", "  reset_after_flow_ends: false", keys="    persisted_slots: [city]\n")},
        E,
        "persisted-twice",
        8,
        "city",
    ),
    "the validation of a slot names a missing response": (
        {
            "domain": with_slot(
                "zip: {type: text, validation: {rejections: [{if: not slots.zip, utter: utter_bad}], "
                "refill_utter: utter_ask_city}}"
            )
        },
        E,
        "missing-validation-response",
        2,
        "utter_bad",
    ),
    "a mapping from NLU without an adapter": (
        {"domain": with_slot("zip: {type: text, mappings: [{type: from_entity, entity: zip}]}")},
        W,
        "nlu-mapping",
        2,
        "from_entity",
    ),
    "run_action_every_turn without a controlled mapping": (
        {"domain": with_slot("zip: {type: text, mappings: [{type: from_llm, run_action_every_turn: action_do}]}")},
        E,
        "run-action-every-turn",
        2,
        "type",
    ),
    "run_action_every_turn names an unknown action": (
        {"domain": with_slot("zip: {type: text, mappings: [{type: controlled, run_action_every_turn: action_x}]}")},
        E,
        "run-action-every-turn",
        2,
        "action_x",
    ),
    "allow_nlu_correction beside another mapping than from_llm": (
        {"domain": with_slot("zip: {type: text, mappings: [{type: from_text, allow_nlu_correction: true}]}")},
        E,
        "allow-nlu-correction",
        2,
        "allow_nlu_correction",
    ),
    "allow_nlu_correction without a mapping from NLU": (
        {"domain": with_slot("zip: {type: text, mappings: [{type: from_llm, allow_nlu_correction: true}]}")},
        E,
        "allow-nlu-correction",
        2,
        "allow_nlu_correction",
    ),
    "a button has no payload": (
        {"domain": with_response("utter_b: [{text: a, buttons: [{title: b}]}]")},
        E,
        "invalid-button",
        7,
        "title",
    ),
    "a button has an empty payload": (
        {"domain": with_response('utter_b: [{text: a, buttons: [{title: b, payload: ""}]}]')},
        E,
        "invalid-button",
        7,
        "title",
    ),
    "a SetSlots payload is malformed": (
        {"domain": with_response("utter_b: [{text: a, buttons: [{title: b, payload: /SetSlots(city)}]}]")},
        E,
        "invalid-payload",
        7,
        "/SetSlots(city)",
    ),
    "a SetSlots payload has more than ten pairs": (
        {
            "domain": with_response(
                'utter_b: [{text: a, buttons: [{title: b, payload: "/SetSlots('
                + ", ".join(f"s{n}=1" for n in range(11))
                + ')"}]}]'
            )
        },
        E,
        "invalid-payload",
        7,
        "/SetSlots(" + ", ".join(f"s{n}=1" for n in range(11)) + ")",
    ),
    "a SetSlots payload sets a slot twice": (
        {"domain": with_response('utter_b: [{text: a, buttons: [{title: b, payload: "/SetSlots(city=1, city=2)"}]}]')},
        E,
        "invalid-payload",
        7,
        "/SetSlots(city=1, city=2)",
    ),
    "a payload is free text": (
        {"domain": with_response("utter_b: [{text: a, buttons: [{title: b, payload: big one}]}]")},
        W,
        "free-text-payload",
        7,
        "big one",
    ),
    "a text has an empty placeholder": (
        {"domain": with_response('utter_b: [{text: "It is {}."}]')},
        E,
        "empty-placeholder",
        7,
        "{}",
    ),
    "a text has empty parentheses": (
        {"domain": with_response('utter_b: [{text: "It is ()."}]')},
        E,
        "empty-placeholder",
        7,
        "()",
    ),
    "the condition of a response does not parse": (
        {"domain": with_response("utter_b: [{text: a, condition: slots.flag is}]")},
        E,
        "invalid-condition",
        7,
        "slots.flag is",
    ),
    "the condition of a response names something outside slots": (
        {"domain": with_response("utter_b: [{text: a, condition: context.flow_id}]")},
        E,
        "unknown-reference",
        7,
        "context.flow_id",
    ),
    "a response is to be rephrased without a rephraser": (
        {"domain": with_response("utter_b: [{text: a, metadata: {rephrase: true}}]")},
        W,
        "rephrase-without-rephraser",
        7,
        "rephrase",
    ),
    "a prompt template is missing": (
        {"config": CONFIG.replace("    llm", "    prompt_template: ghost.jinja2\n    llm")},
        E,
        "prompt-template",
        6,
        "ghost.jinja2",
    ),
    "a model group is unknown": (
        {"config": CONFIG.replace("main", "mian")},
        E,
        "unknown-model-group",
        6,
        "mian",
    ),
    "csat_score has other values": (
        {"domain": with_slot("csat_score: {type: categorical, values: [good, bad]}")},
        E,
        "csat-values",
        2,
        "csat_score",
    ),
    "an intent starts two flows": (
        {
            "flows": FLOWS.replace("    steps", "    nlu_trigger: [{intent: go}]\n    steps")
            + SECOND_FLOW.format("b").replace("    steps", "    nlu_trigger: [{intent: go}]\n    steps")
        },
        E,
        "duplicate-trigger",
        9,
        "go",
    ),
    "a slot named language is defined": (
        {"domain": with_slot("language: {type: text}")},
        E,
        "reserved-slot",
        2,
        "language",
    ),
    "a rejection of a step names a missing response": (
        {"flows": flow("- collect: city", "  rejections:", "    - if: not slots.city", "      utter: utter_never")},
        W,
        "missing-rejection-response",
        12,
        "utter_never",
    ),
    "there are two generators": (
        {"config": CONFIG.replace("policies", "  - name: SingleStepLLMCommandGenerator\npolicies")},
        E,
        "several-generators",
        7,
        "SingleStepLLMCommandGenerator",
    ),
    "the assistant has no name": (
        {"config": CONFIG.replace("assistant_id: test\n", "")},
        W,
        "no-assistant-id",
        1,
        "recipe",
    ),
    "a key twice in a mapping": ({"domain": with_slot("flag: {type: bool}")}, E, "unreadable-file", 5, "flag"),
    "an undefined variable": (
        {"endpoints": ENDPOINTS.replace("gpt-5.1", "x") + "action_endpoint: {url: ${NOT_SET_ANYWHERE}}\n"},
        E,
        "unreadable-file",
        4,
        None,
    ),
}

LOADER = {
    "a flow without steps": ({"flows": FLOWS + "  more: {description: a, steps: []}\n"}, E, "empty-steps", 6, "more"),
    "a nested list without steps": (
        {"flows": flow("- action: action_do", "  next:", "    - if: slots.flag", "      then: []", "    - else: END")},
        E,
        "empty-steps",
        11,
        "if",
    ),
    "a nested list without an end": (
        {
            "flows": flow(
                "- action: action_do",
                "  next:",
                "    - if: slots.flag",
                "      then:",
                "        - action: utter_ask_flag",
                "    - else: END",
            )
        },
        E,
        "missing-next",
        13,
        "action",
    ),
    "a link with next": (
        {"flows": flow("- link: book", "  next: END")},
        E,
        "link-with-next",
        10,
        "next",
    ),
    "next to an unknown step": ({"flows": flow("- action: action_do", "  next: nd")}, E, "unknown-step", 10, "nd"),
    "a step that is never reached": (
        {"flows": flow("- action: action_do", "  next: END", "- action: utter_ask_flag")},
        E,
        "unreachable-step",
        11,
        "action",
    ),
    "branches without else": (
        {"flows": flow("- action: action_do", "  next:", "    - if: slots.flag", "      then: END")},
        E,
        "missing-else",
        9,
        "action",
    ),
    "a step id twice": (
        {"flows": flow("- id: a", "  action: action_do", "- id: a", "  action: action_do")},
        E,
        "duplicate-step",
        11,
        "a",
    ),
    "a reserved step id": ({"flows": flow("- id: END", "  action: action_do")}, E, "invalid-step-id", 9, "END"),
    "a reserved prefix of a step id": (
        {"flows": flow('- id: "NEXT:x"', "  action: action_do")},
        E,
        "invalid-step-id",
        9,
        "NEXT:x",
    ),
    "a malformed step id": ({"flows": flow("- id: a b", "  action: action_do")}, E, "invalid-step-id", 9, "a b"),
    "a malformed flow id": (
        {"flows": flow("- action: action_do", flow_id="my flow")},
        E,
        "invalid-flow-id",
        6,
        "my flow",
    ),
    "a malformed slot name": ({"domain": with_slot("1st: {type: text}")}, E, "invalid-slot-name", 2, "1st"),
    "a noop without next": ({"flows": flow("- noop: true")}, E, "noop-without-next", 9, "noop"),
    "a step of unknown type": ({"flows": flow("- colect: city")}, E, "unknown-step-kind", 9, "colect"),
    "an unknown key of a step": (
        {"flows": flow("- collect: city", "  descripton: x")},
        E,
        "unknown-key",
        10,
        "descripton",
    ),
    "an unknown key of a flow": (
        {"flows": flow("- collect: city", keys="    nmae: x\n")},
        E,
        "unknown-key",
        8,
        "nmae",
    ),
    "a call of a missing flow": ({"flows": flow("- call: bok")}, E, "unknown-flow", 9, "bok"),
    "a call of a pattern": ({"flows": flow("- call: pattern_search")}, E, "invalid-call", 9, "pattern_search"),
    "a call of a flow with a link": (
        {"flows": flow("- link: book") + "  third: {description: c, steps: [{call: more}]}\n"},
        E,
        "invalid-call",
        10,
        "more",
    ),
    "a pattern with a call": (
        {"flows": with_pattern("pattern_chitchat", "- call: book")},
        E,
        "invalid-call",
        9,
        "book",
    ),
    "a link from pattern_internal_error": (
        {"flows": with_pattern("pattern_internal_error", "- link: book")},
        E,
        "invalid-link",
        9,
        "book",
    ),
    "a link to a pattern that is not allowed": (
        {"flows": flow("- link: pattern_correction")},
        E,
        "invalid-link",
        9,
        "pattern_correction",
    ),
    "a link to chitchat from a flow": (
        {"flows": flow("- link: pattern_chitchat")},
        E,
        "invalid-link",
        9,
        "pattern_chitchat",
    ),
    "a flow that calls itself": ({"flows": flow("- call: more")}, E, "circular-call", 6, "more"),
}


def expect(tmp_path: Path, row: tuple[dict[str, str], str, str, int, str | None]) -> None:
    changes, severity, rule, line, word = row
    (found,) = inspect(tmp_path, **changes)
    assert (found.severity, found.rule) == (severity, rule), found
    if line:
        assert found.location is not None
        if word is not None:
            assert marked(found) == word
        assert found.location.line <= line <= max(found.location.line, found.location.end_line)
    else:
        assert found.location is None


def test_the_good_assistant_has_no_findings(tmp_path: Path) -> None:
    assert inspect(tmp_path) == []


@pytest.mark.parametrize("row", VALIDATOR.values(), ids=VALIDATOR)
def test_validator(tmp_path: Path, row: tuple[dict[str, str], str, str, int, str | None]) -> None:
    expect(tmp_path, row)


@pytest.mark.parametrize("row", LOADER.values(), ids=LOADER)
def test_loader(tmp_path: Path, row: tuple[dict[str, str], str, str, int, str | None]) -> None:
    expect(tmp_path, row)


def test_a_flow_id_in_two_files(tmp_path: Path) -> None:
    project = Project()
    project.files["data/more.yml"] = FLOWS
    (found,) = findings(project.write(tmp_path))
    assert (found.severity, found.rule, marked(found)) == (E, "duplicate-flow", "book")
    assert found.location is not None and found.location.file.name == "more.yml"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("slots: {city: {type: text}}", "duplicate-slot"),
        ("responses: {utter_no: [{text: no}]}", "duplicate-response"),
        ("actions: [action_do]", "duplicate-name"),
    ],
)
def test_a_name_in_two_domain_files(tmp_path: Path, text: str, rule: str) -> None:
    project = Project()
    project.files |= {"domain/a.yml": project.files.pop("domain.yml"), "domain/b.yml": text}
    (found,) = findings(project.write(tmp_path))
    assert (found.severity, found.rule) == (W if rule == "duplicate-name" else E, rule)


def test_a_prompt_template_that_is_no_jinja(tmp_path: Path) -> None:
    project = Project()
    project.files["p.jinja2"] = "a\n{{ b"
    project.files["config.yml"] = CONFIG.replace("    llm", "    prompt_template: p.jinja2\n    llm")
    (found,) = findings(project.write(tmp_path))
    assert (found.severity, found.rule) == (E, "prompt-template") and "line 2" in found.message


def test_an_action_with_a_template_is_not_looked_up(tmp_path: Path) -> None:
    assert inspect(tmp_path, flows=flow("- action: action_{{context.x}}")) == []


def test_only_single_comparisons_are_certain(tmp_path: Path) -> None:
    """In a longer condition an impossible comparison may do no harm."""
    text = flow("- action: action_do", keys="    if: slots.size = 'x' or slots.flag = true\n")
    (found,) = inspect(tmp_path, flows=text)
    assert (found.severity, found.rule) == (W, "impossible-comparison")


def test_no_flows_of_the_assistants_own(tmp_path: Path) -> None:
    (found,) = inspect(tmp_path, flows="flows: {}\n")
    assert (found.severity, found.rule) == (E, "no-flows")


def test_models_in_place_beside_groups(tmp_path: Path) -> None:
    config = CONFIG.replace("{model_group: main}", "{provider: openai, model: gpt-5.1}").replace(
        "policies:", "    flow_retrieval: {embeddings: {model_group: main}}\npolicies:"
    )
    assert {found.rule for found in inspect(tmp_path, config=config)} == {"mixed-model-references"}
