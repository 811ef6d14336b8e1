"""Bases of several windows or lanes add up like one, with their bounds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from columns.lane import Limits, absorb, combine, emit, lay_out
from tests.columns import oracle
from tests.columns.flows import KINDS, NOW, WHERE, batch, fewer, flows, key, plain
from tests.columns.oracle import Flow
from tests.columns.test_bounds import PORTIONS, TINY, by_group, check_group, number
from tests.pipelines.longer import added_up

HOUR = 3_600_000
SMALL = st.one_of(st.none(), st.integers(0, 2**40))
SPREAD = flows(SMALL, st.integers(NOW - 200_000, NOW + 70_000), st.sampled_from([None, 1.0, 1.5, 100.0]))


def bases_of(portions: Sequence[Sequence[Flow]], limits: Limits) -> list[bytes]:
    """One base per window, of all portions."""
    parts: dict[int, list[bytes]] = defaultdict(list)
    for portion in filter(None, portions):
        for window_start_ms, part in lay_out(batch(portion, True), NOW + 60_000, NOW, limits).parts.items():
            parts[window_start_ms].append(part)
    return [absorb(None, of_window, limits, True) for of_window in parts.values()]


def minutes_of(portions: Sequence[Sequence[Flow]], limits: Limits) -> list[dict[str, Any]]:
    """The oracle's documents of each window, with all items; every window as if it were in the hour of 1970."""
    windows = oracle.answer([(portion, NOW + 60_000, NOW) for portion in portions], limits.both_sides).windows
    return [
        {**document, "window_start_ms": number}
        for number, rows in enumerate(windows.values())
        for document in oracle.documents(rows, 10**6, limits.with_dscp, limits.values)
    ]


def bare(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order and with the columns of the core's documents."""
    return sorted(({name: value for name, value in one.items() if name not in WHERE} for one in documents), key=key)


@fewer
@given(
    st.lists(st.lists(SPREAD, max_size=5), max_size=3), st.builds(Limits, top_k=st.just(2), with_dscp=st.booleans(), values=KINDS)
)
def test_windows_add_up_exactly_below_the_caps(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    bases = bases_of(portions, limits)
    minutes = minutes_of(portions, limits)
    if not bases:
        assert not minutes
        return
    _, table = emit(combine(bases, limits), 0, 0, 1, True, limits, HOUR)
    assert sorted(plain(table), key=key) == bare(added_up(minutes, HOUR, limits.top_k))
    assert set(table.column("window_end_ms").to_pylist()) == {HOUR}
    nested = combine([combine(bases[:1], limits), *bases[1:]], limits)
    assert emit(nested, 0, 0, 1, True, limits, HOUR)[1].to_pylist() == table.to_pylist()


@fewer
@given(PORTIONS, TINY)
def test_bounds_hold_over_windows(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    bases = bases_of(portions, limits)
    exact = by_group(bare(added_up(minutes_of(portions, limits), HOUR, 10**6)))
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
