"""rasa-pro's readers for these tests, which are skipped without them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rasa_pro_process import VARIABLE, RasaPro, rasa_pro_of


@pytest.fixture(scope="session")
def rasa_pro(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RasaPro]:
    """One process for the whole session: importing rasa-pro takes ten seconds."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} does not name a Python that has rasa-pro; `make test-rasa-pro` installs one")
    program = shutil.which(python)
    assert program, f"{VARIABLE}: {python} is no program"
    with rasa_pro_of(str(Path(program).absolute()), tmp_path_factory.mktemp("rasa_pro")) as found:
        yield found
