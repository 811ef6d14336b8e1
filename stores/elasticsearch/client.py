"""Requests to Elasticsearch over HTTP, from bytes to a status and parsed JSON.

In: method, path, body. Out: an Answer, whatever its status; StoreError only where there was no answer, or from `ask`. Refuses to
know what is in a body and when a request is worth repeating. Thread-safe; connections are kept alive.
"""

import base64
import itertools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import orjson
import urllib3

from common.errors import ConfigError, StoreError
from stores.elasticsearch.target import Target, read_secret

NDJSON: Final = "application/x-ndjson"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; `reason` is its error in one line, empty below status 400."""

    status: int
    content: Any

    @property
    def reason(self) -> str:
        """Why, as far as the server says."""
        error = self.content.get("error") if isinstance(self.content, dict) else self.content
        if isinstance(error, dict):
            error = f"{error.get('type')}: {error.get('reason')}"
        return f"status {self.status}: {' '.join(str(error).split())[:300]}"


class UnreachableError(StoreError):
    """There was no answer: no connection, or none in time."""


class Client:
    """One pool of connections to the hosts of a target; a host that does not answer makes the next request try another."""

    def __init__(self, target: Target, pool: urllib3.PoolManager, headers: Mapping[str, str]) -> None:
        self._target = target
        self._pool = pool
        self._headers = dict(headers)
        scheme = "https" if target.tls else "http"
        self._bases = itertools.cycle([f"{scheme}://{host}" for host in target.hosts])
        self._base = next(self._bases)

    @classmethod
    def open(cls, target: Target) -> Self:
        """A client for a target; reads its secrets. Connects with the first request. Raises ConfigError."""
        headers = {"Accept": _JSON}
        if target.api_key_file:
            headers["Authorization"] = f"ApiKey {read_secret(target.api_key_file)}"
        elif target.user:
            pair = f"{target.user}:{read_secret(target.password_file)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        timeout = urllib3.Timeout(connect=5, read=target.timeout_s)
        options: dict[str, Any] = {"maxsize": target.in_flight + 1, "retries": False, "timeout": timeout}
        if target.tls:
            options["ssl_context"] = _context(target.ca_file)
        return cls(target, urllib3.PoolManager(**options), headers)

    @property
    def target(self) -> Target:
        """Where it asks."""
        return self._target

    def send(self, method: str, path: str, body: bytes | memoryview | None = None, content_type: str = _JSON) -> Answer:
        """One request, once; raises UnreachableError when nothing came back."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": content_type}
        base, content = self._base, cast(bytes | None, body)  # urllib3 takes any buffer, its types do not say so
        try:
            response = self._pool.request(method, f"{base}{path}", body=content, headers=headers)
            data = response.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._base = next(self._bases)
            raise UnreachableError(f"{base}: no answer: {_line(error)}") from error
        return Answer(response.status, _parsed(data))

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The content of a successful answer; raises StoreError for any other."""
        answer = self.send(method, path, None if body is None else orjson.dumps(body))
        if answer.status >= 400:
            raise StoreError(f"{self._target.place}: {method} {path.partition('?')[0]}: {answer.reason}")
        return answer.content

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"{ca_file}: no usable certificates: {error}"]) from error


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data) if data else {}
    except orjson.JSONDecodeError:
        return data[:300].decode(errors="replace")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
