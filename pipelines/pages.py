"""What the running embedded pipeline answers over HTTP: /metrics and /healthz.

In: the manifest, read anew for each request, so that the counters are those of committed runs and go on over a restart. Out: pages
for the watch server. Refuses to know the driver.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.clock import wall_clock
from common.config import Settings
from common.errors import StoreError
from common.exposition import expose
from common.metrics import parsed, rendered
from common.watch import Page, Pages, WatchServer, text_page
from stores.parquet.manifest import Manifest

Standing = Callable[[], Mapping[str, float]]
"""Gauges that only the running driver knows, by the names of the metrics table."""
NOTHING: Final[Mapping[str, float]] = {}


@contextmanager
def watched(settings: Settings, standing: Standing = dict) -> Iterator[int | None]:
    """Serves the pages while inside, if a port is set; yields the port. Raises ConfigError when it cannot be had."""
    host, port = settings.pipeline.watch_host, settings.pipeline.watch_port
    if port is None:
        yield None
        return
    server = WatchServer(host, port, pages_of(Path(settings.data_dir), standing), "pipeline.watch_port")
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def pages_of(data_dir: Path, standing: Standing = dict) -> Pages:
    """All pages by path."""
    return {"/metrics": lambda: metrics_page(data_dir, wall_clock(), standing()), "/healthz": lambda: text_page("ok")}


def metrics_page(data_dir: Path, now_ms: int, standing: Mapping[str, float] = NOTHING) -> Page:
    """Counters of all committed runs; how far each lane was read, how far behind `now_ms` that is, and what the driver tells."""
    try:
        with Manifest.open(data_dir, writer=False) as manifest:
            totals, frontiers, final_ms = manifest.counters(), manifest.frontiers(), manifest.final_through()
            queue = manifest.queue()
    except StoreError as error:
        return text_page(str(error), healthy=False)
    gauges = {**standing, **({} if final_ms is None else {"pipeline_final_through_seconds": final_ms / 1000})}
    for lane, frontier_ms in frontiers.items():
        gauges[rendered("pipeline_frontier_seconds", lane=str(lane))] = frontier_ms / 1000
        gauges[rendered("pipeline_lag_seconds", lane=str(lane))] = (now_ms - frontier_ms) / 1000
    gauges["repair_waiting_windows"] = len(queue)
    gauges["repair_waiting_flows"] = sum(entry.late.flows for entry in queue)
    return Page(expose({parsed(name): total for name, total in totals.items()}, gauges))
