"""The entry ``nlg`` of endpoints.yml, and references to model groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.project.config import read_config
from rasa_ft.calm.project.model_references import check_model_references
from rasa_ft.calm.project.nlg import NLG, Rephrasing, ResponseServer, read_nlg
from rasa_ft.yaml_source import parse_yaml


def read(folder: Path, text: str) -> tuple[NLG | None, Report]:
    report = Report()
    return read_nlg(parse_yaml(text, folder / "endpoints.yml"), folder, report), report


@pytest.mark.parametrize("text", ["other: 1", "nlg: null", "nlg: {type: response}", "nlg: {}"])
def test_as_written(tmp_path: Path, text: str):
    assert read(tmp_path, text)[0] is None


def test_a_rephraser_by_default(tmp_path: Path):
    nlg, report = read(tmp_path, "nlg: {type: rephrase}")
    assert nlg == Rephrasing()
    assert (nlg.summarize_history, nlg.max_historical_turns, nlg.join_utterances) == (True, 5, True)
    assert report.findings == []


@pytest.mark.parametrize("key", ["prompt_template", "prompt"])
def test_all_options(tmp_path: Path, key: str):
    (tmp_path / "p.jinja2").write_text("{{ suggested_response }}")
    nlg, report = read(
        tmp_path,
        f"""
nlg:
  type: rasa_plus.ml.ContextualResponseRephraser
  llm: {{model_group: g}}
  {key}: p.jinja2
  rephrase_all: true
  summarize_history: false
  max_historical_turns: 0
  count_multiple_utterances_as_single_turn: false
  trace_prompt_tokens: true
""",
    )
    assert report.findings == []
    assert nlg == Rephrasing({"model_group": "g"}, tmp_path / "p.jinja2", True, False, 1, False)


def test_a_server(tmp_path: Path):
    nlg, _ = read(tmp_path, "nlg: {url: 'http://x/nlg', token: t}")
    assert nlg == ResponseServer("http://x/nlg", {"url": "http://x/nlg", "token": "t"})
    assert read(tmp_path, "nlg: {type: callback, url: 'https://x'}")[0].url == "https://x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nlg: rephrase", "must be a mapping"),
        ("nlg: {type: rephrasing}", "Did you mean 'rephrase'"),
        ("nlg: {type: callback}", "needs 'url'"),
        ("nlg: {type: callback, url: 'grpc://x'}", "needs 'url'"),
        ("nlg: {type: rephrase, rephrase_everything: true}", "is not a key of nlg"),
        ("nlg: {type: rephrase, prompt_template: gone.jinja2}", "gone.jinja2 does not exist"),
        ("nlg: {type: rephrase, prompt_template: bad.jinja2}", "is not a jinja template"),
        ("nlg: {type: rephrase, max_historical_turns: few}", "must be a whole number"),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, text: str, message: str):
    (tmp_path / "bad.jinja2").write_text("{{ a")
    _, report = read(tmp_path, f"\n{text}\n")
    (finding,) = report.findings
    assert finding.severity == "error"
    assert message in finding.message
    assert finding.location.line == 2


def test_a_class_of_one_s_own_is_left_out_with_a_warning(tmp_path: Path):
    nlg, report = read(tmp_path, "nlg: {type: custom.quick.QuickRephraser, prompt: somewhere}")
    assert nlg is None
    (finding,) = report.findings
    assert finding.severity == "warning"
    assert "custom.quick.QuickRephraser" in finding.message


# -- model groups ---------------------------------------------------------------------------------------------------

CONFIG = """
assistant_id: a
pipeline:
  - name: CompactLLMCommandGenerator
    llm: {llm}
    flow_retrieval: {{embeddings: {embeddings}}}
policies:
  - name: FlowPolicy
  - {{name: EnterpriseSearchPolicy, llm: {search}}}
"""
MODEL = "{provider: openai, model: gpt-4o}"


def references(folder: Path, llm: str = "{}", embeddings: str = "{}", search: str = "null", nlg: str = "") -> list[str]:
    file = folder / "config.yml"
    file.write_text(CONFIG.format(llm=llm, embeddings=embeddings, search=search))
    report = Report()
    config = read_config(file, report)
    endpoints = parse_yaml(f"model_groups: [{{id: main}}, broken]\n{nlg}", folder / "endpoints.yml")
    start = len(report.findings)
    check_model_references(config, read_nlg(endpoints, folder, report), endpoints, report)
    return [finding.message for finding in report.findings[start:]]


def test_groups_everywhere_or_nowhere(tmp_path: Path):
    group = "{model_group: main}"
    assert references(tmp_path) == []
    assert references(tmp_path, MODEL, MODEL, MODEL, f"nlg: {{type: rephrase, llm: {MODEL}}}") == []
    assert references(tmp_path, group, group, group, f"nlg: {{type: rephrase, llm: {group}}}") == []
    messages = references(tmp_path, group, MODEL, MODEL, f"nlg: {{type: rephrase, llm: {MODEL}}}")
    assert [message.partition(" writes")[0] for message in messages] == [
        "embeddings of CompactLLMCommandGenerator",
        "llm of EnterpriseSearchPolicy",
        "llm of nlg",
    ]


def test_unknown_groups_are_found_wherever_they_are_named(tmp_path: Path):
    group = "{model_group: mian}"
    messages = references(tmp_path, group, group, group, f"nlg: {{type: rephrase, llm: {group}}}")
    assert len(messages) == 4
    assert all("Did you mean 'main'" in message for message in messages)


def test_without_any_groups(tmp_path: Path):
    report = Report()
    (tmp_path / "config.yml").write_text("pipeline: []\n")
    config = read_config(tmp_path / "config.yml", Report())
    check_model_references(config, Rephrasing({"model_group": "g"}), {"model_groups": "none"}, report)
    assert [finding.message for finding in report.findings] == ["model group 'g' is not in endpoints.yml."]
