"""An HTTP server that answers what a test says: faults that a real Elasticsearch does not show on request."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.servers.ports import free_block

Reply = tuple[int, object]
FINE: Reply = (200, {"errors": False})


@dataclass
class Scripted:
    """Replies in order, the last one for ever; `bodies` and `authorization` are what was sent."""

    port: int
    replies: list[Reply]
    bodies: list[bytes] = field(default_factory=list)
    authorization: str = ""

    def next(self, body: bytes, authorization: str) -> Reply:
        self.bodies.append(body)
        self.authorization = authorization
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def scripted(*replies: Reply) -> Iterator[Scripted]:
    script = Scripted(free_block(1), list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, content = script.next(
                self.rfile.read(int(self.headers.get("Content-Length", 0))), self.headers.get("Authorization", "")
            )
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", script.port), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def errors(*kinds: str | None, status: int = 400) -> Reply:
    """An answer about documents: the error of each, None where there is none."""
    items: Sequence[object] = [
        {"create": {"status": 201} if kind is None else {"status": status, "error": {"type": kind, "reason": "because"}}}
        for kind in kinds
    ]
    return 200, {"errors": True, "items": items}
