"""The files of a deployment: our manifests as they are, and one kustomize component with what is this model's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.serving.command import allowed_rank
from rasa_ft.serving.kubernetes.settings import DeploySettings, parse_image
from rasa_ft.yaml_source import dump_yaml

MARK = "# Written by `rasa llm finetune deploy`, which replaces this folder when it is called again.\n"
_HEAD = (
    MARK
    + """# Components that you add below `model` stay, for example manifests/components/monitoring.
"""
)
# What is this model's own; whatever stands below it in the list of components was added by people.
OWN_COMPONENT = "model"
_MODELS = "/mnt/models"
_DEFAULT_MEMORY = {"cpu": 8, "gpu": 16, "gpus": 32}  # GiB, as in the components
_MAX_LENGTH = 8192  # as `serve` has it


def manifests_folder() -> Path:
    """Where our manifests are: in the installed package, or in the repository it is run from.

    Raises:
        DataError: in neither.
    """
    packaged = Path(__file__).parent / "manifests"
    for folder in (packaged, Path(__file__).parents[3] / "k8s"):
        if (folder / "base" / "kustomization.yaml").is_file():
            return folder
    raise DataError("this installation of rasa_ft holds no Kubernetes manifests.", hint="Install it again.")


def vllm_version() -> str:
    """The tag of vLLM's image in our manifests."""
    text = (manifests_folder() / "base" / "kustomization.yaml").read_text(encoding="utf-8")
    (version,) = re.findall(r"name: vllm/vllm-openai\n\s+newTag: (\S+)", text)
    return str(version)


def deployment_files(settings: DeploySettings, added: Sequence[str] = ()) -> Mapping[str, str]:
    """The text of every file by its path below the folder; ``added`` are components that people added to ours."""
    source = manifests_folder()
    files = {
        f"manifests/{path.relative_to(source).as_posix()}": path.read_text(encoding="utf-8")
        for part in ("base", "components")
        for path in sorted((source / part).rglob("*"))
        if path.is_file()
    }
    return files | {
        "kustomization.yaml": _HEAD + dump_yaml(_kustomization(settings, added)),
        "model/kustomization.yaml": MARK + dump_yaml(_component(settings)),
        "model/deployment.yaml": MARK + dump_yaml(_patch(settings)),
    }


def _kustomization(settings: DeploySettings, added: Sequence[str]) -> dict[str, Any]:
    ours = [f"manifests/components/{name}" for name in _parts(settings)]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": settings.namespace,
        "namePrefix": f"{settings.name}-",
        # Two models in one namespace must not select each other's pods.
        "labels": [{"pairs": {"app.kubernetes.io/instance": settings.name}, "includeSelectors": True}],
        "resources": ["manifests/base"],
        "components": [*ours, OWN_COMPONENT, *added],
    }


def _parts(settings: DeploySettings) -> list[str]:
    source = {"pvc": "model-pvc", "s3": "model-object-storage", "image": "model-in-image"}[settings.storage.kind]
    adapters = ["adapters"] if settings.model.adapter else []
    if settings.storage.kind == "image":  # names the image last, whatever the size has made of it
        return [_size(settings), *adapters, source]
    return [source, _size(settings), *adapters]


def _size(settings: DeploySettings) -> str:
    return "cpu" if settings.gpus == 0 else "gpu" if settings.gpus == 1 else "gpus"


def _component(settings: DeploySettings) -> dict[str, Any]:
    literals = [f"{name}={value}" for name, value in _values(settings).items()]
    component: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configMapGenerator": [{"name": "command-model-settings", "behavior": "merge", "literals": literals}],
        "patches": [{"path": "deployment.yaml"}],
    }
    if settings.storage.kind == "image":
        image = parse_image(settings.storage.place)
        parts = {"newName": image.name, "newTag": image.tag, "digest": image.digest}
        component["images"] = [{"name": "command-model", **{key: value for key, value in parts.items() if value}}]
    return component


def _values(settings: DeploySettings) -> dict[str, str | int]:
    """The model's own settings, which the manifests read as variables."""
    model = settings.model
    values: dict[str, str | int] = {
        "MODEL_NAME": settings.name,
        "MODEL_FOLDER": model_folder(settings),
        "MAX_MODEL_LEN": min(model.context_length or 4096, _MAX_LENGTH),
    }
    if settings.storage.kind == "s3":
        values["MODEL_SOURCE"] = settings.storage.place
    if settings.gpus > 1:
        values["TENSOR_PARALLEL_SIZE"] = settings.gpus
    if model.adapter:
        values |= {
            "ADAPTER_FOLDER": f"{_MODELS}/{settings.name}-adapter",
            "ADAPTER_RANK": allowed_rank(model.adapter_rank),
        }
    return values


def model_folder(settings: DeploySettings) -> str:
    """Where the weights are in the pod; beside an adapter, the base model's."""
    return f"{_MODELS}/{settings.name}{'-base' if settings.model.adapter else ''}"


def _patch(settings: DeploySettings) -> dict[str, Any]:
    """Secret, volume and memory, by the names and sizes of this model."""
    memory = max(_DEFAULT_MEMORY[_size(settings)], settings.weights_gib + 6)
    resources: dict[str, dict[str, str]] = {
        "requests": {"memory": f"{memory}Gi"},
        "limits": {"memory": f"{memory * 2}Gi"},
    }
    if settings.gpus:
        for amounts in resources.values():
            amounts["nvidia.com/gpu"] = str(settings.gpus)
    volumes: list[dict[str, Any]] = [{"name": "keys", "secret": {"secretName": settings.secret}}]
    if settings.storage.kind == "pvc":
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": settings.storage.place}})
    elif settings.storage.kind == "s3":
        volumes.append({"name": "models", "emptyDir": {"sizeLimit": f"{settings.weights_gib * 2 + 2}Gi"}})
    pod = {"containers": [{"name": "vllm", "resources": resources}], "volumes": volumes}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "command-model"},
        "spec": {"template": {"spec": pod}},
    }
