"""Watching a service over HTTP: /metrics, /healthz and what else it has to say.

In: what the pages say, as functions. Out: answers to GET. Read-only, one thread per request, meant for the operator's network.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from common.errors import ConfigError

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"
_REQUEST_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    body: bytes
    kind: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[], Page]]


def text_page(text: str, healthy: bool = True) -> Page:
    """A line for people and probes; not healthy is status 503."""
    return Page(text.encode() + b"\n", status=HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)


def json_page(value: object) -> Page:
    """A JSON document."""
    return Page(json.dumps(value, ensure_ascii=False).encode() + b"\n", _JSON)


class WatchServer:
    """Raises ConfigError, which names `setting`, from the constructor when the port cannot be had."""

    def __init__(self, host: str, port: int, pages: Pages, setting: str) -> None:
        handler = type("Handler", (_Handler,), {"pages": pages})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise ConfigError([f"{setting}: {host} port {port}: {error.strerror}"]) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="nephrite-watch", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; also when it never began."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    pages: Pages = {}  # noqa: RUF012 - set once, by WatchServer, on a class of its own
    timeout = _REQUEST_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        answer = (
            Page(b"there is " + ", ".join(self.pages).encode() + b"\n", status=HTTPStatus.NOT_FOUND) if page is None else page()
        )
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Requests are not worth a line."""
