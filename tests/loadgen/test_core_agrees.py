"""The product's aggregation core against the oracle: whatever flows, marks and repeats a log holds, the same documents and counts.

Both are written from docs/explanation/numbers.md and share no code. Sums stay below 2^63, beyond which the page says nothing.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from columns.classify import default_classifier
from columns.lane import Limits, absorb, contribution, emit, emit_wide, lay_out
from columns.log import LaneLog, advance
from common.addresses import pack_address
from flowpb.codec import Header, decode, encode
from flowpb.documents import NOT_COMPARED
from flowpb.groupings import SHIPPED, Scope, Values
from flowpb.schema import FLOW_SCHEMA, INGEST_SCHEMA, TEXT
from ingest.loadgen.expected import Answer, Oracle
from ingest.loadgen.oracle.groups import Document

NOW = 1_767_225_600_000
MINUTE = 60_000
EXPORTERS = [pack_address(address) for address in ("192.0.2.1", "2001:db8::9")]
ADDRESSES = [None, *map(pack_address, ("10.0.0.1", "10.0.0.2", "10.0.0.10", "2001:db8::1", "::", "::1"))]
TIMES = st.one_of(st.integers(-20 * MINUTE, 3 * MINUTE), st.sampled_from([0, MINUTE, -MINUTE, -15 * MINUTE, 10**12, -(10**12)]))
COUNTERS = st.one_of(st.none(), st.integers(0, 3000), st.sampled_from([2**31, 2**53 + 1]))
INTERVALS = st.sampled_from([None, 1.0, 0.0, -1.0, 10.0, 2.5, 0.3, float("inf"), float("nan")])


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    last = NOW + draw(TIMES)
    span = draw(st.sampled_from([0, 1, 59_999, MINUTE, MINUTE + 1, 7 * MINUTE, -1]))
    return {
        "received_ms": NOW,
        "exported_ms": NOW,
        "first_switched_ms": last - span,
        "delta_switched_ms": draw(st.sampled_from([None, last - span, last - span // 2])),
        "last_switched_ms": last,
        "clock_correction_ms": draw(st.sampled_from([None, 5_000, -61_000])),
        "exporter_addr": draw(st.sampled_from(EXPORTERS)),
        "location": draw(st.sampled_from(["Default", "Zürich"])),
        "src_addr": draw(st.sampled_from(ADDRESSES)),
        "dst_addr": draw(st.sampled_from(ADDRESSES)),
        "src_port": draw(st.sampled_from([None, 0, 22, 80, 443, 65_535])),
        "dst_port": draw(st.sampled_from([None, 53, 443, 50_000])),
        "protocol": draw(st.sampled_from([None, 0, 1, 6, 17, 132])),
        "tos": draw(st.sampled_from([None, 0, 1, 2, 3, 0xB8, 255])),
        "in_if": draw(st.sampled_from([None, 0, 1, 2**32 - 2])),
        "out_if": draw(st.sampled_from([None, 0, 1, 2])),
        "direction": draw(st.sampled_from([None, 0, 1, 255])),
        "bytes": draw(COUNTERS),
        "packets": draw(COUNTERS),
        "sampling_interval": draw(INTERVALS),
        "src_as": draw(st.sampled_from([None, 0, 9, 64_500])),
        "dst_as": draw(st.sampled_from([None, 10, 64_500])),
        "next_hop": draw(st.sampled_from(ADDRESSES)),
        "src_mac": draw(st.sampled_from([None, bytes(6), bytes.fromhex("02aabbccddee")])),
    }


VALUES = (
    *SHIPPED,
    Values("GATEWAY", ("next_hop",), (Scope.EXPORTER, Scope.LOCATION)),
    Values("CARD", ("src_mac",), (Scope.INTERFACE, Scope.SYSTEM)),
)
Batch = tuple[str, int, int, int, int, list[dict[str, Any]]]


@st.composite
def logs(draw: st.DrawFn) -> list[Batch]:
    """Batches of one lane: collector, epoch, seq, mark, append time, flows; identities and marks in any disorder."""
    return [
        (
            draw(st.sampled_from(["a", "b"])),
            draw(st.integers(1, 2)),
            draw(st.integers(0, 5)),
            NOW + draw(st.integers(-15, 15)) * MINUTE,
            NOW + draw(st.integers(0, 20)) * MINUTE,
            draw(st.lists(flows(), max_size=8)),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]


def packed(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch | None:
    if not rows:
        return None
    names = [name for name in INGEST_SCHEMA.names if name in rows[0]]
    columns = []
    for name in names:
        kind = FLOW_SCHEMA.field(name).type
        values = [row[name] for row in rows]
        coded = pa.types.is_dictionary(kind)
        columns.append(pa.array(values, kind.value_type).dictionary_encode() if coded else pa.array(values, kind))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([INGEST_SCHEMA.field(name) for name in names]))


def by_core(entries: Sequence[tuple[bytes, int]], limits: Limits) -> tuple[list[Document], Counter[str]]:
    log, bases, counts = LaneLog(), dict[int, bytes](), Counter[str]()
    for entry, append_ms in entries:
        header, flows = decode(entry)
        log, verdict = advance(log, header, append_ms)
        counts["repeats"] += not verdict.accepted
        if verdict.accepted and flows.num_rows:
            application = default_classifier().applications(flows).cast(TEXT)
            laid_out = lay_out(
                flows.append_column(pa.field("application", TEXT), application), verdict.mark_ms, verdict.frontier_ms, limits
            )
            counts.update({name: getattr(laid_out, name) for name in COUNTED})
            for window, part in laid_out.parts.items():
                bases[window] = absorb(bases.get(window), [part], limits, young=True)
    documents = [emit(base, 0, window, 3, True, limits)[1].to_pylist() for window, base in bases.items()]
    documents += [emit_wide([contribution(base, limits)], window, 3, True, limits).to_pylist() for window, base in bases.items()]
    return [document for table in documents for document in table], counts


COUNTED = ("flows", "late", "future", "reversed", "clipped_bytes", "saturated")


def by_oracle(entries: Sequence[tuple[bytes, int]], limits: Limits) -> Answer:
    oracle = Oracle(k=limits.top_k, with_dscp=limits.with_dscp, both_sides=limits.both_sides, values=limits.values)
    for entry, append_ms in entries:
        oracle.take_entry(entry, append_ms)
    return oracle.answer()


def keyed(documents: Sequence[Document]) -> dict[tuple[object, ...], Document]:
    names = ("window_start_ms", "grouped_by", "location", "exporter_addr", "if_index", "dscp", "slot")
    left_out = (*NOT_COMPARED, "group_id", "lane")
    return {tuple(d[n] for n in names): {n: v for n, v in d.items() if n not in left_out} for d in documents}


@given(logs(), st.integers(1, 3), st.booleans(), st.booleans())
def test_core_and_oracle_agree(log: list[Batch], k: int, with_dscp: bool, both_sides: bool) -> None:
    entries = [
        (encode(Header(collector, epoch, 0, seq, mark), packed(rows)), append) for collector, epoch, seq, mark, append, rows in log
    ]
    limits = Limits(top_k=k, young=10_000, old=10_000, with_dscp=with_dscp, both_sides=both_sides, values=VALUES)
    answer = by_oracle(entries, limits)
    documents, counts = by_core(entries, limits)
    assert keyed(documents) == keyed(answer.documents)
    assert counts == Counter({name: getattr(answer.counts, name) for name in (*COUNTED, "repeats")})
    assert len(keyed(documents)) == len(documents)
