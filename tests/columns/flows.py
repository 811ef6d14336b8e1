"""Flows for the tests: generated ones, and batches of the ones written down."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

from flowpb.documents import NOT_COMPARED
from flowpb.groupings import SHIPPED, Scope, Values
from flowpb.schema import FLOW_SCHEMA
from tests.columns.oracle import Flow

fewer = settings(max_examples=max(settings().max_examples // 3, 1))
"""For properties of which each example runs the whole core many times."""

NOW = 1_700_000_040_000
"""Start of a minute."""

ADDRESSES = [
    None,
    bytes(16),
    bytes(10) + b"\xff\xff\x0a\x00\x00\x01",
    bytes(10) + b"\xff\xff\x0a\x00\x00\x02",
    bytes(10) + b"\xff\xff\xc0\xa8\x00\x01",
    bytes.fromhex("20010db8000000000000000000000001"),
    bytes.fromhex("20010db8000000000000000000000002"),
    b"\xff" * 16,
]
EXPORTERS = [bytes(10) + b"\xff\xff\x0a\x00\x00\x02", b"\xfe\x80" + bytes(14), bytes(15) + b"\x01"]
APPLICATIONS = [None, "", "http", "dns", "größe", 'a"b', "𝔘"]

COUNTERS = st.one_of(st.none(), st.integers(0, 5000), st.integers(0, 2**40), st.integers(2**62, 2**64 - 1))
INTERVALS = st.one_of(
    st.none(),
    st.sampled_from([0.0, -5.0, 1.0, 1.5, 100.0, 0.25, 1e18, 1e300, float("inf"), float("nan")]),
    st.floats(0.001, 1e6),
)
TIMES = st.one_of(
    st.integers(NOW - 70_000, NOW + 70_000),
    st.integers(NOW - 40 * 60_000, NOW + 5 * 60_000),
    st.sampled_from([0, NOW, NOW - 60_000, NOW - 1, NOW + 60_000, NOW - 15 * 60_000, NOW - 16 * 60_000]),
)


def flows(
    counters: st.SearchStrategy[int | None] = COUNTERS,
    times: st.SearchStrategy[int] = TIMES,
    intervals: st.SearchStrategy[float | None] = INTERVALS,
    exporters: Sequence[bytes] = EXPORTERS,
    locations: Sequence[str | None] = (None, "Default", "Zürich"),
    interfaces: Sequence[int | None] = (None, 0, 1, 2, 70_000, 2**32 - 1),
) -> st.SearchStrategy[Flow]:
    """Flows that agree in most members often, so that groups and items meet."""
    return st.builds(
        Flow,
        last_switched_ms=times,
        first_switched_ms=times,
        delta_switched_ms=st.one_of(st.none(), times),
        clock_correction_ms=st.sampled_from([None, 0, -7000, 30_000]),
        exporter_addr=st.sampled_from(exporters),
        location=st.sampled_from(locations),
        src_addr=st.sampled_from(ADDRESSES),
        dst_addr=st.sampled_from(ADDRESSES),
        protocol=st.sampled_from([None, 0, 6, 17, 255]),
        tos=st.sampled_from([None, 0, 1, 2, 3, 0xB8, 0xBB, 255]),
        in_if=st.sampled_from(interfaces),
        out_if=st.sampled_from(interfaces),
        direction=st.sampled_from([None, 0, 1, 255, 7]),
        bytes=counters,
        packets=counters,
        sampling_interval=intervals,
        application=st.sampled_from(APPLICATIONS),
        in_if_side=st.sampled_from([None, "internal", "external"]),
        out_if_side=st.sampled_from([None, "internal", "external"]),
        src_as=st.sampled_from([None, 0, 9, 64_500, 2**32 - 1]),
        dst_as=st.sampled_from([None, 0, 10, 64_500]),
        src_country=st.sampled_from([None, "DE", "NZ"]),
        dst_country=st.sampled_from([None, "DE", ""]),
        next_hop=st.sampled_from(ADDRESSES),
    )


VALUES = (
    *SHIPPED,
    Values("GATEWAY", ("next_hop",), (Scope.EXPORTER,)),
    Values("PLACE", ("src_country",), (Scope.INTERFACE, Scope.SYSTEM)),
)
KINDS = st.lists(st.sampled_from(VALUES), max_size=3, unique=True).map(tuple)
"""Kinds besides the fixed ones."""


def batch(flows: Sequence[Flow], drop_nulls: bool = False) -> pa.RecordBatch:
    """Flows as columns of FLOW; without the columns that are all null if `drop_nulls`, as on the bus."""
    table = pa.Table.from_pylist([asdict(flow) for flow in flows], schema=FLOW_SCHEMA)
    columns = table.combine_chunks().to_batches()[0] if flows else pa.RecordBatch.from_pylist([], schema=FLOW_SCHEMA)
    if drop_nulls:
        columns = columns.select([n for n in columns.schema.names if columns.column(n).null_count < len(flows)])
    return columns


WHERE = ("window_start_ms", "window_end_ms", "lane", "group_id", *NOT_COMPARED)


def plain(table: pa.Table) -> list[dict[str, object]]:
    """Documents without what says where and when they were written."""
    documents: list[dict[str, object]] = table.drop_columns(list(WHERE)).to_pylist()
    return documents


def key(document: dict[str, object]) -> tuple[object, ...]:
    """Sorts documents."""
    names = ("grouped_by", "location", "exporter_addr", "if_index", "dscp", "slot")
    return tuple((document[name] is not None, document[name]) for name in names)
