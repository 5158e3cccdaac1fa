"""Suggested tests are played with the commands that they name, and must come to the steps that they promise."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from desk_assistant import SilentLLM
from hypothesis import given
from hypothesis import strategies as st
from small_bot import small_engine

from rasa_ft.calm.commands import Clarify, SetSlot, StartFlow
from rasa_ft.calm.flows.conditions import constants, patterns
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.coverage import Node, covered_nodes, measure
from rasa_ft.e2e.matching import exchanges, is_met
from rasa_ft.e2e.model import SlotWasSetStep, UtterStep
from rasa_ft.e2e.runner import SuiteResult, run_suite
from rasa_ft.e2e.suggestions.files import check_folder, suggestions_yaml, write_suggestions
from rasa_ft.e2e.suggestions.samples import sample_of
from rasa_ft.e2e.suggestions.skeletons import Suggestion
from rasa_ft.e2e.suggestions.suggest import Suggestions, suggest
from rasa_ft.e2e.suggestions.values import seen_values
from rasa_ft.engine.base import Setup
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine
from rasa_ft.errors import UsageError

ROOT = Path(__file__).parents[2]
BOT = ROOT / "examples/bot"
NOTHING = SuiteResult(())


def suggested(engine: EmbeddedEngine, result: SuiteResult = NOTHING) -> Suggestions:
    measured = measure(result, engine.flows)
    domain = engine.assistant.domain
    return suggest(measured, engine.flows, domain, seen=seen_values(result.results), root=engine.project)


@dataclass(frozen=True)
class Replay:
    visits: frozenset[Node]
    unmet: tuple[str, ...]
    commands: frozenset[str]


def replay(engine: EmbeddedEngine, suggestion: Suggestion) -> Replay:
    """Play the skeleton with its commands in the place of messages."""

    async def play() -> Replay:
        conversation = await engine.start(Setup(fixtures=suggestion.case.fixtures))
        unmet, commands = [], set()
        messages = [exchange for exchange in exchanges(suggestion.case.steps) if exchange.user is not None]
        for exchange, given_commands in zip(messages, suggestion.commands, strict=True):
            assert exchange.user is not None
            turn = await conversation.say(exchange.user.text, commands=given_commands)
            commands |= {command.name for command in turn.commands}
            unmet += [str(step) for step in exchange.expectations if not is_met(step, turn.events)]
        return Replay(frozenset(covered_nodes(engine.flows, conversation.events)), tuple(unmet), frozenset(commands))

    return asyncio.run(play())


def is_certain(suggestion: Suggestion) -> bool:
    return not any("that is up to" in line for lines in suggestion.remarks.values() for line in lines)


def check_all(engine: EmbeddedEngine, suggestions: Suggestions, missing: set[Node], at_least: float) -> None:
    """Whatever is certain happens as written, and at least this part of the missing steps is reached."""
    reached: set[Node] = set()
    for suggestion in suggestions.cases:
        played = replay(engine, suggestion)
        reached |= played.visits & missing
        if is_certain(suggestion):
            assert (suggestion.case.name, played.unmet) == (suggestion.case.name, ())
            assert set(suggestion.visits) <= played.visits
    assert len(reached) >= at_least * len(missing), missing - reached


# -- whole assistants -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def railway() -> EmbeddedEngine:
    return load_engine(BOT)


@pytest.fixture(scope="module")
def few_tests(railway: EmbeddedEngine) -> SuiteResult:
    return asyncio.run(run_suite(railway, load_suite(BOT / "e2e_tests/cancellations.yml")))


def test_suggestions_for_the_example_bot_lead_where_they_say(railway: EmbeddedEngine, few_tests: SuiteResult) -> None:
    suggestions = suggested(railway, few_tests)
    missing = {
        (flow.flow.id, step.id) for flow in measure(few_tests, railway.flows).both.flows for step in flow.missing
    }
    assert len(missing) > 40 and not suggestions.unreached
    assert {node for suggestion in suggestions.cases for node in suggestion.visits} == missing
    # The two that depend on what the railway's servers know are not reached.
    check_all(railway, suggestions, missing, at_least=0.95)
    assert len(suggestions.cases) < len(missing) / 2


def test_every_unused_kind_of_command_is_led_to(railway: EmbeddedEngine, few_tests: SuiteResult) -> None:
    suggestions = suggested(railway, few_tests)
    assert {case.case.name for case in suggestions.groups["commands"]} == {
        "chitchat",
        "clarify",
        "knowledge",
        "skip question",
    }
    for suggestion in suggestions.groups["commands"]:
        played = replay(railway, suggestion)
        assert suggestion.case.name in played.commands and not played.unmet


def test_nothing_is_suggested_for_what_is_tested(railway: EmbeddedEngine) -> None:
    result = asyncio.run(run_suite(railway, load_suite(BOT / "e2e_tests")))
    assert suggested(railway, result) == Suggestions(())


def test_values_of_tests_are_used_again(railway: EmbeddedEngine, few_tests: SuiteResult) -> None:
    result = asyncio.run(run_suite(railway, load_suite(BOT / "e2e_tests/happy_paths/service.yml")))
    seen = seen_values(result.results)
    commands = [c for s in suggested(railway, result).cases for turn in s.commands for c in turn]
    codes = {c.value for c in commands if isinstance(c, SetSlot) and c.slot == "train_number"}
    assert codes and codes <= set(seen["train_number"])
    assert seen_values(few_tests.results)["destination"] == ("Stirling", "Inverness")


def test_a_synthetic_assistant_is_covered_entirely(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("synthetic_assistant", ROOT / "benchmarks/synthetic_assistant.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.write_assistant(tmp_path, 12)
    engine = load_engine(tmp_path, llm=SilentLLM())
    suggestions = suggested(engine)
    missing = {node for suggestion in suggestions.cases for node in suggestion.visits}
    assert len(missing) == 12 * 7 + 2 and not suggestions.unreached
    assert sum(len(cases) for group, cases in suggestions.groups.items() if group != "commands") == 12 * 2
    check_all(engine, suggestions, missing, at_least=1.0)


# -- small flows ------------------------------------------------------------------------------------------------------

DOMAIN = """
slots:
  amount: {type: float, min_value: 0, max_value: 10000, mappings: [{type: from_llm}]}
  code: {type: text, mappings: [{type: from_llm}]}
  kind: {type: categorical, values: [gold, iron], mappings: [{type: from_llm}]}
  sure: {type: bool, mappings: [{type: from_llm}]}
  floor: {type: categorical, values: ["1", "2"], mappings: [{type: controlled}]}
  rich: {type: bool, initial_value: false, mappings: [{type: controlled}]}
actions: [action_look, action_log]
responses:
  utter_ask_amount: [{text: How much?}]
  utter_ask_code: [{text: Which code?}]
  utter_ask_kind: [{text: Which kind?}]
  utter_ask_sure: [{text: Sure?}]
  utter_ask_floor: [{text: Floor?}]
  utter_a: [{text: a}]
  utter_b: [{text: b}]
  utter_c: [{text: c}]
"""


def small(folder: Path, flows: str, **actions: list[dict[str, object]]) -> EmbeddedEngine:
    engine: EmbeddedEngine = small_engine(
        folder, flows, DOMAIN, actions={"action_look": [], "action_log": [], **actions}
    )
    return engine


def all_steps(engine: EmbeddedEngine) -> set[Node]:
    suggestions = suggested(engine)
    return {node for suggestion in suggestions.cases for node in suggestion.visits} | set(suggestions.unreached)


def about_flows(suggestions: Suggestions) -> list[Suggestion]:
    return [case for case in suggestions.cases if case.group != "commands"]


def texts(suggestion: Suggestion) -> list[str]:
    return [step.text for step in suggestion.case.user_steps]


BRANCHES = """
  pay:
    description: pay something
    steps:
      - collect: amount
        rejections:
          - {if: slots.amount < 20, utter: utter_c}
        next:
          - if: slots.amount > 4711
            then: {first}
          - if: slots.amount >= 300 and slots.amount < 301
            then: {second}
          - else: {third}
      - {id: a, action: utter_a, next: END}
      - {id: b, action: utter_b, next: END}
      - {id: c, action: utter_c}
"""


@pytest.mark.parametrize("order", ["a b c", "c a b", "b c a"])
def test_numbers_take_the_branch_that_is_wanted(tmp_path: Path, order: str) -> None:
    first, second, third = order.split()
    flows = BRANCHES.replace("{first}", first).replace("{second}", second).replace("{third}", third)
    engine = small(tmp_path, flows)
    suggestions = suggested(engine)
    assert len(about_flows(suggestions)) == 3
    check_all(engine, suggestions, all_steps(engine), at_least=1.0)


CHECKED = """
  check:
    description: check a code
    steps:
      - collect: code
        rejections:
          - if: not (slots.code matches "^[A-Z]{2}-[0-9]{3,5}$")
            utter: utter_c
        next:
          - if: slots.code matches "^NR-"
            then: a
          - if: '{"ZZ-999" "YY-888"} contains slots.code'
            then: b
          - else: c
      - {id: a, action: utter_a, next: END}
      - {id: b, action: utter_b, next: END}
      - {id: c, action: utter_c}
"""


def test_texts_pass_their_checks(tmp_path: Path) -> None:
    engine = small(tmp_path, CHECKED)
    suggestions = suggested(engine)
    # No value of the first branch passes the rejection and was thought of, so that it is told.
    hit = {node for suggestion in suggestions.cases if is_certain(suggestion) for node in suggestion.visits}
    assert {("check", "b"), ("check", "c")} <= hit
    for suggestion in about_flows(suggestions):
        if is_certain(suggestion):
            assert set(suggestion.visits) <= replay(engine, suggestion).visits


def test_free_text_is_left_to_the_writer(tmp_path: Path) -> None:
    engine = small(
        tmp_path,
        """
  note:
    description: note something
    steps:
      - collect: code
        rejections: [{if: slots.code is "no", utter: utter_c}]
      - action: utter_a
""",
    )
    (suggestion,) = about_flows(suggested(engine))
    assert texts(suggestion) == ["TODO: ask for note (start flow note)", "TODO: give code (set slot code …)"]
    assert SlotWasSetStep(suggestion.case.location, "code") in suggestion.case.steps
    assert suggestion.remarks == {2: ('refused if slots.code is "no"',)}
    assert replay(engine, suggestion).unmet == ()


GUARDED = """
  wealth:
    description: for the rich
    if: slots.rich
    steps:
      - action: utter_a
        next:
          - {if: slots.kind is "gold", then: [{action: utter_b, next: END}]}
          - else: END
"""


def test_what_nobody_says_becomes_a_fixture(tmp_path: Path) -> None:
    engine = small(tmp_path, GUARDED)
    (suggestion,) = about_flows(suggested(engine))
    assert dict(suggestion.case.fixtures) == {"rich": True, "kind": "gold"}
    played = replay(engine, suggestion)
    assert not played.unmet and set(suggestion.visits) <= played.visits


LOOKUP = """
  look:
    description: look something up
    steps:
      - noop: true
        next:
          - {if: slots.rich, then: END}
          - else: ask
      - {id: ask, collect: code}
      - action: action_look
        next:
          - {if: slots.rich, then: a}
          - else:
            - action: utter_b
            - set_slots: [{code: null}]
              next: ask
      - {id: a, action: utter_a}
"""


def test_both_outcomes_of_an_action_get_a_test_and_a_remark(tmp_path: Path) -> None:
    """Also the one that contradicts what held before the action."""
    engine = small(tmp_path, LOOKUP, action_look=[{"event": "slot", "name": "rich", "value": True}])
    first, second = about_flows(suggested(engine))
    for suggestion in (first, second):
        assert any("that is up to action_look" in line for lines in suggestion.remarks.values() for line in lines)
        assert not suggestion.case.fixtures
    names = {"look: utter_a": True, "look: utter_b": False}
    for suggestion in (first, second):
        assert (set(suggestion.visits) <= replay(engine, suggestion).visits) == names[suggestion.case.name]


CALLS = """
  outer:
    description: calls and goes on
    steps:
      - collect: kind
      - call: inner
      - action: utter_a
      - link: other
  inner:
    description: is called
    if: false
    steps:
      - collect: sure
        next:
          - {if: slots.sure, then: [{action: utter_b, next: END}]}
          - else: [{action: utter_c, next: END}]
  other:
    description: is linked to
    steps:
      - collect: kind
      - action: action_log
  lost:
    description: cannot be started
    if: false
    steps: [{action: utter_a}]
"""


def test_called_and_linked_flows_are_entered(tmp_path: Path) -> None:
    engine = small(tmp_path, CALLS)
    suggestions = suggested(engine)
    assert suggestions.unreached == (("lost", "lost_0_utter_a"),)
    assert [case.group for case in about_flows(suggestions)] == ["outer", "other", "inner"]
    # The slot is asked for again in the linked flow: the first one has ended.
    first = about_flows(suggestions)[0]
    assert first.case.steps[-1] == UtterStep(first.case.location, "utter_ask_kind")
    check_all(engine, suggestions, all_steps(engine) - set(suggestions.unreached), at_least=1.0)


def test_contradictions_are_not_walked(tmp_path: Path) -> None:
    flows = """
  odd:
    description: asks once and decides twice
    steps:
      - collect: sure
        next:
          - {if: slots.sure, then: [{action: utter_a, next: more}]}
          - else: more
      - id: more
        action: action_log
        next:
          - {if: not slots.sure, then: [{action: utter_b, next: END}]}
          - {if: slots.sure and not slots.sure, then: [{action: utter_c, next: END}]}
          - else: END
"""
    engine = small(tmp_path, flows)
    suggestions = suggested(engine)
    assert [step for _, step in suggestions.unreached] == ["odd_4_utter_c"]
    assert len(about_flows(suggestions)) == 2
    check_all(engine, suggestions, all_steps(engine) - set(suggestions.unreached), at_least=1.0)


def test_many_branches_need_few_tests_and_loops_end(tmp_path: Path) -> None:
    slots = "".join(f"  s{n}: {{type: bool, mappings: [{{type: from_llm}}]}}\n" for n in range(30))
    asks = "".join(f"  utter_ask_s{n}: [{{text: s?}}]\n" for n in range(30))
    domain = DOMAIN.replace("slots:\n", f"slots:\n{slots}").replace("responses:\n", f"responses:\n{asks}")
    steps = "".join(
        f"""
      - id: q{n}
        collect: s{n}
        next:
          - {{if: slots.s{n}, then: [{{action: utter_a, next: q{n + 1}}}]}}
          - else: [{{action: utter_b, next: q{n + 1}}}]"""
        for n in range(30)
    )
    # Only who said no at first comes to the end, and who says so has been round once more.
    end = """
      - id: q30
        action: utter_c
        next:
          - {if: not slots.s0, then: [{action: action_look, next: END}]}
          - else: again
      - id: again
        set_slots: [{s1: null}]
        next: q1
"""
    flows = f"  long:\n    description: thirty questions\n    steps:{steps}{end}"
    engine = small_engine(tmp_path, flows, domain, actions={"action_look": [], "action_log": []})
    suggestions = suggested(engine)
    assert not suggestions.unreached and 2 <= len(about_flows(suggestions)) <= 4
    check_all(engine, suggestions, all_steps(engine), at_least=1.0)


def test_a_slot_that_messages_cannot_fill_is_filled_by_its_button(tmp_path: Path) -> None:
    engine = small(tmp_path, "  park:\n    description: park\n    steps: [{collect: floor}, {action: utter_a}]\n")
    (suggestion,) = about_flows(suggested(engine))
    assert texts(suggestion)[-1] == "/SetSlots(floor=1)"
    assert replay(engine, suggestion).unmet == ()


def test_examples_in_descriptions_and_buttons_are_likely_values(tmp_path: Path) -> None:
    buttons = 'utter_ask_code: [{text: c, buttons: [{title: x, payload: "/SetSlots(code=X-1)"}]}]'
    domain = DOMAIN.replace("utter_ask_code: [{text: Which code?}]", buttons)
    flow = "  a_{n}:\n    description: about {n}\n    steps: [{{collect: code{description}}}, {{action: utter_{n}}}]\n"
    flows = flow.format(n="a", description=', description: "the code, such as Y-2."')
    flows += flow.format(n="b", description="")
    engine = small_engine(tmp_path, flows, domain, actions={})
    values = [case.commands[1][0] for case in about_flows(suggested(engine))]
    assert values == [SetSlot("code", "X-1"), SetSlot("code", "X-1")]
    plain = small_engine(tmp_path / "plain", flows, DOMAIN, actions={})
    values = [case.commands[1][0] for case in about_flows(suggested(plain))]
    assert values == [SetSlot("code", "Y-2"), SetSlot("code", "…")]


def test_clarification_offers_flows_that_can_be_started(tmp_path: Path) -> None:
    flow = "  {name}:\n    description: about {name}\n{guard}    steps: [{{action: utter_a}}]\n"
    flows = flow.format(name="hidden", guard="    if: slots.rich\n") + flow.format(name="one", guard="")
    engine = small(tmp_path, flows)
    assert "clarify" not in {case.case.name for case in suggested(engine).cases}
    engine = small(tmp_path, flows + flow.format(name="two", guard=""))
    (clarify,) = (case for case in suggested(engine).cases if case.case.name == "clarify")
    assert clarify.commands == ((Clarify(("one", "two")),),)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Suggestions]:
    flow = "  {n}:\n    description: about {n}\n    steps: [{{collect: kind}}, {{action: utter_{n}}}]\n"
    engine = small(tmp_path / "bot", flow.format(n="a") + flow.format(n="b"))
    return tmp_path / "out", suggested(engine)


def test_files_are_read_without_a_warning_and_skipped(two: tuple[Path, Suggestions], railway: EmbeddedEngine) -> None:
    folder, _ = two
    suggestions = suggested(railway)
    write_suggestions(folder, suggestions)
    suite = load_suite(folder)
    assert not suite.warnings and len(suite.cases) == len(suggestions.cases)
    by_name = {case.name: case for case in suite.cases}
    for suggestion in suggestions.cases:
        read = by_name[suggestion.case.name]
        assert [type(step) for step in read.steps] == [type(step) for step in suggestion.case.steps]
        assert read.fixtures == suggestion.case.fixtures
    result = asyncio.run(run_suite(railway, suite))
    assert {found.status for found in result.results} == {"skipped"} and result.all_passed
    assert re.fullmatch(r".*\.yml:\d+: not written yet\.", str(result.results[0].skipped))


def test_remarks_name_steps_and_branches(railway: EmbeddedEngine) -> None:
    text = suggestions_yaml(suggested(railway).groups["train_status"])
    assert "  #   data/flows/3_service.yml:7 collect train_number\n" in text
    assert "      # data/flows/3_service.yml:18 is taken: else (not: slots.train_late)\n" in text
    assert "      # TODO: that is up to action_check_status; write messages that lead there.\n" in text


def test_a_test_is_skipped_until_its_last_message_is_written(tmp_path: Path, railway: EmbeddedEngine) -> None:
    write_suggestions(tmp_path, Suggestions(suggested(railway).groups["buy_railcard"]))
    file = tmp_path / "buy_railcard.yml"
    suite = load_suite(file)
    messages = [step.text for step in suite.cases[0].user_steps]
    for number, text in enumerate(messages):
        (result,) = asyncio.run(run_suite(railway, load_suite(file))).results
        assert result.skipped == f"{suite.cases[0].user_steps[number].location}: not written yet."
        written = file.read_text(encoding="utf-8").replace(text, f"TO DO, {number}")
        file.write_text(written, encoding="utf-8")
    (result,) = asyncio.run(run_suite(railway, load_suite(file))).results
    assert len(messages) == 4 and result.status == "error"  # these words are not recorded


def test_earlier_suggestions_are_replaced_and_nothing_else(two: tuple[Path, Suggestions]) -> None:
    folder, suggestions = two
    files = write_suggestions(folder, suggestions)
    assert [file.name for file in files] == ["a.yml", "b.yml", "commands.yml"]
    (folder / "mine.yml").write_text("test_cases: []\n")
    before = files[0].read_bytes()
    fewer = Suggestions(suggestions.groups["a"])
    assert write_suggestions(folder, fewer) == files[:1]
    assert files[0].read_bytes() == before
    assert sorted(file.name for file in folder.iterdir()) == ["a.yml", "mine.yml"]


@pytest.mark.parametrize("change", ["work", "foreign", "binary"])
def test_what_somebody_wrote_is_never_replaced(two: tuple[Path, Suggestions], change: str) -> None:
    folder, suggestions = two
    files = write_suggestions(folder, suggestions)
    edited = files[1].read_bytes().replace(b"TODO: ask for b", b"I want b")
    content = {"work": edited, "foreign": b"# my tests\ntest_cases: []\n", "binary": b"\xff\xfe\n"}[change]
    files[1].write_bytes(content)
    files[0].unlink()
    with pytest.raises(UsageError, match=r"would replace: b\.yml"):
        write_suggestions(folder, suggestions)
    assert files[1].read_bytes() == content and not files[0].exists()
    # It is left where it is when there is nothing more to suggest about it.
    write_suggestions(folder, Suggestions(suggestions.groups["a"]))
    assert files[1].read_bytes() == content


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        check_folder(tmp_path / "file", [])


def test_a_flow_may_be_named_like_a_file_with_a_meaning(tmp_path: Path) -> None:
    flow = "  {n}:\n    description: about {n}\n    steps: [{{action: utter_a}}]\n"
    engine = small(tmp_path / "bot", flow.format(n="conftest") + flow.format(n="commands"))
    suggestions = suggested(engine)
    files = write_suggestions(tmp_path / "out", suggestions)
    assert {file.name for file in files} == {"conftest_flow.yml", "commands.yml"}
    assert len(load_suite(tmp_path / "out").cases) == len(suggestions.cases)
    assert {command for case in suggestions.cases for turn in case.commands for command in turn} >= {
        StartFlow("conftest"),
        StartFlow("commands"),
    }


# -- samples of expressions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "sample"),
    [
        ("(?i)^NR[0-9]{4}$", "NR1234"),
        ("^[^ @]+@[^ @]+[.][a-z]+$", "abc@abc.abc"),
        (r"^\d{2}\w-(x|y)?\s*$", "12a-"),
        (r"(ab|c){2}\1", "ababab"),
        (r"^.+?[^a-z0-9A-Z]$", "aaa "),
        ("[$]", "$"),
        ("^é[à]$", "éà"),
        ("(?=a)b", None),
        ("(", None),
        ("((a{1000}){1000}){1000}", None),
    ],
)
def test_sample_of_an_expression(pattern: str, sample: str | None) -> None:
    assert sample_of(pattern) == sample


@given(st.text(alphabet="ab19 [](){}|*+?^$\\dwSs.,-:<=!PA", max_size=24))
def test_a_sample_always_fits(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = sample_of(pattern)
        assert sample is None or re.search(pattern, sample)


def test_constants_and_patterns_of_conditions() -> None:
    condition = 'slots.a is "x" or slots.b > 3 and slots.c matches "^a+$" and {"u" "v"} contains slots.d'
    assert constants(condition) == ("u", "v", "x", 3.0)
    assert patterns(condition) == ("^a+$",)
    assert constants(None) == () == patterns(True)
