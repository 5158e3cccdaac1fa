"""What to do with a deployment's folder, in the order in which it is done."""

from __future__ import annotations

import shlex
from pathlib import Path

from rasa_ft.serving.kubernetes.overlay import model_folder, vllm_version
from rasa_ft.serving.kubernetes.settings import DeploySettings


def steps(settings: DeploySettings, model: Path, folder: Path) -> tuple[str, ...]:
    """One text for each step: what it is for, and below it the commands; ``model`` is the path that the user gave."""
    namespace = f"-n {settings.namespace}"
    secret = f"kubectl create secret generic {settings.secret} {namespace}"
    made = f'{secret} --from-literal=current="$(openssl rand -hex 32)"'
    apply = f"kubectl apply -k {shlex.quote(str(folder))}"
    rollout = f"kubectl rollout status deployment/{settings.service} {namespace} --timeout=30m"
    before, after = _bring_model(settings, model)
    bot = _text(
        "Let the bot in. Its pods, in the same namespace or named in the NetworkPolicy, need",
        'the label command-model-client: "true"',
        f"the variable HOSTED_VLLM_API_KEY, from the Secret {settings.secret}",
        "the lines below in endpoints.yml and config.yml",
    )
    texts = [
        *before,
        _text("An API key, once:", made),
        _text("Look at it, then apply it:", f"{apply} --dry-run=server", apply),
    ]
    return (*texts, *after, _text("Wait until it is ready:", rollout), bot)


def _bring_model(settings: DeploySettings, model: Path) -> tuple[list[str], list[str]]:
    """How the model gets to where the pods take it from: what is done before they exist, and after."""
    place, target, source = settings.storage.place, model_folder(settings), shlex.quote(str(settings.model.folder))
    adapter = settings.model.adapter
    adapter_target = f"/mnt/models/{settings.name}-adapter"
    if settings.storage.kind == "s3":
        push = f"rasa llm finetune export {shlex.quote(str(model))} --format merged-16bit --push-to s3://{place}"
        keys = f"kubectl create secret generic command-model-storage -n {settings.namespace} --from-env-file=FILE"
        title = "Credentials for the bucket (AWS_ACCESS_KEY_ID=… and so on), unless the ServiceAccount has a role:"
        return [_text("Upload the model:", push), _text(title, keys)], []
    if settings.storage.kind == "image":
        image = "vllm/vllm-openai" if settings.gpus else "vllm/vllm-openai-cpu"
        lines = [f"FROM {image}:{vllm_version()}", f"COPY {source} {target}"]
        lines += [f"COPY {shlex.quote(str(adapter))} {adapter_target}"] if adapter else []
        return [_text(f"Build and push {place} from:", *lines)], []
    pod = f"-n {settings.namespace} -c wait-for-model"
    copies = [f"kubectl cp {source} POD:{target} {pod}"]
    copies += [f"kubectl cp {shlex.quote(str(adapter))} POD:{adapter_target} {pod}"] if adapter else []
    done = f"kubectl exec POD {pod} -- touch {target}/.complete"
    return [], [_text(f"Copy the model to the volume {place}, for which the pod waits:", *copies, done)]


def _text(title: str, *commands: str) -> str:
    return "\n".join((title, *(f"    {command}" for command in commands)))
