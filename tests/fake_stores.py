"""Stand-ins for the Hugging Face hub and Google Cloud Storage: real HTTP servers that remember what they were sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Store:
    """``files`` is what is there now, ``requests`` what was asked for, ``failures`` how many writes fail first."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    failures: int = 0
    failure: int = 503
    private: bool | None = None
    uploads: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


class _Handler(BaseHTTPRequestHandler):
    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, list[str]], bytes]:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.store.requests.append(f"{self.command} {path}")
        self.store.authorizations.add(self.headers.get("Authorization", ""))
        return path, parse_qs(parts.query, keep_blank_values=True), body

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fails(self) -> bool:
        if self.store.failures <= 0:
            return False
        self.store.failures -= 1
        self._answer(self.store.failure, b'{"error": "not now"}')
        return True


class _Hub(_Handler):
    """One repository, as huggingface_hub talks to it without Xet."""

    def do_GET(self) -> None:
        path, _, _ = self._asked()
        if "/tree/" in path:
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in self.store.files.items()
            ]
            self._json(rows)
        else:
            self._json({"_id": "0", "id": "team/model", "private": self.store.private, "siblings": [], "sha": "0"})

    def do_POST(self) -> None:
        path, _, body = self._asked()
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._json({"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            self._json({"transfer": "basic", "objects": [self._upload(one) for one in objects]})
        elif "/commit/" in path and not self._fails():
            self._commit([json.loads(line) for line in body.splitlines()])

    def do_PUT(self) -> None:
        path, _, body = self._asked()
        self.store.uploads[path.rpartition("/")[2]] = body
        self._answer(200)

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode())

    def _create(self, wish: dict[str, Any]) -> None:
        is_new = self.store.private is None
        if is_new:
            self.store.private = wish["visibility"] == "private"
        self._json({"url": f"{self.store.url}/team/model"}, 200 if is_new else 409)

    def _mode(self, path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", ".gguf"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        action = {"upload": {"href": f"{self.store.url}/upload/{one['oid']}", "header": {}}}
        known = one["oid"] in self.store.uploads
        return {"oid": one["oid"], "size": one["size"], **({} if known else {"actions": action})}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        self.store.commits += 1
        for line in lines:
            value = line["value"]
            if line["key"] == "deletedFile":
                self.store.files.pop(value["path"])
            if line["key"] == "file":
                self.store.files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                self.store.files[value["path"]] = self.store.uploads[value["oid"]]
        url = f"{self.store.url}/team/model/commit/0"
        self._json({"success": True, "commitOid": "0", "commitUrl": url, "hookOutput": ""})


class _Gcs(_Handler):
    """Objects under their names, by the XML interface of Google Cloud Storage.

    Format: https://cloud.google.com/storage/docs/xml-api/reference-methods
    """

    def do_GET(self) -> None:
        path, _, _ = self._asked()
        data = self.store.files.get(path)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        else:
            written = "Mon, 01 Jan 2024 00:00:00 GMT"
            self._answer(200, data, "application/octet-stream", ETag='"1"', **{"Last-Modified": written})

    def do_PUT(self) -> None:
        path, query, body = self._asked()
        if self._fails():
            return
        if "partNumber" in query:
            self.store.uploads[f"{path} {int(query['partNumber'][0]):05}"] = body
        else:
            self.store.files[path] = body
        self._answer(200, ETag='"1"')

    def do_POST(self) -> None:
        path, query, _ = self._asked()
        if "uploads" in query:
            answer = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        else:
            parts = sorted(name for name in self.store.uploads if re.fullmatch(rf"{re.escape(path)} \d+", name))
            self.store.files[path] = b"".join(self.store.uploads.pop(name) for name in parts)
            answer = b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
        self._answer(200, answer, "application/xml")

    def do_DELETE(self) -> None:
        path, _, _ = self._asked()
        self.store.files.pop(path, None)
        self._answer(204)


@contextmanager
def _serving(kind: type[_Handler]) -> Iterator[Store]:
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"store": store}))
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hub() -> Any:
    """A hub with room for one repository."""
    return _serving(_Hub)


def google() -> Any:
    """Buckets of Google Cloud Storage, for STORAGE_EMULATOR_HOST."""
    return _serving(_Gcs)
