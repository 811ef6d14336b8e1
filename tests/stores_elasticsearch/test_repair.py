"""Repairs of the full store on a real server: late flows are in its documents afterwards, from the bus, under the same ids."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bus.memory import MemoryLog
from columns.documents import ids_of, to_json
from columns.lane import Limits
from ingest.loadgen.batches import BusEntry
from pipelines.aggregate import Outputs
from pipelines.bus_again import flows_again
from pipelines.direct import MicroBatches, Work
from pipelines.elasticsearch_sinks import WriteLate
from pipelines.ranges import read_range
from pipelines.repair_elasticsearch import Step, ready, repair
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import AGGREGATES, REPAIRS
from stores.elasticsearch.repairs import read_queue
from stores.elasticsearch.setup import install
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from stores.questions import Span
from stores.queued import Queued
from tests.pipelines.line import ENRICHER, EXACT, LANES, newest
from tests.pipelines.test_repair import Lasting, outage, repaired_documents, timed
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.stores import refuse, target_of, wipe
from tests.stores_elasticsearch.stored import aggregate_rows, hits

pytestmark = pytest.mark.server("elasticsearch")
LATER: Final = 1 << 60


@pytest.fixture(scope="module")
def entries() -> list[BusEntry]:
    return outage(seed=4, away_s=1500)


@pytest.fixture(scope="module")
def log(entries: list[BusEntry]) -> MemoryLog:
    return timed(entries)


@pytest.fixture(scope="module")
def documents(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a pipeline wrote that had no repair."""
    folder = tmp_path_factory.mktemp("line")
    with Manifest.open(folder, writer=True) as manifest:
        MicroBatches(Lasting(log), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False, wide=False))).drain()
        files = [find_file(folder, file) for file in manifest.files("aggregate", "1m", 0, 1 << 62)]
    return pa.concat_tables([pq.read_table(path) for path in files if path])


@pytest.fixture
def client(elasticsearch: ElasticsearchServer, log: MemoryLog, documents: pa.Table) -> Iterator[Client]:
    """A server with these documents and the queue that the job of the same log writes."""
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    list(install(client, {}))
    fill(client, documents, log)
    yield client
    wipe(client)


def fill(client: Client, documents: pa.Table, log: MemoryLog) -> None:
    bulk, sink = Bulk(client, refuse), WriteLate(client.target)
    for each in aggregate_documents(client.target.prefix, documents, ids_of(documents), to_json(documents)):
        bulk.add(each)
    bulk.flush()
    bulk.close()
    sink.setup()
    sink.start_bundle()
    for batch in read_range(Lasting(log), LANES, 0, LATER):
        sink.process(batch)
    sink.finish_bundle()
    sink.teardown()


def of_exporters(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without location and system scope, which a repair in Elasticsearch leaves as they are (docs/how-to/repair.md)."""
    return [row for row in rows if row["exporter_addr"] is not None]


def repaired(client: Client, log: MemoryLog, limits: Limits = EXACT, again: bool = False) -> list[Step]:
    queue = read_queue(client)

    def flows(entries: Sequence[Queued], span: Span) -> Iterator[Any]:
        return flows_again(lambda: Lasting(log), LANES, ENRICHER, entries, span)

    return list(repair(client, queue, ready(queue, LATER, 0, again), flows, limits, ENRICHER))


def test_documents_are_the_oracles_after_the_repair_and_a_second_one_writes_nothing(
    client: Client, log: MemoryLog, entries: list[BusEntry], documents: pa.Table
) -> None:
    steps = repaired(client, log)
    assert sum(step.documents for step in steps) > 0
    expected = of_exporters(repaired_documents(entries))
    assert newest(aggregate_rows(client)) == expected
    assert hits(client, REPAIRS, []) == read_queue(client).entries == []
    fill(client, documents, log)  # a job that went back to an old checkpoint writes all of it again
    assert [step.documents for step in repaired(client, log)] == [0] * len(steps)
    assert newest(aggregate_rows(client)) == expected


def test_a_batch_that_is_queued_twice_counts_once(client: Client, log: MemoryLog, documents: pa.Table) -> None:
    once = read_queue(client).entries
    fill(client, documents, log)
    assert once == read_queue(client).entries != []


def test_a_crash_between_documents_and_queue_repairs_again(
    client: Client, log: MemoryLog, entries: list[BusEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashedError(Exception):
        pass

    def crash(*_: object) -> None:
        raise CrashedError

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.repair_elasticsearch.take_out", crash)
        with pytest.raises(CrashedError):
            repaired(client, log)
    repaired(client, log)
    assert newest(aggregate_rows(client)) == of_exporters(repaired_documents(entries))
    assert read_queue(client).entries == []


def test_a_smaller_k_leaves_no_slots_behind(client: Client, log: MemoryLog) -> None:
    touched = {(entry.lane, entry.window_start_ms) for entry in read_queue(client).entries}
    repaired(client, log, replace(EXACT, top_k=3))
    rows = [row for row in aggregate_rows(client) if row["mark"] == 4]
    assert {(row["lane"], row["window_start_ms"]) for row in rows} == touched
    groups = {(row["window_start_ms"], row["group_id"]) for row in rows}
    slots = [row["slot"] for row in aggregate_rows(client) if (row["window_start_ms"], row["group_id"]) in groups]
    assert max(slots) == 3


def test_what_the_bus_let_go_stays_in_the_queue_with_the_reason(
    client: Client, entries: list[BusEntry], documents: pa.Table
) -> None:
    before = newest(aggregate_rows(client))
    short = timed(entries)
    for partition in range(LANES):
        short.drop(partition, short.bounds(partition)[1])
    steps = repaired(client, short)
    assert [step.done for step in steps if step.done] == []
    queue = read_queue(client)
    assert all("late shares are not among the flows" in entry.problem for entry in queue.entries)
    assert ready(queue, LATER, 0, again=False) == []
    assert newest(aggregate_rows(client)) == before
    assert ready(queue, queue.entries[0].window_start_ms + 17 * 60_000 - 1, 0, again=True) == []
    assert hits(client, AGGREGATES, []) != []


def test_the_command_lists_and_repairs(client: Client, tmp_path: Path) -> None:
    from tests.e2e.command import nephrite

    url = f"elasticsearch://{client.target.hosts[0]}?prefix={client.target.prefix}&replicas=false"
    listed = nephrite("repair", url, "--list", "--format", "json", "--data-dir", tmp_path)
    assert listed.code == 0, listed.err
    assert listed.out.count('"lane"') == len(read_queue(client).entries)
    done = nephrite("repair", url, "--data-dir", tmp_path)  # an empty spool has none of the flows
    assert done.code == 1
    assert "not repaired: 2023-11-14T22:" in done.err
