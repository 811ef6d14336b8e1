"""The compiled port table equals a matcher that looks at one entry after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from columns.rules.ports import NO_PORT, NO_PROTOCOL, PortEntry, build_port_table

_PORTS = st.one_of(st.integers(0, 20), st.integers(65_520, 65_535), st.just(NO_PORT))
_PROTOCOLS = st.one_of(st.integers(0, 8), st.just(NO_PROTOCOL))
_FLOWS = st.lists(st.tuples(_PROTOCOLS, _PORTS, _PORTS), min_size=1, max_size=30)


@st.composite
def _entries(draw: st.DrawFn) -> list[PortEntry]:
    entries = []
    for rank in range(draw(st.integers(0, 12))):
        protocols = draw(st.none() | st.frozensets(st.integers(0, 8), min_size=1, max_size=3))
        low, high = sorted(draw(st.tuples(_PORTS, _PORTS)))
        entries.append(
            PortEntry(rank * draw(st.sampled_from([1, 70_000])), protocols, draw(st.sampled_from(["src", "dst"])), low, high)
        )
    return entries


def _plain(entries: list[PortEntry], protocol: int, src_port: int, dst_port: int) -> int | None:
    return min(
        (
            entry.rank
            for entry in entries
            if (entry.protocols is None or protocol in entry.protocols)
            and entry.low <= (src_port if entry.side == "src" else dst_port) <= entry.high
        ),
        default=None,
    )


@given(_entries(), _FLOWS)
def test_equals_the_plain_matcher(entries: list[PortEntry], flows: list[tuple[int, int, int]]) -> None:
    none = max((entry.rank for entry in entries), default=0) + 1
    table = build_port_table(entries, none)
    columns = np.array(flows)
    ranks = table.look_up(columns[:, 0], columns[:, 1], columns[:, 2])
    found = [None if rank == none else int(rank) for rank in ranks]
    assert found == [_plain(entries, *flow) for flow in flows]


def test_without_entries_nothing_fits() -> None:
    assert build_port_table([], 0).look_up(np.array([6]), np.array([80]), np.array([80])).tolist() == [0]
