"""`rasa llm finetune deploy`: the folder it writes renders to what was asked for, and nothing of people is lost."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import container, needs_kubectl, pick, render
from restricted import pod_specs, violations
from ruamel.yaml import YAML

from rasa_ft.cli import main
from rasa_ft.errors import UsageError
from rasa_ft.serving.kubernetes.settings import check_name, parse_image, parse_size, parse_storage

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "finetuned"
    _weights(folder / "merged", gib=1)
    _weights(tmp_path / "base", gib=1)
    (folder / "adapter").mkdir()
    adapter = {"base_model_name_or_path": str(tmp_path / "base"), "r": 12}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    (folder / "student_prompt.jinja2").write_text("…")
    return folder


def _weights(folder: Path, gib: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048, "num_attention_heads": 12}))
    with (folder / "model.safetensors").open("wb") as stream:
        stream.truncate(int(gib * 2**30))  # takes no space on the disk


def deploy(*arguments: str, name: str = "bookings", source: str = "finetuned") -> int:
    where = ["--name", name, "--namespace", "bots"]
    return main.run(["llm", "finetune", "deploy", source, *where, *arguments])


def rendered(folder: str = "deploy/bookings") -> tuple[dict[str, Any], ...]:
    render.cache_clear()
    return render(Path(folder))


def pod_of(objects: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    spec: dict[str, Any] = pick(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def settings_of(objects: tuple[dict[str, Any], ...]) -> dict[str, str]:
    name = container(pod_of(objects), "vllm")["envFrom"][0]["configMapRef"]["name"]
    data: dict[str, str] = pick(objects, "ConfigMap", name)["data"]
    return data


@needs_kubectl
@pytest.mark.parametrize("storage", ["pvc:models", "s3://models/bookings/v1", f"image:registry:5000/bookings@{DIGEST}"])
@pytest.mark.parametrize("size", ["cpu", "gpu", "gpu:2"])
@pytest.mark.parametrize("source", ["finetuned", "finetuned/adapter"])
def test_every_deployment_is_valid_and_restricted(model: Path, storage: str, size: str, source: str) -> None:
    if source.endswith("adapter") and storage.startswith("s3"):
        pytest.skip("an adapter does not come from S3")
    validate = pytest.importorskip("kubernetes_validate")
    assert deploy("--storage", storage, "--size", size, source=source) == 0
    objects = rendered()
    for item in objects:
        validate.validate(item, "1.37", strict=True)
        assert item["metadata"]["namespace"] == "bots"
        assert item["metadata"]["name"].startswith("bookings-")
        assert [line for pod in pod_specs(item) for line in violations(pod)] == []
    arguments = " ".join(container(pod_of(objects), "vllm")["args"])
    assert set(re.findall(r"\$\((\w+)\)", arguments)) <= set(settings_of(objects))


@needs_kubectl
def test_a_volume_and_two_gpus(model: Path) -> None:
    assert deploy("--storage", "pvc:models", "--size", "gpu:2") == 0
    objects = rendered()
    values = settings_of(objects)
    assert values["MODEL_NAME"] == "bookings"
    assert values["MODEL_FOLDER"] == "/mnt/models/bookings"
    assert (values["MAX_MODEL_LEN"], values["TENSOR_PARALLEL_SIZE"]) == ("2048", "2")
    resources = container(pod_of(objects), "vllm")["resources"]
    assert {resources[kind]["nvidia.com/gpu"] for kind in ("requests", "limits")} == {"2"}
    volumes = {volume["name"]: volume for volume in pod_of(objects)["volumes"]}
    assert volumes["models"] == {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    assert volumes["keys"]["secret"]["secretName"] == "bookings-command-model-keys"


@needs_kubectl
def test_an_image_and_the_cpu(model: Path) -> None:
    assert deploy("--storage", f"image:registry:5000/bookings:v1@{DIGEST}", "--size", "cpu") == 0
    vllm = container(pod_of(rendered()), "vllm")
    assert vllm["image"] == f"registry:5000/bookings:v1@{DIGEST}"
    assert "--enforce-eager" in vllm["args"]
    assert deploy("--storage", f"image:bookings@{DIGEST}") == 0
    assert container(pod_of(rendered()), "vllm")["image"] == f"bookings@{DIGEST}"


@needs_kubectl
def test_an_adapter_and_its_base(model: Path) -> None:
    assert deploy("--storage", "pvc:models", source="finetuned/adapter") == 0
    objects = rendered()
    values = settings_of(objects)
    assert (values["MODEL_FOLDER"], values["ADAPTER_FOLDER"]) == (
        "/mnt/models/bookings-base",
        "/mnt/models/bookings-adapter",
    )
    assert values["ADAPTER_RANK"] == "16"  # the next that vLLM takes
    assert "--served-model-name=$(MODEL_NAME)-base" in container(pod_of(objects), "vllm")["args"]


@needs_kubectl
def test_large_weights_get_the_memory_and_the_room_they_need(model: Path) -> None:
    _weights(model / "merged", gib=140)
    assert deploy("--storage", "s3://models/bookings", "--size", "gpu:4") == 0
    objects = rendered()
    assert container(pod_of(objects), "vllm")["resources"]["requests"]["memory"] == "146Gi"
    (room,) = [volume["emptyDir"] for volume in pod_of(objects)["volumes"] if volume["name"] == "models"]
    assert room == {"sizeLimit": "282Gi"}


@needs_kubectl
def test_two_models_in_one_namespace_keep_to_their_own_pods(model: Path) -> None:
    assert deploy("--storage", "pvc:models") == 0
    assert deploy("--storage", "pvc:models", name="orders") == 0
    one, other = rendered(), rendered("deploy/orders")
    names = [{(item["kind"], item["metadata"]["name"]) for item in objects} for objects in (one, other)]
    assert not names[0] & names[1]
    labels = pick(other, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [pick(one, "Service")["spec"]["selector"], pick(one, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in one if item["kind"] == "NetworkPolicy"]
    selectors.append(pick(one, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert not any(selector.items() <= labels for selector in selectors)


@needs_kubectl
def test_added_components_stay_and_fit(model: Path) -> None:
    assert deploy("--storage", "pvc:models") == 0
    top = Path("deploy/bookings/kustomization.yaml")
    added = ["monitoring", "autoscaling-keda", "surge", "image-digests"]
    lines = "".join(f"  - manifests/components/{name}\n" for name in added)
    top.write_text(top.read_text().replace("  - model\n", f"  - model\n{lines}"))
    assert deploy("--storage", "s3://models/bookings", "--size", "gpu:2") == 0
    listed = YAML(typ="safe").load(top)["components"]
    assert listed[-5:] == ["model", *(f"manifests/components/{name}" for name in added)]
    objects = rendered()
    scaler = pick(objects, "ScaledObject")
    assert scaler["spec"]["scaleTargetRef"]["name"] == pick(objects, "Deployment")["metadata"]["name"]
    assert '{model_name="bookings"}' in scaler["spec"]["triggers"][0]["metadata"]["query"]
    assert {item["metadata"]["namespace"] for item in objects} == {"bots"}


def test_the_bot_gets_its_lines_and_people_their_steps(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy("--storage", "pvc:models") == 0
    shown = capsys.readouterr()
    endpoints = YAML(typ="safe").load(shown.out.partition("# config.yml")[0])
    (group,) = endpoints["model_groups"][0]["models"]
    assert group["model"] == "bookings"
    assert group["api_base"] == "http://bookings-command-model.bots.svc:8080/v1"
    assert "finetuned/student_prompt.jinja2" in shown.out
    for words in (
        "Nothing was applied",
        "kubectl apply -k deploy/bookings",
        "kubectl create secret generic bookings-command-model-keys -n bots",
        "kubectl cp finetuned/merged POD:/mnt/models/bookings -n bots",
        "HOSTED_VLLM_API_KEY",
    ):
        assert words in shown.err


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("s3://models/bookings", ["export finetuned --format merged-16bit --push-to s3://models/bookings"]),
        ("image:bookings:v1", ["FROM vllm/vllm-openai:v0", "COPY finetuned/merged /mnt/models/bookings"]),
    ],
)
def test_steps_for_other_storages(
    model: Path, capsys: pytest.CaptureFixture[str], storage: str, words: list[str]
) -> None:
    assert deploy("--storage", storage) == 0
    told = capsys.readouterr().err
    assert all(word in told for word in words)
    assert "touch" not in told


def test_diff_tells_and_writes_nothing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy("--storage", "pvc:models", "--diff") == 0
    assert "+++ b/model/deployment.yaml" in capsys.readouterr().out
    assert not Path("deploy").exists()
    assert deploy("--storage", "pvc:models") == 0
    before = {path: path.read_bytes() for path in Path("deploy").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert deploy("--storage", "pvc:models", "--diff") == 0
    assert capsys.readouterr().out == ""
    assert deploy("--storage", "pvc:others", "--diff") == 0
    out = capsys.readouterr().out
    assert "-            claimName: models\n+            claimName: others" in out
    assert "a/manifests" not in out
    assert before == {path: path.read_bytes() for path in Path("deploy").rglob("*") if path.is_file()}


def test_what_is_not_ours_is_not_replaced(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/kustomization.yaml").write_text("resources: []\n")
    assert deploy("--storage", "pvc:models", "-o", "mine") == 2
    assert deploy("--storage", "pvc:models") == 0
    Path("deploy/bookings/notes.txt").write_text("mine")
    capsys.readouterr()
    assert deploy("--storage", "pvc:models") == 2
    assert "notes.txt was not written by `deploy`" in capsys.readouterr().err
    assert Path("deploy/bookings/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--storage", "pvc:Models"], "not of the form"),
        (["--storage", "pcv:models"], "Did you mean 'pvc'?"),
        (["--storage", "s3://models"], "not of the form"),
        (["--storage", "s3://models/x;reboot"], "not of the form"),
        (["--storage", "image:bookings"], "without a fixed version"),
        (["--storage", "image:bookings:latest"], "without a fixed version"),
        (["--storage", "image:Book ings:v1"], "not the name of an image"),
        (["--storage", "pvc:models", "--size", "gpu:0"], "not cpu, gpu or gpu:N"),
        (["--storage", "pvc:models", "--size", "tpu"], "not cpu, gpu or gpu:N"),
        (
            ["--storage", "pvc:models", "--size", "gpu:8"],
            "12 attention heads cannot be shared evenly.\n  Possible: 2, 4.",
        ),
        (["--storage", "pvc:models", "--name", "Book_ings"], "is no DNS label"),
        (["--storage", "pvc:models", "--name", "x" * 41], "at most 40"),
        (["--storage", "pvc:models", "--namespace", "-x"], "is no DNS label"),
    ],
)
def test_what_cannot_be_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert deploy(*arguments) == 2
    assert reason in capsys.readouterr().err
    assert not Path("deploy").exists()


def test_an_adapter_from_s3_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy("--storage", "s3://models/bookings", source="finetuned/adapter") == 2
    assert "--format merged-16bit" in capsys.readouterr().err


def test_a_folder_without_weights_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "merged" / "model.safetensors").unlink()
    assert deploy("--storage", "pvc:models") == 1
    assert "holds no weights" in capsys.readouterr().err


def test_the_name_is_the_folder_s_by_default(model: Path) -> None:
    assert main.run(["llm", "finetune", "deploy", "finetuned", "--namespace", "bots", "--storage", "pvc:m"]) == 0
    assert Path("deploy/finetuned/kustomization.yaml").is_file()


def test_images_are_taken_apart() -> None:
    image = parse_image(f"host.example:5000/team/bookings:v1@{DIGEST}")
    assert (image.name, image.tag, image.digest) == ("host.example:5000/team/bookings", "v1", DIGEST)
    assert parse_image("bookings:v1").name == "bookings"
    assert [parse_size(text) for text in ("cpu", "gpu", "gpu:1", "gpu:16")] == [0, 1, 1, 16]


@given(st.text(st.characters(codec="utf-8"), max_size=70))
def test_accepted_names_are_safe_anywhere(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert re.fullmatch(r"[a-z0-9-]{1,40}", check_name("--name", text))


@given(st.sampled_from(["pvc:", "s3://models/", "image:bookings:", ""]), st.text(max_size=40))
def test_accepted_storage_has_nothing_that_a_shell_or_yaml_reads(start: str, text: str) -> None:
    try:
        place = parse_storage(start + text).place
    except UsageError:
        return
    assert re.fullmatch(r"[\w./:@-]+", place, re.ASCII)
