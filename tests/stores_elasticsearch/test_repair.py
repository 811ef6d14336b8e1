"""Repairs of the full store on a real server: late flows are in its documents afterwards, from the bus, under the same ids."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bus.memory import MemoryLog
from columns.documents import ids_of, to_json
from columns.lane import Limits
from columns.ledger_table import ledger_ids, ledger_json
from columns.partials import partial_of
from flowpb.documents import AGGREGATE
from flowpb.partials import partial_row
from ingest.loadgen.batches import BusEntry
from pipelines.aggregate import Outputs
from pipelines.bus_again import flows_again
from pipelines.direct import MicroBatches, Work
from pipelines.elasticsearch_sinks import WriteLate, spelled
from pipelines.ranges import read_range
from pipelines.repair_elasticsearch import Step, ready, repair
from pipelines.rollup import Rules, roll_up
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.cascade import ElasticsearchCascade
from stores.elasticsearch.client import Client
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import AGGREGATES, HOURS, REPAIRS, index_at
from stores.elasticsearch.ledger import ledger_answer, ledger_documents
from stores.elasticsearch.partials import partial_documents
from stores.elasticsearch.repairs import delete_documents, read_queue
from stores.elasticsearch.setup import install
from stores.parquet.cascade import ParquetCascade
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from stores.questions import LedgerQuery, Span
from stores.queued import Queued
from tests.pipelines.line import ENRICHER, EXACT, LANES, START_MS, newest
from tests.pipelines.longer import every_item, longer_documents
from tests.pipelines.test_repair import Lasting, outage, repaired_documents, timed
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.stores import refuse, target_of, wipe
from tests.stores_elasticsearch.stored import aggregate_rows, hits, row_of_fields

pytestmark = pytest.mark.server("elasticsearch")
LATER: Final = 1 << 60


@pytest.fixture(scope="module")
def entries() -> list[BusEntry]:
    return outage(seed=4, away_s=1500)


@pytest.fixture(scope="module")
def log(entries: list[BusEntry]) -> MemoryLog:
    return timed(entries)


@dataclass(frozen=True, slots=True)
class Written:
    """What a pipeline wrote that had no repair."""

    documents: pa.Table
    partials: pa.Table
    ledger: pa.Table


@pytest.fixture(scope="module")
def written(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("line")
    with Manifest.open(folder, writer=True) as manifest:
        MicroBatches(Lasting(log), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False))).drain()
        cascade, tables = ParquetCascade(manifest), []
        for listed in (manifest.files("aggregate", "1m", 0, 1 << 62), manifest.files("ledger", "ledger", 0, 1 << 62)):
            files = [find_file(folder, file) for file in listed]
            tables.append(pa.concat_tables([pq.read_table(path) for path in files if path]))
        states = ((one, cascade.states("1m", one.window_start_ms, one.window_start_ms + 1, one.lane)) for one in cascade.kept("1m"))
        partials = pa.concat_tables(partial_of(state, one.lane, one.window_start_ms, EXACT) for one, [state] in states)
    return Written(tables[0], partials, tables[1])


@pytest.fixture
def client(elasticsearch: ElasticsearchServer, log: MemoryLog, written: Written) -> Iterator[Client]:
    """A server with what was written, and the queue that the job of the same log writes."""
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    list(install(client, {}))
    fill(client, written, log)
    yield client
    wipe(client)


def fill(client: Client, written: Written, log: MemoryLog) -> None:
    sink, prefix = WriteLate(client.target), client.target.prefix
    documents, ledger = written.documents, written.ledger
    send(client, aggregate_documents(prefix, documents, ids_of(documents), to_json(documents)))
    send(client, ledger_documents(prefix, ledger, ledger_ids(ledger), ledger_json(ledger)))
    send(client, partial_documents(prefix, written.partials))
    sink.setup()
    sink.start_bundle()
    for batch in read_range(Lasting(log), LANES, 0, LATER):
        sink.process(batch)
    sink.finish_bundle()
    sink.teardown()
    client.ask("POST", f"/{client.target.prefix}*/_refresh")


def send(client: Client, documents: Iterable[Documents]) -> None:
    bulk = Bulk(client, refuse)
    for each in documents:
        bulk.add(each)
    bulk.flush()
    bulk.close()


def repaired(client: Client, log: MemoryLog, limits: Limits = EXACT, again: bool = False, wide: bool = True) -> list[Step]:
    queue = read_queue(client)

    def flows(entries: Sequence[Queued], span: Span) -> Iterator[Any]:
        return flows_again(lambda: Lasting(log), LANES, ENRICHER, entries, span)

    return list(repair(client, queue, ready(queue, LATER, LATER, 0, again), flows, Rules(limits, ENRICHER, wide)))


def ledger_of(client: Client) -> dict[str, int]:
    client.ask("POST", f"/{client.target.prefix}nephrite_ledger-*/_refresh")
    answer = ledger_answer(client, LedgerQuery(Span(0, LATER), by_exporter=False))
    return {name: answer.rows[name][0].as_py() for name in ("flows_received", "flows_late", "flows_repaired")}


def test_documents_are_the_oracles_after_the_repair_and_a_second_one_writes_nothing(
    client: Client, log: MemoryLog, entries: list[BusEntry], written: Written
) -> None:
    before = ledger_of(client)
    late = sum(entry.late.flows for entry in read_queue(client).entries)
    assert (before["flows_late"], before["flows_repaired"]) == (late, 0)
    steps = repaired(client, log)
    assert sum(step.documents for step in steps) > 0
    expected = repaired_documents(entries)
    assert newest(aggregate_rows(client)) == expected
    assert hits(client, REPAIRS, []) == read_queue(client).entries == []
    assert ledger_of(client) == {**before, "flows_late": 0, "flows_repaired": late}
    fill(client, written, log)  # a job that went back to an old checkpoint writes all of it again
    assert [step.documents for step in repaired(client, log)] == [0] * len(steps)
    assert newest(aggregate_rows(client)) == expected
    assert ledger_of(client) == {**before, "flows_late": 0, "flows_repaired": late}


def test_the_hours_of_repaired_minutes_are_made_again(client: Client, log: MemoryLog, entries: list[BusEntry]) -> None:
    with ElasticsearchCascade(Client.open(client.target), spelled) as cascade:
        send(client, partial_documents(client.target.prefix, partial_row(0, START_MS + 3 * 3_600_000, 1, b"")))  # time goes on
        client.ask("POST", f"/{client.target.prefix}*/_refresh")
        before = [due.window_start_ms for due in roll_up(cascade, Rules(EXACT, ENRICHER))]
        repaired(client, log)
        assert [due.window_start_ms for due in roll_up(cascade, Rules(EXACT, ENRICHER))] == before != []
        assert list(roll_up(cascade, Rules(EXACT, ENRICHER))) == []
    minutes = every_item((entry.value for entry in entries), repaired=True)
    fields = [{"field": f.json, **({"format": "epoch_millis"} if f.es_type == "date" else {})} for f in AGGREGATE]
    found = newest(row_of_fields(hit["fields"]) for hit in hits(client, HOURS, fields))
    assert found == longer_documents(minutes, 3_600_000)


def test_a_window_that_a_lane_is_not_through_with_waits(client: Client) -> None:
    queue = read_queue(client)
    end = queue.entries[0].window_start_ms + 60_000
    assert ready(queue, None, LATER, 0, again=True) == ready(queue, end - 1, LATER, 0, again=True) == []
    assert [entry.window_start_ms for entry in ready(queue, end, LATER, 0, again=True)] == [
        entry.window_start_ms for entry in queue.entries if entry.window_start_ms + 60_000 == end
    ]


def test_without_location_and_system_scope_only_exporters_are_written(
    client: Client, log: MemoryLog, entries: list[BusEntry], written: Written
) -> None:
    wider = written.documents.filter(pc.is_null(written.documents["exporter_addr"]))
    versions = dict(zip(ids_of(wider), wider["rows"].to_pylist(), strict=True))
    delete_documents(client, index_at(client.target.prefix, AGGREGATES, START_MS), versions)
    repaired(client, log, wide=False)
    assert newest(aggregate_rows(client)) == [row for row in repaired_documents(entries) if row["exporter_addr"] is not None]


def test_a_batch_that_is_queued_twice_counts_once(client: Client, log: MemoryLog, written: Written) -> None:
    once = read_queue(client).entries
    fill(client, written, log)
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
    assert newest(aggregate_rows(client)) == repaired_documents(entries)
    assert read_queue(client).entries == []


def test_a_smaller_k_leaves_no_slots_behind(client: Client, log: MemoryLog) -> None:
    touched = {(entry.lane, entry.window_start_ms) for entry in read_queue(client).entries}
    repaired(client, log, replace(EXACT, top_k=3))
    rows = [row for row in aggregate_rows(client) if row["mark"] == 4]
    assert {(row["lane"], row["window_start_ms"]) for row in rows if row["lane"] is not None} == touched
    assert {row["window_start_ms"] for row in rows if row["lane"] is None} == {start for _, start in touched}
    groups = {(row["window_start_ms"], row["group_id"]) for row in rows}
    slots = [row["slot"] for row in aggregate_rows(client) if (row["window_start_ms"], row["group_id"]) in groups]
    assert max(slots) == 3


def test_what_the_bus_let_go_stays_in_the_queue_with_the_reason(client: Client, entries: list[BusEntry]) -> None:
    before = newest(aggregate_rows(client))
    short = timed(entries)
    for partition in range(LANES):
        short.drop(partition, short.bounds(partition)[1])
    steps = repaired(client, short)
    assert [step.done for step in steps if step.done] == []
    queue = read_queue(client)
    assert all("late shares are not among the flows" in entry.problem for entry in queue.entries)
    assert ready(queue, LATER, LATER, 0, again=False) == []
    assert newest(aggregate_rows(client)) == before
    settled = max(entry.late.frontier_ms for entry in queue.entries) + 300_000
    assert len(ready(queue, LATER, settled - 1, 300_000, again=True)) < len(queue.entries)
    assert ready(queue, LATER, settled, 300_000, again=True) == queue.entries
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
