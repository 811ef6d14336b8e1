"""Cases written out by hand, one per trap."""

from dataclasses import replace

import pyarrow as pa
import pytest

from columns.lane import MARKS, LaidOut, Limits, absorb, emit, lay_out, lay_out_many, series_documents
from common.errors import InputError
from tests.columns.flows import NOW, batch, plain
from tests.columns.oracle import Flow

MINUTE = 60_000
HORIZON = 15 * MINUTE
FLOW = Flow(NOW + 30_000, NOW, direction=0, in_if=1, out_if=2, bytes=600, packets=6)


def laid(*flows: Flow, mark: int = NOW + 60_000, frontier: int = NOW, limits: Limits = Limits()) -> LaidOut:  # noqa: B008
    return lay_out(batch(flows), mark, frontier, limits)


def documents(*flows: Flow, window: int = NOW, limits: Limits = Limits()) -> dict[tuple[object, ...], dict[str, object]]:  # noqa: B008
    """Documents by (grouping, ifIndex, slot)."""
    base = absorb(None, [laid(*flows, limits=limits).parts[window]], limits, True)
    table = emit(base, 0, window, 1, False, limits)[1]
    return {(d["grouped_by"], d["if_index"], d["slot"]): d for d in plain(table)}


def test_series_have_every_interface_at_the_last_mark_not_only_those_that_gained_rows() -> None:
    other = replace(FLOW, in_if=3, out_if=None, bytes=1000)
    limits, keep = Limits(top_k=2, old=4), ("EXPORTER_INTERFACE", "EXPORTER_INTERFACE_APPLICATION")
    parts = [laid(flow, limits=limits).parts[NOW] for flow in (FLOW, other, FLOW)]
    base = emit(absorb(None, parts[:2], limits, True), 0, NOW, 1, False, limits)[0]
    base, changed = emit(absorb(base, parts[2:], limits, False), 0, NOW, MARKS, True, limits)
    at_once = emit(absorb(None, parts, limits, True), 0, NOW, MARKS, True, limits)[1]
    assert {row["if_index"] for row in changed.to_pylist()} == {None, 1}
    assert series_documents(base, 0, NOW, limits).to_pylist() == [row for row in at_once.to_pylist() if row["grouped_by"] in keep]
    assert {row["if_index"] for row in series_documents(base, 0, NOW, limits).to_pylist()} == {1, 3}


def windows(result: LaidOut) -> dict[int, int]:
    """Octets by window, relative to NOW in minutes."""
    totals = {}
    for window, part in result.parts.items():
        table = emit(absorb(None, [part], Limits(), True), 0, window, 1, False, Limits())[1].to_pylist()
        totals[(window - NOW) // MINUTE] = next(d["bytes_total"] for d in table if d["grouped_by"] == "EXPORTER")
    return totals


def test_a_thirty_minute_flow_is_clipped_to_the_horizon_and_loses_nothing() -> None:
    result = laid(replace(FLOW, first_switched_ms=NOW - 30 * MINUTE, last_switched_ms=NOW, bytes=1_800_000))
    # 15 of its 30 minutes are before the horizon: their octets are moved, and the rest of the spread carries all.
    assert result.clipped_bytes == 900_000
    assert windows(result) == {-minute: 120_000 for minute in range(1, 16)}
    assert (result.late, result.future, result.reversed, result.rows) == (0, 0, 0, 15)


def test_shares_of_an_uneven_counter_add_up() -> None:
    result = laid(replace(FLOW, first_switched_ms=NOW - 7, last_switched_ms=NOW + 3, bytes=101))
    assert windows(result) == {-1: 70, 0: 31}


def test_an_end_on_the_boundary_belongs_to_the_window_before() -> None:
    assert windows(laid(replace(FLOW, first_switched_ms=NOW - 10, last_switched_ms=NOW))) == {-1: 600}
    assert windows(laid(replace(FLOW, first_switched_ms=NOW, last_switched_ms=NOW))) == {0: 600}


def test_delta_switched_wins_over_first_switched() -> None:
    assert windows(laid(replace(FLOW, first_switched_ms=NOW - 5 * MINUTE, delta_switched_ms=NOW))) == {0: 600}


def test_a_fast_clock_is_repaired_to_the_mark() -> None:
    result = laid(replace(FLOW, first_switched_ms=NOW + 10**9, last_switched_ms=NOW + 10**9))
    assert (result.future, windows(result)) == (1, {1: 600})


def test_a_fast_clock_within_a_minute_of_the_mark_is_believed() -> None:
    edge = replace(FLOW, first_switched_ms=NOW + 2 * MINUTE, last_switched_ms=NOW + 2 * MINUTE)
    assert (laid(edge).future, windows(laid(edge))) == (0, {2: 600})


def test_a_clock_correction_moves_both_ends() -> None:
    result = laid(replace(FLOW, first_switched_ms=NOW + 7200_000, last_switched_ms=NOW + 7210_000, clock_correction_ms=-7200_000))
    assert (result.future, windows(result)) == (0, {0: 600})


def test_start_after_end_is_repaired() -> None:
    result = laid(replace(FLOW, first_switched_ms=NOW + 40_000))
    assert (result.reversed, windows(result)) == (1, {0: 600})


def test_a_clock_from_1970_is_late() -> None:
    result = laid(FLOW, replace(FLOW, first_switched_ms=0, last_switched_ms=5))
    assert (result.late, result.refused.tolist(), result.flows, result.rows) == (1, [1], 2, 1)


def test_a_start_from_1970_is_clipped_without_overflow() -> None:
    octets = 2**62
    result = laid(replace(FLOW, first_switched_ms=0, bytes=octets))
    clip, duration = NOW - HORIZON, NOW + 30_000
    assert result.clipped_bytes == octets // duration * clip + octets % duration * clip // duration
    assert sum(windows(result).values()) == octets


def test_garbage_times_do_not_wrap_around() -> None:
    result = laid(replace(FLOW, first_switched_ms=2**63 - 1, last_switched_ms=2**63 - 1, clock_correction_ms=60_000))
    assert (result.future, result.late) == (1, 0)
    result = laid(replace(FLOW, first_switched_ms=-(2**63), last_switched_ms=-(2**63), clock_correction_ms=-60_000))
    assert (result.future, result.late) == (0, 1)


def test_acceptance_ends_exactly_with_the_horizon() -> None:
    ending = replace(FLOW, first_switched_ms=NOW - 1, last_switched_ms=NOW - 1)
    assert laid(ending, frontier=NOW + HORIZON - 1).late == 0
    assert laid(ending, frontier=NOW + HORIZON).late == 1


def test_each_batch_is_judged_by_its_own_mark_and_frontier() -> None:
    old = batch([replace(FLOW, first_switched_ms=NOW - 20 * MINUTE, last_switched_ms=NOW - 20 * MINUTE)])
    result = lay_out_many([(old, NOW, NOW - 10 * MINUTE), (old, NOW, NOW)], Limits())
    assert (result.late, result.refused.tolist()) == (1, [1])


def test_64_bit_counters_saturate_and_are_counted() -> None:
    result = laid(replace(FLOW, bytes=2**64 - 1, packets=2**63 - 1))
    assert (result.saturated, windows(result)) == (1, {0: 2**63 - 1})


def test_saturated_counters_of_refused_flows_are_not_counted() -> None:
    assert laid(replace(FLOW, first_switched_ms=0, last_switched_ms=5, bytes=2**64 - 1)).saturated == 0


def test_scaling_saturates_exactly() -> None:
    assert laid(replace(FLOW, bytes=2**62, sampling_interval=2.0)).saturated == 1
    exact = laid(replace(FLOW, bytes=2**62 - 1, sampling_interval=2.0))
    assert (exact.saturated, windows(exact)) == (0, {0: 2**63 - 2})


def test_fractional_sampling_floors_the_float_product() -> None:
    total = documents(replace(FLOW, bytes=333, packets=10, sampling_interval=1.5))["EXPORTER", None, 0]
    assert (total["bytes_total"], total["bytes_unscaled"]) == (499, 333)
    assert (total["packets_total"], total["packets_unscaled"]) == (15, 10)


@pytest.mark.parametrize("interval", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_unusable_sampling_is_one(interval: float | None) -> None:
    assert windows(laid(replace(FLOW, sampling_interval=interval))) == {0: 600}


def test_sampled_and_unsampled_parts_meet() -> None:
    limits = Limits()
    parts = [laid(replace(FLOW, sampling_interval=interval)).parts[NOW] for interval in (None, 10.0, None)]
    for order in (parts, parts[::-1]):
        base: bytes | None = None
        for part in order:
            base = absorb(base, [part], limits, True)
        assert base is not None
        total = emit(base, 0, NOW, 1, False, limits)[1].to_pylist()[0]
        assert (total["bytes_total"], total["bytes_unscaled"]) == (7200, 1800)


def test_null_counters_are_zero_but_count_as_flows() -> None:
    total = documents(replace(FLOW, bytes=None, packets=None))["EXPORTER", None, 0]
    assert (total["bytes_total"], total["flows_total"], total["rows"]) == (0, 1, 1)


def test_a_missing_if_index_is_interface_zero() -> None:
    assert documents(replace(FLOW, in_if=None))["EXPORTER_INTERFACE", 0, 0]["bytes_ingress"] == 600


def test_unknown_direction_counts_at_both_interfaces_and_once_above() -> None:
    found = documents(replace(FLOW, direction=None))
    assert found["EXPORTER_INTERFACE", 1, 0]["bytes_ingress"] == 600
    assert found["EXPORTER_INTERFACE", 2, 0]["bytes_egress"] == 600
    exporter = found["EXPORTER", None, 0]
    assert (exporter["bytes_total"], exporter["bytes_egress"], exporter["rows"]) == (600, 0, 1)


def test_unknown_direction_with_one_interface_counts_twice_there() -> None:
    found = documents(replace(FLOW, direction=255, out_if=1))
    total = found["EXPORTER_INTERFACE", 1, 0]
    assert (total["bytes_ingress"], total["bytes_egress"], total["bytes_total"], total["rows"]) == (600, 600, 1200, 2)


def test_an_exporter_with_in_traffic_ranks_by_it_alone() -> None:
    found = documents(
        replace(FLOW, application="in", bytes=1),
        replace(FLOW, application="out", direction=1),
        limits=Limits(top_k=1),
    )
    first, other = found["EXPORTER_APPLICATION", None, 0], found["EXPORTER_APPLICATION", None, 1]
    assert (first["application"], first["bytes_total"], first["bytes_egress"]) == ("in", 1, 0)
    assert (other["aggregation_type"], other["bytes_total"], other["bytes_egress"]) == ("OTHER", 0, 600)


def test_an_exporter_without_in_traffic_ranks_by_out_traffic() -> None:
    total = documents(replace(FLOW, direction=1))["EXPORTER", None, 0]
    assert (total["bytes_total"], total["bytes_egress"], total["bytes_unscaled"]) == (600, 600, 600)


def test_both_sides_adds_the_output_interface_only() -> None:
    found = documents(FLOW, limits=Limits(both_sides=True))
    assert found["EXPORTER_INTERFACE", 2, 0]["bytes_egress"] == 600
    assert found["EXPORTER", None, 0]["rows"] == 1


def test_addresses_as_text_and_null_first() -> None:
    mapped, v6 = bytes(10) + b"\xff\xff\x0a\x00\x00\x01", bytes.fromhex("20010db8000000000000000000000001")
    found = documents(
        replace(FLOW, src_addr=v6, dst_addr=mapped, protocol=6, application="http", location="Zürich"),
        replace(FLOW, src_addr=None, dst_addr=mapped, location="Zürich"),
    )
    assert [found["EXPORTER_HOST", None, slot]["host_address"] for slot in range(3)] == ["10.0.0.1", None, "2001:db8::1"]
    assert [found["EXPORTER_CONVERSATION", None, slot]["conversation_key"] for slot in range(2)] == [
        '["Zürich",null,null,"10.0.0.1",null]',
        '["Zürich",6,"10.0.0.1","2001:db8::1","http"]',
    ]


def test_a_host_that_is_both_ends_counts_twice() -> None:
    host = documents(replace(FLOW, src_addr=b"\x01" * 16, dst_addr=b"\x01" * 16))["EXPORTER_HOST", None, 0]
    assert (host["bytes_total"], host["flows_total"], host["rows"]) == (1200, 2, 1)


def test_ecn_and_dscp() -> None:
    found = documents(
        replace(FLOW, tos=0xBB), replace(FLOW, tos=None, in_if=9), replace(FLOW, tos=1, in_if=8), limits=Limits(with_dscp=True)
    )
    congested, silent, capable = (found["EXPORTER_INTERFACE", number, 0] for number in (1, 9, 8))
    assert (congested["congestion_encountered"], congested["non_ect"]) == (True, False)
    assert (silent["congestion_encountered"], silent["non_ect"]) == (False, True)
    assert (capable["congestion_encountered"], capable["non_ect"]) == (False, False)
    assert found["EXPORTER_INTERFACE_TOS", 1, 0]["dscp"] == 46
    assert found["EXPORTER_INTERFACE_TOS", 9, 0]["dscp"] == 0


def test_an_empty_bundle_lays_out_nothing() -> None:
    result = lay_out_many([(pa.RecordBatch.from_arrays([], names=[]), NOW, NOW)], Limits())
    assert (result.parts, result.flows, len(result.refused)) == ({}, 0, 0)


def test_absorbing_nothing_gives_a_base_without_documents() -> None:
    base = absorb(None, [], Limits(), True)
    assert emit(base, 0, NOW, 1, False, Limits())[1].num_rows == 0


@pytest.mark.parametrize("damaged", [b"", b"NPRT", b"XXXX" + bytes(40)])
def test_damaged_state_is_refused(damaged: bytes) -> None:
    with pytest.raises(InputError, match=r"^NPRT: "):
        absorb(None, [damaged], Limits(), True)
    part = laid(FLOW).parts[NOW]
    with pytest.raises(InputError, match="NBAS"):
        absorb(part, [part], Limits(), True)
    with pytest.raises(InputError, match="truncated"):
        absorb(None, [part[:-9]], Limits(), True)
