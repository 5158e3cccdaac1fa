"""The notebooks are what their sources say, and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_tokenizers

jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed (extra `dev`)")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize("name", ["finetune", "finetune_gpu"])
def test_the_notebook_is_built_from_its_source(name: str) -> None:
    source = jupytext.read(NOTEBOOKS / f"{name}.py")
    built = jupytext.read(NOTEBOOKS / f"{name}.ipynb")
    assert [(cell.cell_type, cell.source) for cell in built.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ], f"run `jupytext --to ipynb notebooks/{name}.py`"
    assert not any(cell.get("outputs") for cell in built.cells), "outputs do not belong into the repository"


def test_the_pinned_versions_are_those_that_are_tested() -> None:
    text = (NOTEBOOKS / "finetune_gpu.py").read_text(encoding="utf-8")
    constraints = (NOTEBOOKS.parent / "constraints" / "cpu.txt").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in text.splitlines() if line.startswith("PINNED = ")]
    pinned = [part.strip('" ') for part in line.removeprefix("PINNED = (").rstrip(")").split(",")]
    assert len(pinned) == 5
    assert set(pinned) <= set(constraints)


def execute(notebook: Path, settings: dict[str, str]) -> None:
    for package in ("nbclient", "ipykernel", "torch"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    run = "import sys, jupytext, nbclient; nbclient.NotebookClient(jupytext.read(sys.argv[1]), timeout=1200).execute()"
    command = [sys.executable, "-c", run, str(notebook)]
    result = subprocess.run(
        command, cwd=NOTEBOOKS, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.vllm
def test_the_notebook_runs_from_tests_to_verdict(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed")
    settings = {"NOTEBOOK_OUT": str(tmp_path), "NOTEBOOK_TESTS": "e2e_tests/happy_paths", "NOTEBOOK_STEPS": "2"}
    execute(NOTEBOOKS / "finetune.ipynb", settings)
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "model" / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_gpu_notebook_runs_on_a_tiny_model(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="training libraries are not installed")
    changes = (
        f"base_model={tiny_model(tmp_path / 'base')}",
        "quantization.load_in_4bit=false",
        "training.optim=adamw_torch",
        "training.bf16=false",
        "training.max_steps=2",
    )
    settings = {
        "NOTEBOOK_DATA": str(rows(tmp_path / "output")),
        "NOTEBOOK_OUT": str(tmp_path / "model"),
        "NOTEBOOK_CHANGES": " ".join(changes),
        "HF_TOKEN": "",
    }
    execute(NOTEBOOKS / "finetune_gpu.ipynb", settings)
    log = [json.loads(line) for line in (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "validation_loss" in line] == [1, 2]
    assert (tmp_path / "model" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "model-adapter" / "adapter_model.safetensors").is_file()


def tiny_model(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizers.chatml().save_pretrained(folder)
    return folder


def rows(folder: Path) -> Path:
    folder.mkdir()
    for name in ("train", "val"):
        messages = [
            [{"role": "user", "content": f"{name} {number}"}, {"role": "assistant", "content": "start flow book"}]
            for number in range(4)
        ]
        lines = "".join(json.dumps({"messages": one}) + "\n" for one in messages)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder
