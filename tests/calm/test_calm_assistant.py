import re
from pathlib import Path

import pytest

from rasa_ft.calm.flows.model import ActionStep, CollectStep
from rasa_ft.calm.project.assistant import builtin_domain, builtin_flows, load_assistant
from rasa_ft.calm.project.config import FlowRetrieval, load_config
from rasa_ft.errors import DataError

CONFIG = """\
recipe: default.v1
language: en
additional_languages: [de]
assistant_id: test
pipeline:
  - name: CompactLLMCommandGenerator
    llm: {model_group: teacher}
policies:
  - name: FlowPolicy
"""
FLOW = "flows:\n  greet:\n    description: say hello\n    steps:\n      - action: utter_hi\n"
FILES = {
    "config.yml": CONFIG,
    "domain.yml": "responses:\n  utter_hi: [{text: Hi}]\n",
    "data/flows.yml": FLOW,
    "endpoints.yml": "model_groups:\n  - id: teacher\n    models: [{provider: recorded, model: x}]\n",
}
EXAMPLE = Path(__file__).parents[2] / "examples" / "bot"


@pytest.fixture
def project(tmp_path):
    def project(**changes):
        """The small project; names of files have "__" for "/" and no ".yml"; None: no such file."""
        files = {**FILES, **{name.replace("__", "/") + ".yml": text for name, text in changes.items()}}
        for name, text in files.items():
            if text is not None:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(text)
        return tmp_path

    return project


def problems(path, **options):
    with pytest.raises(DataError) as caught:
        load_assistant(path, **options)
    return str(caught.value)


def test_a_small_assistant(project):
    folder = project()
    assistant = load_assistant(folder)
    assert list(assistant.user_flows) == ["greet"]
    assert next(iter(assistant.flows)) == "greet"
    assert set(builtin_flows()) < set(assistant.flows)
    assert assistant.domain.responses["utter_hi"].variations[0].text == "Hi"
    assert "utter_ask_rephrase" in assistant.domain.responses
    assert assistant.domain.slots["language"].values == ("en", "de")
    assert assistant.generator.model_group == "teacher"
    assert assistant.generator.dsl_version == "v2"
    assert assistant.endpoints["model_groups"][0]["id"] == "teacher"
    assert assistant.warnings == ()


def test_own_patterns_and_responses_replace_the_built_in_ones(project):
    folder = project(
        data__patterns="flows:\n  pattern_chitchat: {description: chat, steps: [{action: utter_hi}]}",
        domain="responses:\n  utter_hi: [{text: Hi}]\n  utter_ask_rephrase: [{text: What?}]",
    )
    assistant = load_assistant(folder)
    assert [step.action for step in assistant.flows["pattern_chitchat"].steps] == ["utter_hi"]
    assert [item.text for item in assistant.domain.responses["utter_ask_rephrase"].variations] == ["What?"]


def test_a_domain_folder_and_no_endpoints(project):
    folder = project(
        domain=None,
        domain__a=FILES["domain.yml"],
        endpoints=None,
        config=CONFIG.replace("    llm: {model_group: teacher}\n", ""),
    )
    assistant = load_assistant(folder)
    assert assistant.endpoints == {}
    assert assistant.generator.model_group is None


def test_other_endpoints(project, tmp_path):
    folder = project(endpoints=None, other=FILES["endpoints.yml"])
    assert "model group 'teacher' is not in endpoints.yml" in problems(folder)
    assert load_assistant(folder, endpoints=tmp_path / "other.yml").endpoints
    assert "does not exist" in problems(folder, endpoints=tmp_path / "ghost.yml")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"config": None}, "config.yml does not exist"),
        ({"domain": None}, "domain.yml does not exist"),
        ({"data__flows": None}, "there are no flows in"),
        (
            {"data__flows": "flows:\n  pattern_chitchat: {description: a, steps: [{action: utter_hi}]}"},
            "there are no flows",
        ),
        ({"data__flows": "flows: ["}, "flows.yml:1: not valid YAML"),
        ({"endpoints": "- a"}, "endpoints must be a mapping"),
        ({"endpoints": "model_groups: {id: teacher}"}, "model group 'teacher' is not in endpoints.yml"),
        (
            {"endpoints": "model_groups: [{id: techer}]"},
            "config.yml:6: model group 'teacher' is not in endpoints.yml. Did you mean 'techer'?",
        ),
        ({"endpoints": "a: ${NO_SUCH_VARIABLE_HERE}"}, "NO_SUCH_VARIABLE_HERE is not set"),
        ({"domain": "slots:\n  language: {type: text}"}, "domain.yml:2: slot 'language' is made by the runtime"),
        (
            {"data__flows": FLOW.replace("utter_hi", "utter_ho")},
            "flows.yml:5: flow 'greet' uses response 'utter_ho', which is not in the domain. Did you mean 'utter_hi'?",
        ),
        ({"config": "- a"}, "config.yml:1: config.yml must be a mapping"),
        (
            {"config": CONFIG + "polices: []"},
            "config.yml:10: 'polices' is not a key of config.yml. Did you mean 'policies'?",
        ),
        (
            {"config": CONFIG.replace("Compact", "MultiStep")},
            "config.yml:6: MultiStepLLMCommandGenerator is not supported",
        ),
        ({"config": CONFIG.replace("  - name: FlowPolicy", "  - x")}, "an entry of 'policies' needs a 'name'"),
        (
            {"config": CONFIG.replace("policies:\n  - name: FlowPolicy\n", "")},
            "config.yml:1: the policies lack FlowPolicy",
        ),
        ({"config": CONFIG.replace("FlowPolicy", "RulePolicy")}, "config.yml:8: the policies lack FlowPolicy"),
        (
            {"config": CONFIG.replace("policies:", "  - name: LLMCommandGenerator\npolicies:")},
            "config.yml:8: the pipeline has more than one",
        ),
    ],
)
def test_bad_projects(project, files, complaint):
    assert complaint in problems(project(**files))


def test_a_folder_is_needed(tmp_path):
    assert "is not a folder" in problems(tmp_path / "ghost")


def test_problems_of_all_files_come_together(project):
    text = problems(project(config="a: 1", domain="slots: {a: x}", data__flows="flows: {f: x}", endpoints="- a"))
    assert all(name in text for name in ("config.yml:1", "domain.yml:1", "flows.yml:1", "endpoints.yml:1"))


def test_a_broken_file_is_not_reported_through_others(project):
    assert "utter_hi" not in problems(project(domain="responses: ["))


def generator(project, options, name="CompactLLMCommandGenerator", **files):
    config = CONFIG.replace("CompactLLMCommandGenerator", name).replace("    llm: {model_group: teacher}\n", options)
    return load_config(project(config=config, **files) / "config.yml").generator


def test_defaults_of_the_generator(project):
    found = generator(project, "")
    assert (found.max_characters, found.prompt_template, found.timezone) == (420, None, "UTC")
    assert found.minimize_num_calls
    assert found.include_date_time
    assert found.flow_retrieval == FlowRetrieval(True, 20, 1, True, None)


def test_options_of_the_generator(project):
    found = generator(
        project,
        "    prompt_template: p.yml\n    user_input: {max_characters: -1}\n    timezone: Europe/Berlin\n"
        "    include_date_time: false\n    minimize_num_calls: false\n    trace_prompt_tokens: true\n"
        "    flow_retrieval: {active: false, num_flows: 3, embeddings: {model_group: e}}\n",
        name="vendor.module.SearchReadyLLMCommandGenerator",
        p="{{ x | to_json_escaped_string }}",
    )
    assert (found.name, found.dsl_version) == ("SearchReadyLLMCommandGenerator", "v3")
    assert (found.max_characters, found.timezone) == (-1, "Europe/Berlin")
    assert found.prompt_template.name == "p.yml"
    assert not found.include_date_time
    assert not found.minimize_num_calls
    assert found.flow_retrieval == FlowRetrieval(False, 3, embeddings={"model_group": "e"})


def test_old_prompt_key(project):
    old = generator(
        project, "    prompt: p.yml\n    prompt_template: q.yml\n", name="SingleStepLLMCommandGenerator", p="x"
    )
    assert (old.prompt_template.name, old.dsl_version) == ("p.yml", "v1")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            "    prompt_templat: x\n",
            "config.yml:7: 'prompt_templat' is not a key of CompactLLMCommandGenerator. Did you mean",
        ),
        ("    prompt_template: ghost\n", "config.yml:7: the prompt template ghost does not exist"),
        ("    prompt_template: data\n", "the prompt template data cannot be read"),
        ("    prompt_template: bad.yml\n", "the prompt template bad.yml is not a jinja template: line 2"),
        ("    timezone: Mars/Base\n", "'Mars/Base' is not a time zone"),
        ("    user_input: {max_chars: 3}\n", "Did you mean 'max_characters'?"),
        ("    user_input: {max_characters: 3.5}\n", "must be a whole number"),
        ("    flow_retrieval: {activ: false}\n", "Did you mean 'active'?"),
        ("    flow_retrieval: false\n", "'flow_retrieval' must be a mapping"),
    ],
)
def test_bad_generators(project, options, complaint):
    with pytest.raises(DataError, match=re.escape(complaint)):
        generator(project, options, bad="a\n{{ b")


def test_other_components_are_named_in_warnings(project):
    config = CONFIG.replace("pipeline:", "pipeline:\n  - name: DIETClassifier").replace(
        "policies:", "policies:\n  - name: TEDPolicy"
    )
    assistant = load_assistant(project(config=config.replace("assistant_id: test\n", "")))
    assert [str(warning).split("config.yml:")[1].split("\n")[0] for warning in assistant.warnings] == [
        "1: there is no 'assistant_id'.",
        "5: out of scope, not run: the NLU pipeline (DIETClassifier).",
        "9: out of scope, not run: policies of rules and stories (TEDPolicy).",
    ]


def test_enterprise_search_is_kept(project):
    config = CONFIG + "  - name: EnterpriseSearchPolicy\n    citation_enabled: true\n"
    assert load_assistant(project(config=config)).config.policies["EnterpriseSearchPolicy"]["citation_enabled"] is True


PATTERNS = [
    "cancel_flow",
    "cannot_handle",
    "chitchat",
    "clarification",
    "code_change",
    "collect_information",
    "completed",
    "continue_interrupted",
    "correction",
    "customer_satisfaction",
    "external_agent_processing",
    "human_handoff",
    "internal_error",
    "repeat_bot_messages",
    "restart",
    "search",
    "session_end",
    "session_start",
    "skip_question",
    "user_silence",
    "validate_slot",
]


def test_every_default_pattern_is_there():
    assert set(builtin_flows()) == {f"pattern_{name}" for name in PATTERNS}


def test_everything_that_patterns_say_and_ask_is_there():
    domain = builtin_domain()
    for flow in builtin_flows().values():
        for step in flow.steps:
            if isinstance(step, CollectStep):
                assert step.slot in domain.slots
                assert step.utter in domain.responses
            if isinstance(step, ActionStep) and "{{" not in step.action:
                assert domain.has_action(step.action), step.action
    assert {"utter_boolean_slot_rejection", "utter_float_slot_rejection", "utter_categorical_slot_rejection"} <= set(
        domain.responses
    )


def test_the_example_assistant_loads_without_findings():
    assistant = load_assistant(EXAMPLE)
    assert assistant.warnings == ()
    assert len(assistant.user_flows) >= 10
