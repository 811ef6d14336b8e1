"""Batches: identity without holes, marks that never fall, sizes that keep to the limit, heartbeats in silence."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Ingest
from flowpb.codec import Header, decode
from flowpb.flow_batch_pb2 import ExporterReport
from ingest.batcher import Batch, Batcher, Identity
from tests.ingest.plain_flows import ipv4, make_flows

LANES = 4


def batcher(settings: Ingest | None = None) -> Batcher:
    return Batcher(settings or Ingest(), Identity("c", 77, LANES))


def opened(batches: Sequence[Batch]) -> list[tuple[Header, pa.RecordBatch]]:
    return [decode(batch.value) for batch in batches]


def test_the_first_close_gives_every_lane_a_batch_and_its_identity() -> None:
    headers = [header for header, _ in opened(batcher().close(1_000, {}, {}))]
    assert [(h.collector, h.epoch, h.lane, h.seq, h.mark_ms, h.lanes) for h in headers] == [
        ("c", 77, lane, 0, 1_000, LANES) for lane in range(LANES)
    ]


def test_silent_lanes_get_a_heartbeat_once_a_second_only() -> None:
    under_test = batcher()
    counts = [len(under_test.close(now, {}, {})) for now in range(1_000, 3_250, 250)]
    assert counts == [4, 0, 0, 0, 4, 0, 0, 0, 4]


def test_a_lane_with_flows_needs_no_heartbeat() -> None:
    under_test = batcher()
    under_test.close(1_000, {}, {})
    assert [batch.lane for batch in under_test.close(1_500, {2: make_flows(3)}, {})] == [2]
    assert [batch.lane for batch in under_test.close(2_000, {}, {})] == [0, 1, 3]
    assert [batch.lane for batch in under_test.close(2_500, {}, {})] == [2]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from([None, 0, 1, 3])), min_size=1, max_size=30))
def test_sequence_has_no_holes_and_marks_never_fall_whatever_the_clock_does(steps: list[tuple[int, int | None]]) -> None:
    under_test = batcher()
    headers: dict[int, list[Header]] = {lane: [] for lane in range(LANES)}
    for now, lane in steps:
        for header, _ in opened(under_test.close(now, {} if lane is None else {lane: make_flows(2)}, {})):
            headers[header.lane].append(header)
    for of_lane in headers.values():
        assert [h.seq for h in of_lane] == list(range(len(of_lane)))
        marks = [h.mark_ms for h in of_lane]
        assert marks == sorted(marks)


def test_a_clock_set_back_by_an_hour_stops_neither_batches_nor_heartbeats() -> None:
    under_test = batcher()
    under_test.due_ms(3_600_000)
    under_test.close(3_600_000, {}, {})
    assert under_test.due_ms(0) == 250
    assert [header.mark_ms for header, _ in opened(under_test.close(250, {}, {}))] == [3_600_000] * LANES


@pytest.mark.parametrize(("limit", "rows"), [(64 << 10, 20_000), (768 << 10, 60_000), (4096, 500)])
def test_what_is_too_large_is_cut_and_nothing_is_lost(limit: int, rows: int) -> None:
    batches = batcher(Ingest(batch_bytes=limit)).close(0, {1: make_flows(rows, exporters=7)}, {})
    mine = [batch for batch in batches if batch.lane == 1]
    assert max(len(batch.value) for batch in mine) <= limit * 1.25 + 2048
    together = pa.Table.from_batches([columns for _, columns in opened(mine)]).combine_chunks()
    assert together["bytes"].to_pylist() == list(range(rows))
    assert together["src_addr"].to_pylist() == [ipv4(number % 65536) for number in range(rows)]
    assert together["exporter_addr"].to_pylist() == [ipv4(number % 7) for number in range(rows)]
    assert sum(batch.flows for batch in mine) == rows


def test_no_batch_has_more_flows_than_the_setting() -> None:
    batches = batcher(Ingest(batch_flows=100)).close(0, {0: make_flows(250)}, {})
    assert sorted(batch.flows for batch in batches if batch.lane == 0) == [82, 84, 84]


def test_nulls_in_dictionary_columns_survive_the_cut() -> None:
    flows = make_flows(3_000)
    hosts = flows.column("src_addr")
    hosts = pa.DictionaryArray.from_arrays(pa.array([None if n % 3 else n for n in range(3_000)], pa.int32()), hosts.dictionary)
    flows = flows.set_column(2, "src_addr", hosts)
    batches = batcher(Ingest(batch_bytes=16_384)).close(0, {0: flows}, {})
    mine = pa.Table.from_batches([columns for header, columns in opened(batches) if header.lane == 0])
    assert mine["src_addr"].to_pylist() == [None if n % 3 else ipv4(n) for n in range(3_000)]


def test_reports_travel_with_flows_and_overflow_into_batches_of_their_own() -> None:
    reports = [ExporterReport(exporter=ipv4(n), datagrams=n, problems={"set_length": n}) for n in range(1, 400)]
    opened_batches = opened(batcher(Ingest(batch_bytes=8_192)).close(0, {3: make_flows(10)}, {3: reports}))
    mine = [(header, columns) for header, columns in opened_batches if header.lane == 3]
    assert len(mine) > 1
    assert [columns.num_rows for _, columns in mine] == [10] + [0] * (len(mine) - 1)
    assert [report.datagrams for header, _ in mine for report in header.reports] == list(range(1, 400))


def test_full_by_flows_or_octets() -> None:
    under_test = batcher(Ingest(batch_flows=1000, batch_bytes=10_000))
    assert not under_test.is_full(999, 0)
    assert under_test.is_full(1000, 0)
    assert not under_test.is_full(0, 10_000 * LANES - 1)
    assert under_test.is_full(0, 10_000 * LANES)


def test_uneven_lanes_close_before_their_largest_batch_has_to_be_cut() -> None:
    rows = 4000
    octets = make_flows(rows).nbytes
    settings = Ingest(batch_bytes=octets // 2, batch_flows=2 * rows)
    under_test = Batcher(settings, Identity("c", 1, LANES))
    assert not under_test.is_full(rows * 3 // 2, 0)
    assert len(under_test.close(0, {0: make_flows(rows)}, {})) == 3 + LANES - 1
    assert under_test.is_full(rows, 0)
    assert not under_test.is_full(rows - 1, 0)
    even = {lane: make_flows(rows // 4) for lane in range(LANES)}
    assert len(under_test.close(1, even, {})) == LANES
    assert not under_test.is_full(rows * 3 // 2, 0)
