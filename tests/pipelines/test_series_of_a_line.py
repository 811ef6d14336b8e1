"""Time series behind a whole line, in both forms: every interface and application of every minute, once, as the oracle has them."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from bus.contract import Source
from bus.memory import MemoryLog, MemorySource
from common.config import Series
from flowpb.codec import decode_header
from flowpb.documents import AGGREGATE_SCHEMA
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Collector
from pipelines.aggregate import Outputs
from pipelines.direct import MicroBatches, Work
from pipelines.series_sink import close_outlets, receivers_of
from pipelines.sinks import WriteFiles
from pipelines.source import pack_element
from pipelines.streaming import Streaming, build_streaming
from stores.parquet.manifest import Manifest
from stores.series.graphite import line
from stores.series.points import points_of
from tests.bus.buses import eventually
from tests.pipelines.line import ENRICHER, EXACT, LANES, START_MS, Traffic, answer_of, fill

LOGS: Final[list[MemoryLog]] = []


def open_last() -> Source:
    return MemorySource(LOGS[-1])


class Graphite(socketserver.ThreadingTCPServer):
    """Keeps the lines that it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Lines)
        self.lines: list[bytes] = []
        self.ended = 0
        self.settings = Series(graphite=f"127.0.0.1:{self.server_address[1]}")


class Lines(socketserver.StreamRequestHandler):
    server: Graphite

    def handle(self) -> None:
        for each in self.rfile:
            self.server.lines.append(each)
        self.server.ended += 1


@contextmanager
def served() -> Iterator[Graphite]:
    """A receiver that listens."""
    with Graphite() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            close_outlets()
            server.shutdown()
            thread.join()


@pytest.fixture
def graphite() -> Iterator[Graphite]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """Exporters whose datagrams go to two collectors, here and there."""
    scenario = BUILTIN["small"].model_copy(
        update={"seed": 48, "rate": 20, "split": "datagrams", "collectors": (Collector(name="a"), Collector(name="b"))}
    )
    entries: list[BusEntry] = []

    def keep(entry: BusEntry) -> bool:
        entries.append(entry)
        return True

    Player(scenario, START_MS, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    headers = [decode_header(entry.value)[0] for entry in entries]
    lanes = [{header.lane for header in headers if header.flow_count and header.collector == name} for name in "ab"]
    assert lanes[0] == lanes[1] != set()
    return Traffic(entries, answer_of(entries))


def expected_lines(traffic: Traffic) -> list[bytes]:
    """A line of each series and minute, once."""
    rows: list[dict[str, Any]] = [row | {"final": True} for row in traffic.answer.table().to_pylist()]
    lines = sorted(line("nephrite", point) for point in points_of(pa.Table.from_pylist(rows, AGGREGATE_SCHEMA)))
    assert len({(path, time_s) for path, _, time_s in (each.split() for each in lines)}) == len(lines) > 0
    return lines


def test_in_micro_batches(traffic: Traffic, graphite: Graphite, tmp_path: Path) -> None:
    expected = expected_lines(traffic)
    work = Work(ENRICHER, EXACT, LANES, 1 << 18, Outputs(raw=False, series=receivers_of(graphite.settings)))
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = MicroBatches(MemorySource(fill(traffic.entries)), manifest, work)
        driver.drain()
        driver.finish()
    eventually(lambda: len(graphite.lines) >= len(expected), "all lines")
    assert sorted(graphite.lines) == expected


def test_in_the_streaming_form(traffic: Traffic, graphite: Graphite, tmp_path: Path) -> None:
    expected = expected_lines(traffic)
    LOGS.append(fill(traffic.entries))
    elements = [pack_element(partition, stop=open_last().end(partition)) for partition in range(LANES)]
    job = Streaming(f"series-{len(LOGS)}", open_last, elements, LANES, ENRICHER, EXACT, series=receivers_of(graphite.settings))
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([]))
    build_streaming(pipeline, job, WriteFiles(str(tmp_path)))
    pipeline.run().wait_until_finish()
    eventually(lambda: len(graphite.lines) >= len(expected), "all lines")
    assert sorted(graphite.lines) == expected
