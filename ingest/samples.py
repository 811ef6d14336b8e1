"""sFlow samples where they are in the octets of their datagrams, and the rows of flows that they become.

In: octets of all datagrams of a drain. Out: where samples are, words at places of them, puts into the assembly. Refuses to know
which record makes which column.
"""

from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.assembly import ALL, Assembly, Where
from ingest.protocols import sflow
from ingest.protocols.packet_header import SLACK, take_rows

Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]
_FIXED: Final = 44
"""Octets before the records of the longest type of sample."""
_PLACES: Final = (
    np.array(
        [
            *((0, 0, 0), (4, 4, 4), (4, 8, 8), (8, 12, 12)),
            *((20, 24, 16), (20, 28, 16), (24, 32, 20), (24, 36, 20)),
        ]
    )
    // 4
)[:, [0, 0, 0, 1, 0, 2]]
"""Place in words of each field of Fixed, by type of sample (1: flow, 3: expanded, 5: discarded)."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of datagrams: `data` ends with SLACK octets; kind, datagram, start and stop of each flow sample, in order.

    Each datagram starts at a multiple of four octets, and `words` are those at each of them.

    `counters` are the counter samples (datagram, start, stop); `faults` are (datagram, offset in it) of samples that are cut, too
    short, or missing.
    """

    data: NDArray[np.uint8]
    words: NDArray[np.uint32]
    kind: Longs
    owner: Longs
    start: Longs
    stop: Longs
    fixed: "Fixed"
    counters: tuple[tuple[int, int, int], ...]
    faults: tuple[tuple[int, int], ...]

    def sources(self) -> Longs:
        """The data source of each sample as one number; of discarded packets it numbers other samples than of flow samples."""
        fixed, discarded = self.fixed, (self.kind == sflow.DISCARDED).astype(np.int64)
        sources: Longs = discarded << 40 | (fixed.source_class & 0xFF) << 32 | fixed.source
        return sources

    def word(self, place: Longs) -> Longs:
        """Four octets at each place, a multiple of four."""
        values: Longs = self.words.take(place >> 2, mode="clip").astype(np.int64)
        return values


class Fixed(NamedTuple):
    """The words before the records of each sample; of an ordinary flow sample the form of an interface is a part of its value."""

    sequence: Longs
    source_class: Longs
    source: Longs
    rate: Longs
    input_form: Longs
    input: Longs
    output_form: Longs
    output: Longs


def _read_fixed(data: NDArray[np.uint8], kind: Longs, start: Longs) -> Fixed:
    words = take_rows(data, np.minimum(start, len(data) - _FIXED), _FIXED).view(">u4")
    first = int(kind[0]) if len(kind) else 0
    if bool((kind == first).all()):
        columns = {place: words[:, place].astype(np.int64) for place in dict.fromkeys(_PLACES[:, first].tolist())}
        fixed = Fixed(*(columns[place] for place in _PLACES[:, first].tolist()))
    else:
        fixed = Fixed(*(words[np.arange(len(kind)), places[kind]].astype(np.int64) for places in _PLACES))
    plain = kind == sflow.FLOW
    if not plain.any():
        return fixed
    return fixed._replace(
        source_class=np.where(plain, fixed.source >> 24, fixed.source_class),
        source=np.where(plain, fixed.source & 0xFFFFFF, fixed.source),
    )


def make_samples(payloads: list[bytes], starts: Longs, limits: Longs) -> Samples:
    """The samples of datagrams; `starts` are the octets of each one's header, `limits` the samples that it announces."""
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    padding = -lengths & 3
    if padding.any():
        payloads = [payload + bytes(more) for payload, more in zip(payloads, padding.tolist(), strict=True)]
    data = np.frombuffer(b"".join((*payloads, bytes(SLACK))), np.uint8)
    words = data.view(">u4")
    base = np.cumsum(lengths + padding) - lengths - padding
    found, seen = sflow.walk(words, base + starts, base + lengths, limits)
    missing = np.flatnonzero(seen < limits)
    faults = list(zip(missing.tolist(), lengths[missing].tolist(), strict=True))
    parts: list[tuple[Longs, sflow.Items]] = []
    counters: list[tuple[int, int, int]] = []
    for kind, octets in sflow.FIXED_OCTETS.items():
        if kind not in found:
            continue
        items = found[kind]
        usable = items.stop - items.start >= octets
        bad = ~(usable & items.whole)
        places = items.start[bad] - 8 - base[items.owner[bad]]
        faults += zip(items.owner[bad].tolist(), places.tolist(), strict=True)
        items = sflow.Items(items.owner[usable], items.start[usable], items.stop[usable], items.whole[usable])
        if kind in sflow.COUNTER_SAMPLES:
            counters += zip(items.owner.tolist(), (items.start + octets).tolist(), items.stop.tolist(), strict=True)
        else:
            parts.append((np.full(len(items.owner), kind), items))
    none = np.zeros(0, np.int64)
    kinds = np.concatenate([none, *(kind for kind, _ in parts)])
    owner = np.concatenate([none, *(items.owner for _, items in parts)])
    start = np.concatenate([none, *(items.start for _, items in parts)])
    stop = np.concatenate([none, *(items.stop for _, items in parts)])
    order = np.argsort(start)
    kinds, start = kinds[order], start[order]
    fixed = _read_fixed(data, kinds, start)
    return Samples(
        data, words, kinds, owner[order], start, stop[order], fixed, tuple(sorted(counters, key=itemgetter(1))), tuple(faults)
    )


@dataclass(slots=True)
class Target:
    """Where values of records go: the row of each sample; of `inner` ones the flow inside a tunnel is taken."""

    out: Assembly
    rows: Longs
    inner: Bools
    known: dict[int, Where] = field(default_factory=dict)

    def where(self, records: sflow.Items | None) -> Where:
        """Rows of these records (None: of all samples); as a whole where they are all rows in order, since that is faster."""
        where = self.known.get(id(records))
        if where is None:
            rows = self.rows if records is None else self.rows[records.owner]
            whole = len(rows) == self.out.rows and not (rows != np.arange(len(rows))).any()
            where = self.known[id(records)] = ALL if whole else rows
        return where

    def put(self, name: str, records: sflow.Items | None, values: Any, dtype: Any, valid: Bools | None = None) -> None:
        """Fill a column in the rows of these records."""
        self.out.put(name, self.where(records), np.asarray(values).astype(dtype), valid)
