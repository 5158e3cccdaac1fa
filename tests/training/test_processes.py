"""Several processes that train one model: on the CPU, with the configuration files for GPUs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="training libraries are not installed")

from rasa_ft.errors import UsageError
from rasa_ft.training import processes
from rasa_ft.training.config import TrainingRecipe
from rasa_ft.yaml_source import dump_yaml

CONFIGS = Path(__file__).parents[2] / "examples" / "accelerate"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_every_configuration(path):
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    assert found.mixed_precision == "no"
    assert str(found.distributed_type.value) in {"NO", "MULTI_GPU", "FSDP", "DEEPSPEED"}
    assert path.name in path.read_text(encoding="utf-8").split("compute_environment")[0]


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (processes.count(), processes.index(), processes.is_main()) == (1, 0, True)


def test_a_launched_process_knows_its_place(monkeypatch):
    for name, value in {"LOCAL_RANK": "1", "RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert (processes.count(), processes.index(), processes.is_main()) == (4, 3, False)


@pytest.mark.parametrize(
    ("launcher", "settings", "what"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, {"prefix_sharing": {"enabled": True}}, "prefix sharing"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {"quantization": {"load_in_4bit": True}}, "4 bits"),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, {"backend": "unsloth"}, "unsloth"),
    ],
)
def test_what_does_not_go_together_is_refused(monkeypatch, launcher, settings, what):
    recipe = TrainingRecipe.model_validate({"base_model": "any", **settings})
    processes.check(recipe)
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=what):
        processes.check(recipe)


def run(arguments: list[str], launcher: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "rasa_ft", "llm", "finetune", "train", *arguments]
    alone = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    result = subprocess.run(command, env=alone, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def two_processes(config: str) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / config)]
    return [*launch, "--num_processes", "2", "--main_process_port", port]


def losses(out: Path) -> list[float]:
    lines = (out / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["prefix sharing", "plain"])
def test_two_processes_train_as_one_with_twice_the_step(tiny_base, prepared, tmp_path, shared):
    recipe = {
        "base_model": str(tiny_base),
        "lora": {"r": 4},
        "training": {"max_steps": 4, "learning_rate": 2e-2, "bf16": False, "eval_steps": 2, "seed": 3},
        "prefix_sharing": {"enabled": shared, "wordings_per_group": 2},
    }
    file = tmp_path / "recipe.yml"
    file.write_text(dump_yaml(recipe), encoding="utf-8")
    common = [str(file), "--data", str(prepared), "--json"]
    size = "prefix_sharing.groups_per_step" if shared else "training.per_device_train_batch_size"
    run([*common, "-o", str(tmp_path / "one"), "--set", f"{size}=4"], [])
    said = run([*common, "-o", str(tmp_path / "two"), "--set", f"{size}=2"], two_processes("ddp.yaml"))

    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert distance(tmp_path / "one", tmp_path / "two") < 1e-3
    assert json.loads(said.stdout)["shared"] is shared
    assert said.stderr.count("step 4/4") == 1
    for name in ("manifest.json", "adapter_model.safetensors"):
        assert len(list((tmp_path / "two").rglob(name))) == 1
    assert not list(tmp_path.glob("*.partial"))


def distance(one: Path, two: Path) -> float:
    """Relative distance of two adapters, which are stored in 16 bits."""
    from safetensors.torch import load_file

    first, second = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (one, two))
    assert first.keys() == second.keys()
    apart = sum(float((first[name].float() - second[name].float()).square().sum()) for name in first)
    size = sum(float(weights.float().square().sum()) for weights in first.values())
    return (apart / size) ** 0.5
