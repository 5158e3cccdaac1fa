"""The proxy as it runs in the pod: a real nginx with our configuration, our start script and a small upstream."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rendering import K8S

from rasa_ft.serving.vllm import free_port

PROXY = K8S / "base" / "proxy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
KEY = "current-0123456789abcdef0123456789abcdef"
PREVIOUS = "Previous_0123456789abcdef0123456789abcd"
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass
class Upstream:
    """In vLLM's place: notes what reaches it; streams two pieces, the second when the test allows it."""

    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def server(self, port: int) -> ThreadingHTTPServer:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream.seen.append((self.command, self.path, self.headers.get("Authorization")))
                self.send_response(200)
                if b"stream" not in body:
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"5\r\nfirst\r\n")
                self.wfile.flush()
                assert upstream.go_on.wait(20)
                self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        return ThreadingHTTPServer(("127.0.0.1", port), Handler)


@dataclass
class Proxy:
    port: int
    inside: int
    keys: Path
    process: subprocess.Popen[str]
    upstream: Upstream

    def ask(
        self, method: str, path: str, *, key: str | None = None, body: bytes | None = None, inside: bool = False
    ) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.inside if inside else self.port, timeout=20)
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    def wait_for_log(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return
        raise AssertionError(f"the proxy ended without saying: {words}")


def settings(tmp_path: Path, ports: dict[str, int]) -> dict[str, str]:
    """The configuration as it is, but for ports and folders, in the environment of start.sh."""
    text = (PROXY / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace("/tmp/", f"{tmp_path}/").replace("error_log /dev/stderr warn", "error_log /dev/stderr notice")
    text = text.replace("access_log /dev/stdout brief", f"access_log {tmp_path}/access.log brief")
    for old, new in ports.items():
        text = text.replace(old, f"{old[:-4]}{new}")
    conf = tmp_path / "nginx.conf"
    conf.write_text(text, encoding="utf-8")
    folders = {"PROXY_KEYS": tmp_path / "keys", "PROXY_TMP": tmp_path, "PROXY_CONF": conf}
    path = f"{Path(str(NGINX)).parent}:{os.environ['PATH']}"
    return {**os.environ, **{name: str(value) for name, value in folders.items()}, "PROXY_SECONDS": "0.2", "PATH": path}


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", str(PROXY / "start.sh")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "current").write_text(KEY)
    ports = {"listen 8080": free_port(), "listen 9090": free_port(), "127.0.0.1:8000": free_port()}
    upstream = Upstream()
    server = upstream.server(ports["127.0.0.1:8000"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = start(settings(tmp_path, ports))
    running = Proxy(ports["listen 8080"], ports["listen 9090"], keys, process, upstream)
    running.wait_for_log("start worker process ")
    yield running
    upstream.go_on.set()
    os.killpg(process.pid, 15)
    process.communicate(timeout=20)
    server.shutdown()
    server.server_close()


ALLOWED = [("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("GET", "/v1/models")]


def test_what_is_allowed_passes_without_the_key(proxy: Proxy) -> None:
    for method, path in ALLOWED:
        assert proxy.ask(method, path, key=KEY, body=b"{}" if method == "POST" else None) == 200
    assert proxy.ask("GET", "/health") == 200
    assert proxy.upstream.seen == [(method, path, None) for method, path in [*ALLOWED, ("GET", "/health")]]


@pytest.mark.parametrize("key", [None, "", "x" * 40, KEY[:-1], KEY + "x", KEY.upper(), f"{KEY} x", "Bearer", ".*"])
def test_no_other_key_opens(proxy: Proxy, key: str | None) -> None:
    assert [proxy.ask(method, path, key=key) for method, path in ALLOWED] == [401, 401, 401]
    assert proxy.upstream.seen == []


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/metrics", "/v1/embeddings", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize", "/docs"),
        *("/openapi.json", "/version", "/pause", "/sleep", "/reset_prefix_cache", "/invocations", "/v1/chat"),
        *("/v1/chat/completions/", "/v1/completions/render", "/v1/models/x", "/V1/models", "/alive", "/v1/models%00"),
    ],
)
def test_every_other_path_ends_here(proxy: Proxy, path: str) -> None:
    assert {proxy.ask(method, path, key=KEY) for method in ("GET", "POST", "DELETE")} <= {400, 404}
    assert proxy.upstream.seen == []


def test_other_methods_end_here(proxy: Proxy) -> None:
    asked = {
        "/v1/chat/completions": ("GET", "PUT", "DELETE", "OPTIONS", "HEAD"),
        "/v1/completions": ("GET", "PATCH"),
        "/v1/models": ("POST", "DELETE", "HEAD"),
        "/health": ("POST", "HEAD"),
    }
    assert {proxy.ask(method, path, key=KEY) for path, methods in asked.items() for method in methods} == {405}
    assert proxy.upstream.seen == []


def test_upstream_sees_the_plain_path_whatever_was_written(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/metrics/../v1//models?x=/metrics", key=KEY) == 200
    assert proxy.ask("GET", "/health/%2e%2e/v1/m%6fdels", key=KEY) == 200
    assert proxy.upstream.seen == [("GET", "/v1/models", None)] * 2
    assert proxy.ask("GET", "/v1/models/../../metrics", key=KEY) == 404


def test_long_bodies_are_refused(proxy: Proxy) -> None:
    assert proxy.ask("POST", "/v1/chat/completions", key=KEY, body=b"x" * 1_000_000) == 200
    assert proxy.ask("POST", "/v1/chat/completions", key=KEY, body=b"x" * 1_100_000) == 413


def test_answers_are_streamed(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.request("POST", "/v1/chat/completions", body=b"stream", headers={"Authorization": f"Bearer {KEY}"})
    response = connection.getresponse()
    assert response.read(5) == b"first"  # the second piece is not yet written
    proxy.upstream.go_on.set()
    assert response.read() == b"second"
    connection.close()


def test_the_cluster_asks_for_health_and_metrics_only(proxy: Proxy) -> None:
    assert [proxy.ask("GET", path, inside=True) for path in ("/alive", "/health", "/metrics")] == [200, 200, 200]
    assert proxy.ask("POST", "/metrics", inside=True) == 405
    assert proxy.ask("POST", "/v1/chat/completions", inside=True, key=KEY) == 404


def test_keys_change_without_a_restart(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/v1/models", key=PREVIOUS) == 401
    (proxy.keys / "previous").write_text(PREVIOUS + "\n")
    proxy.wait_for_log("the keys were read anew")
    proxy.wait_for_log("exited with code 0")
    assert [proxy.ask("GET", "/v1/models", key=key) for key in (KEY, PREVIOUS)] == [200, 200]
    (proxy.keys / "current").unlink()
    proxy.wait_for_log("the keys were read anew")
    proxy.wait_for_log("exited with code 0")
    assert [proxy.ask("GET", "/v1/models", key=key) for key in (KEY, PREVIOUS)] == [401, 200]


def test_a_bad_new_key_leaves_the_old_ones(proxy: Proxy) -> None:
    (proxy.keys / "current").write_text('x" 1; default 1; #' + "x" * 32)
    proxy.wait_for_log("the key current has characters other than")
    assert [proxy.ask("GET", "/v1/models", key=key) for key in (KEY, "y")] == [200, 401]


def test_neither_keys_nor_queries_are_logged(proxy: Proxy, tmp_path: Path) -> None:
    proxy.ask("GET", "/v1/models?text=secret", key=KEY)
    proxy.ask("GET", "/nothing?text=secret", key=KEY)
    proxy.ask("GET", "/nothing")  # its one worker has written the lines before when it answers this
    log = (tmp_path / "access.log").read_text(encoding="utf-8")
    assert "/v1/models" in log and "/nothing" in log
    assert "secret" not in log and KEY not in log


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, "the Secret holds no key"),
        ({"current": ""}, "the key current has fewer than 32 characters"),
        ({"current": "short"}, "the key current has fewer than 32 characters"),
        ({"current": KEY, "other": 'x"; return 200; #' + "x" * 32}, "the key other has characters other than"),
        ({"current": KEY + "\n" + PREVIOUS}, "the key current has characters other than"),
    ],
)
def test_it_does_not_start_with_bad_keys(tmp_path: Path, keys: dict[str, str], reason: str) -> None:
    (tmp_path / "keys").mkdir()
    for name, key in keys.items():
        (tmp_path / "keys" / name).write_text(key)
    process = start(settings(tmp_path, {"listen 8080": free_port(), "listen 9090": free_port()}))
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0
    assert reason in said
    assert not any(key in said for key in keys.values() if key)
