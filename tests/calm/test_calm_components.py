"""Own subclasses of components are recognised without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.calm.project.components import known_component
from rasa_ft.calm.project.config import GENERATORS

SOURCE = """\
import somewhere_that_does_not_exist
from rasa.generators import CompactLLMCommandGenerator, generators

class Mine(CompactLLMCommandGenerator):
    pass

class Younger(Mine):
    pass

class Qualified(generators.SearchReadyLLMCommandGenerator):
    pass

class Circle(Circle2): ...
class Circle2(Circle): ...
class Other(Base): ...
class OddLLMCommandGenerator(Base): ...
"""


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("CompactLLMCommandGenerator", "CompactLLMCommandGenerator"),
        ("rasa.x.SingleStepLLMCommandGenerator", "SingleStepLLMCommandGenerator"),
        ("parts.own.Mine", "CompactLLMCommandGenerator"),
        ("parts.own.Younger", "CompactLLMCommandGenerator"),
        ("parts.own.Qualified", "SearchReadyLLMCommandGenerator"),
        ("parts.own.Circle", None),
        ("parts.own.Other", None),
        ("parts.own.OddLLMCommandGenerator", "LLMCommandGenerator"),
        ("parts.own.Ghost", None),
        ("ghost.CustomCompactLLMCommandGenerator", "CompactLLMCommandGenerator"),
        ("ghost.CustomGenerator", None),
        ("bad.Mine", None),
        ("MyCompactLLMCommandGenerator", None),  # without a module it would be a component of the framework
    ],
)
def test_base_classes(tmp_path: Path, written: str, known: str | None) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "own.py").write_text(SOURCE)
    (tmp_path / "bad.py").write_text("class Mine(:")
    assert known_component(written, GENERATORS, tmp_path) == known
