"""Raw flows through the store: what is written, what is listed, and what they add up to minute by minute."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.addresses import pack_address
from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA
from stores.addresses import address_texts
from stores.contract import FLOWS_SCHEMA
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from stores.parquet.reader import ParquetStore
from stores.parquet.writer import write_aggregates, write_raw
from stores.questions import NO_APPLICATION, Filters, FlowsQuery, Items, SeriesQuery, Span, TopQuery, TotalsQuery
from tests.stores.literals import LATE, MINUTE, T0, A, B, Doc, batch_of, fill, table_of

SPAN: Final = Span(T0, T0 + 10 * MINUTE)
HORIZON: Final = 15 * MINUTE
X, Y, Z = "10.0.0.1", "10.0.0.2", "2001:db8::1"


def flow(start_s: int = 0, end_s: int = 0, **columns: object) -> dict[str, object]:
    times = {"first_switched_ms": T0 + start_s * 1000, "last_switched_ms": T0 + end_s * 1000}
    return {"exporter_addr": A, "direction": 0, "bytes": 100, "packets": 1, **times, **columns}


def stored(tmp_path: Path, *rows: dict[str, object]) -> ParquetStore:
    return ParquetStore.open(fill(tmp_path, batches=[batch_of(rows)]))


def per_minute(store: ParquetStore, filters: Filters = Filters(), span: Span = SPAN) -> dict[int, int]:  # noqa: B008
    points = store.series(SeriesQuery(None, span, filters, "raw", MINUTE)).points.to_pylist()
    return {(point["start_ms"] - T0) // MINUTE: point["bytes_total"] for point in points}


def test_a_file_has_what_was_there_and_addresses_as_text(tmp_path: Path) -> None:
    fill(
        tmp_path, batches=[batch_of([flow(1, 2, src_addr=X, dst_addr=Z, delta_switched_ms=T0 + 1000, tcp_flags=None), flow(3, 3)])]
    )
    with Manifest.open(tmp_path, writer=False) as manifest:
        [file] = manifest.files("raw", "raw", SPAN.from_ms, SPAN.to_ms)
    path = find_file(tmp_path, file)
    assert (path and path.parent.name, file.rows, file.min_ms, file.max_ms) == ("2026-09-21", 2, T0 + 1000, T0 + 3001)
    assert path
    table = pq.read_table(path)
    assert table["src_addr"].to_pylist() == [X, None]
    assert table["dst_addr"].to_pylist() == [Z, None]
    assert table.select(["collector", "epoch", "lane", "seq", "row", "mark_ms"]).to_pylist()[1] == {
        "collector": "collector", "epoch": 7, "lane": 3, "seq": 1, "row": 1, "mark_ms": LATE,
    }  # fmt: skip
    assert "tcp_flags" not in table.schema.names
    assert "delta_switched_ms" not in table.schema.names, "the same as first_switched_ms is written as null"


def test_nothing_to_write_is_no_file(tmp_path: Path) -> None:
    assert write_raw(tmp_path, []) == write_raw(tmp_path, [batch_of([])]) == []
    assert write_aggregates(tmp_path, AGGREGATE_SCHEMA.empty_table()) == []
    assert list(tmp_path.iterdir()) == []


def test_batches_with_different_columns_share_a_file(tmp_path: Path) -> None:
    batches = [batch_of([flow(src_addr=X, application="dns")], 1), batch_of([flow(src_addr=Y, vlan=5)], 2)]
    [file] = write_raw(tmp_path, batches)
    table = pq.read_table(tmp_path / file.name)
    assert (table["src_addr"].to_pylist(), table["vlan"].to_pylist()) == ([X, Y], [None, 5])
    assert table["application"].to_pylist() == ["dns", None]


def test_aggregates_are_one_file_per_hour(tmp_path: Path) -> None:
    files = write_aggregates(tmp_path, table_of([Doc("EXPORTER", (1, 0, 1), minute=minute) for minute in (45, 46, 0)]))
    assert [(file.rows, file.min_ms - T0, file.max_ms - T0) for file in files] == [
        (2, 0, 46 * MINUTE),
        (1, 46 * MINUTE, 47 * MINUTE),
    ]
    assert pq.read_schema(tmp_path / files[0].name).equals(AGGREGATE_SCHEMA)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_raw(tmp_path / "gone", [batch_of([flow()])])


@given(
    st.lists(st.one_of(st.none(), st.binary(min_size=16, max_size=16), st.ip_addresses(v=4).map(lambda a: pack_address(str(a)))))
)
def test_address_texts_read_back(packed: list[bytes | None]) -> None:
    texts = address_texts(pa.array(packed, pa.binary(16))).to_pylist()
    assert [text and pack_address(text) for text in texts] == packed


def test_flows_are_listed_as_exported(tmp_path: Path) -> None:
    first = flow(0, 60, src_addr=X, dst_addr=Y, src_port=1000, dst_port=53, protocol=17, in_if=1, out_if=2, sampling_interval=10.0)
    second = flow(30, 30, src_addr=Z, bytes=None, application="dns", delta_switched_ms=T0 + 29_000, clock_correction_ms=5000)
    with stored(tmp_path, first, second) as store:
        flows = store.flows(FlowsQuery(SPAN, Filters(), 10, "newest"))
        assert flows.rows.schema.equals(FLOWS_SCHEMA)
        assert (flows.matched, flows.rows["id"].to_pylist()) == (2, ["collector-7-3-1-0", "collector-7-3-1-1"])
        assert flows.rows["start_ms"].to_pylist() == [T0, T0 + 34_000]
        assert flows.rows["end_ms"].to_pylist() == [T0 + 60_000, T0 + 35_000]
        assert flows.rows["bytes"].to_pylist() == [100, None]
        assert flows.provenance.data == Span(T0, T0 + 60_001)
        limited = store.flows(FlowsQuery(SPAN, Filters(), 1, "largest"))
        assert (limited.matched, limited.rows["dst_addr"].to_pylist()) == (2, [Y])
        assert store.flows(FlowsQuery(SPAN, Filters(), 1, "oldest")).rows["src_addr"].to_pylist() == [X]


def test_a_sampling_interval_that_is_no_number_is_not_listed(tmp_path: Path) -> None:
    with stored(tmp_path, flow(sampling_interval=float("nan")), flow(sampling_interval=2.0)) as store:
        assert store.flows(FlowsQuery(SPAN, Filters(), 9)).rows["sampling_interval"].to_pylist() == [None, 2.0]


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (Filters(exporter=A), [0, 1]),
        (Filters(exporter=B), [2]),
        (Filters(interface=2), [0]),
        (Filters(host=X), [0, 1]),
        (Filters(host=Y, exporter=B), [2]),
        (Filters(application="dns"), [1]),
        (Filters(application=NO_APPLICATION), [0, 2]),
        (Filters(host="192.0.2.99"), []),
        (Filters(exporter="x' OR '1'='1"), []),
    ],
)
def test_filters(tmp_path: Path, filters: Filters, rows: list[int]) -> None:
    flows = [
        flow(src_addr=X, dst_addr=Z, in_if=1, out_if=2),
        flow(src_addr=Y, dst_addr=X, application="dns"),
        flow(src_addr=Y, exporter_addr=B),
    ]
    with stored(tmp_path, *flows) as store:
        listed = store.flows(FlowsQuery(SPAN, filters, 10, "oldest")).rows["id"].to_pylist()
        totals = store.totals(TotalsQuery(SPAN, filters, "raw"))
    assert [int(name.rpartition("-")[2]) for name in listed] == rows
    counted = 0 if filters.interface is not None else 100 * len(rows)
    assert totals.measures.bytes_total == counted


def test_a_flow_is_spread_over_its_minutes(tmp_path: Path) -> None:
    with stored(tmp_path, flow(30, 150, bytes=1001)) as store:
        # 120 s: 30 in the first minute, 60 in the second, 30 in the third; shares are rounded down up to each boundary
        assert per_minute(store) == {0: 250, 1: 500, 2: 251}
        assert per_minute(store, span=Span(T0 + MINUTE, T0 + 2 * MINUTE)) == {1: 500}
        points = store.series(SeriesQuery(None, SPAN, Filters(), "raw", MINUTE)).points
        assert points["flows_total"].to_pylist() == [0, 0, 1]


def test_a_flow_that_ends_at_a_boundary_has_no_part_after_it(tmp_path: Path) -> None:
    with stored(tmp_path, flow(0, 60, bytes=7), flow(60, 60, bytes=9)) as store:
        assert per_minute(store) == {0: 7, 1: 9}


@pytest.mark.parametrize(
    ("octets", "interval", "scaled"),
    [
        (100, None, 100),
        (100, 0.0, 100),
        (100, float("inf"), 100),
        (100, float("nan"), 100),
        (100, 10.0, 1000),
        (77, 10.5, 808),
        (2**53 + 1, 3.0, 3 * (2**53 + 1)),
        (2**64 - 1, 1.0, 2**63 - 1),
        (2**62, 4.0, 2**63 - 1),
        (2**62, 2.5, 2**63 - 1),
        (2**63, 1e300, 2**63 - 1),
        (0, 1e300, 0),
        (None, 5.0, 0),
    ],
)
def test_sampling_is_applied_once(tmp_path: Path, octets: int | None, interval: float | None, scaled: int) -> None:
    with stored(tmp_path, flow(bytes=octets, sampling_interval=interval)) as store:
        assert store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total == scaled


def test_illegal_times_are_repaired_as_in_the_pipeline(tmp_path: Path) -> None:
    late_end = flow(0, 0, bytes=3, last_switched_ms=LATE + MINUTE + 1, first_switched_ms=LATE)
    reversed_times = flow(50, 10, bytes=4)
    long_ago = flow(0, 30, bytes=1000, first_switched_ms=T0 - HORIZON)
    garbage = flow(bytes=99, first_switched_ms=-(2**63), last_switched_ms=-(2**63), clock_correction_ms=-5)
    with stored(tmp_path, late_end, reversed_times, long_ago, garbage) as store:
        clipped = LATE - HORIZON
        wide = Span(T0 - 30 * MINUTE, T0 + 20 * MINUTE)
        found = per_minute(store, span=wide)
    assert (found[10], sum(found.values())) == (3, 3 + 4 + 1000)
    assert min(found) == (clipped - T0) // MINUTE == -5
    assert found[-5] == 1000 * MINUTE // (T0 + 30_000 - clipped)


def test_flows_too_late_for_their_window_are_not_counted(tmp_path: Path) -> None:
    def judged(folder: str, frontier_ms: int) -> int:
        batch = batch_of([flow(0, 0)], 1, frontier_ms, frontier_ms)
        with ParquetStore.open(fill(tmp_path / folder, batches=[batch])) as store:
            return store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total

    assert judged("in time", T0 + MINUTE + HORIZON - 1) == 100
    assert judged("late", T0 + MINUTE + HORIZON) == 0


def test_sides_of_interfaces_and_exporters(tmp_path: Path) -> None:
    rows = [
        flow(bytes=1, in_if=1, out_if=2, direction=0),
        flow(bytes=10, in_if=1, out_if=2, direction=1),
        flow(bytes=100, in_if=1, out_if=2, direction=255),
        flow(bytes=1000, direction=None, exporter_addr=B),
        flow(60, 60, bytes=10_000, out_if=3, direction=1, exporter_addr=B),
    ]
    with stored(tmp_path, *rows) as store:
        top = store.top(TopQuery(Items.INTERFACES, SPAN, Filters(), "raw", 9))
        assert [(item.key[1:], item.measures.bytes_ingress, item.measures.bytes_egress) for item in top.items] == [
            ((B, 3), 0, 10_000), ((B, 0), 1000, 1000), ((A, 2), 0, 110), ((A, 1), 101, 0),
        ]  # fmt: skip
        exporters = store.top(TopQuery(Items.EXPORTERS, SPAN, Filters(), "raw", 9))
        # A's egress flow is shown but not counted; B exports only egress in the second minute, so there it counts
        assert [(i.key[1], i.measures.bytes_ingress, i.measures.bytes_egress, i.measures.bytes_total) for i in exporters.items] == [
            (B, 1000, 10_000, 11_000), (A, 101, 10, 101),
        ]  # fmt: skip
        one = store.totals(TotalsQuery(SPAN, Filters(exporter=A, interface=2), "raw"))
        assert (one.measures.bytes_egress, one.measures.bytes_total) == (110, 110)
    with ParquetStore.open(tmp_path, both_sides=True) as store:
        assert store.totals(TotalsQuery(SPAN, Filters(exporter=A, interface=2), "raw")).measures.bytes_egress == 111


def test_hosts_and_conversations_of_raw_flows(tmp_path: Path) -> None:
    rows = [
        flow(bytes=5, src_addr="9.0.0.1", dst_addr=X, protocol=6, application="http", location="Lab"),
        flow(bytes=7, src_addr=X, dst_addr="9.0.0.1", protocol=6, application="http", location="Lab"),
        flow(bytes=1, src_addr=X, dst_addr=X, protocol=1),
        flow(bytes=2, src_addr=None, dst_addr=Z),
    ]
    with stored(tmp_path, *rows) as store:
        hosts = store.top(TopQuery(Items.HOSTS, SPAN, Filters(), "raw", 9))
        assert [(item.key[0], item.measures.bytes_total) for item in hosts.items] == [(X, 14), ("9.0.0.1", 12), (None, 2), (Z, 2)]
        assert (hosts.total.bytes_total, hosts.other.bytes_total, hosts.multiplicity) == (15, 0, 2)
        talks = store.top(TopQuery(Items.CONVERSATIONS, SPAN, Filters(), "raw", 9))
        assert [(item.key, item.measures.bytes_total) for item in talks.items] == [
            (("Lab", 6, "9.0.0.1", X, "http"), 12),
            ((None, None, None, Z, None), 2),
            ((None, 1, X, X, None), 1),
        ]
        peers = store.top(TopQuery(Items.HOSTS, SPAN, Filters(host="9.0.0.1"), "raw", 9))
        assert [(item.key[0], item.measures.bytes_total) for item in peers.items] == [(X, 12), ("9.0.0.1", 12)]


def test_exporters_of_raw_flows(tmp_path: Path) -> None:
    rows = [flow(0, 90, in_if=1, protocol_version=9), flow(in_if=2, protocol_version=10), flow(exporter_addr=B)]
    with stored(tmp_path, *rows) as store:
        found = store.exporters(SPAN, "raw").rows
    assert [(row.exporter, row.interfaces, row.measures.flows_total, row.protocols) for row in found] == [
        (A, 2, 2, (9, 10)),
        (B, 1, 1, ()),
    ]
    assert (found[0].first_ms, found[0].last_ms) == (T0, T0 + 2 * MINUTE)


def plain_shares(start_ms: int, end_ms: int, value: int) -> dict[int, int]:
    """numbers.md 4 in the plainest way."""
    if start_ms == end_ms:
        return {end_ms // MINUTE: value}
    shares, before = {}, 0
    quotient, rest = divmod(value, end_ms - start_ms)
    for minute in range(start_ms // MINUTE, (end_ms - 1) // MINUTE + 1):
        until = min((minute + 1) * MINUTE - start_ms, end_ms - start_ms)
        share = quotient * until + rest * until // (end_ms - start_ms)
        shares[minute] = share - before
        before = share
    return shares


FLOWS = st.lists(
    st.tuples(st.integers(0, 599_999), st.integers(0, 599_999), st.integers(0, 2**63 - 1), st.sampled_from((1, 2, 1000))),
    max_size=12,
)


@settings(max_examples=15)
@given(drawn=FLOWS)
def test_minutes_of_raw_flows_are_plain_shares(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int, int]]
) -> None:
    expected: dict[int, int] = {}
    rows = []
    for one, other, octets, interval in drawn:
        start, end = sorted((T0 + one, T0 + other))
        rows.append(flow(bytes=octets, sampling_interval=float(interval), first_switched_ms=start, last_switched_ms=end))
        for minute, share in plain_shares(start, end, min(octets * interval, 2**63 - 1)).items():
            expected[minute] = expected.get(minute, 0) + share
    with stored(tmp_path_factory.mktemp("store"), *rows) as store:
        points = store.series(SeriesQuery(None, SPAN, Filters(), "raw", MINUTE)).points.to_pylist()
        total = store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total
    found = {point["start_ms"] // MINUTE: point["bytes_total"] for point in points}
    assert found == {minute: min(share, 2**63 - 1) for minute, share in expected.items()}
    assert total == sum(expected.values())
