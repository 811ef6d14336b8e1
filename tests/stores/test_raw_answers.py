"""Raw flows through every store: what is listed, and what they add up to minute by minute."""

from contextlib import AbstractContextManager
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.contract import FLOWS_SCHEMA, Store
from stores.questions import NO_APPLICATION, Filters, FlowsQuery, Items, SeriesQuery, Span, TopQuery, TotalsQuery
from tests.stores.literals import LATE, MINUTE, T0, A, B, batch_of, flow
from tests.stores.stores import Opener

SPAN: Final = Span(T0, T0 + 10 * MINUTE)
HORIZON: Final = 15 * MINUTE
DAY_MS: Final = 24 * 60 * MINUTE
X, Y, Z = "10.0.0.1", "10.0.0.2", "2001:db8::1"


def stored(opened: Opener, *rows: dict[str, object]) -> AbstractContextManager[Store]:
    return opened(batches=[batch_of(rows)])


def per_minute(store: Store, filters: Filters = Filters(), span: Span = SPAN) -> dict[int, int]:  # noqa: B008
    points = store.series(SeriesQuery(None, span, filters, "raw", MINUTE)).points.to_pylist()
    return {(point["start_ms"] - T0) // MINUTE: point["bytes_total"] for point in points}


def test_flows_are_listed_as_exported(opened: Opener) -> None:
    first = flow(0, 60, src_addr=X, dst_addr=Y, src_port=1000, dst_port=53, protocol=17, in_if=1, out_if=2, sampling_interval=10.0)
    second = flow(30, 30, src_addr=Z, bytes=None, application="dns", delta_switched_ms=T0 + 29_000, clock_correction_ms=5000)
    with stored(opened, first, second) as store:
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


def test_dscp_and_ecn_derive_from_tos(opened: Opener) -> None:
    with stored(opened, flow(tos=0xB9), flow(tos=0), flow(tos=None)) as store:
        rows = store.flows(FlowsQuery(SPAN, Filters(), 9)).rows
        assert list(zip(*(rows[name].to_pylist() for name in ("tos", "dscp", "ecn")), strict=True)) == [
            (0xB9, 46, 1),
            (0, 0, 0),
            (None, None, None),
        ]


def test_a_sampling_interval_that_is_no_number_is_not_listed(opened: Opener) -> None:
    with stored(opened, flow(sampling_interval=float("nan")), flow(sampling_interval=2.0)) as store:
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
def test_filters(opened: Opener, filters: Filters, rows: list[int]) -> None:
    flows = [
        flow(src_addr=X, dst_addr=Z, in_if=1, out_if=2),
        flow(src_addr=Y, dst_addr=X, application="dns"),
        flow(src_addr=Y, exporter_addr=B),
    ]
    with stored(opened, *flows) as store:
        listed = store.flows(FlowsQuery(SPAN, filters, 10, "oldest")).rows["id"].to_pylist()
        totals = store.totals(TotalsQuery(SPAN, filters, "raw"))
    assert [int(name.rpartition("-")[2]) for name in listed] == rows
    counted = 0 if filters.interface is not None else 100 * len(rows)
    assert totals.measures.bytes_total == counted


def test_a_flow_is_spread_over_its_minutes(opened: Opener) -> None:
    with stored(opened, flow(30, 150, bytes=1001)) as store:
        # 120 s: 30 in the first minute, 60 in the second, 30 in the third; shares are rounded down up to each boundary
        assert per_minute(store) == {0: 250, 1: 500, 2: 251}
        assert per_minute(store, span=Span(T0 + MINUTE, T0 + 2 * MINUTE)) == {1: 500}
        points = store.series(SeriesQuery(None, SPAN, Filters(), "raw", MINUTE)).points
        assert points["flows_total"].to_pylist() == [0, 0, 1]


def test_a_flow_that_ends_at_a_boundary_has_no_part_after_it(opened: Opener) -> None:
    with stored(opened, flow(0, 60, bytes=7), flow(60, 60, bytes=9)) as store:
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
def test_sampling_is_applied_once(opened: Opener, octets: int | None, interval: float | None, scaled: int) -> None:
    with stored(opened, flow(bytes=octets, sampling_interval=interval)) as store:
        assert store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total == scaled


def test_illegal_times_are_repaired_as_in_the_pipeline(opened: Opener) -> None:
    late_end = flow(0, 0, bytes=3, last_switched_ms=LATE + MINUTE + 1, first_switched_ms=LATE)
    reversed_times = flow(50, 10, bytes=4)
    long_ago = flow(0, 30, bytes=1000, first_switched_ms=T0 - HORIZON)
    garbage = flow(bytes=99, first_switched_ms=-(2**63), last_switched_ms=-(2**63), clock_correction_ms=-5)
    with stored(opened, late_end, reversed_times, long_ago, garbage) as store:
        clipped = LATE - HORIZON
        wide = Span(T0 - 30 * MINUTE, T0 + 20 * MINUTE)
        found = per_minute(store, span=wide)
    assert (found[10], sum(found.values())) == (3, 3 + 4 + 1000)
    assert min(found) == (clipped - T0) // MINUTE == -5
    assert found[-5] == 1000 * MINUTE // (T0 + 30_000 - clipped)


def test_late_flows_count_whole_for_a_day(opened: Opener) -> None:
    def judged(mark_ms: int, frontier_ms: int) -> int:
        with opened(batches=[batch_of([flow(0, 0)], 1, mark_ms, frontier_ms)]) as store:
            return store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total

    assert judged(T0 + MINUTE + HORIZON - 1, T0 + MINUTE + HORIZON - 1) == 100
    assert judged(T0, T0 + 3 * DAY_MS) == 100
    assert judged(T0 + DAY_MS - 1, T0 + DAY_MS - 1) == 100
    assert judged(T0 + DAY_MS, T0 + DAY_MS) == 0


def test_late_flows_are_as_long_as_the_horizon_at_most(opened: Opener) -> None:
    one = flow(0, 40 * 60, bytes=1500)
    frontier = T0 + 40 * MINUTE + HORIZON + MINUTE
    with opened(batches=[batch_of([one], 1, frontier, frontier)]) as store:
        found = per_minute(store, span=Span(T0, T0 + 40 * MINUTE))
    assert found == dict.fromkeys(range(25, 40), 100)


def test_sides_of_interfaces_and_exporters(opened: Opener) -> None:
    rows = [
        flow(bytes=1, in_if=1, out_if=2, direction=0),
        flow(bytes=10, in_if=1, out_if=2, direction=1),
        flow(bytes=100, in_if=1, out_if=2, direction=255),
        flow(bytes=1000, direction=None, exporter_addr=B),
        flow(60, 60, bytes=10_000, out_if=3, direction=1, exporter_addr=B),
    ]
    with stored(opened, *rows) as store:
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
    with opened(batches=[batch_of(rows)], both_sides=True) as store:
        assert store.totals(TotalsQuery(SPAN, Filters(exporter=A, interface=2), "raw")).measures.bytes_egress == 111


def test_hosts_and_conversations_of_raw_flows(opened: Opener) -> None:
    rows = [
        flow(bytes=5, src_addr="9.0.0.1", dst_addr=X, protocol=6, application="http", location="Lab"),
        flow(bytes=7, src_addr=X, dst_addr="9.0.0.1", protocol=6, application="http", location="Lab"),
        flow(bytes=1, src_addr=X, dst_addr=X, protocol=1),
        flow(bytes=2, src_addr=None, dst_addr=Z),
    ]
    with stored(opened, *rows) as store:
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


def test_exporters_of_raw_flows(opened: Opener) -> None:
    rows = [flow(0, 90, in_if=1, protocol_version=9), flow(in_if=2, protocol_version=10), flow(exporter_addr=B)]
    with stored(opened, *rows) as store:
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
def test_minutes_of_raw_flows_are_plain_shares(opened: Opener, drawn: list[tuple[int, int, int, int]]) -> None:
    expected: dict[int, int] = {}
    rows = []
    for one, other, octets, interval in drawn:
        start, end = sorted((T0 + one, T0 + other))
        rows.append(flow(bytes=octets, sampling_interval=float(interval), first_switched_ms=start, last_switched_ms=end))
        for minute, share in plain_shares(start, end, min(octets * interval, 2**63 - 1)).items():
            expected[minute] = expected.get(minute, 0) + share
    with stored(opened, *rows) as store:
        points = store.series(SeriesQuery(None, SPAN, Filters(), "raw", MINUTE)).points.to_pylist()
        total = store.totals(TotalsQuery(SPAN, Filters(), "raw")).measures.bytes_total
    found = {point["start_ms"] // MINUTE: point["bytes_total"] for point in points}
    assert found == {minute: min(share, 2**63 - 1) for minute, share in expected.items()}
    assert total == sum(expected.values())
