from pathlib import Path

import pytest
from fake_engine import TESTS, FakeEngine

from rasa_ft.e2e.cases import Suite, load_suite


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    file = tmp_path / "tests.yml"
    file.write_text(TESTS, encoding="utf-8")
    return load_suite(file)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    project = tmp_path / "bot"
    project.mkdir()
    (project / "config.yml").write_text("pipeline: []\n", encoding="utf-8")
    return FakeEngine(project)
