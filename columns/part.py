"""A part: the rows that one bundle gives to one (lane, window), self-contained, not grouped.

In: names and columns of rows. Out: bytes that can cross stages and sit in state, and the same back. Refuses to know how rows were
made and what becomes of them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints, Octets
from columns.names import Names
from columns.packing import Numbers, pack_arrays, unpack_arrays, widen

_MAGIC: Final = b"NPRT"

SIDE_BITS: Final = 2
IN, OUT, MIRROR = range(3)
"""The side of a row: in, out, and out for the interface alone: the exporter has counted the flow already, by its in-row."""
LAST, CONGESTED, NOT_ECT, EDGE = 4, 8, 16, 32
"""Flags above the side in `tag`: the flow ends in this window, its ECN is 3, its ECN is 0 or not known, the row's interface is an
external one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One row per share of a flow and side. Codes are those of `names`.

    `values`: the codes of the columns of each kind of `names.values`, in turn.
    `measures` (2 or 4, rows): bytes and packets scaled; unscaled too where some flow was sampled, else they are equal.
    """

    names: Names
    port: Ints
    service: Ints
    lower: Ints
    upper: Ints
    tag: Octets
    dscp: Octets
    values: tuple[Numbers, ...]
    measures: Ints

    def pack(self) -> bytes:
        """As bytes."""
        columns: list[Numbers] = [
            self.port,
            self.service,
            self.lower,
            self.upper,
            self.tag,
            self.dscp,
            *self.values,
            *self.measures,
        ]
        return pack_arrays(_MAGIC, [*self.names.pack(), *columns])

    @staticmethod
    def unpack(data: bytes) -> "Part":
        """What `pack` gave; raises InputError."""
        arrays = iter(unpack_arrays(_MAGIC, data))
        names = Names.unpack(arrays)
        port, service, lower, upper = (widen(next(arrays)) for _ in range(4))
        tag, dscp = (next(arrays).astype(np.uint8) for _ in range(2))
        values = tuple(next(arrays) for kind in names.values for _ in range(kind.columns))
        return Part(names, port, service, lower, upper, tag, dscp, values, np.stack([widen(array) for array in arrays]))
