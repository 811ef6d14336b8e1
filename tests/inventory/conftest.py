"""What the tests of the inventory share: an SNMP agent, and an HTTP server that misbehaves on request."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.servers.fixtures import leave_out
from tests.servers.registry import REGISTRY, ServerUnavailableError
from tests.servers.snmpd import Snmpd, running_snmpd

Answer = Callable[[Mapping[str, str]], object] | object
"""JSON value, or raw octets, or a status; or a function of the request's headers that gives one."""


@pytest.fixture(scope="session")
def snmpd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    registry = request.config.stash[REGISTRY]
    try:
        with running_snmpd(tmp_path_factory.mktemp("snmpd")) as agent:
            registry.used["snmpd"] = agent.version
            yield agent
    except ServerUnavailableError as error:
        leave_out(registry, "snmpd", str(error))


@dataclass(slots=True)
class JsonServer:
    """`answers` by path with query; what is not there is 404. `seen` are the paths asked for, in order."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


@pytest.fixture
def json_server() -> Iterator[JsonServer]:
    state = JsonServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.seen.append(self.path)
            answer = state.answers.get(self.path, 404)
            if callable(answer):
                answer = answer(dict(self.headers))
            status = answer if isinstance(answer, int) else 200
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if status != 204 else b""
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for settings and what they name."""
    return tmp_path
