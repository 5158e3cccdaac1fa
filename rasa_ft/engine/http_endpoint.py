"""A server that an assistant names in endpoints.yml by its ``url``: how to reach it, and asking it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rasa_ft.errors import DataError
from rasa_ft.yaml_source import expand_secret

_TIMEOUT_VARIABLE = "DEFAULT_REQUEST_TIMEOUT"
_TIMEOUT_SECONDS = 300.0


class EndpointFailed(Exception):
    """The server cannot be reached, or what it is to be sent is not JSON."""


@dataclass(frozen=True)
class HttpEndpoint:
    """``options`` are the endpoint's other keys: ``token``, ``headers``, ``basic_auth``, ``cafile``, ``cookies``."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, what: str, options: Mapping[str, Any], project: Path) -> HttpEndpoint:
        """The endpoint of ``options``, whose ``cafile`` is relative to ``project``.

        Args:
            what: the endpoint in a message, such as "the action endpoint".

        Raises:
            DataError: no http address, or no such file of certificates.
        """
        url = str(options.get("url"))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DataError(
                f"{what} '{url}' is not an http address.",
                hint="Write url: http://localhost:5055/webhook, or actions_module: actions, in endpoints.yml.",
            )
        if options.get("cafile"):
            file = project / str(options["cafile"])
            if not file.is_file():
                raise DataError(f"{what} names the file of certificates {file}, which does not exist.")
            options = {**options, "cafile": str(file)}
        return cls(url, dict(options))

    async def post(self, *bodies: Mapping[str, Any], again_at: int = 0, timeout: float | None = None) -> Answer:
        """The answer to the first of ``bodies``; the next is sent when the status is ``again_at``.

        Args:
            timeout: in seconds; default: the environment's DEFAULT_REQUEST_TIMEOUT, or 300.

        Raises:
            EndpointFailed: as described there.
        """
        import httpx

        try:
            async with httpx.AsyncClient(timeout=timeout or request_timeout(), **self._client_options()) as client:
                for body in bodies:
                    response = await client.post(self.url, json=dict(body))
                    if response.status_code != again_at:
                        break
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise EndpointFailed(f"{self.url} does not answer: {str(error) or type(error).__name__}") from error
        except (TypeError, ValueError) as error:
            raise EndpointFailed(f"what {self.url} is to be sent cannot be written as JSON: {error}") from error
        return Answer(response.status_code, response.content)

    async def check(self, path: str, timeout: float) -> None:
        """Get ``path`` of the same server within so many seconds; any answer below 500 will do.

        Raises:
            EndpointFailed: there is none.
        """
        import httpx

        parts = urlsplit(self.url)
        url = f"{parts.scheme}://{parts.netloc}{path}"
        try:
            async with httpx.AsyncClient(timeout=timeout, **self._client_options()) as client:
                status = (await client.get(url)).status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise EndpointFailed(f"{url} does not answer: {str(error) or type(error).__name__}") from error
        if status >= 500:
            raise EndpointFailed(f"{url} answers {status}")

    def _client_options(self) -> dict[str, Any]:
        auth = self.options.get("basic_auth")
        token = self.options.get("token")
        headers = self.options.get("headers") or {}
        secure = urlsplit(self.url).scheme == "https"
        return {
            "headers": {str(key): expand_secret(str(value)) for key, value in headers.items()},
            "cookies": self.options.get("cookies"),
            "auth": (str(auth["username"]), expand_secret(str(auth["password"]))) if auth else None,
            "params": {"token": expand_secret(str(token))} if token else None,
            # Certificates take long to read and are of no use without encryption.
            "verify": _certificates(self.options.get("cafile")) if secure else False,
        }


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes


@lru_cache(maxsize=8)
def _certificates(file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file)


def request_timeout() -> float:
    """Seconds that a server may take.

    Raises:
        DataError: the environment variable is no number.
    """
    written = os.environ.get(_TIMEOUT_VARIABLE)
    if not written:
        return _TIMEOUT_SECONDS
    try:
        return float(written)
    except ValueError:
        raise DataError(f"{_TIMEOUT_VARIABLE} is {written!r}.", hint="It must be a number of seconds.") from None
