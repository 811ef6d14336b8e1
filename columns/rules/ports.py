"""Rules that ask for nothing but protocol and one port, compiled into a table.

In: entries (rank, protocols, side, port range). Out: for columns of protocol and ports the least rank that fits each flow, by
two gathers and a minimum. Refuses to know names, addresses and what a rank stands for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

PROTOCOLS: Final = 257
PORTS: Final = 65_537
NO_PROTOCOL: Final = PROTOCOLS - 1
NO_PORT: Final = PORTS - 1
"""A null protocol or port is one more value, which only an entry that asks nothing of it fits."""

Side = Literal["src", "dst"]
Ranks = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class PortEntry:
    """Fits flows of these protocols (None: any) whose port on that side is in low .. high; NO_PORT in it means any or none."""

    rank: int
    protocols: frozenset[int] | None
    side: Side
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class PortTable:
    """Least rank by (class of protocols, port), one table per side, as flat arrays."""

    row_start: NDArray[np.uint32]
    src: Ranks
    dst: Ranks

    def look_up(self, protocol: NDArray[np.integer], src_port: NDArray[np.integer], dst_port: NDArray[np.integer]) -> Ranks:
        """Least fitting rank of each flow, the number of ranks where nothing fits."""
        start = self.row_start[protocol]
        least: Ranks = np.minimum(self.src[start + src_port], self.dst[start + dst_port])
        return least


def build_port_table(entries: Iterable[PortEntry], ranks: int) -> PortTable:
    """The table of these entries, whose ranks are 0 .. ranks - 1; below 2^32."""
    by_rank = sorted(entries, key=lambda entry: -entry.rank)
    classes, members = _protocol_classes(by_rank)
    dtype = np.uint16 if ranks <= np.iinfo(np.uint16).max else np.uint32
    tables = {side: np.full((len(members), PORTS), ranks, dtype) for side in ("src", "dst")}
    rows = {protocols: _rows_of(protocols, members) for protocols in {entry.protocols for entry in by_rank}}
    for entry in by_rank:
        for row in rows[entry.protocols]:
            tables[entry.side][row, entry.low : entry.high + 1] = entry.rank
    return PortTable((classes * PORTS).astype(np.uint32), tables["src"].ravel(), tables["dst"].ravel())


def _protocol_classes(entries: Sequence[PortEntry]) -> tuple[NDArray[np.int64], list[int]]:
    """Class of each protocol, and one member of each class; protocols that no entry tells apart share a class."""
    asked = sorted({entry.protocols for entry in entries if entry.protocols is not None}, key=sorted)
    seen: dict[tuple[bool, ...], int] = {}
    members: list[int] = []
    classes = np.empty(PROTOCOLS, np.int64)
    for protocol in range(PROTOCOLS):
        signature = tuple(protocol in protocols for protocols in asked)
        if signature not in seen:
            seen[signature] = len(members)
            members.append(protocol)
        classes[protocol] = seen[signature]
    return classes, members


def _rows_of(protocols: frozenset[int] | None, members: Sequence[int]) -> list[int]:
    return [row for row, protocol in enumerate(members) if protocols is None or protocol in protocols]
