"""Location and system scope: put together from lanes like the oracle, with bounds that hold, from exporters' sides that count."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.lane import Limits, absorb, combine, contribution, emit_wide, lay_out
from columns.state import State
from common.errors import InputError
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import PROTOCOL, SHIPPED
from tests.columns import oracle
from tests.columns.flows import ADDRESSES, EXPORTERS, KINDS, NOW, batch, fewer, flows, key, plain
from tests.columns.oracle import Flow
from tests.columns.test_bounds import TINY, by_group, check_group, number
from tests.columns.test_combine import HOUR, SPREAD, bare
from tests.columns.test_combine import bases_of as windows_of
from tests.pipelines.longer import added_up

HERE = st.integers(NOW, NOW + 59_999)
LANES = st.lists(st.lists(flows(times=HERE), max_size=8), min_size=1, max_size=3)
CROWDS = st.lists(
    st.lists(flows(counters=st.integers(0, 2**20), times=HERE, intervals=st.none()), min_size=4, max_size=20),
    min_size=1,
    max_size=4,
)


def lane_of_portion(portion: Sequence[Flow], number: int) -> list[Flow]:
    """The flows under an exporter of this lane alone."""
    return [
        Flow(
            **{
                **{name: getattr(flow, name) for name in Flow.__dataclass_fields__},
                "exporter_addr": bytes([number, *flow.exporter_addr[1:]]),
            }
        )
        for flow in portion
    ]


def bases_of(lanes: Sequence[Sequence[Flow]], limits: Limits) -> list[bytes]:
    laid = [lay_out(batch(lane, True), NOW + 60_000, NOW, limits) for lane in lanes if lane]
    return [absorb(None, [each.parts[NOW]], limits, True) for each in laid if NOW in each.parts]


def truth_of(lanes: Sequence[Sequence[Flow]], limits: Limits) -> list[oracle.Row]:
    return oracle.answer([(lane, NOW + 60_000, NOW) for lane in lanes], limits.both_sides).windows[NOW]


@fewer
@given(
    LANES,
    st.builds(
        Limits, top_k=st.integers(1, 3), with_dscp=st.booleans(), both_sides=st.booleans(), values=KINDS, edge_only=st.booleans()
    ),
)
def test_documents_equal_the_oracle(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    lanes = [lane_of_portion(portion, number) for number, portion in enumerate(portions)]
    contributions = [contribution(base, limits) for base in bases_of(lanes, limits)]
    table = emit_wide(contributions, NOW, 1, False, limits)
    assert sorted(plain(table), key=key) == sorted(
        oracle.wide_documents(truth_of(lanes, limits), limits.top_k, limits.values, limits.edge_only), key=key
    )
    assert set(table.column("lane").to_pylist()) <= {None}
    assert table.schema == AGGREGATE_SCHEMA


@fewer
@given(CROWDS, TINY, st.booleans())
def test_bounds_hold(portions: Sequence[Sequence[Flow]], limits: Limits, edge_only: bool) -> None:
    limits = replace(limits, edge_only=edge_only)
    lanes = [lane_of_portion(portion, number_) for number_, portion in enumerate(portions)]
    contributions = [contribution(base, limits) for base in bases_of(lanes, limits)]
    found = by_group(plain(emit_wide(contributions, NOW, 1, False, limits)))
    exact = by_group(oracle.wide_documents(truth_of(lanes, limits), 10**6, limits.values, limits.edge_only))
    assert set(found) == set(exact)
    for group, documents in found.items():
        if documents[0]["aggregation_type"] == "TOTAL":
            assert documents == exact[group]
        else:
            check_group(documents, exact[group])
            assert sum(number(d, "bytes_total") for d in documents) == sum(number(d, "bytes_total") for d in exact[group])


@fewer
@given(st.lists(st.lists(SPREAD, max_size=5), max_size=3), st.booleans())
def test_a_longer_window_is_that_of_the_combined_base(portions: Sequence[Sequence[Flow]], edge_only: bool) -> None:
    limits = Limits(top_k=2, values=SHIPPED, edge_only=edge_only)
    if bases := windows_of(portions, limits):
        windows = oracle.answer([(portion, NOW + 60_000, NOW) for portion in portions]).windows.values()
        minutes = [
            {**one, "window_start_ms": n}
            for n, rows in enumerate(windows)
            for one in oracle.wide_documents(rows, 10**6, SHIPPED, edge_only)
        ]
        table = emit_wide([contribution(combine(bases, limits), limits)], 0, 1, True, limits, HOUR)
        assert sorted(plain(table), key=key) == bare(added_up(minutes, HOUR, 2))
        assert set(table.column("window_end_ms").to_pylist()) == ({HOUR} if minutes else set())


def test_each_exporter_gives_the_side_that_counts() -> None:
    limits = Limits()
    rows = [
        Flow(NOW + 10, NOW, exporter_addr=EXPORTERS[0], location="A", direction=0, bytes=100, packets=1),
        Flow(NOW + 10, NOW, exporter_addr=EXPORTERS[0], location="A", direction=1, bytes=90, packets=1),
        Flow(NOW + 10, NOW, exporter_addr=EXPORTERS[1], location="A", direction=1, bytes=7, packets=1),
        Flow(NOW + 10, NOW, exporter_addr=EXPORTERS[2], location="B", direction=255, bytes=1, packets=1),
    ]
    documents = emit_wide([contribution(base, limits) for base in bases_of([rows], limits)], NOW, 2, False, limits).to_pylist()
    totals = {(d["grouped_by"], d["location"]): d for d in documents if d["aggregation_type"] == "TOTAL"}
    sides = {group: (d["bytes_ingress"], d["bytes_egress"], d["bytes_total"], d["rows"]) for group, d in totals.items()}
    assert sides == {("LOCATION", "A"): (100, 7, 107, 3), ("LOCATION", "B"): (1, 0, 1, 1), ("SYSTEM", None): (101, 7, 108, 4)}
    assert {d["exporter_addr"] for d in documents} == {None}


def test_conversations_keep_their_location_at_system_scope() -> None:
    limits = Limits()
    rows = [
        Flow(NOW + 10, NOW, location=where, src_addr=ADDRESSES[2], dst_addr=ADDRESSES[3], protocol=6, direction=0, bytes=octets)
        for where, octets in (("B", 5), ("A", 5), (None, 5))
    ]
    documents = emit_wide([contribution(base, limits) for base in bases_of([rows], limits)], NOW, 1, False, limits).to_pylist()
    keys = [d["conversation_key"] for d in documents if d["grouped_by"] == "SYSTEM_CONVERSATION"]
    assert keys == [f'[{where},6,"10.0.0.1","10.0.0.2",null]' for where in ("null", '"A"', '"B"')]


def test_contributions_name_no_exporter_and_nothing_is_made_of_nothing() -> None:
    limits = Limits()
    [base] = bases_of([[Flow(NOW + 10, NOW, src_addr=ADDRESSES[2], dst_addr=ADDRESSES[3], direction=0, bytes=1)]], limits)
    names = State.unpack(contribution(base, limits)).names
    assert (len(names.exporters), len(names.ports), len(names.addresses)) == (0, 0, 2)
    assert emit_wide([], NOW, 1, False, limits).num_rows == 0
    assert emit_wide([contribution(absorb(None, [], limits, True), limits)], NOW, 1, False, limits).num_rows == 0
    with pytest.raises(InputError):
        emit_wide([b"NBAS"], NOW, 1, False, limits)


def test_the_edge_counts_where_traffic_enters() -> None:
    limits = Limits(edge_only=True)
    here = Flow(NOW + 10, NOW, location="A")
    rows = [
        replace(here, exporter_addr=EXPORTERS[0], direction=0, in_if_side="external", bytes=100),
        replace(here, exporter_addr=EXPORTERS[0], direction=0, in_if_side="internal", out_if_side="external", bytes=7),
        replace(here, exporter_addr=EXPORTERS[0], direction=1, out_if_side="external", bytes=50),
        replace(here, exporter_addr=EXPORTERS[1], direction=1, out_if_side="external", bytes=3),
        replace(here, exporter_addr=EXPORTERS[2], direction=0, bytes=1000),
    ]
    documents = emit_wide([contribution(base, limits) for base in bases_of([rows], limits)], NOW, 2, False, limits).to_pylist()
    [total] = [d for d in documents if d["grouped_by"] == "SYSTEM"]
    # The second exporter has no ingress flow at all; the egress flow at the first one's edge counts as a row, with nothing.
    assert [total[f"bytes_{side}"] for side in ("ingress", "egress", "total")] == [100, 3, 103]
    assert total["rows"] == 3


ONCE = st.lists(
    st.lists(flows(counters=st.integers(0, 2**20), times=HERE, intervals=st.none()), min_size=1, max_size=12),
    min_size=1,
    max_size=3,
)


@fewer
@given(ONCE, st.booleans())
def test_each_conversation_counts_once_like_the_oracle(portions: Sequence[Sequence[Flow]], edge_only: bool) -> None:
    limits = Limits(top_k=3, deduplicate=True, edge_only=edge_only, values=SHIPPED)
    lanes = [lane_of_portion(portion, number_) for number_, portion in enumerate(portions)]
    table = emit_wide([contribution(base, limits) for base in bases_of(lanes, limits)], NOW, 1, False, limits)
    expected = oracle.wide_documents(truth_of(lanes, limits), 3, (PROTOCOL,), edge_only, True)
    assert sorted(plain(table), key=key) == sorted(expected, key=key)


@fewer
@given(ONCE, st.integers(1, 2))
def test_bounds_hold_where_conversations_were_pruned(portions: Sequence[Sequence[Flow]], top_k: int) -> None:
    limits = Limits(top_k=top_k, young=3, old=3, deduplicate=True)
    lanes = [lane_of_portion(portion, number_) for number_, portion in enumerate(portions)]
    contributions = [contribution(base, limits) for base in bases_of(lanes, limits)]
    found = by_group(plain(emit_wide(contributions, NOW, 1, False, limits)))
    exact = by_group(oracle.wide_documents(truth_of(lanes, limits), 10**6, (), False, True))
    assert set(found) == set(exact)
    for group, documents in found.items():
        if documents[0]["aggregation_type"] == "TOTAL":
            value, true = (number(each[0], "bytes_total") for each in (documents, exact[group]))
            assert value <= true <= value + number(documents[0], "error")
        else:
            check_group(documents, exact[group])
