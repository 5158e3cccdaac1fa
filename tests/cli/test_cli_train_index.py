"""`rasa train` embeds what conversations look up, and says so when it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rasa_ft.cli.main import run
from rasa_ft.llm.local_embeddings import is_installed

DESK = Path(__file__).parents[1] / "assistants/desk"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The desk assistant with documents."""
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = tmp_path / "desk"
    shutil.copytree(DESK, folder)
    (folder / "docs").mkdir()
    (folder / "docs" / "rules.txt").write_text("Desks are cleaned at noon.")
    config = folder / "config.yml"
    config.write_text(f"{config.read_text()}  - name: EnterpriseSearchPolicy\n    use_generative_llm: false\n")
    return folder


def test_an_unreachable_server(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (project / "config.yml").open("a") as config:
        config.write("    embeddings: {model_group: embedder}\n")
    with (project / "endpoints.yml").open("a") as endpoints:
        endpoints.write(
            "  - id: embedder\n    models:\n"
            "      - {provider: self-hosted, model: m, api_base: 'http://127.0.0.1:9/v1', num_retries: 0}\n"
        )
    assert run(["train", "--project", str(project)]) == 1
    assert "model 'm' at http://127.0.0.1:9/v1 is not reachable" in capsys.readouterr().err
    assert not (project / "models").exists()


@pytest.mark.skipif(not is_installed(), reason="needs the extra 'retrieval'")
def test_the_local_model(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--project", str(project)]) == 0
    told = capsys.readouterr().err
    assert "Embedded: 0 flows, 1 pieces of documents." in told
    assert "the local model all-MiniLM-L6-v2 stands in" in told
    assert (tmp_path / "cache" / "vectors.sqlite").is_file()
