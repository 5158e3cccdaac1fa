"""What a deployment is made of, read from the words of the command line and from the model's folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rasa_ft.errors import DataError, UsageError
from rasa_ft.serving.command import ServedModel
from rasa_ft.yaml_source import did_you_mean

# RFC 1123. Names of objects are made from the first by adding up to 22 characters; 63 are allowed.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_MAX_NAME, _MAX_LABEL, _MAX_SUBDOMAIN = 40, 63, 253
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w.-]+)+)/*", re.ASCII)
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9][\w.-]*(?::\d+)?(?:/[a-z0-9][\w.-]*)*?)(?::(?P<tag>\w[\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_SIZE = re.compile(r"cpu|gpu(?::([1-9]\d?))?")
_STORAGE_FORMS = "pvc:NAME, s3://BUCKET/PREFIX or image:REF"


@dataclass(frozen=True)
class Storage:
    """Where pods take the model from: a volume claim's name, BUCKET/PREFIX, or an image with tag or digest."""

    kind: Literal["pvc", "s3", "image"]
    place: str


@dataclass(frozen=True)
class Image:
    """An image's reference in its parts; at least one of ``tag`` and ``digest`` is there."""

    name: str
    tag: str | None
    digest: str | None


@dataclass(frozen=True)
class DeploySettings:
    """A model and where it is to run. ``gpus`` 0 is the CPU; ``weights_gib`` is rounded up."""

    model: ServedModel
    name: str
    namespace: str
    storage: Storage
    gpus: int
    weights_gib: int

    @property
    def service(self) -> str:
        return f"{self.name}-command-model"

    @property
    def url(self) -> str:
        """The API inside the cluster, with /v1."""
        return f"http://{self.service}.{self.namespace}.svc:8080/v1"

    @property
    def secret(self) -> str:
        """The Secret whose values are the accepted API keys."""
        return f"{self.service}-keys"


def check_name(option: str, name: str) -> str:
    """``name``, if Kubernetes takes it.

    Raises:
        UsageError: it is no DNS label, or too long for the names that are made from it.
    """
    longest = _MAX_NAME if option == "--name" else _MAX_LABEL
    if _LABEL.fullmatch(name) and len(name) <= longest:
        return name
    raise UsageError(
        f"{option} {name!r} is no DNS label: lower-case letters, digits and hyphens, a letter or digit first and last, "
        f"at most {longest} characters."
    )


def parse_storage(text: str) -> Storage:
    """Where the model is.

    Raises:
        UsageError: the text is of none of the three forms, or names an image without a fixed version.
    """
    kind, _, place = text.partition(":")
    if kind == "pvc" and _SUBDOMAIN.fullmatch(place) and len(place) <= _MAX_SUBDOMAIN:
        return Storage("pvc", place)
    if bucket := _BUCKET.fullmatch(text):
        return Storage("s3", bucket[1])
    if kind == "image":
        parse_image(place)
        return Storage("image", place)
    kinds = ["pvc", "s3", "image"]
    raise UsageError(
        f"--storage {text}: not of the form {_STORAGE_FORMS}.{'' if kind in kinds else did_you_mean(kind, kinds)}",
        hint="Example: --storage pvc:models",
    )


def parse_image(reference: str) -> Image:
    """The parts of an image's reference.

    Raises:
        UsageError: it is none, or its version can move: no tag, or latest.
    """
    parts = _IMAGE.fullmatch(reference)
    if parts is None:
        raise UsageError(f"--storage image:{reference}: not the name of an image.")
    if parts["digest"] is None and parts["tag"] in (None, "latest"):
        raise UsageError(
            f"--storage image:{reference}: an image without a fixed version cannot be rolled back.",
            hint="Give a tag other than latest, or a digest: image:NAME:TAG or image:NAME@sha256:…",
        )
    return Image(parts["name"], parts["tag"], parts["digest"])


def parse_size(text: str) -> int:
    """How many GPUs a pod gets; 0 for the CPU.

    Raises:
        UsageError: the text is neither cpu, gpu nor gpu:N.
    """
    parts = _SIZE.fullmatch(text)
    if parts is None:
        raise UsageError(f"--size {text}: not cpu, gpu or gpu:N.", hint="Example: --size gpu:2")
    return 0 if text == "cpu" else int(parts[1] or 1)


def deploy_settings(model: ServedModel, name: str, namespace: str, storage: str, size: str) -> DeploySettings:
    """All of it, checked against the model.

    Raises:
        UsageError: a name, the storage or the size is not possible, alone or for this model.
        DataError: the model's folder holds no weights, or its config.json cannot be read.
    """
    settings = DeploySettings(
        model=model,
        name=check_name("--name", name),
        namespace=check_name("--namespace", namespace),
        storage=parse_storage(storage),
        gpus=parse_size(size),
        weights_gib=_weights_gib(model.folder),
    )
    if model.adapter and settings.storage.kind == "s3":
        raise UsageError(
            f"{model.adapter} is an adapter, and from S3 one whole model is fetched.",
            hint="Merge it: rasa llm finetune export MODEL --format merged-16bit --push-to s3://…",
        )
    _check_heads(model.folder, settings.gpus)
    return settings


def _weights_gib(folder: Path) -> int:
    size = sum(path.stat().st_size for kind in ("*.safetensors", "*.bin") for path in folder.glob(kind))
    if not size:
        raise DataError(f"{folder} holds no weights (*.safetensors).")
    return -(-size // 2**30)


def _check_heads(folder: Path, gpus: int) -> None:
    """Tensor parallelism gives each GPU the same number of attention heads."""
    if gpus < 2:
        return
    try:
        heads = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("num_attention_heads")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / 'config.json'} cannot be read: {error}.") from None
    if isinstance(heads, int) and heads % gpus:
        possible = [number for number in (2, 4, 8, 16) if heads % number == 0]
        hint = f"Possible: {', '.join(map(str, possible))}." if possible else "Use --size gpu."
        raise UsageError(f"--size gpu:{gpus}: the model's {heads} attention heads cannot be shared evenly.", hint=hint)
