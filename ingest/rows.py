"""Rows of one view of one structure: where their values are read and where they go.

In: a block, the positions of its flows in the drain, the datagrams that they came in. Out: values per element, and puts into the
assembly. Refuses to know which element makes which column.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.assembly import Assembly, Bools, Where
from ingest.blocks import Block, Longs, Octets, uint
from ingest.layout import Key, View
from ingest.pending import PacketTable


@dataclass(frozen=True, slots=True)
class Rows:
    """`chosen` picks records of the block (None: all of them), `where` is their position; `set_packets` is each set's datagram."""

    block: Block
    view: View
    chosen: Longs | None
    set_packets: Longs
    where: Where
    packets: PacketTable
    out: Assembly

    @property
    def count(self) -> int:
        """Flows in these rows."""
        return self.block.rows if self.chosen is None else len(self.chosen)

    def has(self, number: int, pen: int = 0) -> bool:
        """Whether the records have this element."""
        return (pen, number) in self.view.index

    def octets(self, key: Key) -> Octets:
        """An element's octets, (rows, octets)."""
        octets = self.block.octets(self.view.index[key])
        return octets if self.chosen is None else octets[self.chosen]

    def uint(self, number: int, dtype: Any = np.int64, pen: int = 0) -> NDArray[Any]:
        """An element as unsigned integers."""
        values = self.block.native(self.view.index[pen, number])
        if values is None or values.ndim > 1:
            return uint(self.octets((pen, number)), dtype)
        return (values if self.chosen is None else values[self.chosen]).astype(dtype, copy=False)

    def words(self, number: int) -> NDArray[np.uint64]:
        """An element of 16 octets as two rows of words, in their order and as they are in memory."""
        words = self.block.native(self.view.index[0, number])
        if words is None:
            return self.octets((0, number)).view(np.uint64).T
        return words if self.chosen is None else words[:, self.chosen]

    def present(self, *numbers: int) -> list[int]:
        """Those of the IANA elements that the records have."""
        return [number for number in numbers if (0, number) in self.view.index]

    def spans(self, key: Key) -> tuple[Longs, Longs]:
        """An element's offsets in the block's octets, and lengths."""
        starts, lengths = self.block.spans(self.view.index[key])
        return (starts, lengths) if self.chosen is None else (starts[self.chosen], lengths[self.chosen])

    def of_packet(self, name: str) -> Longs:
        """A value of the datagram, for each row."""
        return self.spread(self.packets[name])

    def spread(self, of_packets: NDArray[Any]) -> NDArray[Any]:
        """One value per datagram, for each row."""
        values = np.repeat(of_packets[self.set_packets], self.block.counts)
        return values if self.chosen is None else values[self.chosen]

    def filled(self, name: str) -> NDArray[Any]:
        """What has been put into a column of numbers."""
        return self.out.numbers[name].values[self.where]

    def put(self, name: str, values: NDArray[Any], valid: Bools | None = None) -> None:
        """Fill these rows of a column."""
        self.out.put(name, self.where, values, valid)
