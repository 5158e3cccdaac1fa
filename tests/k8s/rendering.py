"""Renders our manifests with kustomize, once each."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = tuple(sorted(path.parent for path in (K8S / "overlays").glob("*/kustomization.yaml")))
OTHERS = (K8S / "training" / "job", K8S / "training" / "distributed", K8S / "canary")
EXAMPLES = tuple(sorted((K8S / "examples").glob("kserve-*.yaml")))

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def render(folder: Path) -> tuple[dict[str, Any], ...]:
    """The objects of a kustomization, as `kubectl apply -k` would send them."""
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr, run.stderr
    return tuple(YAML(typ="safe").load_all(run.stdout))


def pick(objects: tuple[dict[str, Any], ...], kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of this kind, and with this name if given."""
    (found,) = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    return found


def container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in (*pod.get("initContainers", []), *pod["containers"]) if item["name"] == name]
    return found
