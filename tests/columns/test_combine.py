"""Bases of several windows or lanes add up like one, with their bounds."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from columns.lane import Limits, absorb, combine, emit, lay_out
from tests.columns import oracle
from tests.columns.flows import NOW, batch, fewer, flows, key, plain
from tests.columns.oracle import Flow
from tests.columns.test_bounds import PORTIONS, TINY, by_group, check_group, number

HOUR = 3_600_000
SPREAD = flows(times=st.integers(NOW - 200_000, NOW + 70_000))


def bases_of(portions: Sequence[Sequence[Flow]], limits: Limits) -> list[bytes]:
    laid = [lay_out(batch(portion, True), NOW + 60_000, NOW, limits) for portion in portions if portion]
    return [absorb(None, [part], limits, True) for each in laid for part in each.parts.values()]


@fewer
@given(st.lists(st.lists(SPREAD, max_size=5), max_size=3), st.builds(Limits, top_k=st.just(2), with_dscp=st.booleans()))
def test_windows_add_up_exactly_below_the_caps(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    bases = bases_of(portions, limits)
    truth = oracle.answer([(portion, NOW + 60_000, NOW) for portion in portions])
    rows = [row for window in truth.windows.values() for row in window]
    if not bases:
        assert not rows
        return
    _, table = emit(combine(bases, limits), 0, 0, 1, True, limits, HOUR)
    assert sorted(plain(table), key=key) == sorted(oracle.documents(rows, limits.top_k, limits.with_dscp), key=key)
    assert set(table.column("window_end_ms").to_pylist()) == {HOUR}
    nested = combine([combine(bases[:1], limits), *bases[1:]], limits)
    assert emit(nested, 0, 0, 1, True, limits, HOUR)[1].to_pylist() == table.to_pylist()


@fewer
@given(PORTIONS, TINY)
def test_bounds_hold_over_windows(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    bases = bases_of(portions, limits)
    truth = oracle.answer([(portion, NOW + 60_000, NOW) for portion in portions], limits.both_sides)
    exact = by_group(oracle.documents([row for window in truth.windows.values() for row in window], 10**6, limits.with_dscp))
    found = by_group(plain(emit(combine(bases, limits), 0, 0, 1, True, limits, HOUR)[1]))
    assert set(found) == set(exact)
    for group, documents in found.items():
        assert sum(number(d, "packets_egress") for d in documents) == sum(number(d, "packets_egress") for d in exact[group])
        if documents[0]["aggregation_type"] != "TOTAL":
            check_group(documents, exact[group])


def test_what_was_combined_counts_as_not_emitted() -> None:
    limits = Limits()
    [base] = bases_of([[Flow(NOW + 5, NOW, direction=0, bytes=7)]], limits)
    emitted, table = emit(base, 0, NOW, 3, True, limits)
    assert emit(combine([emitted], limits), 0, NOW, 1, True, limits)[1].num_rows == table.num_rows
