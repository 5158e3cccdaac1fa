"""rasa-pro's own readers find in tests and assistants what our readers find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from our_view import assert_same, case_view, domain_view, flow_view, their_case_view
from rasa_pro_process import RasaPro, Refused

from rasa_ft.calm.dsl import codec_for
from rasa_ft.calm.flows.loading import load_flows
from rasa_ft.calm.project.domain import load_domain
from rasa_ft.e2e.cases import load_suite
from rasa_ft.serving.endpoint import Endpoint
from rasa_ft.yaml_source import load_yaml, plain

pytestmark = pytest.mark.rasa_pro

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BOT = ROOT / "examples/bot"
DESK = ROOT / "tests/assistants/desk"


def test_all_that_is_called_is_there(rasa_pro: RasaPro) -> None:
    missing = rasa_pro.read("contract")
    assert not missing, "; ".join(missing)


def test_a_file_that_both_refuse(rasa_pro: RasaPro, tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("test_cases: [{test_case: a, steps: [{use: hi}]}]\n")
    with pytest.raises(Refused, match="Exception"):
        rasa_pro.read("e2e", path=tmp_path / "t.yml")


@pytest.mark.parametrize("path", [BOT / "e2e_tests", BOT / "e2e_stubbed", HERE / "suites"], ids=lambda path: path.name)
def test_the_same_cases(rasa_pro: RasaPro, path: Path) -> None:
    ours = {(case.file, case.name): case_view(case) for case in load_suite(path).cases}
    theirs = {(Path(case["file"]), case["name"]): their_case_view(case) for case in rasa_pro.read("e2e", path=path)}
    assert theirs.keys() == ours.keys()
    for key, case in ours.items():
        assert_same(theirs[key], case)


@pytest.fixture(scope="module", params=[BOT, DESK], ids=lambda project: project.name)
def project(request: pytest.FixtureRequest, rasa_pro: RasaPro) -> tuple[Path, dict[str, Any]]:
    """An assistant's folder, and what rasa-pro reads there."""
    domain = next(path for name in ("domain.yml", "domain") if (path := request.param / name).exists())
    paths = {"config": request.param / "config.yml", "domain": domain, "data": request.param / "data"}
    return request.param, rasa_pro.read("project", **paths)


def test_the_same_domain(project: tuple[Path, dict[str, Any]]) -> None:
    folder, theirs = project
    domain = folder / "domain.yml" if (folder / "domain.yml").exists() else folder / "domain"
    theirs["actions"] = sorted(theirs["actions"])
    for key, ours in domain_view(load_domain(domain)).items():
        assert_same(theirs[key], ours)


def test_the_same_flows(project: tuple[Path, dict[str, Any]]) -> None:
    folder, theirs = project
    ours = {flow.id: flow_view(flow) for flow in load_flows(folder / "data").values()}
    assert list(theirs["flows"]) == list(ours)
    for flow_id, flow in ours.items():
        assert_same(theirs["flows"][flow_id], flow)


def test_the_same_configuration(project: tuple[Path, dict[str, Any]]) -> None:
    folder, theirs = project
    assert_same(theirs["config"], plain(load_yaml(folder / "config.yml")))


def test_what_serve_prints_for_endpoints_and_config(rasa_pro: RasaPro, tmp_path: Path) -> None:
    endpoint = Endpoint("http://127.0.0.1:8000/v1", "northline", timeout=12.5)
    (tmp_path / "endpoints.yml").write_text(endpoint.endpoints_yml())
    (model,) = rasa_pro.read("endpoints", path=tmp_path / "endpoints.yml")["finetuned"]
    assert (model["provider"], model["model"]) == ("self-hosted", "northline")
    assert (model["api_base"], model["timeout"]) == ("http://127.0.0.1:8000/v1", 12.5)
    assert (model["temperature"], model["max_tokens"]) == (0.0, 256)
    (tmp_path / "config.yml").write_text("recipe: default.v1\nassistant_id: a\n" + endpoint.config_yml("p.jinja2"))
    paths = {"domain": DESK / "domain.yml", "data": DESK / "data"}
    (component,) = rasa_pro.read("project", config=tmp_path / "config.yml", **paths)["config"]["pipeline"]
    assert component["llm"] == {"model_group": "finetuned"} and component["prompt_template"] == "p.jinja2"


@pytest.mark.parametrize(
    "template", sorted((ROOT / "rasa_ft/understanding/prompts").glob("*.jinja2")), ids=lambda p: p.name
)
def test_templates(rasa_pro: RasaPro, template: Path) -> None:
    assert rasa_pro.read("template", path=template)


VALUES = (
    *("York", "new york", "O'Brien", "'q'", '"b, c"', "a, b", "a (b)", "(a)", "x)", "1.5", "true", "null", "None"),
    *("undefined", "[missing]", "york?", "york.", "a;b", "€5", "é…😀", "set slot b c", "''", "don't", 'say "hi" now'),
    *("10:30", "2025-01-31", "http://a.b/c?d=e", "a@b.c", "+44 (0)20", "1,000", "…", "no thanks, bye."),
)
LINES = {
    "v1": """\
StartFlow(book_desk)
StartFlow(book_desk) SetSlot(day, x)
CancelFlow()
CancelFlow
SkipQuestion()
SearchAndReply()
ChitChat()
RepeatLastBotMessages()
Clarify(book_desk, park_car)
Clarify()
SetSlot(day)
SetSlot(day, x
Good morning!""",
    "v2": """\
start flow book_desk
start flow book_desk.
- start flow book_desk
`start flow book_desk`
start flow book_desk, set slot day x
cancel flow
1. cancel flow
cancel flow.
cancel
skip question
provide info
offtopic reply
repeat message
disambiguate flows book_desk park_car
disambiguate flows book_desk, park_car
set slot day
Good morning!""",
    "v3": """\
start flow book_desk
search and reply
provide info
offtopic reply
disambiguate flows book_desk park_car""",
}
SET = {"v1": "SetSlot(day, {})", "v2": "set slot day {}", "v3": "set slot day {}"}


@pytest.mark.parametrize("syntax", LINES)
def test_the_same_commands_in_a_models_answer(rasa_pro: RasaPro, syntax: str) -> None:
    codec = codec_for(syntax)
    files = {"config": DESK / "config.yml", "domain": DESK / "domain.yml", "data": DESK / "data"}
    lines = [*LINES[syntax].splitlines(), *map(SET[syntax].format, VALUES)]
    theirs = rasa_pro.read("commands", lines=lines, syntax=syntax, **files)
    for line, found in zip(lines, theirs, strict=True):
        assert (line, found) == (line, [codec.dump([command]) for command in codec.parse(line)])
