"""The manifests render with kustomize, are valid Kubernetes and keep to the restricted Pod Security Standard."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

BASE = Path(__file__).parents[2] / "k8s" / "base"
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    run = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=True)
    return {manifest["kind"]: manifest for manifest in YAML(typ="safe").load_all(run.stdout)}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_manifests_are_valid(manifests: dict[str, dict[str, Any]], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    assert set(manifests) == {"Deployment", "Service", "PersistentVolumeClaim"}
    for manifest in manifests.values():
        validate.validate(manifest, version, strict=True)


def test_every_container_is_restricted(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_loading_may_take_minutes_before_the_pod_is_killed(pod: dict[str, Any]) -> None:
    startup = pod["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert {
        pod["containers"][0][f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
    } == {"/health"}


def test_image_has_a_version_and_shared_memory_is_large_enough(pod: dict[str, Any]) -> None:
    images = {container["image"] for container in (*pod["initContainers"], *pod["containers"])}
    assert len(images) == 1
    assert images.pop().partition(":")[2] not in ("", "latest")
    shared = next(volume for volume in pod["volumes"] if volume["name"] == "shared-memory")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_service_and_volume_belong_to_the_pod(manifests: dict[str, dict[str, Any]], pod: dict[str, Any]) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"].items() <= labels.items()
    claims = {
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    }
    assert claims == {manifests["PersistentVolumeClaim"]["metadata"]["name"]}
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    assert {port["targetPort"] for port in manifests["Service"]["spec"]["ports"]} <= ports


def test_arguments_are_known_to_the_command_builder(pod: dict[str, Any]) -> None:
    from rasa_ft.serving.command import ServedModel, ServeSettings, server_command

    ours = server_command(ServeSettings(ServedModel(Path("/mnt/models/finetuned"))), "vllm").arguments
    flags = {argument.partition("=")[0] for argument in pod["containers"][0]["args"] if argument.startswith("--")}
    assert flags <= set(ours)
