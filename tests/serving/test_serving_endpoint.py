from __future__ import annotations

from pathlib import Path

from rasa_ft.llm.config import command_group, load_model_groups
from rasa_ft.serving.endpoint import Endpoint

ENDPOINT = Endpoint("http://127.0.0.1:8000/v1", "finetuned", timeout=7.5)


def test_snippets_are_read_back_as_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yml").write_text(ENDPOINT.endpoints_yml())
    (tmp_path / "config.yml").write_text(ENDPOINT.config_yml("prompts/student.jinja2"))
    assert load_model_groups(tmp_path / "endpoints.yml") == {"finetuned": ENDPOINT.model_group()}
    assert command_group(tmp_path) == ENDPOINT.model_group()


def test_what_rasa_does_not_default_is_written_out() -> None:
    text = ENDPOINT.endpoints_yml()
    for line in ("provider: self-hosted", "temperature: 0.0", "max_tokens: 256", "timeout: 7.5", "/v1"):
        assert line in text


def test_snippet_names_both_files_and_the_template() -> None:
    snippet = ENDPOINT.snippet(Path("finetuned/student_prompt.jinja2"))
    assert snippet.index("# endpoints.yml") < snippet.index("# config.yml")
    assert "prompt_template: finetuned/student_prompt.jinja2" in snippet
    assert "prompt_template" not in ENDPOINT.snippet()
