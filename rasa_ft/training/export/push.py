"""Uploads an exported folder: to the Hugging Face hub, to S3 or to Google Cloud Storage.

On the hub all files appear in one commit. In a bucket export.json is the last file to be written: a folder without it
is not complete, and whoever finds it can check every other file by its hash.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from rasa_ft.errors import MissingRequirement, RasaFtError, UsageError
from rasa_ft.training.export.write import INDEX
from rasa_ft.training.model_card import hub_name, read_object
from rasa_ft.training.requirements import use_hub_token
from rasa_ft.yaml_source import did_you_mean

OnFile = Callable[[str, int], None]

_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)")
_BUCKET = re.compile(r"(s3|gs)://([\w.-]+)(?:/(.*?))?/*")
_FORMS = "hub:NAMESPACE/NAME, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
_SECRETS = ("HF_TOKEN", "HUGGINGFACE_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_BEARER_TOKEN")
# What an older model may have left, and what would be loaded instead of the new one.
_OLD_WEIGHTS = ["*.safetensors", "*.safetensors.index.json", "*.gguf"]
_TRIES = 3
# An emulator checks no signatures.
_EMULATED = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}


@dataclass(frozen=True)
class Target:
    """``place`` is a repository's name, or a bucket with a prefix that may be empty."""

    kind: Literal["hub", "s3", "gs"]
    place: str

    def __str__(self) -> str:
        return f"hub:{self.place}" if self.kind == "hub" else f"{self.kind}://{self.place}"


def parse_target(text: str) -> Target:
    """Where to push to.

    Raises:
        UsageError: the text is of none of the three forms.
    """
    if hub := _HUB.fullmatch(text):
        return Target("hub", hub[1])
    if bucket := _BUCKET.fullmatch(text):
        return Target(bucket[1], "/".join(filter(None, bucket.group(2, 3))))  # type: ignore[arg-type]
    scheme = text.partition(":")[0]
    raise UsageError(
        f"--push-to {text}: not of the form {_FORMS}.{did_you_mean(scheme, ['hub', 's3', 'gs'])}",
        hint="Example: --push-to s3://models/bookings",
    )


def check_push(target: Target, *, form: str, base_model: str, public: bool) -> None:
    """Raise before anything is exported if it could not be pushed, or be of use there.

    Raises:
        UsageError: ``public`` for a bucket; an adapter whose base model is a folder on this machine.
        MissingRequirement: a library or the hub's token is missing.
    """
    if public and target.kind != "hub":
        raise UsageError("--public is for the hub.", hint="Who may read a bucket is set in the bucket.")
    if form == "adapter" and not hub_name(base_model):
        raise UsageError(
            "others cannot load this adapter: its base model is a folder on this machine.",
            hint="Push the merged model, or name the base model's hub name with --base-model.",
        )
    if target.kind == "hub":
        _hub_token()
    else:
        _obstore()


def push(folder: Path, target: Target, *, public: bool = False, on_file: OnFile = lambda name, size: None) -> str:
    """Upload an exported folder; what an earlier push left there is replaced. Gives the address.

    Args:
        public: anyone may see a repository on the hub; otherwise it is private. Ignored for buckets.
        on_file: told the name and the bytes of each file before it is uploaded.

    Raises:
        RasaFtError: the store refused or could not be reached; secrets are no part of the message.
        UsageError: the repository exists, and ``public`` says otherwise than its settings.
        MissingRequirement: a library or the hub's token is missing.
    """
    index = read_object(folder / INDEX)
    if not index.get("files"):
        raise RasaFtError(f"{folder} is not complete: it has no {INDEX}.", hint="Export it again.")
    with _told(target):
        if target.kind == "hub":
            return _push_to_hub(folder, target.place, public=public, on_file=on_file)
        return _push_to_bucket(folder, target, index["files"], on_file)


# -- the hub ---------------------------------------------------------------------------------------------------------


def _push_to_hub(folder: Path, repository: str, *, public: bool, on_file: OnFile) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    hub = HfApi(token=_hub_token(), library_name="rasa_ft")
    address = str(hub.create_repo(repository, private=not public, exist_ok=True))
    is_private = bool(hub.model_info(repository).private)
    if is_private == public:
        advice = "Make it public in its settings" if is_private else "Add --public"
        raise UsageError(
            f"{repository} exists on the hub and is {'private' if is_private else 'public'}.",
            hint=f"{advice}, or choose another name.",
        )
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        on_file(file.relative_to(folder).as_posix(), file.stat().st_size)
    _commit(hub, folder, repository)
    return address


def _commit(hub: Any, folder: Path, repository: str) -> None:
    """One commit with everything. What was uploaded in a try that broke off is not sent again in the next."""
    from httpx import TransportError
    from huggingface_hub.errors import HfHubHTTPError
    from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

    def is_passing(error: BaseException) -> bool:
        answer = getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
        return isinstance(error, TransportError) or (answer is not None and answer.status_code >= 500)

    @retry(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(max=10),
        reraise=True,
    )
    def commit() -> None:
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Upload by rasa llm finetune export",
            delete_patterns=_OLD_WEIGHTS,
        )

    commit()


def _hub_token() -> str:
    try:
        from huggingface_hub import get_token
    except ImportError:
        raise MissingRequirement(
            "pushing to the hub needs huggingface_hub.", hint="pip install 'rasa_ft[push]'"
        ) from None
    use_hub_token()
    token = get_token()
    if not token:
        raise MissingRequirement(
            "pushing to the hub needs a token.",
            hint="Put HF_TOKEN=… into the environment or .env, or run `hf auth login`.",
        )
    return str(token)


# -- buckets ---------------------------------------------------------------------------------------------------------


def _push_to_bucket(folder: Path, target: Target, files: Mapping[str, Any], on_file: OnFile) -> str:
    obstore = _obstore()
    store = _store(target)
    old = _old_files(obstore, store)
    if old is not None:
        obstore.delete(store, INDEX)
    for name in files:
        on_file(name, (folder / name).stat().st_size)
        obstore.put(store, name, folder / name)
    obstore.put(store, INDEX, folder / INDEX)
    for name in sorted(set(old or ()) - set(files)):
        obstore.delete(store, name)
    return str(target)


def _old_files(obstore: Any, store: Any) -> list[str] | None:
    """The files of an earlier push; None where there was none."""
    try:
        content = json.loads(bytes(obstore.get(store, INDEX).bytes()))
        return [str(name) for name in content["files"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return []


def _store(target: Target) -> Any:
    """The bucket, with the credentials that the cloud's own tools would use."""
    from obstore.store import from_url

    options: dict[str, Any] = {
        "retry_config": {"max_retries": _TRIES, "retry_timeout": timedelta(minutes=3)},
        "client_options": {"timeout": timedelta(minutes=30)},
    }
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if target.kind == "gs" and emulator:
        address = emulator if "://" in emulator else f"http://{emulator}"
        options["service_account_key"] = json.dumps({"gcs_base_url": address, **_EMULATED})
        options["client_options"]["allow_http"] = True
    if target.kind == "s3" and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"]["allow_http"] = True
    if target.kind == "s3" and not os.environ.get("AWS_ACCESS_KEY_ID"):
        options |= _aws_profile()
    return from_url(str(target), **options)


def _aws_profile() -> dict[str, Any]:
    """Profiles and single sign-on are read by boto3; without it, only the environment and roles of machines count."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    except (ImportError, ValueError):
        return {}


def _obstore() -> Any:
    try:
        import obstore
    except ImportError:
        raise MissingRequirement("pushing to a bucket needs obstore.", hint="pip install 'rasa_ft[push]'") from None
    return obstore


# -- errors ----------------------------------------------------------------------------------------------------------


@contextmanager
def _told(target: Target) -> Iterator[None]:
    """Turn the libraries' errors into one sentence."""
    try:
        yield
    except RasaFtError:
        raise
    except Exception as error:
        words = str(error).strip().splitlines()
        reason = _without_secrets(" ".join(line.strip() for line in words[:2])) or type(error).__name__
        raise RasaFtError(f"{target} did not take the model: {reason}", hint=_advice(reason)) from None


def _advice(reason: str) -> str:
    if re.search(r"\b(401|403)\b|Unauthorized|Forbidden|AccessDenied|credential", reason, re.IGNORECASE):
        return "Check the token or key, and whether it may write there."
    return "Nothing counts as uploaded until all is there; run the same command again."


def _without_secrets(text: str) -> str:
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "…")
    return text
