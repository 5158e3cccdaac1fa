"""Pushes to S3 (moto), Google Cloud Storage and the hub (servers of our own): all that was exported, or a clear no."""

import hashlib
import json
import logging
import subprocess
import sys
from pathlib import Path

import fake_stores
import pytest

from rasa_ft.errors import MissingRequirement, RasaFtError, UsageError
from rasa_ft.training.export.push import Target, check_push, parse_target, push

WEIGHTS = bytes(range(256)) * 40_000  # 10 MB: more than one part of an upload


@pytest.fixture
def exported(tmp_path) -> Path:
    """As an export looks from outside; what is in the files does not matter here."""
    return make_export(tmp_path / "out", {"model.safetensors": WEIGHTS, "README.md": b"# tuned\n", "a/b.json": b"{}"})


def make_export(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    index = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    (folder / "export.json").write_text(json.dumps({"kind": "export", "files": index}))
    return folder


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("hub:team/model-1.0", Target("hub", "team/model-1.0")),
        ("s3://bucket", Target("s3", "bucket")),
        ("s3://bucket/a/b/", Target("s3", "bucket/a/b")),
        ("gs://bucket/a", Target("gs", "bucket/a")),
    ],
)
def test_targets(text, target):
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize("text", ["", "hub:model", "hub:a/b/c", "s3:bucket", "s3://", "gcs://bucket", "https://x/y"])
def test_what_is_no_target(text):
    with pytest.raises(UsageError, match=r"not of the form hub:NAMESPACE/NAME"):
        parse_target(text)


def test_a_slip_of_the_pen_is_recognised():
    with pytest.raises(UsageError, match="Did you mean 'gs'"):
        parse_target("gcs://bucket")


def test_pushes_of_no_use_are_refused_before_anything_is_done(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    bucket, hub = Target("s3", "bucket"), Target("hub", "team/model")
    with pytest.raises(UsageError, match="--public is for the hub"):
        check_push(bucket, form="adapter", base_model="org/base", public=True)
    with pytest.raises(UsageError, match="base model is a folder"):
        check_push(hub, form="adapter", base_model=str(tmp_path), public=False)
    check_push(hub, form="adapter", base_model="org/base", public=True)


def test_the_hub_wants_a_token(monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(MissingRequirement, match="needs a token"):
        check_push(Target("hub", "team/model"), form="gguf", base_model="", public=False)


def test_an_incomplete_export_is_not_pushed(tmp_path):
    with pytest.raises(RasaFtError, match=r"no export\.json"):
        push(tmp_path, Target("s3", "bucket"))


# -- S3 ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3,server]'")
    pytest.importorskip("obstore", reason="obstore is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(s3, monkeypatch):
    """An empty bucket of S3, seen by the owner's own client."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = boto3.resource("s3", endpoint_url=s3).create_bucket(Bucket="models")
    yield bucket
    bucket.objects.delete()


def in_bucket(bucket) -> dict[str, bytes]:
    return {one.key: one.get()["Body"].read() for one in bucket.objects.all()}


def test_a_bucket_has_all_files(bucket, exported):
    seen = []
    place = push(exported, parse_target("s3://models/team/one"), on_file=lambda name, size: seen.append((name, size)))
    assert place == "s3://models/team/one"
    assert in_bucket(bucket) == {
        f"team/one/{name}": (exported / name).read_bytes()
        for name in ("model.safetensors", "README.md", "a/b.json", "export.json")
    }
    assert ("model.safetensors", len(WEIGHTS)) in seen


def test_what_an_earlier_push_left_is_gone_and_nothing_else(bucket, exported, tmp_path):
    bucket.put_object(Key="one/of-somebody-else.txt", Body=b"mine")
    push(
        make_export(tmp_path / "old", {"model-00001-of-00002.safetensors": b"old", "README.md": b"old"}),
        Target("s3", "models/one"),
    )
    push(exported, Target("s3", "models/one"))
    names = {"model.safetensors", "README.md", "a/b.json", "export.json", "of-somebody-else.txt"}
    assert set(in_bucket(bucket)) == {f"one/{name}" for name in names}


def test_a_push_that_broke_off_does_not_look_complete(bucket, exported):
    """Not even where an earlier one was: the list of files goes first and comes back last."""
    target = Target("s3", "models/one")
    push(exported, target)

    def power_cut(name: str, size: int) -> None:
        if name == "README.md":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(exported, target, on_file=power_cut)
    assert "one/export.json" not in in_bucket(bucket)
    push(exported, target)
    assert "one/export.json" in in_bucket(bucket)


def test_no_such_bucket(bucket, exported):
    with pytest.raises(RasaFtError, match=r"s3://nowhere/x did not take the model: .*") as caught:
        push(exported, parse_target("s3://nowhere/x"))
    assert "the-secret" not in str(caught.value)
    assert "\n" not in caught.value.message


# -- Google ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def google(monkeypatch):
    pytest.importorskip("obstore", reason="obstore is not installed")
    with fake_stores.google() as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
        yield store


def test_google_s_store_has_all_files(google, exported):
    push(exported, parse_target("gs://models/one"))
    assert google.files == {
        f"/models/one/{name}": (exported / name).read_bytes()
        for name in ("model.safetensors", "README.md", "a/b.json", "export.json")
    }
    writes = [request for request in google.requests if request.startswith(("PUT", "POST"))]
    assert writes[-1] == "PUT /models/one/export.json"


def test_a_store_that_is_busy_is_asked_again(google, exported):
    google.failures = 2
    push(exported, parse_target("gs://models/one"))
    assert "/models/one/export.json" in google.files


def test_a_store_that_forbids_is_not_asked_again(google, exported):
    google.failures, google.failure = 100, 403
    with pytest.raises(RasaFtError, match="did not take the model") as caught:
        push(exported, parse_target("gs://models/one"))
    assert "whether it may write there" in str(caught.value)
    assert google.failures >= 100 - 4  # the parts of the first file, once each
    assert "/models/one/export.json" not in google.files


# -- the hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with fake_stores.hub() as store:
        yield store


def push_to_hub(store: fake_stores.Store, folder: Path, *, public: bool = False) -> subprocess.CompletedProcess[str]:
    """In a process of its own: huggingface_hub reads its environment once. The stand-in has no Xet."""
    script = (
        "import sys; from pathlib import Path\n"
        "from rasa_ft.errors import RasaFtError\n"
        "from rasa_ft.training.export.push import parse_target, push\n"
        f"try: print(push(Path({str(folder)!r}), parse_target('hub:team/model'), public={public}))\n"
        "except RasaFtError as error: print(error, file=sys.stderr); sys.exit(error.exit_code)\n"
    )
    environment = {
        "HF_ENDPOINT": store.url,
        "HF_TOKEN": "hf_the_secret",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(folder.parent / "hf"),
        "PATH": "",
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )


def test_the_hub_has_all_files_in_one_commit(hub, exported):
    done = push_to_hub(hub, exported)
    assert done.stderr == ""
    assert done.stdout.strip() == f"{hub.url}/team/model"
    assert hub.files == {
        name: (exported / name).read_bytes() for name in ("model.safetensors", "README.md", "a/b.json", "export.json")
    }
    assert (hub.private, hub.commits) == (True, 1)
    assert "Bearer hf_the_secret" in hub.authorizations


def test_older_weights_go_in_the_same_commit(hub, exported):
    """A loader that finds both takes the wrong ones."""
    hub.private = True
    hub.files = {"model-00001-of-00002.safetensors": b"", "model.safetensors.index.json": b"", "NOTES.md": b""}
    assert push_to_hub(hub, exported).returncode == 0
    assert set(hub.files) == {"model.safetensors", "README.md", "a/b.json", "export.json", "NOTES.md"}
    assert hub.commits == 1


@pytest.mark.parametrize(("private", "public"), [(True, True), (False, False)])
def test_who_may_see_a_repository_is_not_changed_by_a_push(private, public, hub, exported):
    hub.private = private
    done = push_to_hub(hub, exported, public=public)
    assert done.returncode == 2
    assert f"team/model exists on the hub and is {'private' if private else 'public'}." in done.stderr
    assert hub.commits == 0


def test_public_if_asked_for(hub, exported):
    assert push_to_hub(hub, exported, public=True).returncode == 0
    assert hub.private is False


def test_a_hub_that_is_busy_is_asked_again_and_gets_no_file_twice(hub, exported):
    hub.failures = 1
    assert push_to_hub(hub, exported).returncode == 0
    assert hub.commits == 1
    assert sum(request.startswith("PUT /upload/") for request in hub.requests) == 1


def test_a_hub_that_refuses(hub, exported):
    hub.failures, hub.failure = 9, 403
    done = push_to_hub(hub, exported)
    assert done.returncode == 1
    assert done.stderr.startswith("hub:team/model did not take the model: ")
    assert "Traceback" not in done.stderr
    assert "hf_the_secret" not in done.stderr
    assert (hub.files, hub.failures) == ({}, 8)
