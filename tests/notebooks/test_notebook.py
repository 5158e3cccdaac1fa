"""The notebook is what its source says, and runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed (extra `dev`)")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_the_notebook_is_built_from_its_source() -> None:
    source = jupytext.read(NOTEBOOKS / "finetune.py")
    built = jupytext.read(NOTEBOOKS / "finetune.ipynb")
    assert [(cell.cell_type, cell.source) for cell in built.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ], "run `jupytext --to ipynb notebooks/finetune.py`"


@pytest.mark.slow
@pytest.mark.vllm
def test_the_notebook_runs_from_tests_to_verdict(tmp_path: Path) -> None:
    for package in ("nbclient", "ipykernel", "torch", "vllm"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    settings = {"NOTEBOOK_OUT": str(tmp_path), "NOTEBOOK_TESTS": "e2e_tests/happy_paths", "NOTEBOOK_STEPS": "2"}
    run = "import sys, jupytext, nbclient; nbclient.NotebookClient(jupytext.read(sys.argv[1]), timeout=1200).execute()"
    command = [sys.executable, "-c", run, str(NOTEBOOKS / "finetune.ipynb")]
    result = subprocess.run(
        command, cwd=NOTEBOOKS, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "model" / "loss.png").read_bytes().startswith(b"\x89PNG")
