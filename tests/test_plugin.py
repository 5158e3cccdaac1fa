"""`rasa-ft plugin`: opt-in, exactly reversible, never over somebody else's script."""

import subprocess
import sys
from pathlib import Path

import pytest

from rasa_ft import plugin
from rasa_ft.errors import RasaFtError


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plugin.sysconfig, "get_path", lambda name: str(tmp_path))
    return tmp_path


def test_the_script_runs_our_tree(scripts: Path) -> None:
    path = plugin.enable()
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("rasa-ft, version")


def test_enable_and_disable_are_reversible(scripts: Path) -> None:
    assert not plugin.is_enabled()
    plugin.enable()
    plugin.enable()
    assert plugin.is_enabled()
    assert plugin.disable()
    assert list(scripts.iterdir()) == []
    assert not plugin.disable()


def test_a_foreign_rasa_is_left_alone(scripts: Path) -> None:
    foreign = scripts / "rasa"
    foreign.write_text("#!/bin/sh\necho stock\n")
    with pytest.raises(RasaFtError, match="left as it is"):
        plugin.enable()
    assert not plugin.disable()
    assert foreign.read_text() == "#!/bin/sh\necho stock\n"


def test_an_orphaned_script_says_what_to_do(scripts: Path) -> None:
    path = plugin.enable()
    text = path.read_text().replace("from rasa_ft.cli.main", "from rasa_ft_gone.cli.main")
    path.write_text(text)
    result = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"delete {path}" in result.stderr
