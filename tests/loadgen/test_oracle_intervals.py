"""What becomes of a flow's interval, computed by hand from docs/explanation/numbers.md sections 1 to 4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import pack_address
from ingest.loadgen.oracle.flows import Batch, Flow
from ingest.loadgen.oracle.judge import Counts, Interval, LaneLog, judge, scaled, spread

R1 = pack_address("192.0.2.1")
NOW = 1_767_225_600_000  # a whole minute
MINUTE = 60_000


def flow(first_ms: int, last_ms: int, **values: int | float | None) -> Flow:
    return Flow(R1, first_ms, last_ms, **values)  # type: ignore[arg-type]


def batch(collector: str, seq: int, mark_ms: int, epoch: int = 1, append_ms: int | None = None) -> Batch:
    return Batch(0, collector, epoch, seq, mark_ms, (), append_ms)


def shares(first_ms: int, last_ms: int, octets: int, packets: int = 1) -> list[tuple[int, int, int, int]]:
    rows = spread(flow(first_ms, last_ms, bytes=octets, packets=packets), Interval(first_ms, last_ms))
    return [((row.window_ms - NOW) // MINUTE, row.bytes, row.packets, row.flows) for row in rows]


def test_a_flow_of_no_length_falls_whole_into_its_window() -> None:
    assert shares(NOW, NOW, 100) == [(0, 100, 1, 1)]
    assert shares(NOW - 1, NOW - 1, 100) == [(-1, 100, 1, 1)]


def test_halves() -> None:
    assert shares(NOW + 30_000, NOW + 90_000, 1000, 10) == [(0, 500, 5, 0), (1, 500, 5, 1)]


def test_windows_are_half_open() -> None:
    assert shares(NOW, NOW + MINUTE, 7) == [(0, 7, 1, 1)]
    assert shares(NOW, NOW + MINUTE + 1, 7) == [(0, 6, 0, 0), (1, 1, 1, 1)]  # 7 * 60000 // 60001 = 6


def test_shares_of_nothing_are_rows_too() -> None:
    # d = 90 001: S(1) = 10 // 90001 = 0, S(60001) = 600010 // 90001 = 6, S(90001) = 10
    assert shares(NOW + 59_999, NOW + 150_000, 10) == [(0, 0, 0, 0), (1, 6, 0, 0), (2, 4, 1, 1)]


def test_large_counters_split_exactly() -> None:
    # d = 119 999: q = 76862074157741, r = 13548; S(59 999) = q * 59999 + r * 59999 // 119999
    first = 76862074157741 * 59_999 + 6773
    assert shares(NOW + 1, NOW + 2 * MINUTE, 2**63 - 1) == [(0, first, 0, 0), (1, 2**63 - 1 - first, 1, 1)]


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (7, None, 7),
        (7, 1.0, 7),
        (7, 10.0, 70),
        (7, 2.5, 17),
        (7, 0.0, 7),
        (7, -3.0, 7),
        (7, float("nan"), 7),
        (7, float("inf"), 7),
        (7, 0.1, 0),
        (None, 10.0, 0),
        (2**62, 2.0, 2**63 - 1),
        (2**53 + 1, 1.5, 13_510_798_882_111_488),  # float64(2**53 + 1) = 2**53
        (2**53 + 1, 3.0, 27_021_597_764_222_979),  # exact where the interval is integral
    ],
)
def test_scaling(value: int | None, interval: float | None, expected: int) -> None:
    assert scaled(value, interval) == expected


def judged(one: Flow, mark_ms: int = NOW, frontier_ms: int = NOW) -> tuple[tuple[int, int] | None, dict[str, int]]:
    counts = Counts()
    interval = judge(one, mark_ms, frontier_ms, counts)
    moved = {name: getattr(counts, name) for name in Counts.__slots__ if getattr(counts, name)}
    return (None if interval is None else (interval.start_ms - NOW, interval.end_ms - NOW)), moved


def test_delta_counts_as_start_and_the_correction_is_added() -> None:
    one = flow(NOW - 9_000, NOW - 1_000, delta_ms=NOW - 4_000, correction_ms=-10_000)
    assert judged(one) == ((-14_000, -11_000), {"accepted": 1})


def test_an_end_a_minute_ahead_is_legal_and_a_millisecond_more_is_not() -> None:
    assert judged(flow(NOW, NOW + 60_000)) == ((0, 60_000), {"accepted": 1})
    assert judged(flow(NOW - 5, NOW + 60_001)) == ((-5, 0), {"accepted": 1, "future": 1})
    assert judged(flow(NOW + 3, NOW + 60_001)) == ((0, 0), {"accepted": 1, "future": 1})


def test_reversed() -> None:
    assert judged(flow(NOW - 1_000, NOW - 2_000)) == ((-2_000, -2_000), {"accepted": 1, "reversed": 1})


def test_clip_at_the_horizon() -> None:
    # frontier NOW, horizon NOW - 900 000; the flow has 1 000 octets over 100 s, 25 s of them before the horizon
    one = flow(NOW - 925_000, NOW - 825_000, bytes=1000)
    assert judged(one) == ((-900_000, -825_000), {"accepted": 1, "clipped_flows": 1, "clipped_bytes": 250})


def test_a_flow_before_the_horizon_in_a_window_that_is_open_is_moved_to_its_end() -> None:
    one = flow(NOW - 910_000, NOW - 901_000, bytes=1000, sampling_interval=2.0)
    # frontier 30 s later: horizon NOW - 870 000, window of the end NOW - 960 000 .. NOW - 900 000 is closed
    assert judged(one, frontier_ms=NOW + 30_000) == (None, {"late": 1, "late_bytes": 2000})
    # frontier 1 ms before NOW: the window ends above frontier - horizon, so the flow is accepted, cut at NOW - 900 001
    assert judged(one, frontier_ms=NOW - 1) == ((-901_000, -901_000), {"accepted": 1, "clipped_flows": 1, "clipped_bytes": 2000})


def test_acceptance_ends_when_the_window_is_a_horizon_old() -> None:
    one = flow(NOW, NOW)
    assert judged(one, NOW + 960_000 - 1, NOW + 960_000 - 1)[0] == (0, 0)
    assert judged(one, NOW + 960_000, NOW + 960_000)[0] is None


def test_repeats_change_nothing() -> None:
    log = LaneLog()
    assert log.admit(batch("a", 0, NOW)) == NOW
    assert log.admit(batch("a", 0, NOW + 5)) is None
    assert log.admit(batch("a", 1, NOW + 10)) == NOW + 10
    assert log.admit(batch("a", 0, NOW + 99)) is None
    assert log.frontier_ms == NOW + 10
    assert log.admit(batch("a", 0, NOW + 20, epoch=2)) == NOW + 20
    assert log.admit(batch("a", 7, NOW + 30, epoch=1)) is None
    assert log.frontier_ms == NOW + 20


def test_the_frontier_is_the_least_of_the_live_collectors_and_never_falls() -> None:
    log, seen = LaneLog(), []
    for collector, seq, mark in (
        ("a", 0, 0),
        ("b", 0, 5_000),  # a: 0, b: 5 000
        ("a", 1, 599_999),  # b is alive: 5 000 > 599 999 - 600 000
        ("a", 2, 605_000),  # b's lease is over: 5 000 > 5 000 does not hold
        ("b", 1, 6_000),  # alive again, but the frontier does not fall
        ("a", 3, 700_000),  # over again
        ("b", 2, 650_000),
    ):
        log.admit(batch(collector, seq, NOW + mark))
        seen.append((log.frontier_ms or 0) - NOW)
    assert seen == [0, 0, 5_000, 605_000, 605_000, 700_000, 700_000]


def test_a_mark_ahead_of_the_bus_is_clamped() -> None:
    log = LaneLog()
    assert log.admit(batch("a", 0, NOW + 3_600_000, append_ms=NOW)) == NOW + 60_000
    assert log.frontier_ms == NOW + 60_000


@given(
    st.integers(0, 2**64 - 1), st.integers(0, 3 * MINUTE), st.integers(0, 10 * MINUTE), st.sampled_from([None, 1.0, 3.0, 2.5, 1e6])
)
def test_shares_add_up_and_are_in_proportion(octets: int, offset: int, duration: int, interval: float | None) -> None:
    start, end = NOW + offset, NOW + offset + duration
    one = flow(start, end, bytes=octets, packets=1, sampling_interval=interval)
    rows, whole = spread(one, Interval(start, end)), scaled(octets, interval)
    assert sum(row.bytes for row in rows) == whole
    assert sum(row.bytes_unscaled for row in rows) == min(octets, 2**63 - 1)
    assert [row.flows for row in rows] == [0] * (len(rows) - 1) + [1]
    assert [row.window_ms for row in rows] == [rows[0].window_ms + n * MINUTE for n in range(len(rows))]
    for row in rows:
        inside = min(end, row.window_ms + MINUTE) - max(start, row.window_ms)
        assert inside > 0 or duration == 0
        assert abs(row.bytes * duration - whole * inside) < max(duration, 1)  # nearer than one octet to its part
