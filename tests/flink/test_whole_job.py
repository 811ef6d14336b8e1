"""All that a job does beside aggregates and raw flows, on a real Flink: ledger, late flows and their repair from the bus, partials,
time series, and partitions that are added while it runs.
"""

import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import HTTPServer
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from kafka.admin import KafkaAdminClient, NewPartitions

from common.config import Series
from flowpb.documents import AGGREGATE_SCHEMA
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.expected import Oracle
from stores.elasticsearch.layout import REPAIRS, partials_kind
from stores.series.graphite import line
from stores.series.points import points_of
from stores.series.remote_write import labels_of
from tests.flink.rig import PARTITIONS, Rig, begun
from tests.ledger.collected import collect, scenario_of, sums_of
from tests.pipelines.line import expected_documents, newest
from tests.pipelines.test_repair import outage
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer
from tests.stores.test_series import Strict
from tests.stores_elasticsearch.stored import aggregate_rows, hits

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka"), pytest.mark.server("elasticsearch"), pytest.mark.campaign]

HOUR_MS: Final = 3_600_000
CLOSED_MS: Final = 40 * 60_000
GROWN: Final = {4: 4, 12: 4, 5: 5, 13: 5}
"""Lanes that go to partitions which are added, those of the element that read them before."""


class Lines(socketserver.StreamRequestHandler):
    """Graphite's end of a connection."""

    def handle(self) -> None:
        server: Any = self.server
        server.lines.extend(iter(self.rfile.readline, b""))


@contextmanager
def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def receivers() -> Iterator[tuple[Any, Any]]:
    """A Graphite and a remote-write receiver."""
    graphite: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines)
    graphite.daemon_threads, graphite.lines = True, []
    prometheus: Any = HTTPServer(("127.0.0.1", 0), Strict)
    prometheus.series, prometheus.statuses, prometheus.tokens = [], [], []
    with served(graphite), served(prometheus):
        yield graphite, prometheus


def test_what_a_job_writes_beside_aggregates(
    kafka: KafkaServer, flink_cluster: FlinkCluster, elasticsearch: ElasticsearchServer, tmp_path: Path
) -> None:
    """An outage whose flows come too late, then a collector that loses datagrams and whose lanes move to added partitions."""
    with receivers() as (graphite, prometheus):
        series = Series(
            graphite=f"127.0.0.1:{graphite.server_address[1]}",
            prometheus=f"http://127.0.0.1:{prometheus.server_port}/write",
            when_away="wait",
        )
        with begun(Rig(kafka, flink_cluster, elasticsearch, tmp_path, series=series)) as rig:
            away = outage(seed=4, away_s=1500)
            rig.now_ms = max(entry.append_ms for entry in away) + 1_000
            rig.produce(away + rig.closing())
            rig.settle()
            grow(rig)
            lossy = collect(scenario_of(loss=0.1, duplicate=0.05), start_ms=rig.now_ms + 2 * HOUR_MS)
            rig.now_ms += 4 * HOUR_MS
            rig.produce([BusEntry(rig.now_ms, batch.lane, batch.value) for batch in lossy.batches])
            rig.produce(rig.closing())
            rig.settle()
            closed(rig)
            the_ledger_has_all_flows(rig, lossy.arrived, lossy.truth.accounts())
            final_totals_are_points(rig, graphite.lines, prometheus.series)
            late_flows_are_repaired_from_the_bus(rig, tmp_path)


def grow(rig: Rig) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=rig.kafka.bootstrap)) as admin:
        admin.create_partitions({rig.topic: NewPartitions(PARTITIONS + 2)})
    rig.grown = GROWN


def closed(rig: Rig) -> None:
    """All windows and minutes of the ledger are over; a window's last mark writes its partial."""
    rig.now_ms += CLOSED_MS
    rig.produce(rig.closing())
    windows = {(row["window_start_ms"], row["lane"]) for row in aggregate_rows(rig.client) if row["lane"] is not None}
    rig.until(lambda: set(partials_of(rig)) == windows, "partials of all windows")
    flows = sum(rig.flows.values())
    rig.until(lambda: sum(row["flows_received"] or 0 for row in rig.ledger_rows()) == flows, "all flows in the ledger")


def partials_of(rig: Rig) -> list[tuple[int, int]]:
    """Window and lane of each."""
    fields = [{"field": "range_start", "format": "epoch_millis"}, {"field": "lane"}]
    partials = [hit["fields"] for hit in hits(rig.client, partials_kind("1m"), fields)]
    return [(int(each["range_start"][0]), int(each["lane"][0])) for each in partials]


def the_ledger_has_all_flows(rig: Rig, arrived: Counter[str] | dict[str, int], accounts: Any) -> None:
    """What was read, what was late, and what a collector told of its exporters; the last minute's row is still to come."""
    sums = sums_of(rig.ledger_rows())
    whole: Counter[str] = sum(sums.values(), Counter())
    counts = rig.answer().counts
    assert whole["flows_received"] == counts.flows == rig.raw_count() == sum(rig.flows.values())
    assert whole["flows_late"] == counts.late > 0
    assert whole["clipped_bytes"] == counts.clipped_bytes
    for account in accounts:
        got = sums[account.exporter]
        assert got["flows_decoded"] == got["flows_received"] == arrived[account.exporter]
        assert got["duplicates"] == account.copies
        assert sum(got[f"missing_{unit}"] for unit in ("flows", "packets", "records", "datagrams")) == account.missing_units


def final_totals_are_points(rig: Rig, lines: list[bytes], series: list[Any]) -> None:
    """Each once and for all: a bundle that is repeated sends the same. What the last mark left as it was has its points, too."""
    rows = [row | {"final": True, "location": row["location"] or None} for row in aggregate_rows(rig.client)]
    table = pa.Table.from_pylist([row for row in rows if row["lane"] is not None], schema=AGGREGATE_SCHEMA)
    points = list(points_of(table))
    assert points
    expected_lines = {line("nephrite", point) for point in points}
    expected = {(tuple(labels_of("nephrite", point.series)), float(point.value), point.time_ms) for point in points}
    rig.until(lambda: set(lines) >= expected_lines, "Graphite's points")
    assert set(lines) == expected_lines
    rig.until(lambda: seen(series) >= expected, "remote write's points")
    assert seen(series) == expected


def seen(series: list[Any]) -> set[tuple[Any, ...]]:
    """What a remote-write receiver has got: labels, value and time."""
    return {(tuple(labels.items()), value, at) for labels, value, at in list(series)}


def late_flows_are_repaired_from_the_bus(rig: Rig, folder: Path) -> None:
    """`nephrite repair` with the real bus: documents of exporters are those of an oracle for which nothing is late."""
    from tests.e2e.command import nephrite

    target = f"{rig.documents.target}"
    bus = {"NEPHRITE_BUS__URL": rig.settings.bus.url, "NEPHRITE_PIPELINE__CANDIDATES_YOUNG": str(1 << 20)}
    bus |= {"NEPHRITE_PIPELINE__CANDIDATES_OLD": str(1 << 20)}
    waiting = len(hits(rig.client, REPAIRS, []))
    assert waiting > 0
    done = nephrite("repair", target, "--data-dir", folder / "repair", changes=bus)
    assert done.code == 0, done.err
    oracle = Oracle(repaired=True)
    for value, append_ms in rig.taken:
        oracle.take_entry(value, append_ms)
    expected = [row for row in expected_documents(oracle.answer()) if row["exporter_addr"] is not None]
    assert newest(row for row in aggregate_rows(rig.client) if row["exporter_addr"] is not None) == expected
    assert hits(rig.client, REPAIRS, []) == []
