"""The ledger's arithmetic: literals for every rule, and properties: order does not matter, nothing is lost by merging."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.lane import Limits, lay_out_many
from columns.ledger import BatchReports, absorb_ledger, emit_ledger, next_mark_ms, part_of_judged, part_of_reports
from columns.ledger_entries import minutes_of
from columns.ledger_rows import COLUMNS, Rows, pack_offset, unpack_offsets
from columns.ledger_table import ledger_ids, ledger_json
from columns.packing import pack_texts
from common.addresses import pack_address
from common.errors import InputError
from flowpb.flow_batch_pb2 import AwaitedTemplate, ExporterReport, SequenceReport
from flowpb.ledger import KEYS, LEDGER, LEDGER_SCHEMA, OTHER_PROBLEM, PROBLEMS, SUMS, UNITS
from ingest.exporters import UNITS as INGEST_UNITS
from ingest.problems import Reason
from tests.columns.flows import NOW, batch
from tests.columns.oracle import Flow

MINUTE = 60_000
HORIZON = 15 * MINUTE
FOREVER = NOW + 100 * MINUTE
SEQUENCE = ("unit", "received", "missing", "missing_flows", "undecoded")
A, B = pack_address("10.0.0.1"), pack_address("2001:db8::7")


def report(exporter: bytes = A, **fields: Any) -> ExporterReport:
    sequences = fields.pop("sequences", [])
    return ExporterReport(
        exporter=exporter,
        **fields,
        sequences=[SequenceReport(**dict(zip(SEQUENCE, values, strict=False))) for values in sequences],
    )


def of(*reports: ExporterReport, mark: int = NOW + 5_000, frontier: int = NOW, missing: int = 0) -> bytes:
    return part_of_reports([BatchReports(mark, frontier, reports, missing)])


def rows(*parts: bytes, now: int = FOREVER) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = emit_ledger(absorb_ledger(None, parts), 3, now)[1].to_pylist()
    return found


def only(*parts: bytes) -> dict[str, Any]:
    """The one exporter's row."""
    [row] = [row for row in rows(*parts) if row["exporter_addr"] is not None]
    return row


def test_the_closed_sets_are_those_of_ingest() -> None:
    assert set(PROBLEMS) == {reason.value for reason in Reason if reason is not Reason.UNDECODABLE}, "faults of ours are `other`"
    assert set(UNITS) == set(INGEST_UNITS.values())


def test_a_report_is_a_row_of_its_minute() -> None:
    row = only(of(report(datagrams=7, duplicates=1, records=60, option_records=2, socket_drops=3, since_ms=NOW, until_ms=NOW + 10)))
    assert (row["minute_ms"], row["booked_ms"], row["lane"], row["exporter_addr"]) == (NOW, NOW, 3, "10.0.0.1")
    assert (row["datagrams"], row["duplicates"], row["flows_decoded"], row["option_records"]) == (7, 1, 60, 2)
    assert (row["socket_drops"], row["since_ms"], row["until_ms"], row["version"]) == (3, NOW, NOW + 10, 1)


def test_a_batch_is_a_line_of_the_lane() -> None:
    [row] = rows(of(), of(missing=2))
    assert (row["exporter_addr"], row["batches"], row["batches_missing"], row["version"]) == (None, 2, 2, 2)


@pytest.mark.parametrize("reason", [*PROBLEMS, "of_a_later_version"])
def test_problems_are_told_by_reason(reason: str) -> None:
    row = only(of(report(problems={reason: 4})))
    name = f"problem_{reason if reason in PROBLEMS else OTHER_PROBLEM}"
    assert {column: row[column] for column in SUMS if column.startswith("problem_") and row[column]} == {name: 4}


@pytest.mark.parametrize("unit", UNITS)
def test_gaps_are_told_in_the_protocol_s_own_unit(unit: str) -> None:
    row = only(of(report(sequences=[(unit, 90, 10)])), of(report(sequences=[(unit, 5, 1), (unit, 4, 0)])))
    assert (row[f"received_{unit}"], row[f"missing_{unit}"]) == (99, 11)
    assert sum(row[f"missing_{other}"] for other in UNITS if other != unit) == 0


def test_an_exporter_without_sequence_numbers_has_no_gaps() -> None:
    assert sum(only(of(report(sequences=[("", 5, 0)])))[f"received_{unit}"] for unit in UNITS) == 0


def test_gauges_are_those_of_the_latest_report() -> None:
    first = of(report(until_ms=NOW + 10, templates=5, samplers=1, clock_offset_ms=-7_000, parked_sets=3, protocol_version=9))
    second = of(report(until_ms=NOW + 20, templates=2, awaited=[AwaitedTemplate(), AwaitedTemplate()], clock_offset_ms=-9_000))
    for parts in ((first, second), (second, first)):
        row = only(*parts)
        assert (row["templates"], row["samplers"], row["clock_offset_ms"], row["parked_sets"]) == (2, 0, -9_000, 0)
        assert (row["awaited_templates"], row["until_ms"]) == (2, NOW + 20)


@pytest.mark.parametrize("offset", [0, 1, -1, 5_000, -5_000, 2**40, -(2**40)])
def test_offsets_come_back(offset: int) -> None:
    assert unpack_offsets(np.array([pack_offset(offset)])).tolist() == [offset]
    assert only(of(report(until_ms=1, clock_offset_ms=offset)))["clock_offset_ms"] == offset


@pytest.mark.parametrize(
    ("mark", "frontier", "booked", "own"),
    [
        (NOW, NOW, 0, 0),
        (NOW + MINUTE - 1, NOW, 0, 0),
        (NOW, NOW + MINUTE + HORIZON - 1, 0, 0),
        (NOW, NOW + MINUTE + HORIZON, 16, 0),
        (NOW, NOW + 100 * MINUTE, 100, 0),
        (-5, -5, -NOW // MINUTE, -NOW // MINUTE),
    ],
)
def test_what_comes_too_late_for_its_minute_is_booked_where_the_frontier_is(
    mark: int, frontier: int, booked: int, own: int
) -> None:
    assert minutes_of(mark, frontier) == (NOW // MINUTE + booked, NOW // MINUTE + own)


def test_a_drained_outage_has_rows_of_its_own() -> None:
    on_time = of(report(datagrams=1))
    drained = of(report(datagrams=10), frontier=NOW + 60 * MINUTE)
    base, first = emit_ledger(absorb_ledger(None, [on_time]), 3, NOW + 20 * MINUTE)
    assert base is None
    _, second = emit_ledger(absorb_ledger(None, [drained]), 3, NOW + 80 * MINUTE)
    assert set(second["minute_ms"].to_pylist()) == {NOW}
    assert set(second["booked_ms"].to_pylist()) == {NOW + 60 * MINUTE}
    assert not set(ledger_ids(first)) & set(ledger_ids(second))


def test_what_became_of_flows_joins_the_reports() -> None:
    flow = Flow(NOW + 30_000, NOW, exporter_addr=A, bytes=5)
    late = replace(flow, first_switched_ms=0, last_switched_ms=5)
    future = replace(flow, last_switched_ms=NOW + 10**9, exporter_addr=B)
    clipped = replace(flow, first_switched_ms=NOW - 2 * HORIZON, bytes=3_000, last_switched_ms=NOW)
    laid = lay_out_many([(batch([flow, late, clipped]), NOW + 50_000, NOW), (batch([future]), NOW + 50_000, NOW)], Limits())
    part = part_of_judged(laid.judged, [(NOW + 50_000, NOW)] * 2)
    found = {row["exporter_addr"]: row for row in rows(part, of(report(records=3)))}
    assert (found["10.0.0.1"]["flows_received"], found["10.0.0.1"]["flows_late"], found["10.0.0.1"]["flows_decoded"]) == (3, 1, 3)
    assert found["10.0.0.1"]["clipped_bytes"] == 1_500
    assert (found["2001:db8::7"]["flows_received"], found["2001:db8::7"]["flows_future"]) == (1, 1)


@pytest.mark.parametrize(
    ("reports", "lost"),
    [
        ([report(records=90, datagrams=9, sequences=[("flows", 90, 10)])], 10),
        ([report(records=90, datagrams=9, sequences=[("packets", 9, 1)])], 10),
        ([report(records=90, datagrams=9, sequences=[("packets", 10, 1)])], 9),
        ([report(records=90, datagrams=9, sequences=[("records", 100, 20)])], 18),
        ([report(records=63, datagrams=9, sequences=[("datagrams", 9, 3)])], 21),
        # NetFlow v5 and v9 from one address: the flows of v5 are no measure of v9's packets
        ([report(records=130, datagrams=13, sequences=[("flows", 100, 7), ("packets", 3, 2)])], 27),
        ([report(records=0, datagrams=2, sequences=[("packets", 2, 50)])], 0),
        # what the collector says of a sequence comes before the mean of the whole exporter
        ([report(records=90, datagrams=9, sequences=[("packets", 9, 1, 3), ("packets", 9, 2, 4)])], 7),
        ([report(records=5, datagrams=1)], 0),
    ],
)
def test_gaps_become_flows_by_the_mean_records_per_unit(reports: list[ExporterReport], lost: int) -> None:
    assert only(of(*reports))["flows_lost"] == lost


def test_the_mean_is_taken_over_the_minutes_at_hand() -> None:
    usual = of(report(records=1_000, datagrams=100, sequences=[("packets", 100, 0)]))
    scant = of(report(records=0, datagrams=1, sequences=[("packets", 1, 10)]), mark=NOW + MINUTE)
    found = {row["minute_ms"]: row["flows_lost"] for row in rows(usual, scant) if row["exporter_addr"]}
    assert found == {NOW: 0, NOW + MINUTE: 99}


def test_each_exporter_has_its_own_mean() -> None:
    found = rows(of(report(A, records=10, sequences=[("packets", 10, 5)]), report(B, records=300, sequences=[("packets", 10, 5)])))
    assert {row["exporter_addr"]: row["flows_lost"] for row in found} == {None: 0, "10.0.0.1": 5, "2001:db8::7": 150}


@pytest.mark.parametrize(
    ("missing", "drops", "lost", "dropped"),
    [(10, 0, 100, 0), (10, 4, 60, 40), (10, 10, 0, 100), (10, 15, 0, 100), (0, 5, 0, 0)],
)
def test_gaps_that_this_collector_made_are_its_own(missing: int, drops: int, lost: int, dropped: int) -> None:
    row = only(of(report(records=900, datagrams=90, socket_drops=drops, sequences=[("packets", 90, missing)])))
    assert (row["flows_lost"], row["flows_dropped"]) == (lost, dropped)


def test_drops_of_an_exporter_without_sequence_numbers_are_all_that_is_known() -> None:
    row = only(of(report(records=900, datagrams=100, duplicates=10, socket_drops=5)))
    assert (row["flows_lost"], row["flows_dropped"]) == (0, 50)


@pytest.mark.parametrize(
    ("fields", "undecodable"),
    [
        ({"expired_sets": 3}, 30),
        ({"problems": {"set_length": 2}}, 20),
        ({"problems": {"length_mismatch": 1, "truncated_header": 1}}, 20),
        ({"problems": {"record_truncated": 2, "sample_malformed": 3}}, 5),
        ({"problems": {"template_missing": 9, "duplicate": 9, "times_repaired": 9, "unknown_protocol": 9}}, 0),
        ({"expired_sets": 1, "records": 0}, 1),
        ({"problems": {"set_length": 2}, "sequences": [("records", 90, 20)]}, 0),
        ({"expired_sets": 2, "sequences": [("records", 90, 0, 0, 17)]}, 17),
    ],
)
def test_what_could_not_be_decoded_becomes_flows(fields: dict[str, Any], undecodable: int) -> None:
    assert only(of(report(**{"records": 90, "datagrams": 9, **fields})))["flows_undecodable"] == undecodable


def test_missing_batches_become_flows_by_the_lane_s_mean() -> None:
    flows = batch([Flow(NOW, NOW, exporter_addr=exporter, bytes=1) for exporter in (A, A, B)])
    judged = lay_out_many([(flows, NOW, NOW)], Limits()).judged
    found = rows(part_of_judged(judged, [(NOW, NOW)]), of(), of(missing=4), of())
    assert {row["exporter_addr"]: row["flows_lost_on_bus"] for row in found} == {None: 4, "10.0.0.1": 0, "2001:db8::7": 0}


def test_a_minute_is_written_ten_seconds_after_its_end_and_again_when_it_grew() -> None:
    base = absorb_ledger(None, [of(report(datagrams=1))])
    due = NOW + MINUTE + 10_000
    kept, table = emit_ledger(base, 3, due - 1)
    assert (kept, table.num_rows) == (base, 0)
    kept, table = emit_ledger(base, 3, due)
    assert table.num_rows == 2
    assert kept is not None
    assert emit_ledger(kept, 3, due + MINUTE)[1].num_rows == 0
    grown, table = emit_ledger(absorb_ledger(kept, [of(report(datagrams=5))]), 3, due + MINUTE)
    assert grown is not None
    assert {row["exporter_addr"]: (row["datagrams"], row["version"]) for row in table.to_pylist()} == {
        None: (0, 2),
        "10.0.0.1": (6, 2),
    }


def test_a_minute_is_kept_until_nothing_can_be_booked_in_it() -> None:
    base = absorb_ledger(None, [of(report(datagrams=1))])
    closes = NOW + MINUTE + HORIZON + MINUTE
    assert emit_ledger(base, 3, closes - 1)[0] is not None
    last, table = emit_ledger(base, 3, closes)
    assert (last, table.num_rows) == (None, 2)


@pytest.mark.parametrize(("now", "mark"), [(0, 10_000), (9_999, 10_000), (10_000, 70_000), (10_001, 70_000), (69_999, 70_000)])
def test_marks_are_ten_seconds_after_minutes(now: int, mark: int) -> None:
    assert next_mark_ms(now) == mark


def test_exporters_beyond_the_bound_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("columns.ledger.EXPORTERS", 3)
    reports = [report(bytes(15) + bytes([n]), datagrams=1) for n in range(1, 9)]
    base = absorb_ledger(None, [of(*reports)])
    kept, table = emit_ledger(base, 3, NOW + 2 * MINUTE)
    assert (table.num_rows, sum(table["datagrams"].to_pylist())) == (3 + 1, 8)
    assert kept is not None
    _, again = emit_ledger(absorb_ledger(kept, [of(*reports)]), 3, NOW + 3 * MINUTE)
    total = by_id(table) | by_id(again)
    assert (len(total), sum(row["datagrams"] for row in total.values())) == (3 + 1, 16)


def by_id(table: pa.Table) -> dict[str, dict[str, Any]]:
    return dict(zip(ledger_ids(table), table.to_pylist(), strict=True))


def test_the_bound_is_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("columns.ledger.EXPORTERS", 3)
    parts = [of(report(A), report(B), mark=NOW + n * MINUTE, frontier=NOW + n * MINUTE) for n in range(5)]
    assert len({row["exporter_addr"] for row in rows(*parts)}) == 3


def test_ids_are_distinct_and_of_one_length() -> None:
    parts = [of(report(A), report(B), mark=NOW + n * MINUTE, frontier=NOW) for n in range(3)]
    table = emit_ledger(absorb_ledger(None, parts), 3, FOREVER)[1]
    other = emit_ledger(absorb_ledger(None, parts), 4, FOREVER)[1]
    ids = ledger_ids(table) + ledger_ids(other)
    assert len(set(ids)) == len(ids) == 18
    assert {len(name) for name in ids} == {36}


def test_documents_leave_out_what_is_nothing() -> None:
    table = emit_ledger(absorb_ledger(None, [of(report(datagrams=2))]), 0, FOREVER)[1]
    lane, exporter = (json.loads(line) for line in ledger_json(table.sort_by([("batches", "descending")])))
    assert lane == {"@timestamp": NOW, "minute": NOW, "booked": NOW, "lane": 0, "version": 1, "batches": 1}
    assert exporter["exporter"] == {"address": "10.0.0.1"}
    assert "duplicates" not in exporter


def test_state_of_another_version_is_refused() -> None:
    packed = of(report())
    with pytest.raises(InputError, match="NLR2"):
        absorb_ledger(None, [b"XXXX" + packed[4:]])
    with pytest.raises(InputError, match="NLB1"):
        emit_ledger(packed, 3, NOW)


def test_every_column_has_a_meaning() -> None:
    assert [field.name for field in LEDGER] == LEDGER_SCHEMA.names
    assert set(LEDGER_SCHEMA.names) - set(COLUMNS) - set(KEYS) == {field.name for field in LEDGER if field.merge == "estimate"}
    assert all(field.help for field in LEDGER)


@dataclass(frozen=True)
class Told:
    """One report and the moment of its batch."""

    exporter: bytes
    mark: int
    frontier: int
    datagrams: int
    received: int
    missing: int
    until_ms: int


TOLD = st.lists(
    st.builds(
        Told,
        st.sampled_from([A, B, pack_address("10.0.0.2")]),
        st.integers(NOW, NOW + 5 * MINUTE),
        st.integers(NOW, NOW + 30 * MINUTE),
        st.integers(0, 50),
        st.integers(0, 10),
        st.integers(0, 10),
        st.integers(NOW, NOW + 10),
    ),
    max_size=12,
)


def part(told: Sequence[Told]) -> bytes:
    return part_of_reports(
        [
            BatchReports(
                each.mark,
                each.frontier,
                [
                    report(
                        each.exporter,
                        datagrams=each.datagrams,
                        records=each.datagrams * 3,
                        until_ms=each.until_ms,
                        sequences=[("packets", each.received, each.missing)],
                    )
                ],
            )
            for each in told
        ]
    )


@given(TOLD, st.integers(0, 12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_bundling_and_order_do_not_matter(told: list[Told], first: int, second: int, random: Any) -> None:
    whole = emit_ledger(absorb_ledger(None, [part(told)]), 3, FOREVER)[1].to_pylist()
    shuffled = list(told)
    random.shuffle(shuffled)
    low, high = sorted((first, second))
    base = None
    for piece in (shuffled[:low], shuffled[low:high], shuffled[high:]):
        base = absorb_ledger(base, [part([each]) for each in piece])
    assert base is not None
    assert emit_ledger(base, 3, FOREVER)[1].to_pylist() == whole


@given(TOLD)
def test_nothing_is_lost_by_merging(told: list[Told]) -> None:
    found: Counter[str] = Counter()
    for row in rows(part(told)):
        found.update({name: row[name] for name in ("datagrams", "missing_packets", "batches", "flows_decoded")})
    assert found["datagrams"] == sum(each.datagrams for each in told)
    assert found["missing_packets"] == sum(each.missing for each in told)
    assert found["batches"] == len(told)
    assert found["flows_decoded"] == 3 * found["datagrams"]


@given(TOLD, st.lists(st.integers(0, 12), max_size=4))
def test_the_newest_version_of_each_row_is_all_of_it(told: list[Told], cuts: list[int]) -> None:
    """However often rows were written on the way, in log order: what overwrites by id in the end is what one writing gives."""
    frontiers = itertools.accumulate((each.frontier for each in told), max)
    log = [replace(each, frontier=frontier) for each, frontier in zip(told, frontiers, strict=True)]
    stored: dict[str, dict[str, Any]] = {}
    base: bytes | None = None
    for number, each in enumerate(log):
        base = absorb_ledger(base, [part([each])])
        if number in cuts:
            base, table = emit_ledger(base, 3, each.frontier)
            for name, row in by_id(table).items():
                assert row["version"] > stored.get(name, {"version": 0})["version"]
                stored[name] = row
    if base is not None:
        stored |= by_id(emit_ledger(base, 3, FOREVER)[1])
    whole = by_id(emit_ledger(absorb_ledger(None, [part(log)]), 3, FOREVER)[1])
    exact = [name for name in LEDGER_SCHEMA.names if not name.startswith("flows_lost")]
    assert {key: [row[name] for name in exact] for key, row in stored.items()} == {
        key: [row[name] for name in exact] for key, row in whole.items()
    }


@given(TOLD)
def test_rows_come_back_from_bytes(told: list[Told]) -> None:
    packed = part(told)
    assert Rows.unpack(packed).pack() == packed


def test_state_of_a_version_with_other_columns_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"of_another_version_{name}" if name == "socket_drops" else name for name in COLUMNS]
    with monkeypatch.context() as patch:
        patch.setattr("columns.ledger_rows._NAMES", pack_texts(names))
        older = of(report(datagrams=7, socket_drops=3))
    row = only(older, of(report(datagrams=1, socket_drops=2)))
    assert (row["datagrams"], row["socket_drops"]) == (8, 2)
