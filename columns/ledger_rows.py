"""Rows of the ledger while they are added up: arrays, bytes, and the one merge.

In: rows in any order. Out: one row per (booked minute, minute, exporter); bytes that may cross stages and sit in any state. Merging
is associative and commutative. Refuses to know where rows come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import MAX, Ints, Mask, Words
from columns.packing import Numbers, pack_arrays, pack_texts, unpack_arrays, unpack_texts
from columns.sums import sum_runs
from flowpb.ledger import LASTS, SUMS

COLUMNS: Final = (*SUMS, *LASTS, "since_ms", "until_ms")
AT: Final[Mapping[str, int]] = {name: place for place, name in enumerate(COLUMNS)}
NOBODY: Final = (2**64 - 1, 2**64 - 1)
"""The exporter of a lane's own row, and of exporters beyond the bound, as two halves of an address that nobody can have."""
_MAGIC: Final = b"NLR2"
_SUM: Final = slice(0, len(SUMS))
_LAST: Final = slice(len(SUMS), len(SUMS) + len(LASTS))
_NAMES: Final = pack_texts(COLUMNS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Per row its minutes (start / 60 s), its exporter as two big-endian halves (n, 2), and a line of `values` per COLUMNS.

    `clock_offset_ms` is zigzag-coded, so that nothing is negative; `since_ms` and `until_ms` are 0 where no report was merged.
    """

    booked: Ints
    minute: Ints
    exporter: Words
    values: Ints

    def __len__(self) -> int:
        return len(self.booked)

    def __getitem__(self, name: str) -> Ints:
        column: Ints = self.values[AT[name]]
        return column

    def take(self, rows: Ints | Mask) -> "Rows":
        """Some of the rows."""
        return Rows(self.booked[rows], self.minute[rows], self.exporter[rows], self.values[:, rows])

    def pack(self) -> bytes:
        """Bytes that `unpack` reads, also that of a version with other columns."""
        keys = [self.booked, self.minute, self.exporter[:, 0], self.exporter[:, 1]]
        return pack_arrays(_MAGIC, [*_NAMES, *keys, *self.values])

    @staticmethod
    def unpack(data: bytes) -> "Rows":
        """The packed rows; raises InputError for bytes of something else.

        Columns that the program which packed them did not have are 0; those that this one does not have are left out.
        """
        octets, lengths, booked, minute, high, low, *values = unpack_arrays(_MAGIC, data)
        exporter = np.stack([high, low], axis=1).astype(np.uint64)
        named = dict(zip(unpack_texts(octets, lengths), values, strict=True))
        nothing = np.zeros(len(booked), np.int64)
        columns = [named.get(name, nothing) for name in COLUMNS]
        return Rows(booked.astype(np.int64), minute.astype(np.int64), exporter, _stacked(columns))


def empty_rows(count: int, booked: Ints, minute: Ints, exporter: Words) -> Rows:
    """Rows of zeros."""
    return Rows(booked, minute, exporter, np.zeros((len(COLUMNS), count), np.int64))


def merged(pieces: Sequence[Rows]) -> Rows:
    """One row per (booked, minute, exporter), in that order: sums saturate, the last of the gauges is that of the latest report."""
    booked, minute = (np.concatenate([getattr(rows, name) for rows in pieces]) for name in ("booked", "minute"))
    exporter = np.concatenate([rows.exporter for rows in pieces])
    values = np.concatenate([rows.values for rows in pieces], axis=1)
    until = values[AT["until_ms"]]
    order = np.lexsort((*values[_LAST], until, exporter[:, 1], exporter[:, 0], minute, booked))
    keys = np.stack([booked, minute, exporter[:, 0].view(np.int64), exporter[:, 1].view(np.int64)])[:, order]
    ends = _ends(keys)
    values, starts = values[:, order], np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    total = values[:, ends]
    if len(ends):
        total[_SUM] = sum_runs(values[_SUM], ends)
        since = values[AT["since_ms"]]
        total[AT["since_ms"]] = np.minimum.reduceat(np.where(since == 0, MAX, since), starts) % MAX
    return Rows(keys[0, ends], keys[1, ends], exporter[order][ends], total)


def pack_offset(offset_ms: int) -> int:
    """A number that may be negative, as one that is not."""
    return offset_ms * 2 if offset_ms >= 0 else -offset_ms * 2 - 1


def unpack_offsets(packed: Ints) -> Ints:
    """The inverse of `pack_offset`."""
    return np.where(packed & 1, -(packed + 1) // 2, packed // 2)


def _ends(keys: Ints) -> Ints:
    last = np.ones(keys.shape[1], np.bool_)
    last[:-1] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return np.flatnonzero(last)


def _stacked(values: Sequence[Numbers]) -> Ints:
    stacked: Ints = np.stack(values).astype(np.int64)
    return stacked
