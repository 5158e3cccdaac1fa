from pathlib import Path

import pytest

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.project.config import read_config
from rasa_ft.calm.project.document_search import read_document_search

CONFIG = """\
assistant_id: x
pipeline:
  - name: CompactLLMCommandGenerator
policies:
  - name: FlowPolicy
  - name: {name}
{options}"""


def read(folder: Path, options: str = "", name: str = "EnterpriseSearchPolicy"):
    lines = "".join(f"    {line}\n" for line in options.splitlines())
    (folder / "config.yml").write_text(CONFIG.format(name=name, options=lines))
    report = Report()
    config = read_config(folder / "config.yml", report)
    return read_document_search(config, folder, report), [str(finding) for finding in report.findings]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs" / "below").mkdir(parents=True)
    (tmp_path / "docs" / "below" / "a.txt").write_text("text")
    (tmp_path / "answer.jinja2").write_text("{{ docs }}")
    return tmp_path


def test_defaults(folder):
    search, findings = read(folder)
    assert findings == []
    assert search.source == folder / "docs"
    assert (search.threshold, search.max_messages_in_query, search.max_history) == (0.0, 2, None)
    assert (search.generative, search.citations, search.check_relevancy) == (True, False, False)
    assert (search.llm, search.embeddings, search.prompt_template) == (None, None, None)
    assert search.readable
    assert search.location.line == 6


def test_all_options(folder):
    options = """\
priority: 1
llm: {model_group: a}
embeddings: {model_group: b}
vector_store: {type: FAISS, source: docs/below, threshold: 1}
prompt_template: answer.jinja2
prompt: other.jinja2
use_generative_llm: false
citation_enabled: true
check_relevancy: true
max_messages_in_query: 0
max_history: 3
include_date_time: false
timezone: Europe/Berlin
trace_prompt_tokens: true"""
    search, findings = read(folder, options, name="rasa_plus.ml.EnterpriseSearchPolicy")
    assert findings == []
    assert (search.llm["model_group"], search.embeddings["model_group"]) == ("a", "b")
    assert search.source == folder / "docs" / "below"
    assert (search.threshold, search.max_messages_in_query, search.max_history) == (1.0, 1, 3)
    assert (search.generative, search.citations, search.check_relevancy) == (False, True, True)
    assert search.prompt_template == folder / "answer.jinja2"
    assert (search.include_date_time, search.timezone) == (False, "Europe/Berlin")


def test_older_places(folder):
    search, findings = read(folder, "prompt: answer.jinja2\nvector_store: {embeddings: {provider: huggingface_local}}")
    assert findings == []
    assert search.embeddings["provider"] == "huggingface_local"
    assert search.prompt_template == folder / "answer.jinja2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("check_relevance: true", "config.yml:7: 'check_relevance' is not a key of EnterpriseSearchPolicy. Did you"),
        ("vector_store: {sources: x}", "'sources' is not a key of vector_store. Did you mean 'source'?"),
        ("vector_store: {source: nowhere}", "there are no documents (*.txt) in "),
        ("vector_store: {type: qdrant, host: x}", "qdrant"),
        ("prompt_template: no.jinja2", "config.yml:7: the search prompt template no.jinja2 does not exist."),
        ("timezone: Mars/Base", "config.yml:7: 'Mars/Base' is not a time zone."),
        ("citation_enabled: maybe", "'citation_enabled' must be true or false"),
        ("vector_store: faiss", "'vector_store' must be a mapping"),
    ],
)
def test_problems(folder, options, message):
    _, findings = read(folder, options)
    assert len(findings) == 1
    assert message in findings[0]


def test_no_such_policy(folder):
    (folder / "config.yml").write_text(CONFIG.format(name="FlowPolicy", options=""))
    report = Report()
    assert read_document_search(read_config(folder / "config.yml", report), folder, report) is None
