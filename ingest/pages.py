"""What the running service answers over HTTP.

In: the service. Out: pages for the watch server. /healthz: the process works; /readyz: it takes datagrams and gives batches.
"""

from collections.abc import Callable
from dataclasses import asdict

from common.exposition import expose
from common.metrics import Counters
from common.watch import Page, Pages, json_page, text_page
from ingest.desk import plain_rows
from ingest.service import IngestService


def pages_of(service: IngestService, bus_counters: Counters) -> Pages:
    """All pages by path; `bus_counters` are those of the producer, which other threads count in."""
    pages: dict[str, Callable[[], Page]] = {
        "/metrics": lambda: Page(expose({**service.counters.totals, **bus_counters.totals}, service.gauges())),
        "/healthz": lambda: _health(service),
        "/readyz": lambda: _readiness(service),
        "/exporters": lambda: json_page([asdict(row) for row in service.exporters()]),
        "/interfaces": lambda: json_page([asdict(row) for row in service.interfaces()]),
        "/names": lambda: _table(service, "names"),
        "/samplers": lambda: _table(service, "samplers"),
        "/templates": lambda: _table(service, "templates"),
    }
    return pages


def _table(service: IngestService, table: str) -> Page:
    rows = service.tables.ask(table)
    return text_page(f"no {table}: decoding stands still", healthy=False) if rows is None else json_page(plain_rows(rows))


def _health(service: IngestService) -> Page:
    running = service.status().running
    return text_page("ok" if running else "a thread of the service has ended", running)


def _readiness(service: IngestService) -> Page:
    status = service.status()
    if not status.running:
        return text_page("stopping", healthy=False)
    if status.held_up:
        return text_page(
            f"no datagrams are taken, {status.waiting_batches} batches wait for the bus: {status.bus_error}", healthy=False
        )
    return text_page("ready: " + " ".join(map(str, status.endpoints)))
