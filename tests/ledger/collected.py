"""Scenarios through ingest in memory: what exporters sent, what arrived, and the batches that a collector made of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from common.addresses import pack_address
from common.config import Ingest
from common.metrics import Counters
from flowpb.documents import LEVEL_MINUTE
from flowpb.ledger import ESTIMATES, LEVEL_LEDGER, SUMS
from ingest.batcher import Batch, Batcher, Identity
from ingest.decoder import Datagram as Received
from ingest.decoder import Decoder
from ingest.line import Line
from ingest.loadgen.export import Datagram, Exporters
from ingest.loadgen.network import deliver
from ingest.loadgen.scenario import Exporter, Network, Scenario
from ingest.loadgen.truth import Ledger
from ingest.pace import HEARTBEAT_MS, Pace
from pipelines.direct import MicroBatches, Work
from stores.parquet.layout import EVER, Kind, find_file
from stores.parquet.manifest import Manifest
from tests.loadgen.rows import START_MS, tiny
from tests.pipelines.line import ENRICHER, EXACT, LANES

MINUTE: Final = 60_000
CLOSING_MS: Final = 17 * MINUTE
FLEET: Final = (
    Exporter(address="127.9.0.1", protocol="netflow5", interfaces=2, first_sequence=2**32 - 100),
    Exporter(address="127.9.0.2", protocol="netflow9", interfaces=2, records_per_datagram=5),
    Exporter(address="127.9.0.3", protocol="ipfix", interfaces=2, template_interval_s=3, first_sequence=2**32 - 100),
    Exporter(address="127.9.0.4", protocol="sflow", interfaces=2, template_interval_s=3, first_sequence=2**32 - 100),
)
"""One exporter per protocol; two of them wrap their sequence numbers soon."""


@dataclass(frozen=True)
class Collected:
    """What one collector made of a scenario, and what it should have counted."""

    truth: Ledger
    batches: list[Batch]

    @property
    def sent(self) -> dict[str, int]:
        """Flows by exporter."""
        return {each.exporter: each.flows for each in self.truth.exporters()}

    @property
    def arrived(self) -> dict[str, int]:
        """Flows by exporter, without copies."""
        return {account.exporter: account.flows for account in self.truth.accounts()}


def scenario_of(*fleet: Exporter, loss: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0, **fields: Any) -> Scenario:
    network = Network(loss=loss, duplicate=duplicate, reorder=reorder)
    return tiny(*(fleet or FLEET), network=network, **{"rate": 300, "duration_s": 12, **fields})


def collect(scenario: Scenario, start_ms: int = START_MS, collector: str = "c1") -> Collected:
    """Plays the scenario into a collector whose clock is the scenario's, with closing heartbeats."""
    truth = Ledger(scenario)
    batches: list[Batch] = []
    addresses = [pack_address(exporter.address) for exporter in scenario.fleet()]

    def opened(now_ms: int) -> Line:
        identity = Identity(collector, now_ms, LANES)
        return Line(Decoder(Ingest(), LANES, Counters()), Batcher(Ingest(), identity, heartbeat_ms=HEARTBEAT_MS))

    def sent() -> Iterator[list[Datagram]]:
        for datagrams in Exporters(scenario, start_ms).slices():
            truth.sent(datagrams)
            yield datagrams

    pace = Pace(opened)
    for due in deliver(scenario, start_ms, sent()):
        truth.arrived(due)
        for arrival in due:
            datagram = arrival.datagram
            batches += pace.take(Received(addresses[datagram.exporter], arrival.received_ms, datagram.payload))
    batches += pace.end()
    assert pace.line is not None
    batches += pace.line.finish(pace.now_ms + CLOSING_MS)
    return Collected(truth, batches)


def bus_of(batches: Iterable[Batch]) -> MemoryLog:
    """A bus that holds them."""
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    for batch in batches:
        producer.send(batch.lane, batch.value)
    return log


def drain(log: MemoryLog, data_dir: Path, run_bytes: int = 64 << 20, resume: bool = True) -> int:
    """The whole bus through the micro-batch driver; returns the flows read."""
    with Manifest.open(data_dir, writer=True) as manifest:
        return MicroBatches(MemorySource(log), manifest, Work(ENRICHER, EXACT, LANES, run_bytes), resume).drain()


def stored(data_dir: Path, kind: Kind, level: str) -> list[dict[str, Any]]:
    """All rows of one kind."""
    with Manifest.open(data_dir, writer=False) as manifest:
        paths = [find_file(data_dir, file) for file in manifest.files(kind, level, *EVER)]
    tables = [pq.read_table(path) for path in paths if path]
    rows: list[dict[str, Any]] = pa.concat_tables(tables, promote_options="permissive").to_pylist() if tables else []
    return rows


def ledger_of(data_dir: Path) -> list[dict[str, Any]]:
    """The newest version of each row of the ledger."""
    return newest_rows(stored(data_dir, "ledger", LEVEL_LEDGER))


def newest_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each key the row with the largest version."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["minute_ms"], row["booked_ms"], row["lane"], row["exporter_addr"] or "")
        if key not in newest or row["version"] >= newest[key]["version"]:
            newest[key] = row
    return [newest[key] for key in sorted(newest)]


def sums_of(rows: Iterable[dict[str, Any]]) -> dict[str | None, Counter[str]]:
    """Sums by exporter; None has the lanes' own rows."""
    sums: dict[str | None, Counter[str]] = {}
    for row in rows:
        counts = sums.setdefault(row["exporter_addr"], Counter())
        for name in (*SUMS, *ESTIMATES):
            counts[name] += row[name] or 0
    return sums


def raw_flows(data_dir: Path) -> Counter[str]:
    """Raw flows by exporter."""
    return Counter(row["exporter_addr"] for row in stored(data_dir, "raw", "raw"))


def flows_in_aggregates(documents: Iterable[dict[str, Any]]) -> Counter[str]:
    """Flows by exporter in totals of exporter scope, of the newest versions."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in documents:
        if row["grouped_by"] == "EXPORTER":
            key = (row["exporter_addr"], row["location"], row["window_start_ms"])
            if key not in newest or row["rows"] >= newest[key]["rows"]:
                newest[key] = row
    found: Counter[str] = Counter()
    for (exporter, _, _), row in newest.items():
        found[exporter] += row["flows_ingress"] + row["flows_egress"]
    return found


def aggregated_flows(data_dir: Path) -> Counter[str]:
    """Flows by exporter in the stored aggregates."""
    return flows_in_aggregates(stored(data_dir, "aggregate", LEVEL_MINUTE))
