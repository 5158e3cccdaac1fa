"""`rasa llm finetune export`: what it prints, and what it refuses before it does any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rasa_ft.cli import main

pytest.importorskip("peft", reason="training libraries are not installed")
import fake_stores
import tiny_tokenizers


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What train leaves, of a model that fits into a test; the folder above is the current one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from rasa_ft.training.export.merged import save_adapter, save_merged

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=300, eos_token_id=1, **sizes))
    tokenizer = tiny_tokenizers.chatml()
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    run = tmp_path / "finetuned"
    save_adapter(adapted, tokenizer, run / "adapter")
    save_merged(adapted, tokenizer, 1, run / "merged")
    (run / "student_prompt.jinja2").write_text("…")
    manifest = {"kind": "training", "recipe": {"base_model": "org/base"}, "inputs": {"student_prompt.jinja2": "1"}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    return run


def run(*arguments: str) -> int:
    return main.run(["llm", "finetune", "export", *arguments])


def test_the_default_is_a_merged_model_beside_the_run(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    shown = capsys.readouterr()
    assert "folder  finetuned-merged-16bit" in shown.out
    assert "rasa llm finetune serve finetuned-merged-16bit" in shown.err
    assert Path("finetuned-merged-16bit/model.safetensors").is_file()


def test_the_exported_folder_can_be_served(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", "rail") == 0
    assert main.run(["llm", "finetune", "serve", "rail", "--dry-run", "--backend", "vllm"]) == 0
    shown = capsys.readouterr().out
    assert "--model rail" in shown
    assert "prompt_template: rail/student_prompt.jinja2" in shown


def test_json(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("finetuned", "--format", "adapter", "--out", "a", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["folder"], result["format"]) == ("a", "adapter")
    assert result["bytes"] == sum(file.stat().st_size for file in Path("a").iterdir() if file.name != "export.json")


def test_pushing(tuned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    with fake_stores.google() as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url.removeprefix("http://"))
        assert run("--format", "adapter", "--push-to", "gs://models/rail", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["pushed_to"] == "gs://models/rail"
    assert "uploading adapter_model.safetensors" in shown.err
    exported = {f"/models/rail/{file.name}": file.read_bytes() for file in Path("finetuned-adapter").iterdir()}
    assert store.files == exported


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "onnx"], 2, "'onnx' is not one of"),
        (["--push-to", "ftp://x"], 2, "--push-to ftp://x: not of the form"),
        (["--public"], 2, "there is no --push-to"),
        (["--public", "--push-to", "s3://x"], 2, "--public is for the hub"),
        (["--format", "gguf"], 4, "git clone"),
        (["--format", "gguf", "--llama-cpp", "nowhere"], 4, "nowhere is no checkout of llama.cpp"),
        (["nowhere"], 1, "nowhere does not exist"),
        (["--out", "finetuned"], 2, "is the model itself"),
        (["--max-shard-size", "two gigabytes"], 2, "--max-shard-size"),
    ],
)
def test_refused(
    arguments: list[str], code: int, message: str, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in Path().iterdir())
    assert run(*arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(path.name for path in Path().iterdir()) == before
