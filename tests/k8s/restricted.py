"""The Pod Security Standard *restricted*, with what we ask for besides, as one function over a pod's specification.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, profile Restricted (which includes
Baseline) of Kubernetes 1.33. Ours besides: a root file system that cannot be written, no token, requests and limits,
images with a version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_IMAGE = re.compile(r"(?P<name>[^@]+?)(:(?P<tag>[\w.-]+))?(?P<digest>@sha256:[0-9a-f]{64})?")


def pod_specs(value: Any) -> Iterator[Spec]:
    """Every pod specification inside an object: whatever has a list of containers, at any depth, in CRDs too."""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        for inner in value.values():
            yield from pod_specs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pod_specs(inner)


def violations(pod: Spec) -> list[str]:
    """What is not restricted, one line each; empty if all is."""
    found = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    if pod.get("automountServiceAccountToken") is not False:
        found.append("a token of the service account is mounted")
    found += [
        f"volume {volume['name']} is of another kind" for volume in pod.get("volumes", []) if not _allowed(volume)
    ]
    security = pod.get("securityContext", {})
    if security.get("sysctls"):
        found.append("sysctls are set")
    found += _shared_checks("the pod", security)
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        found += _container(container, security)
    return found


def _allowed(volume: Spec) -> bool:
    return len(kinds := set(volume) - {"name"}) == 1 and kinds <= _VOLUMES


def _shared_checks(who: str, security: Spec) -> Iterator[str]:
    if security.get("runAsUser") == 0:
        yield f"{who} runs as user 0"
    if set(security.get("seLinuxOptions", {})) & {"user", "role"}:
        yield f"{who} sets SELinux user or role"
    if security.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{who} has no AppArmor profile"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield f"{who} is a host process"


def _container(container: Spec, pod_security: Spec) -> Iterator[str]:
    who = container["name"]
    security = container.get("securityContext", {})
    yield from _shared_checks(who, security)
    effective = {**pod_security, **security}
    if effective.get("runAsNonRoot") is not True:
        yield f"{who} may run as root"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{who} has no seccomp profile"
    if security.get("privileged"):
        yield f"{who} is privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{who} may escalate privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{who} may write its root file system"
    if security.get("procMount", "Default") != "Default":
        yield f"{who} has an unmasked /proc"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{who} keeps capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{who} adds capabilities"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{who} takes a port of the host"
    yield from _resources(container)
    if not _pinned(container["image"]):
        yield f"{who} has no version of its image"


def _resources(container: Spec) -> Iterator[str]:
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in container.get("resources", {}).get(kind, {}):
                yield f"{container['name']} has no {kind} for {resource}"


def _pinned(image: str) -> bool:
    parts = _IMAGE.fullmatch(image)
    return bool(parts and (parts["digest"] or parts["tag"] not in (None, "latest")))
