import json

import pytest

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.flows.model import Rejection
from rasa_ft.calm.project.domain import Domain, Session, load_domain, read_domain, with_builtin_slots
from rasa_ft.calm.responses import Response, SlotCondition, Variation
from rasa_ft.calm.slots import FROM_LLM, MappingCondition, Slot, SlotMapping, SlotValidation
from rasa_ft.errors import DataError, Location

DOMAIN = """\
version: "3.1"
slots:
  seat:
    type: categorical
    values: [economy, yes, 3, true, null]
    initial_value: economy
    mappings: [{type: from_llm, conditions: [{active_flow: book}]}, {type: custom, action: action_seat}]
  zip:
    type: text
    validation:
      rejections:
        - if: not (slots.zip matches "^[0-9]{5}$")
          utter: utter_bad_zip
          name: ignored
  amount: {type: float, min_value: 0, max_value: 10.5, mappings: [{type: from_text}]}
responses:
  utter_hi:
    - text: Hi {name}
      condition: slots.seat
      channel: rest
      buttons:
        - {title: 1, payload: /SetSlots(seat=economy)}
      metadata: {rephrase: true}
      id: 7
    - text: Hello
      condition: [{type: slot, name: seat, value: economy}]
    - image: http://x
      condition: true
actions:
  - action_a
  - action_b: {send_domain: true}
  - action_listen
  - utter_hi
session_config:
  session_expiration_time: 0
  carry_over_slots_to_new_session: false
intents: [greet]
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="domain.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    return write


def problems(path):
    with pytest.raises(DataError) as caught:
        load_domain(path)
    return str(caught.value)


def test_reads_everything(write):
    path = write(DOMAIN)
    domain = load_domain(path)
    assert domain.slots["seat"] == Slot(
        "seat",
        "categorical",
        values=("economy", "yes", "3", "true"),
        initial_value="economy",
        mappings=(
            SlotMapping("from_llm", (MappingCondition(active_flow="book"),)),
            SlotMapping("controlled", run_action_every_turn="action_seat"),
        ),
    )
    assert domain.slots["seat"].location == Location(path, 3, 7)
    assert domain.slots["zip"].mappings == (FROM_LLM,)
    assert domain.slots["zip"].validation == SlotValidation(
        (Rejection('not (slots.zip matches "^[0-9]{5}$")', "utter_bad_zip"),), "utter_ask_zip"
    )
    assert (domain.slots["amount"].min_value, domain.slots["amount"].max_value) == (0, 10.5)
    assert domain.responses["utter_hi"] == Response(
        "utter_hi",
        (
            Variation(
                "Hi {name}",
                condition="slots.seat",
                channel="rest",
                buttons=({"title": "1", "payload": "/SetSlots(seat=economy)"},),
                metadata={"rephrase": True},
                id="7",
            ),
            Variation("Hello", condition=(SlotCondition("seat", "economy"),)),
            Variation(image="http://x", condition="true"),
        ),
    )
    assert domain.responses["utter_hi"].variations[1].location.line == 25
    assert domain.actions == ("action_a", "action_b", "action_listen", "utter_hi")
    assert domain.custom_actions == {"action_a", "action_b"}
    assert domain.session == Session(expiration_minutes=0, carry_over_slots=False)
    assert domain.intents == ("greet",)
    assert domain.initial_slots() == {"seat": "economy", "zip": None, "amount": None}


def test_actions_of_steps(write):
    domain = load_domain(write(DOMAIN))
    assert all(map(domain.has_action, ("utter_hi", "action_a", "action_listen")))
    assert not domain.has_action("action_c")


def test_document_is_json(write):
    document = load_domain(write(DOMAIN)).document()
    assert json.loads(json.dumps(document)) == document
    assert document["responses"]["utter_hi"][0]["buttons"] == [{"title": "1", "payload": "/SetSlots(seat=economy)"}]
    assert document["responses"]["utter_hi"][1] == {"text": "Hello"}
    assert document["session_config"]["session_expiration_time"] == 0


def test_a_folder_is_merged(write, tmp_path):
    write("slots: {a: {type: text}}\nactions: [x]", "domain/one.yml")
    write(
        "slots: {b: {type: bool}}\nactions: [x, y]\nsession_config: {start_session_after_expiry: false}",
        "domain/b/two.yaml",
    )
    write("nothing: here", "domain/other.yml")
    write("", "domain/empty.yml")
    write("not YAML at all: [", "domain/readme.txt")
    domain = load_domain(tmp_path / "domain")
    assert set(domain.slots) == {"a", "b"}
    assert domain.actions == ("x", "y")
    assert domain.session == Session(start_after_expiry=False)
    assert [file.name for file in domain.files] == ["two.yaml", "one.yml"]


def test_names_defined_twice_name_both_places(write, tmp_path):
    write("slots:\n  a: {type: text}\nresponses:\n  utter_x: [{text: x}]", "domain/one.yml")
    write("slots:\n\n  a: {type: text}\nresponses:\n\n  utter_x: [{text: x}]", "domain/two.yml")
    text = problems(tmp_path / "domain")
    assert f"{tmp_path}/domain/two.yml:3: slot 'a' is already defined in {tmp_path}/domain/one.yml:2." in text
    assert f"two.yml:6: response 'utter_x' is already defined in {tmp_path}/domain/one.yml:4." in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a", "domain.yml:1: a domain must be a mapping"),
        ("nothing: here", "there is no domain"),
        (
            "slots: {a: {type: text}}\nrespones: {}",
            "domain.yml:2: 'respones' is not a key of a domain. Did you mean 'responses'?",
        ),
        ("slots: [a]", "'slots' must be a mapping, not a list."),
        ("slots:\n  a: text", "domain.yml:2: slot 'a' must be a mapping"),
        ("slots:\n  a: {typ: text}", "Did you mean 'type'?"),
        ("slots:\n  a: {typ: text}", "slot 'a' has no 'type'"),
        (
            "slots:\n  a:\n    type: boolean",
            "domain.yml:3: slot 'a' has the unknown type 'boolean'. Did you mean 'bool'?",
        ),
        ("slots:\n  a b: {type: text}", "'a b' cannot name a slot"),
        ("slots:\n  a: {type: any, influence_conversation: true}", "of type any"),
        ("slots:\n  a: {type: categorical}", "categorical slot 'a' has no 'values'"),
        ("slots:\n  a: {type: float, min_value: low}", "'min_value' must be a number, not 'low'."),
        ("slots:\n  a: {type: float, max_value: true}", "'max_value' must be a number, not True."),
        ("slots:\n  a: {type: text, mappings: from_llm}", "'mappings' must be a list"),
        ("slots:\n  a: {type: text, mappings: [from_llm]}", "mapping without a known type"),
        ("slots:\n  a: {type: text, mappings: [{type: from_lm}]}", "Did you mean 'from_llm'?"),
        ("slots:\n  a: {type: text, mappings: [{type: from_llm, action: x}]}", "needs a mapping of type controlled"),
        ("slots:\n  a: {type: text, mappings: [{type: from_llm, conditions: [x]}]}", "must be a mapping, not 'x'"),
        ("slots:\n  a: {type: text, mappings: [{type: from_llm, conditions: [{flow: x}]}]}", "'flow' is not a key"),
        ("slots:\n  a: {type: text, validation: {rejection: []}}", "Did you mean 'rejections'?"),
        ("slots:\n  a: {type: text, validation: {rejections: [{if: x}]}}", "needs the texts 'if' and 'utter'"),
        ("slots:\n  a: {type: text, validation: {rejections: [x]}}", "a rejection of slot 'a' needs"),
        ("responses:\n  utter_x: hello", "response 'utter_x' must be a list"),
        ("responses:\n  utter_x:\n    - hello", "domain.yml:3: a variation of 'utter_x' must be a mapping"),
        (
            "responses:\n  utter_x:\n    - txt: hello",
            "domain.yml:3: 'txt' is not a key of a response's variation. Did you mean 'text'?",
        ),
        ("responses:\n  utter_x:\n    - text: 3", "'text' must be text, not 3."),
        ("responses:\n  utter_x:\n    - {text: a, condition: {a: b}}", "not a mapping"),
        ("responses:\n  utter_x:\n    - {text: a, condition: [x]}", "not a list"),
        (
            "responses:\n  utter_x:\n    - text: a\n      buttons:\n        - title: b",
            "domain.yml:5: a button of 'utter_x'",
        ),
        ("responses:\n  utter_x:\n    - text: a\n      buttons: [b]", "needs a 'title' and a 'payload'"),
        ("actions: [3]", "'actions' must list names, not 3."),
        ("actions: [{a: 1, b: 2}]", "not a mapping"),
        ("slots: {}\nsession_config: {session_expiration: 3}", "Did you mean 'session_expiration_time'?"),
        ("slots: {}\nsession_config: {session_expiration_time: never}", "must be a number"),
    ],
)
def test_bad_domains(write, text, complaint):
    assert complaint in problems(write(text))


def test_all_problems_at_once(write):
    text = problems(write("slots:\n  a: x\n  b: y\nresponses:\n  utter_z: []"))
    assert text.startswith("3 problems:")
    assert text.index(":2:") < text.index(":3:") < text.index(":5:")


def test_what_has_no_effect_is_a_warning(write):
    report = Report()
    path = write(
        "forms: {f: {}}\nslots: {a: {type: text, values: [x], mappings: [{type: from_entity, entity: b}]}}\n"
        "responses: {say_x: [{text: a}]}"
    )
    assert read_domain(path, report).slots["a"].values == ()
    assert report.errors == ()
    assert [str(warning).split("domain.yml:")[1].split("\n")[0] for warning in report.warnings] == [
        "1: out of scope, not run: forms (f).",
        "2: 'values' of slot 'a' are ignored: it is not categorical.",
        "3: response 'say_x' should begin with 'utter_'.",
    ]


def test_missing_file_is_one_problem(tmp_path):
    assert problems(tmp_path / "domain.yml").count("does not exist") == 1


def test_own_things_win_entirely():
    base = Domain(slots={"a": Slot("a", "text"), "b": Slot("b", "text")}, actions=("x", "y"))
    own = Domain(slots={"a": Slot("a", "bool")}, actions=("y", "z"), session=Session(5))
    both = own.over(base)
    assert both.slots == {"a": Slot("a", "bool"), "b": Slot("b", "text")}
    assert both.actions == ("y", "z", "x")
    assert both.session == Session(5)


def test_builtin_slots():
    domain = with_builtin_slots(Domain(slots={"a": Slot("a", "text")}), "en", ("de", "en"))
    assert domain.slots["language"].values == ("en", "de")
    assert domain.slots["language"].initial_value == "en"
    assert {slot.name for slot in domain.slots.values() if slot.builtin} == {
        "flow_hashes",
        "session_started_metadata",
        "mocked_datetime",
        "requested_slot",
        "language",
    }
    assert "language" not in with_builtin_slots(Domain()).slots
