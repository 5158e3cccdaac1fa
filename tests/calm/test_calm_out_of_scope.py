"""Parts that are not run: one clear warning each at load, and a marked turn where a conversation needs them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from validation_project import CONFIG, DOMAIN, ENDPOINTS, FLOWS, Project, findings, flow, inspect

from rasa_ft.calm.commands import ChitChat, Command, Knowledge, StartFlow
from rasa_ft.calm.dialogue.runtime import ActionResult, Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dialogue.turn import begin, take_turn
from rasa_ft.calm.events import ActionExecuted, FlowCancelled, FlowStarted, SlotSet
from rasa_ft.calm.project.assistant import Assistant, load_assistant
from rasa_ft.calm.project.nlu_side import NluSide
from rasa_ft.calm.project.out_of_scope import OUT_OF_SCOPE


def pipeline(*names: str) -> str:
    return CONFIG.replace("pipeline:\n", "pipeline:\n" + "".join(f"  - name: {name}\n" for name in names))


def policies(*names: str) -> str:
    return CONFIG + "".join(f"  - name: {name}\n" for name in names)


# part: (changed files, what the message names, line, what the hint says of the results)
PARTS = {
    "NLU pipeline": (
        {"config": pipeline("WhitespaceTokenizer", "CountVectorsFeaturizer", "DIETClassifier", "CRFEntityExtractor")},
        "the NLU pipeline (WhitespaceTokenizer, CountVectorsFeaturizer, DIETClassifier, CRFEntityExtractor)",
        5,
        "every message goes to the LLM command generator",
    ),
    "adapter": ({"config": pipeline("NLUCommandAdapter")}, "NLUCommandAdapter", 5, "such turns cost a model call"),
    "LLM router": ({"config": pipeline("LLMBasedRouter")}, "the coexistence router", 5, "handled by the flows"),
    "intent router": ({"config": pipeline("IntentBasedRouter")}, "the coexistence router", 5, "handled by the flows"),
    "rules": ({"config": policies("RulePolicy", "TEDPolicy")}, "(RulePolicy, TEDPolicy)", 9, "are skipped"),
    "chat": ({"config": policies("IntentlessPolicy")}, "IntentlessPolicy.", 9, "'action_trigger_chitchat' is skipped"),
    "forms": (
        {"domain": DOMAIN + "forms: {room_form: {required_slots: [city]}}\n"},
        "forms (room_form)",
        12,
        "skipped",
    ),
    "MCP tool": (
        {"flows": flow("- call: book_it", "  mcp_server: desk", "  mapping: {input: []}")},
        "agents and MCP tools (book_it)",
        9,
        "a test that reaches the call is skipped",
    ),
    "MCP servers": (
        {"endpoints": ENDPOINTS + "mcp_servers: []\n"},
        "agents and MCP tools (mcp_servers)",
        4,
        "ends with 'pattern_internal_error'",
    ),
    "gRPC": (
        {"endpoints": ENDPOINTS + "action_endpoint: {url: grpc://localhost:50051}\n"},
        "a gRPC action server (grpc://localhost:50051)",
        4,
        "Custom actions cannot be run",
    ),
    "tracker store": ({"endpoints": ENDPOINTS + "tracker_store: {type: redis}\n"}, "tracker store", 4, "in memory"),
    "event broker": ({"endpoints": ENDPOINTS + "event_broker: {}\n"}, "event broker", 4, "not sent anywhere"),
    "lock store": ({"endpoints": ENDPOINTS + "lock_store: {}\n"}, "lock store", 4, "results are the same"),
    "tracing": ({"endpoints": ENDPOINTS + "tracing: {type: otlp}\n"}, "tracing", 4, "results are the same"),
    "model server": ({"endpoints": ENDPOINTS + "models: {url: x}\n"}, "model server", 4, "are the assistant"),
    "Studio": ({"endpoints": ENDPOINTS + "studio: {}\n"}, "Rasa Studio", 4, "are the assistant"),
}


@pytest.mark.parametrize("row", PARTS.values(), ids=PARTS)
def test_one_clear_warning(tmp_path: Path, row: tuple[dict[str, str], str, int, str]) -> None:
    changes, named, line, effect = row
    (found,) = inspect(tmp_path, **changes)
    assert (found.severity, found.rule) == ("warning", "out-of-scope")
    assert found.message.startswith("out of scope, not run: ") and named in found.message
    assert found.location is not None and found.location.line == line
    assert effect in (found.hint or "")


@pytest.mark.parametrize("kind", ["qdrant", "milvus", "addons.own.Store"])
def test_other_vector_stores(tmp_path: Path, kind: str) -> None:
    config = policies("EnterpriseSearchPolicy") + f"    vector_store: {{type: {kind}}}\n"
    warnings = [found for found in inspect(tmp_path, config=config) if found.rule == "out-of-scope"]
    assert [f"the vector store ({kind})" in found.message for found in warnings] == [True]
    search = "  pattern_search:\n    description: search\n    steps: [{action: action_trigger_search}]\n"
    assert reached(played(loaded(tmp_path, config=config, flows=FLOWS + search), Knowledge())) == ["the vector store"]


def test_custom_classes(tmp_path: Path) -> None:
    """A subclass of a known component stands for it; an unknown one is left out."""
    config = CONFIG.replace("CompactLLM", "own.MySearchReadyLLM") + "  - name: own.MyPolicy\n  - name: GhostPolicy\n"
    found = inspect(tmp_path, config=config.replace("pipeline:\n", "pipeline:\n  - name: own.Spelling\n"))
    assert [(item.severity, item.rule, item.culprit) for item in found] == [
        ("warning", "custom-component", "own.MySearchReadyLLMCommandGenerator"),
        ("warning", "custom-component", "own.Spelling"),
        ("warning", "custom-component", "own.MyPolicy"),
        ("warning", "custom-component", "GhostPolicy"),
    ]
    generator = load_assistant(tmp_path).generator
    assert (generator.dsl_version, generator.model_group) == ("v3", "main")


@pytest.mark.parametrize(
    "config",
    [
        CONFIG.replace("pipeline:\n  - name: CompactLLMCommandGenerator\n    llm: {model_group: main}\n", ""),
        CONFIG.replace("\n  - name: CompactLLMCommandGenerator\n    llm: {model_group: main}\n", " []\n"),
        CONFIG.replace("\n  - name: CompactLLMCommandGenerator\n    llm: {model_group: main}\n", "\n"),
    ],
)
def test_without_a_generator_the_default_stands_in(tmp_path: Path, config: str) -> None:
    (found,) = inspect(tmp_path, config=config)
    assert (found.severity, found.rule) == ("warning", "no-generator")
    assert load_assistant(tmp_path).generator.dsl_version == "v2"


def test_data_of_nlu_rules_and_stories(tmp_path: Path) -> None:
    project = Project()
    project.files |= {"data/nlu.yml": "nlu: []\n", "data/rules.yml": "rules: []\n", "data/stories.yml": "stories: []\n"}
    (found,) = findings(project.write(tmp_path))
    assert "(nlu.yml, rules.yml, stories.yml)" in found.message
    assert found.location is not None and found.location.file.name == "nlu.yml"


def test_agents_are_found_by_folder_and_by_name(tmp_path: Path) -> None:
    project = Project()
    project.files |= {
        "sub_agents/clerk/config.yml": "agent: {name: desk_clerk}\n",
        "sub_agents/broken/config.yml": "agent: [\n",
        "data/flows.yml": flow("- call: clerk", "- call: desk_clerk", "- call: broken", "- call: clrk"),
    }
    found = findings(project.write(tmp_path))
    assert [(item.severity, item.rule, item.culprit) for item in found] == [
        ("warning", "out-of-scope", "clerk"),
        ("warning", "out-of-scope", "desk_clerk"),
        ("warning", "out-of-scope", "broken"),
        ("error", "unknown-flow", "clrk"),
    ]


def test_an_unknown_endpoint_key(tmp_path: Path) -> None:
    (found,) = inspect(tmp_path, endpoints=ENDPOINTS + "nglu: {}\n")
    assert (found.severity, found.rule) == ("warning", "unknown-key") and "'nlu'" in found.message


def test_old_keys_of_a_generator_are_warnings_and_misspelt_ones_errors(tmp_path: Path) -> None:
    old = CONFIG.replace("    llm", "    use_semantic_flow_search: true\n    llm")
    assert [(found.severity, found.rule) for found in inspect(tmp_path, config=old)] == [("warning", "unknown-key")]
    typo = CONFIG.replace("    llm", "    prompt_templat: x\n    llm")
    assert [(found.severity, found.rule) for found in inspect(tmp_path, config=typo)] == [("error", "unknown-key")]


# -- at run time ----------------------------------------------------------------------------------------------------


class NoActions:
    async def run(self, action: str, tracker: Tracker) -> ActionResult:
        return ActionResult()


def loaded(folder: Path, **changes: str) -> Assistant:
    project = Project()
    for part, text in changes.items():
        project.files["data/flows.yml" if part == "flows" else f"{part}.yml"] = text
    return load_assistant(project.write(folder))


def played(assistant: Assistant, *commands: Command) -> Tracker:
    runtime = Runtime(assistant.domain, assistant.flows, NoActions(), ignored=assistant.config.ignored)
    return asyncio.run(take_turn(begin(runtime), "hi", commands, runtime))


def reached(tracker: Tracker) -> list[str]:
    """The parts that a conversation needed."""
    starts = [event for event in tracker.events if isinstance(event, FlowStarted)]
    return [event.context["info"]["part"] for event in starts if event.context.get("error_type") == OUT_OF_SCOPE]


def utters(tracker: Tracker) -> list[str]:
    names = [event.action for event in tracker.events if isinstance(event, ActionExecuted)]
    return [name for name in names if name.startswith("utter_")]


@pytest.mark.parametrize(
    ("steps", "part"),
    [
        (("- call: book_it", "  mcp_server: desk", "- action: action_do"), "the MCP tool book_it"),
        # A tool of a server, even if a flow has its name.
        (("- call: book", "  mcp_server: desk", "- action: action_do"), "the MCP tool book"),
        (("- call: clerk", "  exit_if: [slots.flag]", "- action: action_do"), "the agent clerk"),
    ],
)
def test_a_call_of_an_agent_ends_the_flow(tmp_path: Path, steps: tuple[str, ...], part: str) -> None:
    (tmp_path / "sub_agents" / "clerk").mkdir(parents=True)
    tracker = played(loaded(tmp_path, flows=flow(*steps)), StartFlow("more"))
    assert reached(tracker) == [part]
    assert utters(tracker)[0] == "utter_internal_error_rasa"
    assert [event.flow_id for event in tracker.events if isinstance(event, FlowCancelled)] == ["more"]
    assert not tracker.stack or tracker.stack.frames[0].flow_id == "pattern_completed"
    assert ActionExecuted("action_do") not in tracker.events


CHAT = "  pattern_chitchat:\n    description: chat\n    steps: [{action: action_trigger_chitchat}]\n"


def test_chitchat_with_a_policy_that_is_not_run(tmp_path: Path) -> None:
    tracker = played(loaded(tmp_path, config=policies("IntentlessPolicy"), flows=FLOWS + CHAT), ChitChat())
    assert reached(tracker) == ["IntentlessPolicy"]
    assert utters(tracker) == ["utter_internal_error_rasa"]


def test_chitchat_without_the_policy_is_what_it_is_in_production(tmp_path: Path) -> None:
    tracker = played(loaded(tmp_path, flows=FLOWS + CHAT), ChitChat())
    assert reached(tracker) == []
    assert utters(tracker) == ["utter_cannot_handle"]


def test_a_form_in_a_flow(tmp_path: Path) -> None:
    assistant = loaded(
        tmp_path, domain=DOMAIN + "forms: {room_form: {}}\n", flows=flow("- action: room_form", "- action: utter_no")
    )
    tracker = played(assistant, StartFlow("more"))
    assert reached(tracker) == ["the form room_form"]


def test_a_router_leaves_every_message_to_the_flows(tmp_path: Path) -> None:
    """Its slot says so, as in production after such a decision."""
    assistant = loaded(tmp_path, config=pipeline("LLMBasedRouter"))
    tracker = played(assistant, StartFlow("book"))
    routed = [event for event in tracker.events if isinstance(event, SlotSet) and event.slot == "route_session_to_calm"]
    assert [event.value for event in routed] == [True]
    runtime = Runtime(assistant.domain, assistant.flows, NoActions(), ignored=assistant.config.ignored)
    again = asyncio.run(take_turn(tracker, "hi", (), runtime))
    assert len([event for event in again.events if isinstance(event, SlotSet) and event in routed]) == 1


def test_without_a_router_there_is_no_such_slot(tmp_path: Path) -> None:
    assistant = loaded(tmp_path)
    assert "route_session_to_calm" not in assistant.domain.slots
    assert played(assistant).slots.get("route_session_to_calm") is None


# -- the NLU side ---------------------------------------------------------------------------------------------------

RULES = """\
rules:
  - rule: a
    steps:
      - intent: greet
      - action: utter_greet
      - action: utter_no
      - action: action_listen
  - not a rule
stories:
  - story: b
    steps:
      - or: [{intent: stop}, {intent: go}, x]
      - action: room_form
      - active_loop: room_form
      - x
  - {story: c}
"""
NLU_DOMAIN = DOMAIN.replace(
    "slots:",
    "intents: [greet, inform, go]\n"
    "forms: {room_form: {required_slots: [city, when]}, other_form: {required_slots: {a: []}}}\n"
    "slots:\n  when: {type: text, mappings: [{type: from_entity, entity: time}]}\n"
    "  zip: {type: text, mappings: [{type: from_llm}, {type: from_entity, entity: zip}],"
    " validation: {rejections: [{if: slots.zip = 'x', utter: utter_no}], refill_utter: utter_ask_size}}",
).replace("responses:", "responses:\n  utter_greet: [{text: Hello}, {image: x.png}]")


def nlu_side_of(tmp_path: Path, config: str) -> NluSide:
    project = Project()
    project.files |= {"config.yml": config, "domain.yml": NLU_DOMAIN, "data/rules.yml": RULES}
    project.files["data/flows.yml"] = FLOWS.replace("    steps", "    nlu_trigger: [{intent: go}]\n    steps").replace(
        "- collect: city", "- collect: city\n        rejections: [{if: slots.city = 'x', utter: utter_no}]"
    )
    return load_assistant(project.write(tmp_path)).nlu_side


def test_what_only_rules_stories_and_forms_do(tmp_path: Path) -> None:
    side = nlu_side_of(tmp_path, policies("RulePolicy"))
    assert side.intents == {"greet", "stop", "inform"}  # go starts a flow
    assert side.forms == {"room_form", "other_form"}
    assert side.slots == {"when"}
    assert side.texts == {"Hello": "utter_greet"}
    assert {"utter_greet", "validate_room_form", "utter_ask_room_form_when", "action_ask_other_form_a"} <= side.actions
    # Flows say and ask these, too.
    assert side.actions.isdisjoint({"utter_no", "utter_ask_city", "action_ask_city", "action_listen", "room_form"})


def test_leftover_rules_without_their_policies_are_nothing(tmp_path: Path) -> None:
    assert nlu_side_of(tmp_path, CONFIG) == NluSide()
