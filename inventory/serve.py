"""The snapshot and the sources' health over HTTP, for other hosts and for Prometheus.

In: a gatherer. Out: `/inventory.arrow` with its version as ETag (RFC 9110 section 8.8.3), `/metrics` in the text exposition format.
Refuses to know who asks: it tells nothing that is secret, and takes nothing.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.metrics import BY_NAME
from inventory.gather import Gatherer

SNAPSHOT_PATH: Final = "/inventory.arrow"
_METRICS_PATH: Final = "/metrics"


@contextmanager
def serving(gatherer: Gatherer, host: str, port: int) -> Iterator[int]:
    """Serves as long as the block lasts; gives the port (another one if `port` is 0)."""

    class Handler(_Handler):
        source = gatherer

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="inventory-http", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def exposition(gatherer: Gatherer) -> bytes:
    """How each source fares, as Prometheus reads it; a source that never answered has no age."""
    registry = CollectorRegistry()
    registry.register(_Sources(gatherer))
    return generate_latest(registry)


class _Sources(Collector):
    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer

    def collect(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(*_described("inventory_source_failures_total"), labels=["source"])
        age = GaugeMetricFamily(*_described("inventory_source_age_seconds"), labels=["source"])
        nodes = GaugeMetricFamily(*_described("inventory_source_nodes"), labels=["source"])
        now = self._gatherer.clock()
        for state in list(self._gatherer.states.values()):
            failures.add_metric([state.name], state.failures)
            nodes.add_metric([state.name], len(state.nodes))
            if (seconds := state.age_s(now)) is not None:
                age.add_metric([state.name], seconds)
        yield from (failures, age, nodes)


def _described(name: str) -> tuple[str, str]:
    return name, BY_NAME[name].help


class _Handler(BaseHTTPRequestHandler):
    source: Gatherer
    timeout = 30

    def do_GET(self) -> None:
        if self.path == SNAPSHOT_PATH:
            self._snapshot()
        elif self.path == _METRICS_PATH:
            self._answer(200, exposition(self.source), "text/plain; version=0.0.4")
        else:
            self._answer(404, b"there are /inventory.arrow and /metrics\n", "text/plain")

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not worth a line."""

    def _snapshot(self) -> None:
        """The open file stays whole though it may be replaced meanwhile; its size is the length that was promised."""
        etag = f'"{self.source.version}"'
        try:
            file = (self.source.folder / self.source.settings.snapshot).open("rb")
        except OSError:
            self._answer(503, b"there is no snapshot yet\n", "text/plain")
            return
        with file:
            if self.headers.get("If-None-Match") == etag:
                self.send_response(304)
                self.send_header("ETag", etag)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", etag)
            self.send_header("Content-Type", "application/vnd.apache.arrow.file")
            self.send_header("Content-Length", str(file.seek(0, 2)))
            self.end_headers()
            file.seek(0)
            shutil.copyfileobj(file, self.wfile)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
