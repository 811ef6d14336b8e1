"""A pipeline behind FlowDocuments gives the aggregates that it gives behind batches: by memory, as a job, and over a real Kafka."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from bus.contract import Entry, Source
from bus.kafka_client import KafkaTarget
from bus.kafka_source import KafkaSource, close_pool
from bus.memory import MemoryLog, MemorySource
from columns.combine import combine
from columns.lane import emit
from common.config import Pipeline, Settings
from common.errors import ConfigError, StoreError
from flowpb.codec import decode
from flowpb.document_in import flows_of
from flowpb.document_out import documents_of
from flowpb.flowdocument_pb2 import FlowDocument, NodeInfo
from flowpb.groupings import Scope, Values
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from pipelines.aggregate import Outputs
from pipelines.direct import MicroBatches, Work
from pipelines.document_intake import DocumentIntake
from pipelines.document_sink import WriteFlowDocuments
from pipelines.embedded import document_target, limits_of
from pipelines.sinks import WriteFiles
from pipelines.source import pack_element
from pipelines.streaming import Streaming, build_streaming
from stores.parquet.layout import EVER, find_file
from stores.parquet.manifest import Manifest
from tests.pipelines.line import (
    ENRICHER,
    EXACT,
    LANES,
    START_MS,
    answer_of,
    entries_of,
    expected_documents,
    fill,
    newest,
    row_of,
    stored_documents,
)
from tests.servers.kafka import KafkaServer
from transforms.flows import AcceptedBatch

PARTITIONS: Final = 3
LOGS: Final[list[MemoryLog]] = []


def documents_in(entries: Iterable[BusEntry]) -> Iterator[tuple[int, bytes]]:
    """When the collector closed the batch, and each of its flows as a document."""
    for entry in entries:
        header, flows = decode(entry.value)
        if flows.num_rows:
            yield from ((header.mark_ms, document) for document in documents_of(flows))


def topic_of(entries: Iterable[BusEntry]) -> MemoryLog:
    """A topic whose sender deals documents out in turn, whatever their exporter."""
    now = [0]
    log = MemoryLog(PARTITIONS, lambda: now[0])
    for number, (mark_ms, document) in enumerate(documents_in(entries)):
        now[0] = mark_ms
        log.append(number % PARTITIONS, document)
    return log


def open_last() -> Source:
    return MemorySource(LOGS[-1])


@pytest.mark.parametrize("run_bytes", [64 << 20, 3 * 40_000])
def test_micro_batches_give_the_aggregates_of_the_oracle(run_bytes: int, tmp_path: Path) -> None:
    entries = entries_of("small", seed=51)
    work = Work(ENRICHER, EXACT, LANES, run_bytes, Outputs(keep=True), documents=True)
    with Manifest.open(tmp_path, writer=True) as manifest:
        MicroBatches(MemorySource(topic_of(entries)), manifest, work).drain()
        counted = manifest.load().counters
        assert manifest.load().windows == (), "idle partitions follow the clock, so all windows are closed"
    assert counted["pipeline_batches_total"] == counted["pipeline_flows_total"] == answer_of(entries).counts.flows
    assert stored_documents(tmp_path) == expected_documents(answer_of(entries))


def test_a_job_gives_the_aggregates_of_the_oracle(tmp_path: Path) -> None:
    entries = entries_of("small", seed=52)
    LOGS.append(topic_of(entries))
    elements = [pack_element(partition, stop=open_last().end(partition)) for partition in range(PARTITIONS)]
    job = Streaming("documents", open_last, elements, LANES, ENRICHER, EXACT, documents=True)
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([]))
    build_streaming(pipeline, job, WriteFiles(str(tmp_path)))
    pipeline.run().wait_until_finish()
    lines = [orjson.loads(line) for file in tmp_path.glob("*.ndjson") for line in file.read_bytes().splitlines()]
    assert newest(map(row_of, lines)) == expected_documents(answer_of(entries))


WITH_NODES: Final = replace(EXACT, nodes=True, values=(Values("SITE", ("src_categories", "dst_categories"), (Scope.EXPORTER,)),))
NAMED_BY_ONMS: Final = {"foreign_source": "lab", "foreign_id": "r-ü", "node_id": 42}


def document_of(host: str, at_ms: int, exporter: NodeInfo | None = None, source: NodeInfo | None = None) -> bytes:
    """One flow of a second, as OpenNMS would have it."""
    document = FlowDocument(host=host, location="Berlin", timestamp=at_ms, exporter_node=exporter, src_node=source)
    for name, value in (("num_bytes", 1000), ("first_switched", at_ms - 1000), ("last_switched", at_ms), ("input_snmp_ifindex", 3)):
        getattr(document, name).value = value
    return document.SerializeToString()


def nodes_topic() -> MemoryLog:
    """An exporter that OpenNMS knows, in its second message only, and one that it does not know; an hour later another flow."""
    exporter = NodeInfo(foreign_source="lab", foregin_id="r-ü", node_id=42, categories=["Routers"])
    source = NodeInfo(foreign_source="lab", foregin_id="h1", node_id=7, categories=["Office", "Berlin"])
    now = [0]
    log = MemoryLog(1, lambda: now[0])
    for seconds, document in (
        (1, document_of("192.0.2.1", START_MS + 1000)),
        (2, document_of("192.0.2.1", START_MS + 2000, exporter, source)),
        (3, document_of("192.0.2.2", START_MS + 3000)),
        (3600, document_of("192.0.2.2", START_MS + 3_600_000)),
    ):
        now[0] = START_MS + seconds * 1000
        log.append(0, document)
    return log


def check_nodes(rows: Iterable[dict[str, Any]]) -> None:
    """The known exporter's documents say who it is; nobody else's say anything."""
    found = [row for row in rows if row["window_start_ms"] == START_MS]
    scopes = {row["grouped_by"]: row for row in found if row["exporter_addr"] == "192.0.2.1"}
    assert {"EXPORTER_INTERFACE", "EXPORTER", "EXPORTER_INTERFACE_HOST", "EXPORTER_SITE"} <= set(scopes)
    for row in found:
        node = NAMED_BY_ONMS if row["exporter_addr"] == "192.0.2.1" else dict.fromkeys(NAMED_BY_ONMS)
        assert {name: row[name] for name in NAMED_BY_ONMS} == node, row
    sites = {(row["item"], row["bytes_total"]) for row in found if row["grouped_by"] == "EXPORTER_SITE" and row["item"]}
    assert sites == {("Office,Berlin", 1000)}


def test_nodes_that_documents_bring_are_in_aggregates_and_in_hours(tmp_path: Path) -> None:
    work = Work(ENRICHER, WITH_NODES, LANES, outputs=Outputs(keep=True), documents=True)
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = MicroBatches(MemorySource(nodes_topic()), manifest, work)
        driver.drain()
        driver.finish()
        paths = [find_file(tmp_path, file) for file in manifest.files("aggregate", "1m", *EVER)]
        check_nodes(row for path in paths if path for row in pq.read_table(path).to_pylist())
        with manifest.partials() as partials:
            minutes = partials.of_window("1m", START_MS)
    hour = combine(list(minutes.values()), WITH_NODES)
    _, table = emit(hour, 0, START_MS, 3, True, WITH_NODES, 3_600_000)
    check_nodes(table.to_pylist())


def test_nodes_that_documents_bring_are_in_a_jobs_aggregates(tmp_path: Path) -> None:
    LOGS.append(nodes_topic())
    element = pack_element(0, stop=open_last().end(0))
    job = Streaming("nodes", open_last, [element], LANES, ENRICHER, WITH_NODES, documents=True)
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([]))
    build_streaming(pipeline, job, WriteFiles(str(tmp_path)))
    pipeline.run().wait_until_finish()
    lines = [orjson.loads(line) for file in tmp_path.glob("*.ndjson") for line in file.read_bytes().splitlines()]
    check_nodes(map(row_of, lines))


def test_only_a_pipeline_behind_documents_carries_nodes() -> None:
    assert limits_of(Pipeline(flow_documents_in="kafka://h:1/t")).nodes
    assert not limits_of(Pipeline()).nodes


def entries(documents: Sequence[bytes], first: int = 0, append_ms: int = 5_000) -> list[Entry]:
    return [Entry(0, first + n, 0, append_ms, document) for n, document in enumerate(documents)]


def test_repeats_broken_documents_and_a_topic_made_anew() -> None:
    documents = [document for _, document in documents_in(entries_of("small", seed=3)[:40])][:6]
    intake = DocumentIntake({}, LANES)
    intake.take(entries(documents[:4]))
    intake.take(entries([*documents[2:], b"\xff"], first=2))
    assert intake.counters.as_map() == {
        'pipeline_batches_dropped_total{reason="contract"}': 1,
        'pipeline_batches_dropped_total{reason="repeat"}': 2,
        "pipeline_batches_total": 9,
    }
    assert sorted(n for each in intake.accepted.values() for b in each if b.numbers is not None for n in b.numbers) == list(
        range(6)
    )
    intake.accepted.clear()
    intake.take(entries(documents[:2], append_ms=90_000))  # offsets start over, later: another topic
    assert {batch.epoch for each in intake.accepted.values() for batch in each} == {1}
    assert {known.collectors["documents-0"].mark_ms for known in intake.logs.values()} == {90_999}
    intake.idle(0, 200_000)
    assert {known.frontier_ms for known in intake.logs.values()} == {200_000}


def test_what_a_document_counts_for_does_not_depend_on_how_it_was_read() -> None:
    documents = [document for _, document in documents_in(entries_of("small", seed=3)[:60])][:30]
    topic = [Entry(0, n, 0, 5_000 + 130 * n, document) for n, document in enumerate(documents)]

    def judged(step: int) -> list[tuple[int, int, int]]:
        intake = DocumentIntake({}, LANES)
        for first in range(0, len(topic), step):
            intake.take(topic[first : first + step])
        return sorted(
            (number, batch.mark_ms, batch.frontier_ms)
            for each in intake.accepted.values()
            for batch in each
            for number in (batch.numbers if batch.numbers is not None else [])
        )

    assert judged(30) == judged(7) == judged(1)
    assert len(judged(1)) == 30


def test_settings_that_name_no_kafka_are_refused() -> None:
    settings = Settings(pipeline=Pipeline(flow_documents_out="spool:"))
    with pytest.raises(ConfigError, match=r"pipeline\.flow_documents_out: it must be kafka://host:9092/topic"):
        document_target(settings, "flow_documents_out")


def test_a_topic_that_cannot_be_reached_fails_the_bundle() -> None:

    header, flows = next(decoded for entry in entries_of("small", seed=3) if (decoded := decode(entry.value))[1].num_rows)
    sink = WriteFlowDocuments(KafkaTarget(("127.0.0.1:1",), "nowhere"))
    sink.start_bundle()
    with pytest.raises(StoreError, match=r"flow documents: kafka 127\.0\.0\.1:1 cannot be reached"):
        sink.process(AcceptedBatch(header.lane, "a", 1, 0, 0, 0, flows))


@pytest.mark.server("kafka")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_documents_out_and_in_again_over_kafka(kafka: KafkaServer, tmp_path: Path) -> None:
    start_ms = (time.time_ns() // 1_000_000 - 180_000) // 60_000 * 60_000
    played: list[BusEntry] = []

    def keep(entry: BusEntry) -> bool:
        played.append(entry)
        return True

    scenario = BUILTIN["small"].model_copy(update={"seed": 53, "rate": 60})
    Player(scenario, start_ms, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    target = KafkaTarget((kafka.bootstrap,), f"documents-{uuid.uuid4().hex[:8]}", PARTITIONS)
    first, second = tmp_path / "first", tmp_path / "second"
    with Manifest.open(first, writer=True) as manifest:
        flows = MicroBatches(
            MemorySource(fill(played)), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(flow_documents=target))
        ).drain()
        assert manifest.load().counters["pipeline_flow_documents_total"] == flows
    with Manifest.open(second, writer=True) as manifest, closing(KafkaSource(target, append_times=False)) as source:
        work = Work(ENRICHER, EXACT, LANES, outputs=Outputs(keep=True), documents=True)
        driver = MicroBatches(source, manifest, work)
        assert driver.drain() == flows
        driver.finish()
    close_pool()
    assert stored_documents(second) == stored_documents(first) == expected_documents(answer_of(played))


def test_an_enriched_document_keeps_what_it_brings() -> None:

    flows = next(decoded for entry in entries_of("small", seed=3) if (decoded := decode(entry.value)[1]).num_rows)
    named = ENRICHER.enrich(flows)
    theirs = named.set_column(
        named.schema.get_field_index("application"),
        "application",
        pa.array(["theirs", *[None] * (named.num_rows - 1)]).dictionary_encode(),
    )
    back = flows_of(documents_of(theirs), np.zeros(flows.num_rows, np.int64)).flows
    kept = ENRICHER.enrich(back, keep=True).column("application").to_pylist()
    assert kept == ["theirs", *named.column("application").to_pylist()[1:]]
    assert ENRICHER.enrich(back).column("application").to_pylist() == named.column("application").to_pylist()
