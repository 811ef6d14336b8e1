"""`nephrite serve`: the HTTP service that people and other programs ask.

In: HTTP. Out: `/rest/classifications` as OpenNMS has it, `/healthz`. Refuses to know rules: requests go to
`columns.rules.rest` as they are. A change of rules reaches running pipelines through the files that they follow.
"""

import base64
import binascii
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from columns.classify import NOTHING_KNOWN
from columns.inventory import process_inventory
from columns.rules import rest
from columns.rules.shelf import open_shelf
from common.config import Enrichment, Query, Settings
from common.errors import ConfigError, StoreError

CLASSIFICATIONS: Final = "/rest/classifications"
_OPEN: Final = "/healthz"
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
_LARGEST_BODY: Final = 16 << 20
_START_S: Final = 10.0
_STOP_S: Final = 5


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    """Serves as long as the block lasts; gives the port (a free one if it is configured as 0). Raises ConfigError."""
    app = build_app(settings)
    with _listening(settings.query) as listener:
        config = uvicorn.Config(
            app, log_config=None, ws="none", lifespan="off", access_log=False, timeout_graceful_shutdown=_STOP_S
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="nephrite-serve", daemon=True)
        thread.start()
        try:
            _await_start(server, thread)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def build_app(settings: Settings) -> Starlette:
    """The application; raises ConfigError for rules or a token that cannot be used."""
    rules = _Rules(_classifications(settings.enrichment))
    routes = [
        Route(_OPEN, _health),
        *(Route(path, rules.answer, methods=_METHODS) for path in (CLASSIFICATIONS, f"{CLASSIFICATIONS}/{{rest:path}}")),
    ]
    token = settings.query.token.get_secret_value()
    return Starlette(routes=routes, middleware=[Middleware(_WithToken, token=token)] if token else [])


@dataclass(frozen=True, slots=True)
class _Rules:
    """The resource of rules, or none where the settings name no book that can be edited."""

    classifications: rest.Classifications | None

    async def answer(self, request: Request) -> Response:
        if self.classifications is None:
            return _refusal(503, "enrichment.rules", "rules can be edited when enrichment.rules names a YAML file")
        body = await _body(request)
        if body is None:
            return _refusal(413, "body", f"more than {_LARGEST_BODY} octets")
        path = str(request.scope["path"]).removeprefix(CLASSIFICATIONS)
        asked = rest.Request(request.method, path, dict(request.query_params), dict(request.headers), body)
        return await run_in_threadpool(_ask, self.classifications, asked)


def _ask(rules: rest.Classifications, asked: rest.Request) -> Response:
    try:
        answer = rules.handle(asked)
    except ConfigError as error:
        return _refusal(500, "rules", "; ".join(error.problems))
    return Response(answer.body, answer.status, dict(answer.headers))


def _classifications(settings: Enrichment) -> rest.Classifications | None:
    path = Path(settings.rules)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return None
    exporters = process_inventory(settings.inventory).current if settings.inventory else lambda: NOTHING_KNOWN
    return rest.Classifications(open_shelf(path), CLASSIFICATIONS, exporters)


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _body(request: Request) -> bytes | None:
    """The body; None if it is too large. What a client that went away has sent is refused as no request at all."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_BODY:
                return None
    except ClientDisconnect:
        return None
    return bytes(body)


def _refusal(status: int, context: str, message: str) -> Response:
    """A refusal in the form that clients of OpenNMS know."""
    text = json.dumps({"context": context, "key": "", "message": message})
    return Response(text, status, media_type="application/json")


@dataclass(frozen=True, slots=True)
class _WithToken:
    """Lets through who knows the token: as bearer (RFC 6750), or as password of any user (RFC 7617) as clients of OpenNMS send."""

    app: ASGIApp
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == _OPEN or self._known(scope):
            await self.app(scope, receive, send)
            return
        refusal = Response(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="nephrite"'})
        await refusal(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        given = _credentials(dict(scope["headers"]).get(b"authorization", b""))
        return hmac.compare_digest(given, self.token.encode())


def _credentials(header: bytes) -> bytes:
    scheme, _, value = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


@contextmanager
def _listening(settings: Query) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise ConfigError([f"query.port: {settings.host} port {settings.port}: {reason}"]) from error
    with listener:
        yield listener


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    until = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise StoreError("the HTTP service did not start")
        time.sleep(0.005)
